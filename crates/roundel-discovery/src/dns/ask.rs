//! The questions, through hickory's resolver.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::DnsConfig;
use super::answers::{Answer, Family, Service, Zone};

/// How long one question may take. It is asked once: the next turn asks again.
const TIMEOUT: Duration = Duration::from_secs(1);
/// After so many failures in a row the system's configuration is read again: it may have changed.
const REREAD: u32 = 5;

/// Asks one name server, or those of the system.
pub(super) struct Asker {
    name: String,
    server: Option<SocketAddr>,
    resolver: Option<TokioResolver>,
    failures: u32,
}

impl Asker {
    pub(super) fn new(config: &DnsConfig) -> Self {
        Self {
            name: config.name.clone(),
            server: config.resolver,
            resolver: None,
            failures: 0,
        }
    }

    /// Asks for the addresses of the name. Errors: words about a question without an answer.
    pub(super) async fn hosts(&mut self, zone: &mut Zone) -> Result<(), String> {
        let resolver = self.resolver()?;
        let host = self.name.trim_end_matches('.').to_owned();
        let asked = ask_host(&resolver, &self.name, &host, zone).await;
        self.note(asked)
    }

    /// Asks for the service, then for the addresses of its targets.
    pub(super) async fn services(&mut self, zone: &mut Zone) -> Result<(), String> {
        let resolver = self.resolver()?;
        let (answer, mut asked) = ask(&resolver, &self.name, RecordType::SRV, service).await;
        for target in zone.take_services(answer) {
            // A target is a full name: no search list.
            let host = ask_host(&resolver, &format!("{target}."), &target, zone).await;
            asked = asked.and(host);
        }
        self.note(asked)
    }

    fn note(&mut self, asked: Result<(), String>) -> Result<(), String> {
        self.failures = match asked {
            Ok(()) => 0,
            Err(_) => self.failures + 1,
        };
        if self.failures >= REREAD {
            self.failures = 0;
            self.resolver = None;
        }
        asked
    }

    fn resolver(&mut self) -> Result<TokioResolver, String> {
        if self.resolver.is_none() {
            let resolver = build(self.server).map_err(|error| error.to_string())?;
            self.resolver = Some(resolver);
        }
        Ok(self.resolver.clone().expect("built above"))
    }
}

fn build(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio()?,
        Some(address) => {
            let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
            (udp.port, tcp.port) = (address.port(), address.port());
            let server = NameServerConfig::new(address.ip(), true, vec![udp, tcp]);
            let config = ResolverConfig::from_name_servers(vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    // Every question goes out: a cached answer would show a change only after its time to live.
    options.cache_size = 0;
    options.timeout = TIMEOUT;
    options.attempts = 0;
    // Some fifty addresses fit into one packet that way; more go over TCP.
    options.edns0 = true;
    builder.build()
}

async fn ask_host(
    resolver: &TokioResolver,
    question: &str,
    host: &str,
    zone: &mut Zone,
) -> Result<(), String> {
    let ((v4, one), (v6, two)) = tokio::join!(
        ask(resolver, question, RecordType::A, address),
        ask(resolver, question, RecordType::AAAA, address),
    );
    zone.take_host(host, Family::V4, v4);
    zone.take_host(host, Family::V6, v6);
    one.and(two)
}

async fn ask<T>(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
    read: fn(&RData) -> Option<T>,
) -> (Answer<T>, Result<(), String>) {
    match resolver.lookup(name, kind).await {
        Ok(lookup) => {
            let records: Vec<T> = lookup
                .answers()
                .iter()
                .filter_map(|r| read(&r.data))
                .collect();
            let answer = match records.is_empty() {
                true => Answer::Empty,
                false => Answer::Records(records),
            };
            (answer, Ok(()))
        }
        Err(error) if error.is_no_records_found() => (Answer::Empty, Ok(())),
        Err(error) => (Answer::Failed, Err(format!("{kind}: {error}"))),
    }
}

fn address(data: &RData) -> Option<std::net::IpAddr> {
    data.ip_addr()
}

fn service(data: &RData) -> Option<Service> {
    let RData::SRV(srv) = data else { return None };
    // RFC 2782: a target of "." says that the service is not there.
    (!srv.target.is_root()).then(|| Service {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        target: srv
            .target
            .to_ascii()
            .trim_end_matches('.')
            .to_ascii_lowercase(),
    })
}
