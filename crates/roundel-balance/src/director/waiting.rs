//! A line in which every host has its turn, however many servers it names.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use roundel_model::Server;

/// Servers that wait, by host.
///
/// Shape: hosts whose turn never came go before the others, alternately the newest and the oldest of them: a
/// newcomer is not behind all of a flood that came before it, nor for ever behind one that goes on.
/// The others follow in the order of their last turn.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    fresh: VecDeque<IpAddr>,
    served: VecDeque<IpAddr>,
    hosts: BTreeMap<IpAddr, VecDeque<Server>>,
    count: usize,
    newest: bool,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Has exactly `named` wait; those that did keep their places. Returns how many are new.
    pub(super) fn renew(&mut self, named: &[&Server]) -> usize {
        // Bytes are compared quicker than names.
        let mut wanted: BTreeMap<&str, &Server> = BTreeMap::new();
        wanted.extend(named.iter().map(|server| (server.name.as_str(), *server)));
        for (ip, servers) in &mut self.hosts {
            servers.retain_mut(|server| {
                let same = wanted.get(server.name.as_str()).filter(|s| host(s) == *ip);
                let Some(named) = same.copied() else {
                    return false;
                };
                wanted.remove(named.name.as_str());
                server.clone_from(named);
                true
            });
        }
        self.tidy();
        let news = named
            .iter()
            .filter(|s| wanted.contains_key(s.name.as_str()));
        for server in news {
            let ip = host(server);
            if !self.hosts.contains_key(&ip) {
                self.fresh.push_back(ip);
            }
            self.enter((*server).clone());
        }
        wanted.len()
    }

    /// Takes out whose turn it is.
    pub(super) fn next(&mut self) -> Option<Server> {
        self.newest = !self.newest;
        let fresh = match self.newest {
            true => self.fresh.pop_back(),
            false => self.fresh.pop_front(),
        };
        let ip = fresh.or_else(|| self.served.pop_front())?;
        let servers = self.hosts.get_mut(&ip)?;
        let server = match self.newest {
            true => servers.pop_back(),
            false => servers.pop_front(),
        }?;
        match servers.is_empty() {
            true => drop(self.hosts.remove(&ip)),
            false => self.served.push_back(ip),
        }
        self.count -= 1;
        Some(server)
    }

    /// Has one wait again that has had its turn.
    pub(super) fn retry(&mut self, server: Server) {
        let ip = host(&server);
        if !self.hosts.contains_key(&ip) {
            self.served.push_back(ip);
        }
        self.enter(server);
    }

    fn enter(&mut self, server: Server) {
        self.count += 1;
        self.hosts
            .entry(host(&server))
            .or_default()
            .push_back(server);
    }

    /// Forgets hosts of which nobody waits any more.
    fn tidy(&mut self) {
        self.hosts.retain(|_, servers| !servers.is_empty());
        self.count = self.hosts.values().map(VecDeque::len).sum();
        let hosts = &self.hosts;
        self.fresh.retain(|ip| hosts.contains_key(ip));
        self.served.retain(|ip| hosts.contains_key(ip));
    }
}

fn host(server: &Server) -> IpAddr {
    server.address.ip()
}

#[cfg(test)]
mod tests {
    use roundel_model::{Name, Presence, SourceKind, Weight};

    use super::*;

    fn server(name: &str, host: u8) -> Server {
        Server {
            name: Name::new(name).unwrap(),
            address: ([10, 0, 0, host], 80).into(),
            weight: Weight::ONE,
            backup: false,
            source: SourceKind::Gossip,
            presence: Presence::Present,
        }
    }

    fn renew(waiting: &mut Waiting, named: &[Server]) -> usize {
        waiting.renew(&named.iter().collect::<Vec<_>>())
    }

    fn order(waiting: &mut Waiting) -> Vec<String> {
        let turns = std::iter::from_fn(|| waiting.next());
        turns.map(|server| server.name.to_string()).collect()
    }

    #[test]
    fn every_host_has_its_turn() {
        let mut waiting = Waiting::default();
        let mut named: Vec<Server> = (0..9).map(|n| server(&format!("m{n}"), 1)).collect();
        named.push(server("a", 2));
        named.push(server("b", 3));
        assert_eq!(renew(&mut waiting, &named), 11);
        let order = order(&mut waiting);
        let at = |name: &str| order.iter().position(|n| n == name).unwrap();
        assert!(at("a") < 3 && at("b") < 3, "{order:?}");
        assert_eq!((order.len(), waiting.len()), (11, 0));
    }

    #[test]
    fn the_newest_host_is_not_behind_all_others() {
        let mut waiting = Waiting::default();
        let mut named: Vec<Server> = (0..200).map(|n| server(&format!("m{n}"), n)).collect();
        renew(&mut waiting, &named);
        for _ in 0..5 {
            waiting.next();
        }
        let left: Vec<Server> = waiting.hosts.values().flatten().cloned().collect();
        named.retain(|server| left.contains(server));
        named.push(server("new", 250));
        assert_eq!(renew(&mut waiting, &named), 1);
        let first_two = [waiting.next(), waiting.next()];
        let is_new = |server: &Option<Server>| server.as_ref().is_some_and(|s| s.name == "new");
        assert!(first_two.iter().any(is_new), "{first_two:?}");
    }

    #[test]
    fn who_failed_is_behind_who_was_never_asked() {
        let mut waiting = Waiting::default();
        renew(
            &mut waiting,
            &[server("a", 1), server("b", 2), server("c", 3)],
        );
        let first = waiting.next().unwrap();
        waiting.retry(first.clone());
        let order = order(&mut waiting);
        assert_eq!(order.last().map(String::as_str), Some(first.name.as_str()));
    }

    #[test]
    fn who_is_not_named_any_more_is_forgotten() {
        let mut waiting = Waiting::default();
        renew(
            &mut waiting,
            &[server("a", 1), server("b", 1), server("c", 2)],
        );
        renew(&mut waiting, &[server("b", 1)]);
        assert_eq!(order(&mut waiting), ["b"]);
        assert!(waiting.hosts.is_empty() && waiting.fresh.is_empty() && waiting.served.is_empty());
    }
}
