//! What a frontend shows to its clients.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};

use crate::certificate::{Certificate, bare};
use crate::challenges::{ACME_TLS, Challenges};
use crate::policy::{Policy, Profile};
use crate::provider;
use crate::tickets::{TicketKeys, Ticketer};

/// What a frontend shows to its clients: its certificates under one policy. Immutable; what has
/// changed is built anew, and takes its place whole.
#[derive(Debug)]
pub struct Front {
    /// By name, in small letters.
    exact: HashMap<String, Group>,
    /// By what follows `*.`.
    wild: HashMap<String, Group>,
    /// What is shown to all others.
    default: Group,
    /// The first of all.
    first: Option<Arc<Certificate>>,
    /// What CAs are shown.
    challenges: Challenges,
}

/// Certificates for the same name, the best first.
type Group = Vec<Answer>;

/// How one client is answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What the handshake goes on with.
    pub config: Arc<ServerConfig>,
    /// What is shown; names the hosts that may be asked for on this connection.
    pub certificate: Arc<Certificate>,
}

impl Front {
    /// Builds it of certificates, the default first.
    ///
    /// For one name the one that counts at `now` is preferred, then ECDSA, then what counts longest.
    /// Without certificates nobody is answered.
    pub fn new(
        certificates: &[Arc<Certificate>],
        policy: &Policy,
        keys: &Arc<TicketKeys>,
        now: SystemTime,
    ) -> Self {
        let answers: Group = certificates
            .iter()
            .map(|certificate| Answer {
                config: Arc::new(config(certificate, policy, keys)),
                certificate: Arc::clone(certificate),
            })
            .collect();
        let mut front = Self {
            exact: HashMap::new(),
            wild: HashMap::new(),
            default: Vec::new(),
            first: certificates.first().cloned(),
            challenges: Challenges::default(),
        };
        for answer in &answers {
            for name in answer.certificate.names() {
                let group = match name.strip_prefix("*.") {
                    Some(wild) => front.wild.entry(wild.to_owned()).or_default(),
                    None => front.exact.entry(name.clone()).or_default(),
                };
                group.push(answer.clone());
            }
        }
        if let Some(first) = answers.first().filter(|_| !policy.strict_sni) {
            let names = first.certificate.names();
            let alike = answers.iter().filter(|a| a.certificate.names() == names);
            front.default = alike.cloned().collect();
        }
        let groups = front.exact.values_mut().chain(front.wild.values_mut());
        for group in groups.chain([&mut front.default]) {
            rank(group, now);
        }
        front
    }

    /// Has these proofs shown to CAs that ask for them.
    pub fn with_challenges(self, challenges: Challenges) -> Self {
        Self { challenges, ..self }
    }

    /// Chooses by what a client says at first; `None` where it is to be refused with
    /// `unrecognized_name`.
    ///
    /// Where none fits the ciphers and signatures of the client it is shown the best all the same,
    /// so that the handshake fails for that reason.
    /// A CA that asks for a proof is shown that and nothing else, and need show no certificate. Its
    /// connection agrees on [`ACME_TLS`], and ends with the handshake.
    pub fn answer(&self, hello: &ClientHello<'_>) -> Option<Answer> {
        if asks_for_proof(hello) {
            let name = hello.server_name()?.to_ascii_lowercase();
            return Some(Answer {
                config: self.challenges.tls(&name)?,
                certificate: self.first.clone()?,
            });
        }
        let group = match hello.server_name() {
            Some(name) => self.group(name),
            None => &self.default,
        };
        let fits = group.iter().find(|a| suits(&a.certificate, hello));
        fits.or(group.first()).cloned()
    }

    /// Whether a connection that was shown `certificate` may ask for `host` (without a port, in small
    /// letters): it stands for it, or is what a client that names this host is shown in any case. Who
    /// goes by an address names none, and cannot do otherwise.
    pub fn serves(&self, certificate: &Certificate, host: &str) -> bool {
        if bare(host).parse::<IpAddr>().is_ok() && !self.default.is_empty() {
            return true;
        }
        let same = |a: &Answer| std::ptr::eq(&*a.certificate, certificate);
        certificate.covers(host) || self.group(bare(host)).iter().any(same)
    }

    /// An exact name before a wildcard before the default.
    fn group(&self, name: &str) -> &Group {
        let wild = || self.wild.get(name.split_once('.')?.1);
        let exact = self.exact.get(name);
        exact.or_else(wild).unwrap_or(&self.default)
    }
}

/// Whether it offers that protocol, and no other. Source: RFC 8737, section 3.
fn asks_for_proof(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|all| all.eq([ACME_TLS]))
}

fn rank(group: &mut Group, now: SystemTime) {
    group.sort_by(|a, b| {
        let (a, b) = (&a.certificate, &b.certificate);
        let by_validity = a.validity(now).cmp(&b.validity(now));
        let by_kind = a.kind().cmp(&b.kind());
        let by_end = b.not_after().cmp(&a.not_after());
        by_validity.then(by_kind).then(by_end)
    });
}

/// Whether the client can use a certificate, by the signatures and the ciphers that it offers.
fn suits(certificate: &Certificate, hello: &ClientHello<'_>) -> bool {
    let key = &certificate.key.key;
    let algorithm = certificate.kind().algorithm();
    let offered = hello.cipher_suites();
    let known = &provider::shared().cipher_suites;
    let ciphers = known
        .iter()
        .filter(|cipher| offered.contains(&cipher.suite()));
    key.choose_scheme(hello.signature_schemes()).is_some()
        && ciphers
            .into_iter()
            .any(|c| c.usable_for_signature_algorithm(algorithm))
}

fn config(certificate: &Arc<Certificate>, policy: &Policy, keys: &Arc<TicketKeys>) -> ServerConfig {
    let versions = match policy.profile {
        Profile::Modern => &[&TLS13][..],
        Profile::Intermediate => &[&TLS13, &TLS12],
    };
    let builder = ServerConfig::builder_with_provider(provider::shared())
        .with_protocol_versions(versions)
        .expect("the provider knows ciphers of both versions");
    let builder = match &policy.clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
        None => builder.with_no_client_auth(),
    };
    let shown = SingleCertAndKey::from(Arc::clone(&certificate.key));
    let mut config = builder.with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = policy.alpn.iter().map(|p| p.as_str().into()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match policy.clients {
        // A resumed session is not verified again: neither against the lists of what was revoked nor
        // against the end of a client's certificate.
        Some(_) => config.send_tls13_tickets = 0,
        None => {
            let context = context(certificate, policy);
            config.ticketer = Arc::new(Ticketer::new(Arc::clone(keys), context));
            // Each resumption brings another.
            config.send_tls13_tickets = 1;
        }
    }
    config
}

/// What a ticket is bound to: the names of its certificate, which outlive a renewal, and the policy.
fn context(certificate: &Certificate, policy: &Policy) -> Vec<u8> {
    let names = certificate.names().join(",");
    format!("roundel ticket 1\n{}\n{names}", policy.profile.as_str()).into_bytes()
}
