//! One backend as the control task holds it: its director and what is counted beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use roundel_admin::command::{Change, CommandError};
use roundel_balance::{
    CheckReport, CheckStatus, CheckTicket, Director, DirectorConfig, DirectorOutput, Evidence,
    Heritage, ServerAct, ServerCommand, ServerLive, ServerOrders,
};
use roundel_config::{Backend, StaticServer};
use roundel_model::{
    AdminState, BackendSet, Generation, Name, Presence, Server, ServerState, SourceKind,
    WeightOrder,
};
use roundel_proxy::{Proto, SendProxy};
use roundel_tls::Back;

use crate::handover::legacy::{BackendLegacy, OrdersLegacy, ServerLegacy, seconds};

mod tally;

pub(crate) use tally::Tally;

/// One backend: the director that decides, the servers that sources and operators named, and
/// counts of what happened.
pub(crate) struct Managed {
    /// Unique among frontends and backends, never reused.
    pub(crate) id: u32,
    director: Director,
    /// What the sources said last.
    found: BackendSet,
    /// Servers an operator added by hand.
    by_hand: Vec<Server>,
    /// Servers an operator moved, and where to.
    moved: BTreeMap<Name, SocketAddr>,
    /// Members that gossip hears nothing of, although the cluster holds them for alive.
    silent: BTreeSet<Name>,
    pub(crate) tally: Tally,
    /// Which servers get a header of the PROXY protocol, checks too.
    pub(crate) send_proxy: SendProxy,
    /// How its servers are spoken to over TLS, by checks too.
    pub(crate) tls: Option<Arc<Back>>,
    /// What they speak, with checks too.
    pub(crate) proto: Proto,
}

impl Managed {
    pub(crate) fn new(id: u32, director: Director, now: Instant) -> Self {
        let found = BackendSet {
            backend: director.balancer().name().clone(),
            generation: Generation::default(),
            servers: Vec::new(),
        };
        Self {
            id,
            director,
            found,
            by_hand: Vec::new(),
            moved: BTreeMap::new(),
            silent: BTreeSet::new(),
            tally: Tally::new(now),
            send_proxy: SendProxy::default(),
            tls: None,
            proto: Proto::default(),
        }
    }

    /// Takes over how servers are spoken to; says where that is not safe.
    pub(crate) fn speak(&mut self, settings: &Backend) {
        self.send_proxy = settings.proxy_header();
        self.tls.clone_from(&settings.tls);
        self.proto = settings.proto;
        if self.tls.as_ref().is_some_and(|back| !back.verifies()) {
            tracing::warn!(
                "backend {}: tls.verify = false: servers are not verified, so whoever is on the \
                 way can read and change everything",
                settings.name
            );
        }
    }

    pub(crate) fn director(&self) -> &Director {
        &self.director
    }

    /// What the sources said last.
    pub(crate) fn found(&self) -> &BackendSet {
        &self.found
    }

