//! File descriptors: how many there may be, and how many clients that allows.

use roundel_config::{Frontend, Settings};
use roundel_proxy::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than anybody needs. Container engines set limits of a thousand million.
const MOST: u64 = 1 << 20;
/// Kept for logs, page, gossip, checks, discovery and a surge of connections to servers.
const RESERVE: u64 = 64;
/// The sockets and wakers of one worker's loop, beside its listeners.
const PER_WORKER: u64 = 4;
/// So many clients at least, however few descriptors there are.
const FEWEST: u64 = 10;

/// Raises the limit of open descriptors as far as it may be, as HAProxy does.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(MOST).min(MOST);
    if limit.current.is_none_or(|current| current >= maximum) {
        return;
    }
    let wanted = Rlimit {
        current: Some(maximum),
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!("cannot raise the limit of open files to {maximum}: {error}");
    }
}

/// How many descriptors there may be.
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::Nofile)
        .current
        .unwrap_or(MOST)
        .min(MOST)
}

/// The most client connections of the whole process: what is configured, as far as the descriptors
/// go; by default so many that each may have a connection to a server, too.
pub(crate) fn maxconn(settings: &Settings) -> u64 {
    let limit = limit();
    let (configured, spare) = (settings.process.maxconn, spare(settings, limit));
    if configured == 0 {
        return (spare / 2).max(FEWEST);
    }
    if configured > spare {
        tracing::warn!(
            "global.maxconn is {configured}, but {limit} open files are allowed: {spare} clients \
             are taken at once; raise the limit (ulimit -n, LimitNOFILE=)"
        );
    }
    configured.min(spare)
}

/// The most pipes for large bodies, which take a thirty-second part of the descriptors at most.
pub(crate) fn pipes(limit: u64) -> u64 {
    (limit / 64).min(Config::default().pipes)
}

/// The descriptors that are not needed for anything else.
fn spare(settings: &Settings, limit: u64) -> u64 {
    let threads = settings.process.threads;
    let workers = Config {
        threads,
        ..Config::default()
    }
    .workers() as u64;
    let listen = |f: &Frontend| f.listen.len() as u64;
    let listeners: u64 = settings.frontends.iter().map(listen).sum();
    let fixed = RESERVE + workers * (PER_WORKER + listeners) + 2 * pipes(limit);
    limit.saturating_sub(fixed).max(FEWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_stays_within_reason() {
        raise();
        let now = getrlimit(Resource::Nofile);
        let most = now.maximum.unwrap_or(MOST).min(MOST);
        assert!(now.current.is_none_or(|current| current >= most));
        assert!(limit() <= MOST);
    }
}
