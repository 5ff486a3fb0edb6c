//! What clients are shown over TLS.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use roundel_acme::Facts;
use roundel_admin::status::{Certificate, Orders};
use roundel_config::Settings;

use crate::acme::Acme;

/// Each certificate once, in the order of the frontends that show it.
pub(super) fn all(settings: &Settings, acme: &Acme, now: SystemTime) -> Vec<Certificate> {
    let mut list: Vec<Certificate> = Vec::new();
    let mut places = BTreeMap::new();
    let frontends = settings.frontends.iter();
    let shown = frontends.filter_map(|f| Some((f.name.as_str(), f.tls.as_ref()?)));
    let page = settings.stats_tls.iter().map(|tls| ("[stats]", tls));
    for (name, tls) in shown.chain(page) {
        let files = tls.certificates.iter();
        let files = files.map(|certificate| (Arc::clone(certificate), None));
        let ordered = tls.acme.as_ref().and_then(|config| {
            let (certificate, facts) = acme.shown(config)?;
            Some((certificate, Some((facts, &*config.directory))))
        });
        for (shown, facts) in files.chain(ordered) {
            let place = *places.entry(*shown.fingerprint()).or_insert(list.len());
            if place == list.len() {
                let mut one = collect(&shown, now);
                if let Some((facts, directory)) = facts {
                    one.warning = trouble(&one.warning, &facts);
                    one.source = "acme".to_owned();
                    one.orders = Some(orders(facts, directory));
                }
                list.push(one);
            }
            list[place].frontends.push(name.to_owned());
        }
    }
    list
}

/// What people should know of a certificate that was ordered, of which `own` is said already.
fn trouble(own: &str, facts: &Facts) -> String {
    let meanwhile = facts
        .self_signed
        .then_some("is signed by nobody; the CA's is ordered");
    let own = Some(own).filter(|own| !own.is_empty());
    let parts = [own, meanwhile, facts.last_error.as_deref()];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.join("; ")
}

fn orders(facts: Facts, directory: &str) -> Orders {
    Orders {
        directory: directory.to_owned(),
        last_success_seconds: facts.last_order.map(seconds),
        last_error: facts.last_error,
        next_try_seconds: facts.next_try.map(seconds),
        failures: facts.failures,
        issued_total: facts.orders_total,
        failed_total: facts.failures_total,
        self_signed: facts.self_signed,
        elsewhere: facts.elsewhere,
        owner: facts.owner,
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs())
}

fn collect(shown: &roundel_tls::Certificate, now: SystemTime) -> Certificate {
    Certificate {
        names: shown.names().to_vec(),
        frontends: Vec::new(),
        issuer: shown.issuer().to_owned(),
        key: shown.kind().as_str().to_owned(),
        source: "file".to_owned(),
        file: shown.source().to_owned(),
        fingerprint: shown.fingerprint_text(),
        not_before_seconds: seconds(shown.not_before()),
        not_after_seconds: seconds(shown.not_after()),
        stage: shown.stage(now).as_str().to_owned(),
        warning: shown.warning(now).unwrap_or_default(),
        orders: None,
    }
}