    /// Whether the first check of each of these has ended, one way or the other.
    pub(crate) fn has_checked<'a>(&self, servers: impl Iterator<Item = &'a StaticServer>) -> bool {
        let mut servers = servers.peekable();
        if servers.peek().is_none() {
            return true;
        }
        let known = self.director.servers(Instant::now());
        servers.all(|server| {
            let own = known.iter().find(|s| s.name == server.name);
            own.is_some_and(|s| {
                let check = s.check.as_ref();
                check.is_none_or(|c| c.status != CheckStatus::Ini)
            })
        })
    }

    /// Notes that gossip hears nothing of members (`true`), or hears of them again. Silence is a
    /// reason for a check, never a verdict.
    pub(crate) fn handle_silence(&mut self, now: Instant, members: &BTreeMap<String, bool>) {
        let mut changed = false;
        for server in &self.found.servers {
            changed |= match members.get(server.name.as_str()) {
                Some(true) => self.silent.insert(server.name.clone()),
                Some(false) => self.silent.remove(&server.name),
                None => false,
            };
        }
        if changed {
            self.apply(now);
        }
    }

    /// The generation of the newest set.
    pub(crate) fn set_version(&self) -> u64 {
        self.found.generation.0
    }

    /// Takes a whole set from the sources.
    pub(crate) fn handle_set(&mut self, now: Instant, set: BackendSet) {
        for source in changed_sources(&self.found.servers, &set.servers) {
            *self.tally.set_changes.entry(source).or_default() += 1;
        }
        // An aggregator that was started anew counts from one; this count never goes back.
        let generation = self.found.generation.next();
        self.found = BackendSet { generation, ..set };
        self.apply(now);
    }

    /// Hands the director what sources and operators name; a source's server of the same name
    /// wins over one added by hand.
    fn apply(&mut self, now: Instant) {
        let mut set = self.found.clone();
        let silent = std::mem::take(&mut self.silent);
        let fell_silent = |s: &&mut Server| silent.contains(&s.name);
        for server in set.servers.iter_mut().filter(fell_silent) {
            self.silent.insert(server.name.clone());
            if server.presence == Presence::Present {
                server.presence = Presence::Suspect;
            }
        }
        for server in &self.by_hand {
            if !set.servers.iter().any(|s| s.name == server.name) {
                set.servers.push(server.clone());
            }
        }
        for server in &mut set.servers {
            if let Some(address) = self.moved.get(&server.name) {
                server.address = *address;
            }
        }
        self.director.handle_set(now, &set);
        self.observe(now);
    }

    pub(crate) fn handle_check(&mut self, now: Instant, ticket: CheckTicket, report: CheckReport) {
        let counts = self.tally.probes.entry(ticket.server).or_default();
        if report.status.passed() {
            counts.0 += 1;
        } else {
            counts.1 += 1;
        }
        self.director.handle_check(now, ticket, report);
        self.observe(now);
    }

    pub(crate) fn handle_evidence(&mut self, now: Instant, evidence: &Evidence) {
        self.director.handle_evidence(now, evidence);
        self.observe(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.director.handle_timeout(now);
        self.observe(now);
    }

    pub(crate) fn reconfigure(&mut self, now: Instant, config: DirectorConfig) {
        self.director.reconfigure(now, config);
        self.observe(now);
    }

    pub(crate) fn poll_output(&mut self) -> Option<DirectorOutput> {
        self.director.poll_output()
    }

    /// Orders a server ready, drained or in maintenance, and says what follows.
    pub(crate) fn set_state(
        &mut self,
        now: Instant,
        server: &Name,
        state: AdminState,
    ) -> Result<String, CommandError> {
        self.order(now, server, ServerAct::State(state))?;
        let Some(id) = self.director.find(server) else {
            return Ok(format!("{server} is away; {state} counts when it is back"));
        };
        let snapshot = self.director.balancer().load();
        let entry = snapshot.servers().iter().find(|e| e.live.id == id);
        let in_flight = entry.map_or(0, |e| e.live.in_flight());
        let now_is = entry.map_or(ServerState::Left, |e| e.state);
        Ok(match in_flight {
            0 => format!("{server} is {now_is}"),
            1 => format!("{server} is {now_is}, 1 request in flight"),
            n => format!("{server} is {now_is}, {n} requests in flight"),
        })
    }

    pub(crate) fn set_weight(
        &mut self,
        now: Instant,
        server: &Name,
        order: WeightOrder,
    ) -> Result<String, CommandError> {
        self.order(now, server, ServerAct::Weight(order))?;
        Ok(format!("{server} has weight {order}"))
    }

    /// Refuses to take the last server that serves away from new clients.
    pub(crate) fn spare_last(&self, server: &Name) -> Result<(), CommandError> {
        let snapshot = self.director.balancer().load();
        let serving = snapshot.servers().iter().filter(|e| e.state.takes_new());
        let (mine, others): (Vec<_>, Vec<_>) = serving.partition(|e| e.live.name == *server);
        if mine.is_empty() || !others.is_empty() {
            return Ok(());
        }
        let backend = self.director.balancer().name().clone();
        Err(CommandError::LastServer(server.clone(), backend))
    }

    /// Changes something about a server that is neither its state nor its weight.
    pub(crate) fn change(
        &mut self,
        now: Instant,
        server: &Name,
        change: Change,
    ) -> Result<String, CommandError> {
        let act = match change {
            Change::Maxconn(most) => ServerAct::Maxconn(most),
            Change::Health(up) => ServerAct::Health(up),
            Change::Checks(on) => ServerAct::Checks(on),
            Change::CheckPort(port) => ServerAct::CheckPort(port),
            Change::Address(ip, port) => return self.move_server(now, server, ip, port),
            Change::Cut => unreachable!("the workers do it"),
        };
        self.order(now, server, act)?;
        Ok(String::new())
    }

    /// What is counted for a server that is there, or has just left.
    pub(crate) fn live(&self, now: Instant, server: &Name) -> Option<Arc<ServerLive>> {
        let all = self.director.servers(now).into_iter();
        let mut named = all.filter(|status| status.name == *server);
        named.next().map(|status| status.live)
    }

    /// Gives a server another address, and says what changed as HAProxy does.
    fn move_server(
        &mut self,
        now: Instant,
        server: &Name,
        ip: IpAddr,
        port: Option<u16>,
    ) -> Result<String, CommandError> {
        let statuses = self.director.servers(now);
        let here = statuses.iter().find(|s| s.name == *server);
        let here = here.filter(|s| s.state != ServerState::Left);
        let here = here.ok_or(CommandError::NoServer)?;
        if !matches!(here.source, SourceKind::Static | SourceKind::Operator) {
            let source = here.source;
            return Err(CommandError::Refused(format!(
                "{server} comes from source {source}, which says its address; change it there."
            )));
        }
        let (old, port_word) = (here.address, port);
        let new = SocketAddr::new(ip, port.unwrap_or(old.port()));
        if new != old {
            self.moved.insert(server.clone(), new);
            self.apply(now);
        }
        let mut text = match old.ip() == ip {
            true => "no need to change the addr".to_owned(),
            false => format!("IP changed from '{}' to '{ip}'", old.ip()),
        };
        match port_word {
            Some(port) if port == old.port() => text.push_str(", no need to change the port"),
            Some(port) => text += &format!(", port changed from '{}' to '{port}'", old.port()),
            None => {}
        }
        Ok(text + " by 'stats socket command'")
    }

    fn is_maint(&self, server: &Name) -> bool {
        let snapshot = self.director.balancer().load();
        let mut servers = snapshot.servers().iter();
        servers.any(|e| e.live.name == *server && e.state == ServerState::Maint)
    }

    /// Every order that is not taken back.
    pub(crate) fn orders(&self) -> Vec<(Name, ServerOrders)> {
        self.director.all_orders()
    }

    /// Takes orders for servers that are still to be seen.
    pub(crate) fn keep_orders(&mut self, orders: Vec<(Name, ServerOrders)>) {
        self.director.keep_orders(orders);
    }

    fn order(&mut self, now: Instant, server: &Name, act: ServerAct) -> Result<(), CommandError> {
        let command = ServerCommand {
            server: server.clone(),
            act,
        };
        let done = self.director.handle_command(now, &command);
        self.observe(now);
        done.map_err(|error| match error {
            roundel_balance::CommandError::NoSuchServer => CommandError::NoServer,
            other => CommandError::Refused(other.to_string()),
        })
    }

    /// Adds a server that no source knows.
    pub(crate) fn add_by_hand(
        &mut self,
        now: Instant,
        server: Server,
        orders: ServerOrders,
    ) -> Result<String, CommandError> {
        let known = self.found.servers.iter().chain(&self.by_hand);
        if known.into_iter().any(|s| s.name == server.name) {
            return Err(CommandError::ServerExists);
        }
        let text = format!("{} added at {}", server.name, server.address);
        if !orders.is_none() {
            self.director.keep_orders([(server.name.clone(), orders)]);
        }
        self.by_hand.push(server);
        self.apply(now);
        Ok(text)
    }

    /// Removes a server that was added by hand, and every order for its name; for one that is
    /// away, the orders alone.
    pub(crate) fn remove_by_hand(
        &mut self,
        now: Instant,
        server: &Name,
    ) -> Result<String, CommandError> {
        let Some(at) = self.by_hand.iter().position(|s| s.name == *server) else {
            return match self.director.find(server) {
                None if self.director.take_back(server) => {
                    Ok(format!("the orders for {server} are taken back"))
                }
                None => Err(CommandError::NoServer),
                Some(_) if !self.is_maint(server) => Err(not_in_maint()),
                Some(_) => Err(CommandError::Refused(format!(
                    "{server} comes from a source and would come back; stop it there, or end its maint with ready"
                ))),
            };
        };
        if !self.is_maint(server) {
            return Err(not_in_maint());
        }
        self.by_hand.remove(at);
        self.moved.remove(server);
        self.director.take_back(server);
        self.apply(now);
        Ok(format!("{server} removed"))
    }

    /// What a process that follows goes on from.
    pub(crate) fn bequeath(&self, now: Instant) -> BackendLegacy {
        let heritage = self.director.bequeath(now).into_iter();
        let by_hand = self.by_hand.iter();
        let by_hand_backups = self.by_hand.iter().filter(|s| s.backup);
        let by_hand_backups = by_hand_backups.map(|s| s.name.to_string());
        let orders = self.orders();
        let set_changes = self.tally.set_changes.iter();
        BackendLegacy {
            totals: self.director.balancer().counters().totals(),
            servers: heritage.map(|h| self.server_legacy(&h)).collect(),
            by_hand: by_hand
                .map(|s| (s.name.to_string(), s.address, s.weight.get()))
                .collect(),
            backups: by_hand_backups.collect(),
            moved: self
                .moved
                .iter()
                .map(|(name, at)| (name.to_string(), *at))
                .collect(),
            orders: orders
                .iter()
                .map(|(name, o)| OrdersLegacy::new(name, o))
                .collect(),
            set_changes: set_changes
                .map(|(source, n)| (source.as_str().to_owned(), *n))
                .collect(),
            downs: (self.tally.downs, self.tally.downtime(now).as_secs_f64()),
            lost_seconds: self
                .director
                .balancer()
                .lost_for(now)
                .map(|d| d.as_secs_f64()),
            ..BackendLegacy::default()
        }
    }

    fn server_legacy(&self, heritage: &Heritage) -> (String, ServerLegacy) {
        let live = self.director.balancer().live(&heritage.name);
        let changes = self.tally.changes.get(&live.id).into_iter().flatten();
        let legacy = ServerLegacy {
            totals: live.workers.totals(),
            probes: self.tally.probes(live.id),
            changes: changes
                .map(|(state, n)| (state.as_str().to_owned(), *n))
                .collect(),
            ..ServerLegacy::from(heritage)
        };
        (heritage.name.to_string(), legacy)
    }

    /// Takes what a process before left; each server gets its part when it is first seen.
    pub(crate) fn inherit(&mut self, now: Instant, legacy: &BackendLegacy) {
        let servers = legacy.servers.iter();
        let heritage = servers.filter_map(|(name, legacy)| legacy.heritage(name));
        self.director.inherit(heritage.collect());
        let orders = legacy.orders.iter().filter_map(OrdersLegacy::read);
        self.director.keep_orders(orders);
        if let Some(lost) = legacy.lost_seconds {
            self.director.balancer().inherit_loss(now, seconds(lost));
        }
        self.tally.inherit(legacy);
        let moved = legacy.moved.iter();
        self.moved = moved
            .filter_map(|(name, at)| Some((Name::new(name.as_str()).ok()?, *at)))
            .collect();
        self.by_hand = legacy.servers_by_hand();
        if !self.by_hand.is_empty() {
            self.apply(now);
        }
    }

    fn observe(&mut self, now: Instant) {
        let balancer = self.director.balancer();
        let generation = balancer.generation();
        if self.tally.seen == Some(generation) {
            return;
        }
        self.tally.seen = Some(generation);
        let snapshot = balancer.load();
        let lives = snapshot.servers().iter();
        self.tally.welcome(lives.map(|e| (&e.live.name, e.live.id)));
        let states = snapshot.servers().iter().map(|e| (e.live.id, e.state));
        if !self.tally.states.iter().copied().eq(states.clone()) {
            self.tally.note_states(states.collect());
        }
        self.tally.note_usable(now, snapshot.usable() > 0);
    }
}

