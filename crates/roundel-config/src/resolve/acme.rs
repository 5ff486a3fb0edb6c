//! Certificates that a CA is asked for.

use std::path::PathBuf;

use roundel_acme::{Challenge, Config, ConfigError, ExternalAccount};

use super::{Merge, all, known, told};
use crate::file::{AcmeTable, FrontendTable};
use crate::key::Maybe;
use crate::reader::{At, Place};
use crate::value::Fault;

impl Merge<'_> {
    /// What is ordered for a frontend. Complains of what no CA gives.
    pub(crate) fn acme(&self, table: &mut Maybe<AcmeTable>) -> Option<Config> {
        let at = table.as_mut()?;
        let acme = &mut at.value;
        let eab = acme.eab.as_mut().map(|at| &mut at.value.hmac_file);
        for file in [&mut acme.ca_file, &mut acme.state].into_iter().chain(eab) {
            self.lead_to_file(file);
        }
        let config = Config {
            email: told(&acme.email),
            accept_terms: known(&acme.accept_terms),
            names: all(&acme.names),
            directory: known(&acme.directory),
            ca_file: told(&acme.ca_file),
            eab: acme.eab.as_ref().map(|at| ExternalAccount {
                kid: known(&at.value.kid),
                hmac_file: known(&at.value.hmac_file),
            }),
            state: known(&acme.state),
            challenge: known(&acme.challenge),
        };
        for error in config.check() {
            let fault = Fault::new(error.to_string(), error.cure());
            self.reader
                .report_at(&place(acme, &at.place, &error), fault);
        }
        Some(config)
    }

    fn lead_to_file(&self, file: &mut Maybe<PathBuf>) {
        if let Some(at) = file {
            at.value = self.relative(&at.value);
        }
    }

    /// Complains of names that are to be proven on port 80, where nobody answers without TLS.
    pub(crate) fn proofs_can_be_asked_for(&self, tables: &[At<FrontendTable>]) {
        let listeners = tables
            .iter()
            .flat_map(|at| &at.value.listen)
            .flat_map(|at| &at.value);
        let mut tls = listeners.map(|at| at.value.tls.as_ref().is_some_and(|at| at.value));
        if tls.any(|tls| !tls) {
            return;
        }
        let acme = tables
            .iter()
            .filter_map(|at| at.value.tls.as_ref()?.value.acme.as_ref());
        let by_http = acme.filter(|at| known(&at.value.challenge) == Challenge::Http01);
        for at in by_http {
            let fault = Fault::new(
                "the CA asks on port 80 without TLS for the proof (http-01), and no frontend listens without TLS",
                "add a frontend with listen = [\":80\"], or write challenge = \"tls-alpn-01\"",
            );
            self.reader.report_at(&at.place, fault);
        }
    }
}

/// Where the mistake is.
fn place(acme: &AcmeTable, whole: &Place, error: &ConfigError) -> Place {
    let of = match error {
        ConfigError::Wildcard(name) | ConfigError::Name(name, _) => {
            let mut names = acme.names.iter().flat_map(|at| &at.value);
            names.find(|at| at.value == *name).map(|at| &at.place)
        }
        ConfigError::Email(_) => acme.email.as_ref().map(|at| &at.place),
        ConfigError::Directory(..) => acme.directory.as_ref().map(|at| &at.place),
        ConfigError::Terms => acme.accept_terms.as_ref().map(|at| &at.place),
        ConfigError::NoNames | ConfigError::TooManyNames(_) => {
            acme.names.as_ref().map(|at| &at.place)
        }
    };
    of.unwrap_or(whole).clone()
}
