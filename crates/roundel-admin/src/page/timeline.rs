//! The events, newest first.

use maud::{Markup, html};

use super::format::clock;
use super::{Part, Scene};
use roundel_model::{EventKind, visible};

use crate::status::Event;

/// Events on the page; the rest are at `/api/v1/events`.
const SHOWN: usize = 25;

pub(super) fn part(scene: &Scene<'_>) -> Part {
    let events = &scene.moment.snapshot.events;
    let shown = events.iter().rev().take(SHOWN);
    let markup = html! {
        section id="events" class="panel" aria-labelledby="h-events" {
            h2 id="h-events" { "Events" }
            @if events.is_empty() { p.empty { "Nothing has happened yet." } }
            ol.timeline { @for event in shown { (line(event)) } }
            @if events.len() > SHOWN { p.sub { a href="/api/v1/events?format=jsonl" { "all " (events.len()) } } }
        }
    };
    Part::leaf("events", markup)
}

/// A line sent ahead of the next frame.
#[derive(serde::Serialize)]
pub(crate) struct Log {
    id: String,
    html: String,
    event: Event,
}

/// The line of an event that just happened.
pub(crate) fn log(event: &Event) -> Log {
    Log {
        id: format!("e{}", event.seq),
        html: visible(line(event).into_string()),
        event: event.clone(),
    }
}

/// One line.
fn line(event: &Event) -> Markup {
    html! {
        li id={ "e" (event.seq) } class={ "c-" (class(event.kind)) } {
            time datetime=(event.time) title=(event.time) { (clock(&event.time)) }
            span.glyph aria-hidden="true" { (event.mark()) }
            span.what {
                b { (event.subject) } " " (event.text)
                // Many texts say themselves how long it took.
                @if let Some(ms) = event.duration_ms.filter(|_| !event.text.contains(" after ")) { span.took { " " (took(ms)) } }
                @if event.repeats > 1 { span.took { " ×" (event.repeats) } }
                " " span.kind { (event.kind.as_str().replace('_', " ")) }
            }
        }
    }
}

fn took(ms: u64) -> String {
    format!(
        "after {}",
        super::format::latency(Some(ms as f64 / 1_000.0))
    )
}

fn class(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Join => "joining",
        EventKind::Serving
        | EventKind::CheckUp
        | EventKind::Returned
        | EventKind::Quiet
        | EventKind::Refuted => "up",
        EventKind::Leave | EventKind::Drained => "draining",
        EventKind::Failed
        | EventKind::CheckDown
        | EventKind::ReloadFailed
        | EventKind::NoServer
        | EventKind::Alarm => "down",
        EventKind::Suspect | EventKind::Certificate => "doubt",
        EventKind::Ejected => "ejected",
        EventKind::Weight | EventKind::Admin | EventKind::Reload => "maint",
        EventKind::Set | EventKind::Listener | EventKind::Other => "left",
    }
}