fn not_in_maint() -> CommandError {
    CommandError::Refused("Only servers in maintenance mode can be deleted.".to_owned())
}

const SOURCES: [SourceKind; 5] = [
    SourceKind::Static,
    SourceKind::File,
    SourceKind::Dns,
    SourceKind::Gossip,
    SourceKind::Operator,
];

/// The sources that say something else than before.
fn changed_sources(before: &[Server], after: &[Server]) -> Vec<SourceKind> {
    let differs = |kind: &SourceKind| {
        let own = |server: &&Server| server.source == *kind;
        !before.iter().filter(own).eq(after.iter().filter(own))
    };
    SOURCES.into_iter().filter(differs).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use roundel_balance::{BackendConfig, Balancer, CheckKind, CheckSpec, Policy, StickyKey};
    use roundel_model::Weight;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn server(text: &str, source: SourceKind) -> Server {
        Server {
            name: name(text),
            address: ([10, 0, 0, 1], 3000).into(),
            weight: Weight::ONE,
            backup: false,
            source,
            presence: Presence::Present,
        }
    }

    /// A backend without checks, so that servers serve as soon as they are named.
    fn managed(now: Instant) -> Managed {
        let config = BackendConfig {
            name: name("nodes"),
            policy: Policy::RoundRobin,
            sticky_key: StickyKey::default(),
        };
        let check = CheckSpec {
            kind: CheckKind::Off,
            ..CheckSpec::default()
        };
        let config_ = DirectorConfig {
            check,
            ..DirectorConfig::default()
        };
        let director = Director::new(Balancer::new(config, 1), config_, 1);
        Managed::new(1, director, now)
    }

    fn set(servers: Vec<Server>) -> BackendSet {
        BackendSet {
            backend: name("nodes"),
            generation: Generation(1),
            servers,
        }
    }

    #[test]
    fn a_server_added_by_hand_stays_through_sets_and_gives_way_to_a_source() {
        let now = Instant::now();
        let mut nodes = managed(now);
        nodes.handle_set(now, set(vec![server("a", SourceKind::Gossip)]));
        let by_hand = server("b", SourceKind::Operator);
        let none = ServerOrders::default();
        nodes.add_by_hand(now, by_hand.clone(), none).unwrap();
        assert_eq!(
            nodes.add_by_hand(now, by_hand, none),
            Err(CommandError::ServerExists)
        );
        nodes.handle_set(now, set(Vec::new()));
        assert!(nodes.director().find(&name("b")).is_some());
        assert!(matches!(
            nodes.remove_by_hand(now, &name("c")),
            Err(CommandError::NoServer)
        ));
        nodes.handle_set(now, set(vec![server("b", SourceKind::Gossip)]));
        let sources: Vec<_> = nodes
            .director()
            .servers(now)
            .iter()
            .map(|s| s.source)
            .collect();
        assert!(sources.contains(&SourceKind::Gossip), "{sources:?}");
        nodes.handle_set(now, set(vec![server("d", SourceKind::Gossip)]));
        assert!(matches!(
            nodes.remove_by_hand(now, &name("d")),
            Err(CommandError::Refused(_))
        ));
        assert_eq!(nodes.remove_by_hand(now, &name("b")), Err(not_in_maint()));
        nodes.set_state(now, &name("b"), AdminState::Maint).unwrap();
        assert!(nodes.remove_by_hand(now, &name("b")).is_ok());
    }

    #[test]
    fn set_versions_only_grow_and_changes_are_counted_by_source() {
        let now = Instant::now();
        let mut nodes = managed(now);
        nodes.handle_set(now, set(vec![server("a", SourceKind::Static)]));
        nodes.handle_set(
            now,
            set(vec![
                server("a", SourceKind::Static),
                server("b", SourceKind::Gossip),
            ]),
        );
        assert_eq!(nodes.set_version(), 2);
        assert_eq!(nodes.tally.set_changes[&SourceKind::Static], 1);
        assert_eq!(nodes.tally.set_changes[&SourceKind::Gossip], 1);
    }

    #[test]
    fn an_order_tells_what_follows_and_is_tallied() {
        let now = Instant::now();
        let mut nodes = managed(now);
        nodes.handle_set(now, set(vec![server("a", SourceKind::Static)]));
        let text = nodes.set_state(now, &name("a"), AdminState::Maint).unwrap();
        assert_eq!(text, "a is maint");
        assert_eq!(nodes.tally.downs, 1);
        let later = now + Duration::from_secs(5);
        assert_eq!(nodes.tally.downtime(later).as_secs(), 5);
        nodes
            .set_state(later, &name("a"), AdminState::Ready)
            .unwrap();
        assert_eq!(
            nodes
                .tally
                .downtime(later + Duration::from_secs(9))
                .as_secs(),
            5
        );
        let id = nodes.director().find(&name("a")).unwrap();
        assert_eq!(nodes.tally.changes[&id][&ServerState::Maint], 1);
        assert_eq!(
            nodes.set_state(later, &name("x"), AdminState::Drain),
            Err(CommandError::NoServer)
        );
    }
}
