//! The form that a browser is shown before the page.

use maud::{DOCTYPE, PreEscaped, html};
use roundel_model::visible;

use super::document::STYLE;

/// Asks for a token, or for a name and a password; leads to `next`.
pub(crate) fn login(by_name: bool, next: &str, said: Option<&str>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Sign in – roundel" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    form.panel.door method="post" action="/login" {
                        h1 { "Sign in" }
                        @if let Some(text) = said { p.notice.bad role="alert" { (text) } }
                        input type="hidden" name="next" value=(next);
                        @if by_name {
                            label { "User" input name="user" autocomplete="username" autofocus required; }
                            label { "Password" input type="password" name="password" autocomplete="current-password" required; }
                        } @else {
                            label { "Token" input type="password" name="token" autocomplete="current-password" autofocus required; }
                        }
                        button { "Sign in" }
                    }
                }
            }
        }
    };
    visible(page.into_string())
}
