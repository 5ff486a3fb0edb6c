//! The answer in the first line, and what needs a person.

use std::f64::consts::TAU;

use maud::{Markup, html};
use roundel_model::ServerState;

use super::certificates;
use super::format::{latency, percent, plural, rate};
use super::headline::{causes, counts};
use super::look::Look;
use super::{Part, Scene};
use crate::moment::Moment;
use crate::status::{Backend, MemberStatus, Snapshot};

/// Beyond this many servers the ring shows shares of states instead of servers.
const RING_SERVERS: usize = 48;

/// How things are in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Everything that should serve does.
    Good,
    /// Something does not serve, clients begin to feel it, or a reload failed.
    Mixed,
    /// Nothing serves, or clients have it bad.
    Bad,
    /// No server is known.
    Waiting,
}

impl Verdict {
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Good => "●",
            Self::Mixed => "▲",
            Self::Bad => "✕",
            Self::Waiting => "◌",
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "up",
            Self::Mixed => "doubt",
            Self::Bad => "down",
            Self::Waiting => "joining",
        }
    }
}

pub(super) fn verdict(moment: &Moment) -> Verdict {
    let total = &moment.rates.total;
    let dead = |b: &Backend| b.known() > 0 && b.serving() == 0;
    let alarms = &moment.snapshot.alarms;
    if alarms.iter().any(|alarm| alarm.critical) {
        Verdict::Bad
    } else if total.known == 0 && alarms.is_empty() {
        Verdict::Waiting
    } else if total.serving == 0 || moment.snapshot.backends.iter().any(dead) {
        Verdict::Bad
    } else if !alarms.is_empty()
        || total.serving < total.known
        || moment.snapshot.config.last_error.is_some()
    {
        Verdict::Mixed
    } else {
        Verdict::Good
    }
}

/// The headline and the ring.
pub(super) fn part(scene: &Scene<'_>) -> Part {
    let (moment, snapshot) = (scene.moment, &*scene.moment.snapshot);
    let verdict = verdict(moment);
    let markup = html! {
        section id="head" class={ "head v-" (verdict.class()) } {
            (ring(snapshot))
            div {
                h1 {
                    (counts(snapshot))
                    @let causes = causes(snapshot);
                    @if !causes.is_empty() { span.cause { " — " (causes) } }
                }
                p.facts { (facts(moment)) }
            }
        }
    };
    Part::leaf("head", markup)
}

fn facts(moment: &Moment) -> Markup {
    let total = &moment.rates.total;
    let members = &moment.snapshot.members;
    let alive = members
        .iter()
        .filter(|m| m.status == MemberStatus::Alive)
        .count();
    html! {
        span { b { (rate(total.requests_per_second)) } " req/s" }
        span { "p99 " b { (latency(total.p99_seconds)) } }
        span { b { (total.error_ratio.map_or("–".into(), percent)) } " errors" }
        span { b { (total.in_flight) } " in flight" }
        @if !members.is_empty() {
            span { b { (alive) } " " (plural(alive, "member")) " alive" }
        }
    }
}

/// One arc per server in the colour of its state: the roundel.
fn ring(snapshot: &Snapshot) -> Markup {
    let servers = snapshot.backends.iter().flat_map(Backend::rows);
    let shown = servers.filter(|s| s.state != ServerState::Left);
    let mut classes: Vec<&'static str> = shown.map(|s| Look::of_server(s).class).collect();
    let known = classes.len();
    let serving: usize = snapshot.backends.iter().map(Backend::serving).sum();
    if known > RING_SERVERS {
        classes.sort_unstable();
        let step = known as f64 / RING_SERVERS as f64;
        let at = |i: usize| classes[((i as f64 + 0.5) * step) as usize];
        classes = (0..RING_SERVERS).map(at).collect();
    }
    html! {
        svg.ring viewBox="0 0 96 96" role="img" aria-label={ (serving) " of " (known) " serving" } {
            @if classes.is_empty() {
                circle.arc.c-none cx="48" cy="48" r="40" {}
            } @else if let [only] = classes[..] {
                circle class={ "arc c-" (only) } cx="48" cy="48" r="40" {}
            } @else {
                @for (i, class) in classes.iter().enumerate() {
                    path class={ "arc c-" (class) } d=(arc(i, classes.len())) {}
                }
            }
            text x="48" y="49" class="big" { (serving) }
            text x="48" y="64" class="small" { "of " (known) }
        }
    }
}

fn arc(i: usize, of: usize) -> String {
    let gap = (0.18 / of as f64).min(0.012);
    let turn = |part: f64| (part * TAU - TAU / 4.0).sin_cos();
    let (from, to) = (i as f64 / of as f64 + gap, (i + 1) as f64 / of as f64 - gap);
    let ((y1, x1), (y2, x2)) = (turn(from), turn(to));
    let at = |v: f64| 48.0 + 40.0 * v;
    let (a, b, c, d) = (at(x1), at(y1), at(x2), at(y2));
    format!("M{a:.1} {b:.1}A40 40 0 0 1 {c:.1} {d:.1}")
}

/// What needs a person; an empty element when nothing does.
pub(super) fn notice(scene: &Scene<'_>) -> Part {
    let snapshot = &*scene.moment.snapshot;
    let mut lines: Vec<(&str, String)> = Vec::new();
    for alarm in &snapshot.alarms {
        let class = if alarm.critical { "bad" } else { "mixed" };
        lines.push((class, alarm.text.clone()));
    }
    for backend in snapshot
        .backends
        .iter()
        .filter(|b| b.known() > 0 && b.serving() == 0)
    {
        let text = format!(
            "Backend {} has no server that serves: its clients get 503.",
            backend.name
        );
        lines.push(("bad", text));
    }
    if let Some(error) = &snapshot.config.last_error {
        let text = format!(
            "The last reload was refused, the configuration before it stays in force: {error}"
        );
        lines.push(("mixed", text));
    }
    for backend in snapshot.backends.iter().filter(|b| b.tls == "unverified") {
        let text = format!(
            "The servers of backend {} are not verified (tls.verify = false): whoever is on the way \
             can read and change everything.",
            backend.name
        );
        lines.push(("mixed", text));
    }
    for (refused, text) in certificates::notices(snapshot) {
        lines.push((if refused { "bad" } else { "mixed" }, text));
    }
    if snapshot.draining {
        lines.push((
            "mixed",
            "This balancer is shutting down: no new connections.".into(),
        ));
    }
    let bad = lines.iter().any(|(class, _)| *class == "bad");
    let markup = html! {
        div id="notice" role=[bad.then_some("alert")] {
            @for (class, line) in &lines { p class={ "notice " (class) } { (line) } }
        }
    };
    Part::leaf("notice", markup)
}
