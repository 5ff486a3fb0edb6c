//! The handshakes of clients over TLS.

use maud::{Markup, html};

use super::Scene;
use super::format::{count, percent, rate};
use crate::history::FrontendRates;
use crate::status::{Frontend, Snapshot};

/// A table of the frontends that speak TLS; nothing where there are none.
pub(super) fn table(scene: &Scene<'_>) -> Markup {
    let snapshot = &*scene.moment.snapshot;
    let fronts = snapshot.frontends.iter();
    let fronts: Vec<_> = fronts.filter(|f| is_secured(snapshot, f)).collect();
    let none = FrontendRates::default();
    html! {
        @if !fronts.is_empty() {
            p.sub { "Handshakes of clients" }
            div.scroll tabindex="0" role="region" aria-label="TLS handshakes" {
                table {
                    caption.hidden { "TLS handshakes of clients" }
                    thead { tr {
                        th scope="col" { "Frontend" } th.num scope="col" { "Open" }
                        th.num scope="col" { "Handshakes/s" }
                        th.num scope="col" title="of the last ten seconds" { "Resumed" }
                        th.num scope="col" { "TLS 1.3" } th.num scope="col" { "TLS 1.2" }
                        th.num scope="col" { "Failed" } th scope="col" { "Reasons" }
                    } }
                    tbody { @for front in fronts {
                        (row(front, scene.moment.rates.frontends.get(&front.name).unwrap_or(&none)))
                    } }
                }
            }
        }
    }
}

fn row(front: &Frontend, rates: &FrontendRates) -> Markup {
    let of = |version: &str| {
        let all = front.tls_handshakes_total.iter();
        all.filter(|(own, ..)| own == version)
            .map(|(.., n)| n)
            .sum()
    };
    html! {
        tr {
            th scope="row" { (front.name) }
            td.num { (count(front.tls_connections)) }
            td.num { (rate(rates.tls_handshakes_per_second)) }
            td.num { (rates.tls_resumed_ratio.map_or("–".into(), percent)) }
            td.num { (count(of("TLSv1.3"))) }
            td.num { (count(of("TLSv1.2"))) }
            td.num { (count(front.tls_failures())) }
            td { (reasons(front)) }
        }
    }
}

/// Why handshakes failed, the most frequent reason first.
fn reasons(front: &Frontend) -> String {
    let mut reasons: Vec<_> = front.tls_failures_total.iter().collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let reasons = reasons.into_iter().map(|(why, n)| {
        let words = why.replace('_', " ");
        format!("{} {words}", count(*n))
    });
    reasons.collect::<Vec<_>>().join(", ")
}

fn is_secured(snapshot: &Snapshot, front: &Frontend) -> bool {
    let shown = |name: &String| *name == front.name;
    let mut certificates = snapshot.certificates.iter();
    !front.tls_handshakes_total.is_empty()
        || !front.tls_failures_total.is_empty()
        || certificates.any(|one| one.frontends.iter().any(shown))
}
