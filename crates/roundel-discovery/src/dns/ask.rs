//! The questions, through hickory's resolver.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;

use super::DnsConfig;
use super::answers::{Answer, Family, Service, Zone};

/// How long one question may take. It is asked once: the next turn asks again.
const TIMEOUT: Duration = Duration::from_secs(1);
/// After so many failures in a row the system's configuration is read again: it may have changed.
const REREAD: u32 = 5;

/// Asks some name servers, or those of the system, one after the other.
pub(super) struct Asker {
    name: String,
    servers: Vec<SocketAddr>,
    /// One for each name server, whose answers differ; the one that answered last comes first.
    resolvers: Vec<TokioResolver>,
    failures: u32,
}

impl Asker {
    pub(super) fn new(config: &DnsConfig) -> Self {
        Self {
            name: config.name.clone(),
            servers: config.nameservers.clone(),
            resolvers: Vec::new(),
            failures: 0,
        }
    }

    /// Asks for the addresses of the name. Errors: words about a question without an answer.
    pub(super) async fn hosts(&mut self, zone: &mut Zone, now: Instant) -> Result<(), String> {
        self.build()?;
        let host = self.name.trim_end_matches('.').to_owned();
        let asked = ask_host(&self.resolvers, &self.name, &host, zone, now).await;
        self.note(asked)
    }

    /// Asks for the service, then for the addresses of its targets.
    pub(super) async fn services(&mut self, zone: &mut Zone, now: Instant) -> Result<(), String> {
        self.build()?;
        let (answer, mut asked) = ask(&self.resolvers, &self.name, RecordType::SRV, service).await;
        for target in zone.take_services(answer, now) {
            // A target is a full name: no search list.
            let question = format!("{target}.");
            let host = ask_host(&self.resolvers, &question, &target, zone, now).await;
            asked = both(asked, host);
        }
        self.note(asked)
    }

    fn note(&mut self, asked: Result<usize, String>) -> Result<(), String> {
        match &asked {
            Ok(at) => {
                self.failures = 0;
                self.resolvers.rotate_left(*at);
            }
            Err(_) => self.failures += 1,
        }
        if self.failures >= REREAD {
            self.failures = 0;
            self.resolvers.clear();
        }
        asked.map(|_| ())
    }

    fn build(&mut self) -> Result<(), String> {
        if self.resolvers.is_empty() {
            self.resolvers = build(&self.servers).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Makes a resolver for each name server: one of several would take an error of the first for
/// the answer of all.
fn build(servers: &[SocketAddr]) -> Result<Vec<TokioResolver>, NetError> {
    let (mut system, mut options) = (ResolverConfig::default(), ResolverOpts::default());
    if servers.is_empty() {
        (system, options) = read_system_conf()?;
    }
    // Every question goes out: a cached answer would show a change only after its time to live.
    options.cache_size = 0;
    options.timeout = TIMEOUT;
    options.attempts = 0;
    // Some fifty addresses fit into one packet that way; more go over TCP.
    options.edns0 = true;
    let (domain, search, of_system) = system.into_parts();
    let servers: Vec<NameServerConfig> = match servers.is_empty() {
        true => of_system,
        false => servers.iter().map(|address| at_address(*address)).collect(),
    };
    let resolver = |server: NameServerConfig| {
        let config = ResolverConfig::from_parts(domain.clone(), search.clone(), vec![server]);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options.clone())
            .build()
    };
    servers.into_iter().map(resolver).collect()
}

fn at_address(address: SocketAddr) -> NameServerConfig {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    (udp.port, tcp.port) = (address.port(), address.port());
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}

/// The later one of two name servers that answered.
fn both(one: Result<usize, String>, two: Result<usize, String>) -> Result<usize, String> {
    Ok(one?.max(two?))
}

/// Asks for both families of a host. Gives the index of the name server that answered.
async fn ask_host(
    resolvers: &[TokioResolver],
    question: &str,
    host: &str,
    zone: &mut Zone,
    now: Instant,
) -> Result<usize, String> {
    let ((v4, one), (v6, two)) = tokio::join!(
        ask(resolvers, question, RecordType::A, address),
        ask(resolvers, question, RecordType::AAAA, address),
    );
    zone.take_host(host, Family::V4, v4, now);
    zone.take_host(host, Family::V6, v6, now);
    both(one, two)
}

/// Asks one name server after the other until one knows the name: the first may serve other zones, or
/// be mistaken. If none does, the first one's word counts, that of the one which knew it last; those
/// behind it may always have denied the name. Errors: what it said.
async fn ask<T>(
    resolvers: &[TokioResolver],
    name: &str,
    kind: RecordType,
    read: fn(&RData) -> Option<T>,
) -> (Answer<T>, Result<usize, String>) {
    let mut first = None;
    for (at, resolver) in resolvers.iter().enumerate() {
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
                return (answer, Ok(at));
            }
            Err(error) if error.is_nx_domain() => {
                first.get_or_insert(Ok(at));
            }
            Err(error) if error.is_no_records_found() => return (Answer::Empty, Ok(at)),
            Err(error) => {
                first.get_or_insert_with(|| Err(format!("{kind}: {error}")));
            }
        }
    }
    match first.unwrap_or_else(|| Err("no name server is configured".to_owned())) {
        Ok(at) => (Answer::Empty, Ok(at)),
        Err(error) => (Answer::Failed, Err(error)),
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
