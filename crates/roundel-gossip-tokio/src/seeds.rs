//! Seeds: how they are written, what addresses they stand for, when to try them again.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::LookupIpStrategy;

use crate::config::DEFAULT_PORT;

/// First pause before seeds are tried again; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Longest pause while no seed is reached.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Pause between looks at seeds of which one is reached: they may stand for other addresses
/// since, and a part of the cluster may have been lost.
const HEALING: Duration = Duration::from_secs(10);

/// A place to join by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seed {
    /// One address.
    Address(SocketAddr),
    /// All addresses of a DNS name.
    Name { host: String, port: u16 },
}

impl Seed {
    /// Reads `host`, `host:port`, `ip`, `ip:port`, `[ip6]` or `[ip6]:port`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(address) = text.parse::<SocketAddr>() {
            return (address.port() != 0).then_some(Self::Address(address));
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Some(Self::Address((ip, DEFAULT_PORT).into()));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
            None => (text, DEFAULT_PORT),
        };
        is_host_name(host).then(|| Self::Name {
            host: host.to_owned(),
            port,
        })
    }

    /// Finds all addresses. Errors: a sentence for people.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        match self {
            Self::Address(address) => Ok(vec![*address]),
            Self::Name { host, port } => match look_up(host).await {
                Ok(ips) if ips.is_empty() => Err(format!("{host} has no address")),
                Ok(ips) => Ok(ips.into_iter().map(|ip| (ip, *port).into()).collect()),
                Err(why) => Err(format!("cannot resolve {host}: {why}")),
            },
        }
    }
}

fn is_host_name(host: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=253).contains(&host.len()) && host.bytes().all(ok)
}

/// Looks a name up in the hosts file and by DNS.
///
/// The resolver is made anew each time: containers change both files under us, and a cached
/// answer would hide servers that came since.
async fn look_up(host: &str) -> Result<Vec<IpAddr>, String> {
    let mut builder = Resolver::builder_tokio().map_err(|error| error.to_string())?;
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = Duration::from_secs(2);
    options.attempts = 1;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let resolver = builder.build().map_err(|error| error.to_string())?;
    let found = resolver.lookup_ip(host).await;
    found
        .map(|found| found.iter().collect())
        .map_err(|error| error.to_string())
}

/// Resolves all seeds at once: addresses without repetition, and what went wrong.
pub(crate) async fn resolve_all(seeds: Vec<Seed>) -> (Vec<SocketAddr>, Vec<String>) {
    let tasks: Vec<_> = seeds
        .into_iter()
        .map(|seed| tokio::spawn(async move { seed.resolve().await }))
        .collect();
    let (mut addresses, mut errors) = (Vec::new(), Vec::new());
    for task in tasks {
        match task.await {
            Ok(Ok(found)) => addresses.extend(found),
            Ok(Err(why)) => errors.push(why),
            Err(error) => errors.push(error.to_string()),
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    (addresses, errors)
}

/// Says when to try the seeds again.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    attempts: u32,
}

impl Pace {
    /// Gives the pause after a try; `unreached` tells whether no seed is a living member.
    /// Jitter of up to a half keeps nodes that started together apart.
    pub(crate) fn next(&mut self, unreached: bool, rng: &mut fastrand::Rng) -> Duration {
        let pause = if unreached {
            let pause = FIRST_PAUSE * 2_u32.pow(self.attempts.min(8));
            self.attempts = self.attempts.saturating_add(1);
            pause.min(LAST_PAUSE)
        } else {
            self.attempts = 0;
            HEALING
        };
        pause.mul_f64(1.0 - rng.f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_in_every_form() {
        let address = |text: &str| Some(Seed::Address(text.parse().unwrap()));
        let name = |host: &str, port| {
            let host = host.to_owned();
            Some(Seed::Name { host, port })
        };
        for (text, seed) in [
            ("10.0.0.1", address("10.0.0.1:7946")),
            ("10.0.0.1:99", address("10.0.0.1:99")),
            ("::1", address("[::1]:7946")),
            ("[::1]", address("[::1]:7946")),
            ("[::1]:99", address("[::1]:99")),
            ("webapp", name("webapp", 7946)),
            (" lb.example.org:99 ", name("lb.example.org", 99)),
            ("", None),
            ("a b", None),
            ("lb:", None),
            ("lb:0", None),
            ("10.0.0.1:0", None),
            ("lb:99999", None),
            ("http://lb", None),
        ] {
            assert_eq!(Seed::parse(text), seed, "{text:?}");
        }
    }

    #[test]
    fn pauses_grow_while_no_seed_is_reached() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut pace = Pace::default();
        let first = pace.next(true, &mut rng);
        assert!(first <= FIRST_PAUSE && first >= FIRST_PAUSE / 2);
        for _ in 0..100 {
            assert!(pace.next(true, &mut rng) <= LAST_PAUSE);
        }
        assert!(pace.next(true, &mut rng) >= LAST_PAUSE / 2);
        assert!(pace.next(false, &mut rng) >= HEALING / 2);
        assert!(pace.next(true, &mut rng) <= FIRST_PAUSE);
    }

    #[tokio::test]
    async fn the_hosts_file_counts() {
        let seed = Seed::parse("localhost:99").unwrap();
        let found = seed.resolve().await.unwrap();
        assert!(
            found.contains(&"127.0.0.1:99".parse().unwrap()),
            "{found:?}"
        );
    }
}
