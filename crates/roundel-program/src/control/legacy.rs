//! What the control task leaves to the one of a process that follows, and takes from the one before.

use std::time::Instant;

use roundel_model::Name;

use super::Control;
use crate::handover::Known;
use crate::handover::legacy::{BackendLegacy, Legacy, OrdersLegacy, Secret};

impl Control {
    /// Everything that a successor goes on from, and the servers that it is to find: those of this
    /// moment, since what is shown may be a second old. From here on no snapshot is published, so
    /// that nothing shown here is more than what the successor shows.
    pub(super) fn bequeath(&mut self) -> (Known, Legacy) {
        self.frozen = true;
        // What was done is in the legacy; the successor shows it.
        self.acts.published(0);
        let now = Instant::now();
        let frontends = self.parts.proxy.frontends().into_iter().map(|status| {
            let mut totals = status.counters.totals();
            // Those still open end here, and are none of the successor's.
            let begun = totals.get("connections").copied().unwrap_or_default();
            totals.insert("connections_closed".to_owned(), begun);
            let secured = totals
                .iter()
                .filter(|(key, _)| key.starts_with("tls_handshakes"));
            let secured = secured.map(|(_, n)| n).sum();
            totals.insert("tls_closed".to_owned(), secured);
            (status.name.to_string(), totals)
        });
        let collector = &self.parts.collector;
        let absent = self.absent.iter().map(|(name, orders)| {
            let orders = orders.iter().map(|(name, o)| OrdersLegacy::new(name, o));
            let legacy = BackendLegacy {
                orders: orders.collect(),
                ..BackendLegacy::default()
            };
            (name.to_string(), legacy)
        });
        let backends = self.backends.iter().map(|(name, managed)| {
            let mut legacy = managed.bequeath(now);
            legacy.retired = collector.retired(name, &managed.director().servers(now));
            (name.to_string(), legacy)
        });
        let usable = self.backends.iter().map(|(name, managed)| {
            let usable = managed.director().balancer().load().usable();
            (name.to_string(), usable)
        });
        let known = Known {
            usable: usable.collect(),
            ..Known::default()
        };
        let legacy = Legacy {
            frontends: frontends.collect(),
            backends: backends.chain(absent).collect(),
            reloads: (
                self.config.reloads_ok_total,
                self.config.reloads_failed_total,
            ),
            tickets: Secret(self.parts.tickets.export().to_vec()),
            ..Legacy::default()
        };
        (known, legacy)
    }

    /// Goes on from what another process left, before its own sources have spoken.
    pub(super) fn inherit(&mut self, legacy: &Legacy) {
        let now = Instant::now();
        (
            self.config.reloads_ok_total,
            self.config.reloads_failed_total,
        ) = legacy.reloads;
        // One of an older build has none.
        self.parts.tickets.inherit(&legacy.tickets.0);
        for (name, legacy) in &legacy.backends {
            let Some((name, managed)) = find(&mut self.backends, name) else {
                if let Ok(name) = Name::new(name.as_str()) {
                    let orders = legacy.orders.iter().filter_map(OrdersLegacy::read);
                    self.absent.insert(name, orders.collect());
                }
                continue;
            };
            managed.inherit(now, legacy);
            self.parts
                .collector
                .inherit_retired(name, legacy.retired.clone());
        }
        self.inherit_counts(legacy);
    }

    /// Goes on from other totals: those of the other process's very end.
    pub(super) fn inherit_counts(&mut self, legacy: &Legacy) {
        for status in self.parts.proxy.frontends() {
            if let Some(totals) = legacy.frontends.get(status.name.as_str()) {
                status.counters.inherit(totals);
            }
        }
        for (name, legacy) in &legacy.backends {
            let Some((_, managed)) = find(&mut self.backends, name) else {
                continue;
            };
            let balancer = managed.director().balancer();
            balancer.counters().inherit(&legacy.totals);
            for (name, server) in &legacy.servers {
                if let Ok(name) = Name::new(name.as_str()) {
                    balancer.live(&name).workers.inherit(&server.totals);
                }
            }
        }
    }
}

fn find<'a>(
    backends: &'a mut std::collections::BTreeMap<Name, crate::managed::Managed>,
    name: &str,
) -> Option<(&'a Name, &'a mut crate::managed::Managed)> {
    backends
        .iter_mut()
        .find(|(known, _)| known.as_str() == name)
}
