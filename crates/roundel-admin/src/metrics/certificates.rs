//! What clients are shown over TLS.

use super::families::{Families, Series};
use crate::status::{Certificate, Orders, Snapshot};

pub(super) fn write(s: &Snapshot, out: &mut Families) {
    let mut family = |name: &str, help: &str, of: fn(&Certificate) -> u64| {
        out.gauge(name, help, |f| {
            for certificate in &s.certificates {
                let first = certificate.names.first().map_or("", String::as_str);
                let labels = [
                    ("name", first),
                    ("key", &certificate.key),
                    ("file", &certificate.file),
                ];
                f.value(&labels, of(certificate) as f64);
            }
        });
    };
    family(
        "roundel_certificate_not_before_seconds",
        "From when on a certificate counts, since the Unix epoch.",
        |c| c.not_before_seconds,
    );
    family(
        "roundel_certificate_not_after_seconds",
        "Until when a certificate counts, since the Unix epoch.",
        |c| c.not_after_seconds,
    );
    orders(s, out);
}

/// How the orders of certificates go; nothing where none is ordered.
fn orders(s: &Snapshot, out: &mut Families) {
    // Neither changes when a certificate is renewed.
    let each = |f: &mut Series, write: fn(&mut Series, [(&str, &str); 2], &Orders)| {
        for certificate in &s.certificates {
            if let Some(orders) = &certificate.orders {
                let names = certificate.names.join(" ");
                let labels = [("names", &*names), ("directory", &*orders.directory)];
                write(f, labels, orders);
            }
        }
    };
    out.counter(
        "roundel_acme_orders_total",
        "Orders of a certificate, and tries that failed.",
        |f| {
            each(f, |f, [names, directory], orders| {
                let outcomes = [
                    ("issued", orders.issued_total),
                    ("failed", orders.failed_total),
                ];
                for (outcome, n) in outcomes {
                    f.count(&[names, directory, ("outcome", outcome)], n);
                }
            });
        },
    );
    out.gauge(
        "roundel_acme_last_success_seconds",
        "When the last order was done, since the Unix epoch.",
        |f| {
            each(f, |f, labels, orders| {
                if let Some(at) = orders.last_success_seconds {
                    f.value(&labels, at as f64);
                }
            });
        },
    );
    out.gauge(
        "roundel_acme_next_try_seconds",
        "When it is ordered anew, or tried again, since the Unix epoch.",
        |f| {
            each(f, |f, labels, orders| {
                if let Some(at) = orders.next_try_seconds {
                    f.value(&labels, at as f64);
                }
            });
        },
    );
    out.gauge(
        "roundel_acme_failures",
        "Tries that have failed since the last that did not.",
        |f| {
            each(f, |f, labels, orders| {
                f.count(&labels, u64::from(orders.failures));
            });
        },
    );
}
