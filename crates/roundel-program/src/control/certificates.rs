//! Certificates that end, and the keys of tickets that turn.

use std::collections::BTreeMap;
use std::time::SystemTime;

use roundel_config::Settings;
use roundel_model::EventKind;
use roundel_tls::Stage;

use super::Control;
use crate::certificates::{Files, title};
use crate::routes;
use crate::sharing;

/// The stage that was told of each certificate, by its fingerprint.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<[u8; 32], Stage>);

impl Control {
    /// Tells of each certificate that has come to another stage of its life, and turns the keys of
    /// tickets when it is time.
    pub(super) fn watch_certificates(&mut self) {
        let now = SystemTime::now();
        let (cluster, tickets) = (&self.parts.cluster, &self.parts.tickets);
        match cluster {
            Some(cluster) => sharing::turn_tickets(cluster, tickets, now),
            None => tickets.advance(now),
        }
        let tls = || self.parts.settings.tls();
        let files = tls().flat_map(|tls| tls.certificates.iter().cloned());
        let ordered = tls().filter_map(|tls| self.parts.acme.shown(tls.acme.as_ref()?));
        let ordered = ordered.map(|(certificate, _)| certificate);
        let mut here = BTreeMap::new();
        for certificate in files.chain(ordered) {
            let stage = certificate.stage(now);
            let print = *certificate.fingerprint();
            let told = self.certificates.0.get(&print);
            let is_known = told == Some(&stage) || here.contains_key(&print);
            if let Some(text) = certificate.warning(now).filter(|_| !is_known) {
                let log = &self.parts.log;
                log.add(EventKind::Certificate, title(&certificate), text, None);
            }
            here.insert(print, stage);
        }
        self.certificates.0 = here;
    }

    /// Shows clients what CAs have issued; nothing else changes.
    pub(super) fn show_certificates(&mut self) {
        let known = self.backends.iter();
        let known = known.map(|(name, m)| (name.clone(), m.director().balancer().clone()));
        let parts = &self.parts;
        let balancers = routes::balancers(&parts.settings, &known.collect(), parts.proxy.workers());
        let routes = routes::build(&parts.settings, &balancers, &parts.tickets, &parts.acme);
        if let Err(error) = parts.proxy.reload(routes) {
            tracing::warn!("a certificate that a CA has issued cannot be shown: {error}");
        }
        self.show_page(&parts.settings);
    }

    /// Has the page's port show what a configuration names.
    fn show_page(&self, settings: &Settings) {
        let front = routes::page(settings, &self.parts.tickets, &self.parts.acme);
        self.parts.page_front.store(front);
    }

    /// Has the page's port show what another configuration names, and its files followed.
    pub(super) fn follow_files(&self, settings: &Settings) {
        self.show_page(settings);
        self.parts.files.send_replace(Files::of(settings));
    }
}
