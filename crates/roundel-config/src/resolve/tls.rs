//! TLS of frontends: files that are read with the configuration.

use std::path::PathBuf;

use roundel_tls::{Clients, Flaw, Policy, Protocol, Refused};

use super::{Merge, all, known};
use crate::Tls;
use crate::file::{ClientAuth, File, TlsTable};
use crate::key::{Maybe, Table};
use crate::reader::{At, Place};
use crate::value::Fault;

impl Merge<'_> {
    /// What the page's port shows over TLS; it speaks HTTP/1.1 only.
    pub(crate) fn stats_tls(&self, file: &mut File) -> Option<Tls> {
        let table = &mut file.stats.tls.as_mut()?.value;
        if let Some(asked) = &table.alpn {
            let other = asked.value.iter().find(|at| at.value != Protocol::Http1);
            if let Some(other) = other {
                let fault = Fault::new(
                    "the page's port speaks HTTP/1.1 only",
                    "leave alpn out of the tls of [stats]",
                );
                return self.at(&other.place, fault);
            }
        }
        table.alpn = Some(At::default(vec![At::default(Protocol::Http1)]));
        table.fill();
        self.tls(table)
    }

    /// What is shown over TLS. Complains of files that are no good.
    pub(crate) fn tls(&self, table: &mut TlsTable) -> Option<Tls> {
        for key in [
            &mut table.certificates,
            &mut table.client_ca,
            &mut table.crl,
        ] {
            self.lead_to_files(key);
        }
        let lists = [&table.certificates, &table.client_ca, &table.crl];
        let files: Vec<PathBuf> = lists.into_iter().flat_map(all).collect();
        // Before they are read: what changes while they are is told of afterwards.
        let trace = roundel_tls::trace(&files);
        let clients = self.clients(table);
        let paths = table.certificates.iter().flat_map(|at| &at.value);
        let mut certificates = Vec::new();
        let mut is_whole = true;
        for path in paths {
            match roundel_tls::load(std::slice::from_ref(&path.value)) {
                Ok(found) => certificates.extend(found),
                Err(refused) => {
                    is_whole = false;
                    self.refuse(&path.place, &refused);
                }
            }
        }
        let mut seen = Vec::new();
        certificates.retain(|certificate| {
            let is_first = !seen.contains(certificate);
            seen.push(certificate.clone());
            is_first
        });
        let acme = self.acme(&mut table.acme);
        is_whole.then_some(Tls {
            certificates,
            acme,
            policy: Policy {
                profile: known(&table.profile),
                alpn: all(&table.alpn),
                clients: clients?,
                strict_sni: known(&table.strict_sni),
            },
            paths: files,
            trace,
        })
    }

    /// `None` if something is no good, which is reported.
    fn clients(&self, table: &TlsTable) -> Option<Option<Clients>> {
        let required = match known(&table.client_auth) {
            ClientAuth::Off => return Some(None),
            ClientAuth::Optional => false,
            ClientAuth::Required => true,
        };
        match Clients::read(required, &all(&table.client_ca), &all(&table.crl)) {
            Ok(clients) => Some(Some(clients)),
            Err(refused) => {
                for one in refused {
                    let list = match one.flaw {
                        Flaw::NoList | Flaw::List(_) => &table.crl,
                        _ => &table.client_ca,
                    };
                    let named = [list, &table.client_ca, &table.crl].into_iter().flatten();
                    let mut files = named.flat_map(|list| &list.value);
                    let file = files.find(|file| file.value == one.path);
                    let place = file.map_or(Place::Default, |file| file.place.clone());
                    self.refuse(&place, &[one]);
                }
                None
            }
        }
    }

    fn lead_to_files(&self, key: &mut Maybe<Vec<At<PathBuf>>>) {
        for file in key.iter_mut().flat_map(|at| &mut at.value) {
            file.value = self.relative(&file.value);
        }
    }

    fn refuse(&self, place: &Place, refused: &[Refused]) {
        for one in refused {
            let fault = Fault::new(one.to_string(), one.flaw.cure());
            self.reader.report_at(place, fault);
        }
    }
}
