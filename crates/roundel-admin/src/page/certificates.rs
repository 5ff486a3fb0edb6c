//! What clients are shown over TLS.

use maud::{Markup, html};

use super::format::{plural, span};
use super::{Part, Scene, handshakes};
use crate::status::{Certificate, Orders, Snapshot};

/// Certificates and names of one that are listed at most.
const MOST: usize = 200;
const NAMES: usize = 5;

/// A table of certificates and one of handshakes; an empty element where there are none.
pub(super) fn part(scene: &Scene<'_>) -> Part {
    let snapshot = &*scene.moment.snapshot;
    let all = &snapshot.certificates;
    let markup = html! {
        @if all.is_empty() {
            div id="certificates" {}
        } @else {
            section id="certificates" class="panel" aria-labelledby="h-certificates" {
                h2 id="h-certificates" { "Certificates" }
                (table(snapshot))
                @if all.len() > MOST { p.sub { a href="/api/v1/snapshot" { "all " (all.len()) " certificates" } } }
                (handshakes::table(scene))
            }
        }
    };
    Part::leaf("certificates", markup)
}

fn table(snapshot: &Snapshot) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Certificates" {
            table {
                caption.hidden { "Certificates that clients are shown" }
                thead { tr {
                    th scope="col" { "State" } th scope="col" { "Names" } th scope="col" { "Issuer" }
                    th scope="col" { "Key" } th.num scope="col" { "Left" } th scope="col" { "Frontends" } th scope="col" { "Source" } th scope="col" { "Orders" }
                } }
                tbody { @for one in snapshot.certificates.iter().take(MOST) { (row(one, snapshot.time_ms / 1_000)) } }
            }
        }
    }
}

fn row(one: &Certificate, now: u64) -> Markup {
    let stage = stage(one);
    let (class, mark) = look(stage);
    let more = one.names.len().saturating_sub(NAMES);
    html! {
        tr class={ "row c-" (class) } {
            td.state { (mark) " " (word(stage)) }
            th scope="row" title=(one.fingerprint) {
                (one.names[..one.names.len() - more].join(" "))
                @if more > 0 { " and " (more) " " (plural(more, "other")) }
            }
            td { (one.issuer) }
            td { (one.key) }
            td.num { @match one.not_after_seconds.checked_sub(now) {
                Some(left) => (span(left)),
                None => "–",
            } }
            td { (one.frontends.join(" ")) }
            td { code { (one.file) } }
            td { (one.orders.as_ref().map_or("–".into(), |order| orders(order, now))) }
        }
    }
}

/// How its orders go: the last one, what is wrong, and when the next is due.
fn orders(order: &Orders, now: u64) -> String {
    let mut parts = Vec::new();
    if let Some(at) = order.last_success_seconds {
        parts.push(format!("issued {} ago", span(now.saturating_sub(at))));
    }
    if let Some(error) = &order.last_error {
        let tries = match order.failures {
            1 => "1 try".to_owned(),
            n => format!("{n} tries"),
        };
        parts.push(format!("{tries} failed: {error}"));
    }
    if let Some(owner) = &order.owner {
        parts.push(format!("{owner} orders"));
    }
    if order.elsewhere {
        parts.push("another process of this host orders".to_owned());
    } else if let Some(at) = order.next_try_seconds {
        let what = match (order.last_error.is_some(), order.self_signed) {
            (true, _) => "next try",
            (false, true) => "ordered",
            (false, false) => "renewed",
        };
        parts.push(match at.checked_sub(now) {
            Some(left) if left > 0 => format!("{what} in {}", span(left)),
            _ => format!("{what} now"),
        });
    }
    parts.join("; ")
}

/// How far its life has come; one that nobody has signed is of no use from the first day.
fn stage(one: &Certificate) -> &str {
    match &one.orders {
        Some(orders) if orders.self_signed => "self-signed",
        _ => &one.stage,
    }
}

/// The class and the mark of a stage.
fn look(stage: &str) -> (&'static str, &'static str) {
    match stage {
        "fresh" => ("up", "●"),
        "due" | "late" => ("doubt", "▲"),
        _ => ("down", "✕"),
    }
}

fn word(stage: &str) -> &str {
    match stage {
        "fresh" => "valid",
        "not_yet" => "not yet valid",
        "due" | "late" | "urgent" => "ends soon",
        stage => stage,
    }
}

/// The certificates that need a person: a line and whether clients refuse it.
pub(super) fn notices(snapshot: &Snapshot) -> impl Iterator<Item = (bool, String)> {
    let told = snapshot
        .certificates
        .iter()
        .filter(|c| !c.warning.is_empty());
    told.map(|one| {
        let name = one.names.first().map_or("", String::as_str);
        let refused = matches!(stage(one), "ended" | "not_yet" | "self-signed");
        let text = format!("The certificate of {name} ({}) {}.", one.file, one.warning);
        (refused, text)
    })
}
