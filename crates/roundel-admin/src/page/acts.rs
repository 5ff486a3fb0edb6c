//! Buttons and the form they belong to; nothing where acts are off.

use maud::{Markup, html};
use roundel_model::{AdminState, ServerState};

use super::{Part, Scene};
use crate::admin::Acts;
use crate::status::{Backend, Server};

/// One form per backend; the rows' buttons belong to it.
pub(super) fn form(scene: &Scene<'_>, backend: &Backend) -> Part {
    let id = format!("acts-{}", backend.name);
    let markup = html! {
        @if *scene.acts == Acts::Off {
            div id=(id) {}
        } @else {
            form.acts id=(id) method="post" action="/" autocomplete="off" {
                input type="hidden" name="key" value=(scene.form_key);
                input type="hidden" name="b" value=(backend.name);
                input type="hidden" name="version" value=(backend.set_version);
                @if matches!(scene.acts, Acts::Token(_)) {
                    label { "Token " input type="password" name="token" required; }
                }
                label { input type="checkbox" name="override" value="1"; " Drain and Maint may take out the last server that serves" }
            }
        }
    };
    Part::leaf(id, markup)
}

/// What can be done with one server.
pub(super) fn buttons(scene: &Scene<'_>, backend: &Backend, server: &Server) -> Markup {
    // By what is ordered, not by its state: an order to drain is there while the server is down, and
    // none where its weight is 0.
    let verbs: &[(&str, &str)] = match (server.state, server.admin) {
        _ if *scene.acts == Acts::Off => &[],
        (ServerState::Left | ServerState::Leaving, _) => &[],
        (_, AdminState::Drain) => &[("ready", "Ready"), ("maint", "Maint")],
        (_, AdminState::Maint) => &[("ready", "Ready")],
        (_, AdminState::Ready) => &[("drain", "Drain"), ("maint", "Maint")],
    };
    html! {
        @if !verbs.is_empty() {
            span.buttons {
                @for (verb, word) in verbs {
                    button form={ "acts-" (backend.name) } name="do" value={ (verb) " " (server.name) }
                        aria-label={ (word) " " (server.name) } { (word) }
                }
            }
        }
    }
}
