//! `tls` of a frontend.

use std::path::PathBuf;

use roundel_tls::{Profile, Protocol};

use super::acme::AcmeTable;
use crate::key::{Key, Maybe, Table, key};
use crate::kind::{Bool, FilePath, List, table, word};
use crate::reader::{At, Section};
use crate::value::Fault;

/// `tls = { … }`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TlsTable {
    pub(crate) certificates: Maybe<Vec<At<PathBuf>>>,
    pub(crate) acme: Maybe<AcmeTable>,
    pub(crate) profile: Maybe<Profile>,
    pub(crate) alpn: Maybe<Vec<At<Protocol>>>,
    pub(crate) strict_sni: Maybe<bool>,
    pub(crate) client_auth: Maybe<ClientAuth>,
    pub(crate) client_ca: Maybe<Vec<At<PathBuf>>>,
    pub(crate) crl: Maybe<Vec<At<PathBuf>>>,
}

/// Who is asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// Nobody.
    Off,
    /// Everybody, and who has none may come in all the same.
    Optional,
    /// Everybody.
    Required,
}

impl Table for TlsTable {
    const EXAMPLE: &'static str = "{ certificates = [\"/etc/roundel/certs\"] }";

    fn keys() -> Vec<Key<Self>> {
        let client_auth = word(&[
            ("off", ClientAuth::Off),
            ("optional", ClientAuth::Optional),
            ("required", ClientAuth::Required),
        ]);
        vec![
            key!(certificates, List(FilePath))
                .example("[\"/etc/roundel/certs\"]")
                .default("[]")
                .words(
                    "PEM files, and folders of them: name.pem with chain and key, name.crt beside \
                     name.key, folders with fullchain.pem and privkey.pem as certbot leaves them \
                     in live/. Chosen by the name that a client asks for, exact names before \
                     wildcards, ECDSA before RSA; the first is for all others. Read again when \
                     they change, without closing a connection",
                ),
            key!(acme, table::<AcmeTable>())
                .example(AcmeTable::EXAMPLE)
                .words(
                    "a certificate that is ordered of a CA and renewed by Roundel itself; until it \
                     is there, one that nobody has signed is shown",
                ),
            key!(profile, word(&Profile::ALL.map(|p| (p.as_str(), p))))
                .default("\"intermediate\"")
                .words("Mozilla's: intermediate is TLS 1.2 and 1.3, modern is TLS 1.3 only"),
            key!(alpn, List(word(&Protocol::ALL.map(|p| (p.as_str(), p)))))
                .default("[\"h2\", \"http/1.1\"]")
                .words("what is spoken inside, the best first"),
            key!(strict_sni, Bool).default("false").words(
                "true: who asks for no name, or for one that no certificate stands for, is refused",
            ),
            key!(client_auth, client_auth).default("\"off\"").words(
                "whether clients show a certificate: off, optional, required. Their sessions are \
                 never resumed",
            ),
            key!(client_ca, List(FilePath))
                .default("[]")
                .example("[\"clients-ca.pem\"]")
                .words("who signs the certificates of clients"),
            key!(crl, List(FilePath))
                .default("[]")
                .example("[\"clients.crl.pem\"]")
                .words("lists of those that were revoked; one that has ended refuses everybody"),
        ]
    }

    fn verify(&mut self, section: &Section<'_>) -> bool {
        self.lists_name_something(section) & self.clients_make_sense(section)
    }
}

impl TlsTable {
    fn lists_name_something(&self, section: &Section<'_>) -> bool {
        let mut all = true;
        let files = self.certificates.as_ref();
        if files.is_none_or(|at| at.value.is_empty()) && section.item("acme").is_none() {
            let fault = Fault::new(
                "TLS needs a certificate",
                "name a PEM file or a folder of them: certificates = [\"/etc/roundel/certs\"]; or \
                 have it ordered: acme = { names = [\"www.example.org\"], accept_terms = true }",
            );
            match section.item("certificates") {
                Some(empty) => drop(empty.fail::<()>(fault)),
                None => section.fail(fault),
            }
            all = false;
        }
        let item = section.item("alpn");
        if let Some(empty) = item.filter(|item| item.list().is_empty()) {
            empty.fail::<()>(Fault::new(
                "something is spoken inside TLS",
                "write [\"h2\", \"http/1.1\"], or [\"http/1.1\"] for no HTTP/2",
            ));
            all = false;
        }
        all
    }

    fn clients_make_sense(&self, section: &Section<'_>) -> bool {
        let names = |list: &Maybe<Vec<_>>| list.as_ref().is_some_and(|at| !at.value.is_empty());
        let asked = self.client_auth.as_ref();
        let asked = asked.filter(|at| at.value != ClientAuth::Off);
        match asked {
            Some(at) if !names(&self.client_ca) => {
                section.report_at(
                    &at.place,
                    Fault::new(
                        "nobody is named who signs the certificates of clients",
                        "add client_ca = [\"clients-ca.pem\"]",
                    ),
                );
                false
            }
            None if names(&self.client_ca) || names(&self.crl) => {
                section.fail(Fault::new(
                    "no client is asked for a certificate",
                    "add client_auth = \"required\" or \"optional\", or leave client_ca and crl out",
                ));
                false
            }
            _ => true,
        }
    }
}
