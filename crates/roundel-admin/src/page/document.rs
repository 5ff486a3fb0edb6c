//! The page around the parts.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use roundel_model::visible;
use sha2::{Digest, Sha256};

use super::look::shapes;
use super::query::{PageQuery, Theme, View};
use super::{Part, format};
use crate::history::Range;
use crate::moment::Moment;

pub(super) const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The icon of the tab; the script draws it anew when the verdict changes.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='5.5' fill='none' stroke='COLOUR' stroke-width='4'/%3E%3C/svg%3E";

/// The policy of the page: nothing but the inline style and script, and its own stream.
pub(crate) fn content_security_policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    POLICY.get_or_init(|| {
        format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; \
             connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT),
        )
    })
}

/// The whole page. `has_door`: whoever reads it has signed in.
pub(crate) fn document(
    moment: &Moment,
    query: &PageQuery,
    parts: &[Part],
    said: Option<&str>,
    has_door: bool,
) -> String {
    let snapshot = &moment.snapshot;
    let page = html! {
        (DOCTYPE)
        html lang="en" data-theme=(query.theme.as_str()) data-seq=(snapshot.seq) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content=(scheme(query.theme));
                @if let Some(seconds) = query.refresh { meta http-equiv="refresh" content=(seconds); }
                title { (super::title(moment)) }
                link rel="icon" href=(ICON.replace("COLOUR", super::colour(moment)));
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#servers" { "Skip to servers" }
                (shapes())
                (bar(moment, query))
                main {
                    @if let Some(text) = said { p.notice.said role="status" { (text) } }
                    (body(query, parts))
                }
                (footer(moment, query, has_door))
                div id="say" class="hidden" aria-live="polite" {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    visible(page.into_string())
}

fn scheme(theme: Theme) -> &'static str {
    match theme {
        Theme::Auto => "light dark",
        Theme::Light => "light",
        Theme::Dark => "dark",
    }
}

/// The colour of a verdict, as it stands in the icon's address.
pub(super) fn colour(class: &str) -> &'static str {
    match class {
        "up" => "%23009E73",
        "doubt" => "%23E69F00",
        "down" => "%23D55E00",
        _ => "%230072B2",
    }
}

fn body(query: &PageQuery, parts: &[Part]) -> Markup {
    html! {
        @for part in parts {
            @if part.id == "tiles" { (ranges(query)) }
            @if part.id == "servers" && query.key.view != View::Classic { (filter(query)) }
            @if part.id == "cluster" {
                div.two { (PreEscaped(&part.html)) @if let Some(events) = parts.iter().find(|p| p.id == "events") { (PreEscaped(&events.html)) } }
            } @else if part.id != "events" {
                (PreEscaped(&part.html))
            }
        }
    }
}

fn bar(moment: &Moment, query: &PageQuery) -> Markup {
    let snapshot = &moment.snapshot;
    let time = format::rfc3339(snapshot.time_ms);
    html! {
        header.bar {
            a.brand href="/" {
                svg aria-hidden="true" width="18" height="18" viewBox="0 0 16 16" {
                    circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="3" stroke-dasharray="10.5 2.06" {}
                }
                "roundel"
            }
            span.node { (snapshot.node) }
            nav aria-label="Views" {
                @for (view, word, title) in View::ALL {
                    a href=(query.with("view", word)) aria-current=[(query.key.view == view).then_some("page")] { (title) }
                }
            }
            p.clock id="clock" { "as of " time datetime=(time) { (format::clock(&time)) " UTC" } }
            nav.theme aria-label="Theme" {
                @for (theme, word) in Theme::ALL {
                    a href=(query.with("theme", if theme == Theme::Auto { "" } else { word })) aria-current=[(query.theme == theme).then_some("true")] { (word) }
                }
            }
        }
    }
}

fn ranges(query: &PageQuery) -> Markup {
    html! {
        nav.ranges aria-label="Time range" {
            @for range in Range::ALL {
                @let word = range.as_str();
                @let value = if range == Range::default() { "" } else { word };
                a href=(query.with("range", value)) aria-current=[(query.key.range() == range).then_some("true")] { (word) }
            }
            a.data href={ "/api/v1/series?range=" (query.key.range().as_str()) } { "data" }
        }
    }
}

fn filter(query: &PageQuery) -> Markup {
    html! {
        form.filter method="get" action="/" role="search" {
            @if query.key.view != View::Overview { input type="hidden" name="view" value=(query.key.view.as_str()); }
            @if query.theme != Theme::Auto { input type="hidden" name="theme" value=(query.theme.as_str()); }
            label { span.hidden { "Filter servers" } input type="search" name="q" id="q" placeholder="filter servers  /" value=(query.key.filter); }
        }
    }
}

fn footer(moment: &Moment, query: &PageQuery, has_door: bool) -> Markup {
    let links = [
        ("/metrics", "/metrics"),
        ("/;csv", "/;csv"),
        ("/api/v1/snapshot", "/api/v1/snapshot"),
        ("/events", "/events"),
        ("/readyz?verbose", "/readyz"),
        ("/sd/prometheus", "/sd/prometheus"),
    ];
    html! {
        footer {
            nav aria-label="For programs" { @for (href, word) in links { a href=(href) { (word) } } }
            @if has_door { form method="post" action="/logout" { button { "Sign out" } } }
            noscript { p { "Without script this page does not renew itself: " a href=(query.with("refresh", "5")) { "reload every 5 seconds" } "." } }
            @if query.key.view == View::Classic { (for_readers(moment)) }
            p { "roundel " (moment.snapshot.version) " · up for " (format::span(moment.snapshot.uptime_seconds as u64)) }
        }
    }
}

/// The words that monitors look for in HAProxy's page, in its own mark-up: version and uptime.
fn for_readers(moment: &Moment) -> Markup {
    let snapshot = &moment.snapshot;
    let uptime = format::uptime(snapshot.uptime_seconds as u64);
    html! {
        p {
            "Speaks the interface of HAProxy version 2.6.0-roundel" (snapshot.version) ", "
            b { "pid = " } " " (snapshot.process.pid) " (process #1, nbproc = 1, nbthread = " (snapshot.process.threads) ")" br;
            b { "uptime = " } " " (uptime) br;
            "current conns = " (snapshot.frontends.iter().map(|f| f.connections).sum::<u64>())
            "; idle = " (moment.idle_percent()) " %"
        }
    }
}
