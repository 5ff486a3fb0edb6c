//! `tls` of a backend.

use std::path::PathBuf;

use roundel_tls::rustls::pki_types::ServerName;
use serde_json::json;

use crate::key::{Key, Maybe, Table, key};
use crate::kind::{Bool, FilePath, Notation, Short};
use crate::reader::Section;
use crate::value::Fault;

/// `tls = { … }`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BackTable {
    pub(crate) server_name: Maybe<ServerName<'static>>,
    pub(crate) ca_file: Maybe<PathBuf>,
    pub(crate) certificate: Maybe<PathBuf>,
    pub(crate) key: Maybe<PathBuf>,
    pub(crate) verify: Maybe<bool>,
}

impl Table for BackTable {
    const EXAMPLE: &'static str = "{ server_name = \"nodes.internal\", ca_file = \"ca.pem\" }";

    fn keys() -> Vec<Key<Self>> {
        let server_name = Notation {
            read: server_name,
            show: |name| name.to_str().into_owned(),
            pattern: "^[0-9A-Za-z._:-]+$",
        };
        vec![
            key!(server_name, server_name)
                .example("\"nodes.internal\"")
                .words(
                    "what the certificate of every server stands for; servers are told it (SNI). \
                     Otherwise the address of the server",
                ),
            key!(ca_file, FilePath).example("\"ca.pem\"").words(
                "PEM of the authorities that sign those; otherwise the ones that browsers trust",
            ),
            key!(certificate, FilePath)
                .example("\"balancer.pem\"")
                .words("PEM of a chain that servers are shown which ask for one"),
            key!(key, FilePath)
                .example("\"balancer.key\"")
                .words("of that certificate"),
            key!(verify, Bool).default("true").words(
                "false: every certificate is believed; whoever is on the way can read and change all",
            ),
        ]
    }

    fn verify(&mut self, section: &Section<'_>) -> bool {
        let (present, absent) = match (&self.certificate, &self.key) {
            (Some(_), None) => ("certificate", "key"),
            (None, Some(_)) => ("key", "certificate"),
            _ => return true,
        };
        section
            .fail_key(
                present,
                Fault::new(
                    format!("a {present} is nothing without its {absent}"),
                    format!("add {absent} = \"balancer.pem\"; one file may hold both"),
                ),
            )
            .unwrap_or(false)
    }
}

impl BackTable {
    /// The table, or `true` for what it says by default.
    pub(super) fn kind() -> Short<Self> {
        Short {
            is_short: |item| !item.is_table(),
            read: |item| match item.boolean()? {
                true => Some(Self::default()),
                false => item.fail(Fault::new(
                    "servers are spoken to in clear where nothing is said",
                    "leave tls out, or write tls = true",
                )),
            },
            show: |_| None,
            schema: || json!({ "const": true }),
        }
    }
}

fn server_name(text: &str) -> Result<ServerName<'static>, Fault> {
    ServerName::try_from(text.to_owned()).map_err(|_| {
        Fault::new(
            format!("`{text}` is no name of a host"),
            "write it as the certificate has it, without a port: \"nodes.internal\"",
        )
    })
}
