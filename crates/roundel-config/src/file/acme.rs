//! `tls.acme` of a frontend.

use std::path::PathBuf;

use roundel_acme::Challenge;

use crate::key::{Key, Maybe, Table, key};
use crate::kind::{Bool, FilePath, List, Text, table, word};
use crate::reader::At;

/// `acme = { … }`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AcmeTable {
    pub(crate) names: Maybe<Vec<At<String>>>,
    pub(crate) accept_terms: Maybe<bool>,
    pub(crate) email: Maybe<String>,
    pub(crate) directory: Maybe<String>,
    pub(crate) ca_file: Maybe<PathBuf>,
    pub(crate) eab: Maybe<EabTable>,
    pub(crate) state: Maybe<PathBuf>,
    pub(crate) challenge: Maybe<Challenge>,
}

impl Table for AcmeTable {
    const EXAMPLE: &'static str = "{ names = [\"www.example.org\"], accept_terms = true }";

    fn keys() -> Vec<Key<Self>> {
        let challenge = word(&[
            ("http-01", Challenge::Http01),
            ("tls-alpn-01", Challenge::TlsAlpn01),
        ]);
        vec![
            key!(names, List(Text))
                .required()
                .said("[\"www.example.org\", \"example.org\"]")
                .words("of the certificate, at most 100; no wildcards"),
            key!(accept_terms, Bool)
                .required()
                .said("true")
                .words("the CA's terms of service, which are to be read first"),
            key!(email, Text)
                .example("\"ops@example.org\"")
                .words("where the CA writes to"),
            key!(directory, Text)
                .default("\"https://acme-v02.api.letsencrypt.org/directory\"")
                .words("the CA's; for trying out there is https://acme-staging-v02.api.letsencrypt.org/directory"),
            key!(ca_file, FilePath)
                .example("\"ca-roots.pem\"")
                .words("by which the CA's own address is trusted, in place of Mozilla's roots"),
            key!(eab, table::<EabTable>())
                .example(EabTable::EXAMPLE)
                .words("an account with the CA, where it asks for one"),
            key!(state, FilePath)
                .default("\"/var/lib/roundel/acme\"")
                .words("account, orders and certificates are kept there, for Roundel's user alone"),
            key!(challenge, challenge).default("\"http-01\"").words(
                "how the CA looks whether the names are ours: http-01 on port 80, tls-alpn-01 on \
                 port 443",
            ),
        ]
    }
}

/// `eab = { … }`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct EabTable {
    pub(crate) kid: Maybe<String>,
    pub(crate) hmac_file: Maybe<PathBuf>,
}

impl Table for EabTable {
    const EXAMPLE: &'static str = "{ kid = \"kid-1\", hmac_file = \"/run/secrets/eab\" }";

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(kid, Text)
                .required()
                .said("\"kid-1\"")
                .words("its identifier, as the CA gave it"),
            key!(hmac_file, FilePath)
                .required()
                .said("\"/run/secrets/eab\"")
                .words("a file with its key, as the CA gave it (base64url)"),
        ]
    }
}
