//! One table per backend.

use maud::{Markup, html};
use roundel_model::ServerState;

use super::acts;
use super::format::{bytes, count, latency, percent, plural, rate, span};
use super::look::{BY_URGENCY, Look};
use super::plot::spark;
use super::query::{Key, ROWS};
use super::sort::{COLUMNS, Sort};
use super::{Part, Scene};
use crate::history::{Range, ServerRates};
use crate::status::{Backend, Check, Server, Source};

/// Above this many servers the worst come first.
const LONG: usize = 60;

pub(super) fn part(scene: &Scene<'_>) -> Part {
    let backends = &scene.moment.snapshot.backends;
    let children: Vec<Part> = backends.iter().map(|b| table(scene, b)).collect();
    let markup = html! {
        div id="servers" {
            @if children.is_empty() { p.empty { "No backend is configured." } }
            @for child in &children { (maud::PreEscaped(&child.html)) }
        }
    };
    Part {
        id: "servers".into(),
        html: markup.into_string(),
        shell: String::new(),
        children,
    }
}

/// What of a backend's servers this page shows.
struct Shown<'a> {
    servers: Vec<&'a Server>,
    matching: usize,
    pages: usize,
}

fn shown<'a>(scene: &Scene<'_>, backend: &'a Backend) -> Shown<'a> {
    let filter = &scene.key.filter;
    let fits = |s: &&Server| {
        filter.is_empty()
            || s.name.to_lowercase().contains(filter)
            || s.address.contains(filter)
            || s.state.as_str() == filter.trim_start_matches("state:")
    };
    let mut servers: Vec<&Server> = backend.rows().filter(fits).collect();
    if let Some(sort) = scene.key.sort {
        let none = ServerRates::default();
        let known = scene.moment.rates.backends.get(&backend.name);
        let rates = |s: &Server| known.and_then(|b| b.servers.get(&s.name)).unwrap_or(&none);
        servers.sort_by(|a, b| sort.compare((a, rates(a)), (b, rates(b))));
    } else if servers.len() > LONG {
        let urgency = |s: &&Server| {
            let class = Look::of_server(s).class;
            BY_URGENCY.iter().position(|c| *c == class)
        };
        servers.sort_by_cached_key(urgency);
    }
    let matching = servers.len();
    let pages = matching.div_ceil(ROWS).max(1);
    let first = scene.key.page.min(pages - 1) * ROWS;
    Shown {
        servers: servers.into_iter().skip(first).take(ROWS).collect(),
        matching,
        pages,
    }
}

fn table(scene: &Scene<'_>, backend: &Backend) -> Part {
    let shown = shown(scene, backend);
    let caption = caption(scene, backend, &shown);
    let rows: Vec<Part> = shown
        .servers
        .iter()
        .map(|s| row(scene, backend, s))
        .collect();
    let id = format!("rows-{}", backend.name);
    let body = html! {
        tbody id=(id) {
            @for row in &rows { (maud::PreEscaped(&row.html)) }
            @if rows.is_empty() { tr { td.empty colspan="13" { (nothing(scene, backend)) } } }
        }
    };
    let body = Part {
        id,
        html: body.into_string(),
        shell: rows.is_empty().to_string(),
        children: rows,
    };
    let form = acts::form(scene, backend);
    let id = format!("b-{}", backend.name);
    let markup = html! {
        section.backend id=(id) {
            div.scroll tabindex="0" role="region" aria-label={ "Servers of " (backend.name) } {
                table.servers {
                    (maud::PreEscaped(&caption.html))
                    (heads(scene.key))
                    (maud::PreEscaped(&body.html))
                }
            }
            (maud::PreEscaped(&form.html))
        }
    };
    Part {
        id,
        html: markup.into_string(),
        shell: String::new(),
        children: vec![caption, body, form],
    }
}

fn nothing(scene: &Scene<'_>, backend: &Backend) -> String {
    if backend.servers.is_empty() {
        return "No server yet. Start one with the agent, or list it in the configuration.".into();
    }
    format!("No server fits “{}”.", scene.key.filter)
}

fn caption(scene: &Scene<'_>, backend: &Backend, shown: &Shown<'_>) -> Part {
    let id = format!("cap-{}", backend.name);
    let rates = scene.moment.rates.backends.get(&backend.name);
    let look = Look::of_backend(backend);
    let words = [
        backend.balance.clone(),
        if backend.sticky.is_empty() {
            String::new()
        } else {
            format!("sticky {}", backend.sticky)
        },
        if backend.check.is_empty() {
            "no check".into()
        } else {
            format!("check {}", backend.check)
        },
        if backend.tls.is_empty() {
            String::new()
        } else {
            format!("TLS {}", backend.tls)
        },
        format!("set {}", backend.set_version),
    ];
    let trouble = backend.sources.iter().filter_map(Source::trouble);
    let words: Vec<String> = words.into_iter().chain(trouble).collect();
    let markup = html! {
        caption id=(id) {
            span.name { (look.mark()) " " (backend.name) }
            span.settings { @for word in words.iter().filter(|w| !w.is_empty()) { span { (word) } } }
            span.sums {
                (backend.serving()) " of " (backend.known()) " serving · "
                (rate(rates.map_or(0.0, |r| r.requests_per_second))) " req/s · p99 "
                (latency(rates.and_then(|r| r.p99_seconds))) " · "
                (count(backend.requests_total)) " " (plural(2, "request")) " · "
                (count(backend.errors_total)) " errors"
            }
            @if shown.pages > 1 {
                span.pages {
                    (shown.matching) " servers" @if scene.key.sort.is_none() { ", the worst first" } "; page "
                    @for page in 1..=shown.pages {
                        " " a href=(scene.key.with("page", &page.to_string())) { (page) }
                    }
                }
            }
        }
    };
    Part::leaf(id, markup)
}

