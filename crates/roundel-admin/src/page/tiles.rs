//! Five tiles with a number and a plot each.

use maud::{Markup, html};

use super::format::{count, latency, rate};
use super::plot::{Line, Mark, Plot};
use super::{Part, Scene};
use crate::history::Row;
use roundel_model::EventKind;

use crate::status::{Event, Frontend};
use roundel_stats::HistogramSnapshot;

/// Events marked on the time axis at most.
const MARKS: usize = 12;

pub(super) fn part(scene: &Scene<'_>) -> Part {
    let rows: Vec<&Row> = scene.history.total.rows(scene.key.range()).iter().collect();
    let markup = html! {
        section id="tiles" class="tiles" aria-label="Traffic" {
            (traffic(scene, &rows))
            (durations(scene, &rows))
            (errors(scene, &rows))
            (in_flight(scene, &rows))
            (servers(scene, &rows))
        }
    };
    Part::leaf("tiles", markup)
}

fn traffic(scene: &Scene<'_>, rows: &[&Row]) -> Markup {
    let now = scene.moment.rates.total.requests_per_second;
    let requests = Line {
        fill: true,
        ..line("l1", rows, |r| Some(f64::from(r.requests)))
    };
    let plot = plot(scene, "Requests per second", vec![requests], true);
    let out = rows.last().map_or(0.0, |r| f64::from(r.bytes_out));
    let note = html! { "out " (super::format::bytes(out as u64)) "/s" };
    tile(
        "Traffic",
        &rate(now),
        "req/s",
        &rate(plot.max()),
        &plot,
        &note,
    )
}

fn durations(scene: &Scene<'_>, rows: &[&Row]) -> Markup {
    let total = &scene.moment.rates.total;
    let lines = vec![
        line("l3", rows, |r| quantile(r, 0.99)),
        line("l2", rows, |r| quantile(r, 0.95)),
        line("l1", rows, |r| quantile(r, 0.50)),
    ];
    let plot = plot(scene, "Latency: p50, p95 and p99", lines, false);
    let note = html! {
        (key("l1", &format!("p50 {}", latency(total.p50_seconds))))
        (key("l2", "p95"))
        (key("l3", "p99"))
    };
    let max = plot.max();
    let top = if max > 0.0 {
        latency(Some(max))
    } else {
        String::new()
    };
    tile(
        "Latency",
        &latency(total.p99_seconds),
        "p99",
        &top,
        &plot,
        &note,
    )
}

fn errors(scene: &Scene<'_>, rows: &[&Row]) -> Markup {
    let ratio = scene.moment.rates.total.error_ratio;
    let lines = vec![
        line("l2", rows, |r| Some(f64::from(r.errors_4xx))),
        line("l3", rows, |r| Some(f64::from(r.retries))),
        line("bad", rows, |r| Some(f64::from(r.errors_5xx))),
    ];
    let plot = plot(scene, "Errors and retries per second", lines, false);
    let last = rows.last();
    let has_calls = |front: &Frontend| !front.grpc_calls_total.is_empty();
    let kinds = match scene.moment.snapshot.frontends.iter().any(has_calls) {
        true => "5xx, gRPC",
        false => "5xx",
    };
    let note = html! {
        (key("bad", kinds)) (key("l2", "4xx"))
        (key("l3", &format!("retries {}/s", rate(last.map_or(0.0, |r| f64::from(r.retries))))))
    };
    let big = ratio.map_or("–".into(), super::format::percent);
    tile(
        "Errors",
        &big,
        kinds,
        &format!("{}/s", rate(plot.max())),
        &plot,
        &note,
    )
}