fn heads(key: &Key) -> Markup {
    html! {
        thead { tr { @for (at, (_, word, class)) in COLUMNS.into_iter().enumerate() {
            th scope="col" class=[(!class.is_empty()).then_some(class)] title=[(word == "Mean").then_some("of the last 1,024 exchanges")]
                aria-sort=[key.sort.and_then(|sort| sort.direction(at))] {
                a href=(key.with("sort", &Sort::after_click(key.sort, at).word())) { (word) }
            }
        } } }
    }
}

fn row(scene: &Scene<'_>, backend: &Backend, server: &Server) -> Part {
    let look = Look::of_server(server);
    let none = ServerRates::default();
    let rates = scene.moment.rates.backends.get(&backend.name);
    let rates = rates
        .and_then(|b| b.servers.get(&server.name))
        .unwrap_or(&none);
    let id = format!("r-{}-{}", backend.name, server.name);
    let t = &server.traffic;
    let markup = html! {
        tr id=(id) class={ "row c-" (look.class) } {
            td.state {
                (look.mark())
                @if !server.reason.is_empty() { span.reason { (server.reason) } }
            }
            th.who scope="row" { (details(backend, server)) }
            td.num { (server.weight) @if server.backup { " backup" } }
            td.num { (rates.share.map_or("–".into(), percent)) }
            td.num.flow { (flow(scene, backend, server)) span { (rate(rates.requests_per_second)) } }
            td.num { (count(server.in_flight)) }
            td.num { (mean(rates)) }
            td.num title=[full(t.responses_total[1])] { (count(t.responses_total[1])) }
            td.num title=[full(t.responses_total[3])] { (count(t.responses_total[3])) }
            td.num title=[full(t.responses_total[4])] { (count(t.responses_total[4])) }
            td.num title=[full(server.errors_total)] { (count(server.errors_total)) }
            td.num { (span(server.since_seconds)) }
            td.check { (check(server.check.as_ref())) (acts::buttons(scene, backend, server)) }
        }
    };
    Part::leaf(id, markup)
}

/// The whole number, where the cell shows a shortened one.
fn full(n: u64) -> Option<u64> {
    (n >= 10_000).then_some(n)
}

fn mean(rates: &ServerRates) -> String {
    let ms = rates.means.total_ms;
    latency((ms > 0.0).then_some(ms / 1_000.0))
}

fn flow(scene: &Scene<'_>, backend: &Backend, server: &Server) -> Markup {
    let rows = scene.history.server(&backend.name, &server.name);
    let values: Vec<f32> = rows.map_or(Vec::new(), |rows| {
        let ring = rows.rows(Range::FiveMinutes);
        let skip = ring.len().saturating_sub(60);
        ring.iter().skip(skip).map(|r| r.requests).collect()
    });
    spark(&values)
}

fn check(check: Option<&Check>) -> Markup {
    html! {
        @match check {
            None => "–",
            Some(check) => {
                span title=(check.text) {
                    (check.status)
                    @if let Some(code) = check.code { "/" (code) }
                    @if let Some(ms) = check.duration_ms { " " (ms) "\u{202f}ms" }
                    @if check.health < check.rise || check.health + 1 < check.rise + check.fall {
                        " · " (check.health) "/" ((check.rise + check.fall).saturating_sub(1))
                    }
                }
            }
        }
    }
}

/// The name; opened, why it is in the set and what went through it.
fn details(backend: &Backend, server: &Server) -> Markup {
    html! {
        details {
            summary { span.server { (server.name) } span.address { (server.address) } }
            dl {
                @for (word, text) in facts(backend, server) { dt { (word) } dd { (text) } }
                @if server.state == ServerState::Left { dt { "Kept" } dd { "this row goes ten minutes after it left" } }
            }
        }
    }
}

fn facts(backend: &Backend, server: &Server) -> [(&'static str, String); 7] {
    let t = &server.traffic;
    let (all, lb) = (count(server.requests_total), count(t.lb_total));
    let (bytes_in, bytes_out) = (bytes(t.bytes_in_total), bytes(t.bytes_out_total));
    let (made, reused) = (count(t.connects_total), count(t.reuses_total));
    let balance = &backend.balance;
    let (connect, response) = (t.connect_errors_total, t.response_errors_total);
    let (retried, redispatched) = (t.retries_total, t.redispatches_total);
    let (clients, own) = (t.client_aborts_total, t.server_aborts_total);
    let (times, down) = (server.down_transitions_total, span(server.downtime_seconds));
    [
        ("Known by", server.source.to_string()),
        ("Requests", format!("{all} ({lb} by {balance})")),
        ("Bytes", format!("{bytes_in} in, {bytes_out} out")),
        ("Connections", format!("{made} made, {reused} reused")),
        (
            "Failures",
            format!(
                "{connect} connect, {response} response, {retried} retried, {redispatched} redispatched"
            ),
        ),
        (
            "Aborts",
            format!("{clients} by clients, {own} by the server"),
        ),
        ("Went down", format!("{times} times, {down} in all")),
    ]
}