fn in_flight(scene: &Scene<'_>, rows: &[&Row]) -> Markup {
    let total = &scene.moment.rates.total;
    let flying = Line {
        fill: true,
        ..line("l1", rows, |r| Some(f64::from(r.in_flight)))
    };
    let waiting = line("bad", rows, |r| Some(f64::from(r.queue)));
    let plot = plot(
        scene,
        "Requests in flight and waiting",
        vec![flying, waiting],
        false,
    );
    let clients: u64 = scene
        .moment
        .snapshot
        .frontends
        .iter()
        .map(|f| f.connections)
        .sum();
    let note = html! {
        (key("bad", &format!("waiting {}", count(total.queue_length))))
        span.key { (count(clients)) " clients" }
    };
    tile(
        "In flight",
        &count(total.in_flight),
        "",
        &count(plot.max().round() as u64),
        &plot,
        &note,
    )
}

fn servers(scene: &Scene<'_>, rows: &[&Row]) -> Markup {
    let total = &scene.moment.rates.total;
    let step = |class, of: fn(&Row) -> Option<f64>| Line {
        step: true,
        ..line(class, rows, of)
    };
    let known = step("l3", |r| Some(f64::from(r.known)));
    let serving = Line {
        fill: true,
        ..step("l1", |r| Some(f64::from(r.serving)))
    };
    let plot = plot(
        scene,
        "Servers serving and known",
        vec![known, serving],
        true,
    );
    let note = html! { (key("l1", "serving")) (key("l3", &format!("known {}", total.known))) };
    tile(
        "Servers",
        &total.serving.to_string(),
        "serving",
        &count(plot.max().round() as u64),
        &plot,
        &note,
    )
}

fn tile(title: &str, big: &str, unit: &str, top: &str, plot: &Plot, note: &Markup) -> Markup {
    html! {
        article.tile {
            h2 { (title) }
            p.now { b { (big) } " " (unit) }
            div.chart { span.top { (top) } (plot.svg()) }
            p.note { (note) }
        }
    }
}

/// A sample of a line, beside its word.
fn key(class: &str, text: &str) -> Markup {
    html! {
        span.key {
            svg aria-hidden="true" width="16" height="6" { line class={ "line " (class) } x1="0" y1="3" x2="16" y2="3" {} }
            (text)
        }
    }
}

fn line(class: &'static str, rows: &[&Row], of: fn(&Row) -> Option<f64>) -> Line {
    Line {
        class,
        points: rows.iter().map(|r| (r.time_ms, of(r))).collect(),
        step: false,
        fill: false,
    }
}

fn quantile(row: &Row, q: f64) -> Option<f64> {
    let buckets = row.latency.map(u64::from);
    let histogram = HistogramSnapshot { buckets, sum_us: 0 };
    histogram.quantile(q)
}

fn plot(scene: &Scene<'_>, title: &str, lines: Vec<Line>, marked: bool) -> Plot {
    let range = scene.key.range();
    Plot {
        title: format!("{title}, last {}", range.as_str()),
        now_ms: scene.moment.snapshot.time_ms,
        range,
        lines,
        marks: if marked { marks(scene) } else { Vec::new() },
    }
}

/// The newest events that change what the plots show.
fn marks(scene: &Scene<'_>) -> Vec<Mark> {
    let snapshot = &scene.moment.snapshot;
    let oldest = snapshot.time_ms.saturating_sub(scene.key.range().span_ms());
    let mark = |event: &Event| {
        let time: jiff::Timestamp = event.time.parse().ok()?;
        let time_ms = u64::try_from(time.as_millisecond()).ok()?;
        let class = match event.kind {
            EventKind::Serving | EventKind::CheckUp | EventKind::Returned => "up",
            EventKind::Leave | EventKind::Drained => "draining",
            EventKind::Failed | EventKind::CheckDown | EventKind::NoServer | EventKind::Alarm => {
                "down"
            }
            EventKind::Ejected => "ejected",
            EventKind::Reload | EventKind::ReloadFailed | EventKind::Admin => "maint",
            _ => return None,
        };
        let fits = time_ms > oldest && time_ms <= snapshot.time_ms;
        fits.then(|| Mark {
            time_ms,
            event: event.seq,
            class,
            label: format!("{} {}: {}", event.kind.as_str(), event.subject, event.text),
        })
    };
    let events = snapshot.events.iter().rev();
    events.filter_map(|event| mark(event)).take(MARKS).collect()
}
