//! The numbers of one backend and its servers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use roundel_admin::status::{Backend, Check, KeptOrder, Server, Source, Times, Traffic};
use roundel_balance::{
    BackendCounters, CheckKind, CheckSpec, CookieValue, EjectionCause, ServerCounters, ServerId,
    ServerLive, ServerOrders, ServerStatus, StickyVerdict,
};
use roundel_config::value::show_duration;
use roundel_model::{Name, ServerState};
use roundel_stats::{Counter, Histogram, HistogramSnapshot, PerWorker};

use super::frontend::calls;
use super::unix_now;
use crate::managed::{Managed, Tally};

/// What servers counted whose rows are no longer shown, so that no sum ever goes back.
#[derive(Default)]
pub(super) struct Retired {
    /// Those that are shown, in order.
    shown: Vec<Shown>,
    sum: Traffic,
    requests: u64,
}

/// A server of the snapshot before, with the texts that its next row shares.
struct Shown {
    live: Arc<ServerLive>,
    name: Arc<str>,
    address: (SocketAddr, Arc<str>),
    cookie: Arc<str>,
    ejections: ([u64; 3], Arc<BTreeMap<Cow<'static, str>, u64>>),
    row: Option<Row>,
}

/// A row of this second, and what it was made of.
struct Row {
    status: ServerStatus,
    server: Arc<Server>,
}

impl Shown {
    fn new(status: &ServerStatus) -> Self {
        Self {
            live: Arc::clone(&status.live),
            name: status.name.as_str().into(),
            address: (status.address, status.address.to_string().into()),
            cookie: Arc::default(),
            ejections: (status.ejections, by_cause(status.ejections)),
            row: None,
        }
    }

    /// Renews the texts that may change.
    fn update(&mut self, status: &ServerStatus, is_sticky: bool) {
        if self.address.0 != status.address {
            self.address = (status.address, status.address.to_string().into());
        }
        if self.ejections.0 != status.ejections {
            self.ejections = (status.ejections, by_cause(status.ejections));
        }
        let cookie = status.cookie.as_ref().filter(|_| is_sticky);
        let cookie = cookie.map_or("", CookieValue::as_str);
        if *self.cookie != *cookie {
            self.cookie = cookie.into();
        }
    }

    /// Its row, if nothing has happened to the server since: no change, no request that began or
    /// ended.
    fn row_of(
        &self,
        status: &ServerStatus,
        is_sticky: bool,
        queue_length: u64,
        tally: &Tally,
    ) -> Option<Arc<Server>> {
        let Row { status: of, server } = self.row.as_ref()?;
        let live = &*status.live;
        let check = server.check.as_ref();
        let probes = check.map(|c| (c.passed_total, c.failed_total));
        let holds = of == status
            && server.cookie.is_empty() != is_sticky
            && server.requests_total == requests(live)
            && server.in_flight == u64::from(live.in_flight())
            && server.in_flight_limit == limit(live)
            && server.queue_length == queue_length
            && server.queue_length_max == u64::from(live.queued_max())
            && probes.is_none_or(|probes| probes == tally.probes(live.id));
        holds.then(|| Arc::clone(server))
    }

    /// Makes the row anew.
    fn renew(
        &mut self,
        at: (Instant, u64),
        status: ServerStatus,
        queue_length: u64,
        tally: &Tally,
    ) -> Arc<Server> {
        let server = Arc::new(Server {
            queue_length,
            ..server(at, &status, self, tally)
        });
        let row = Row { status, server };
        Arc::clone(&self.row.insert(row).server)
    }
}

impl Retired {
    /// Takes over counts, and the requests that belong to them.
    pub(super) fn add(&mut self, sum: &Traffic, requests: u64) {
        add(&mut self.sum, sum);
        self.requests += requests;
    }

    /// The sums with those of servers that have left.
    pub(super) fn with_left(&self, statuses: &[ServerStatus]) -> (Traffic, u64) {
        let (mut sum, mut requests) = (self.sum.clone(), self.requests);
        let left = statuses.iter().filter(|s| s.state == ServerState::Left);
        for status in left {
            add(&mut sum, &traffic(&status.live, 0));
            requests += self::requests(&status.live);
        }
        (sum, requests)
    }

    /// Takes over the counts of servers that are not shown this time. Returns whether they are
    /// others than before.
    fn update(&mut self, statuses: &[ServerStatus]) -> bool {
        let mut pairs = self.shown.iter().zip(statuses);
        if self.shown.len() == statuses.len() && pairs.all(|(a, b)| a.live.id == b.live.id) {
            return false;
        }
        let before = std::mem::take(&mut self.shown).into_iter();
        let mut before: BTreeMap<ServerId, Shown> = before.map(|s| (s.live.id, s)).collect();
        let shown = |s: &ServerStatus| before.remove(&s.live.id).unwrap_or_else(|| Shown::new(s));
        self.shown = statuses.iter().map(shown).collect();
        for Shown { live, .. } in before.into_values() {
            self.add(&traffic(&live, 0), requests(&live));
        }
        true
    }
}

/// Rows made before in the same second are shared where they still hold, unless it is `anew`.
pub(super) fn collect(
    (now, anew): (Instant, bool),
    settings: &roundel_config::Backend,
    managed: &mut Managed,
    retired: &mut Retired,
    sources: Vec<Source>,
) -> Backend {
    let statuses = managed.director().servers(now);
    if retired.update(&statuses) {
        let ids: BTreeSet<ServerId> = statuses.iter().map(|s| s.live.id).collect();
        managed.tally.keep(|id| ids.contains(&id));
    }
    let tally = &managed.tally;
    let balancer = managed.director().balancer();
    let unix_now = unix_now() as u64;
    let is_sticky = settings.sticky.is_some();
    let row = |(status, shown): (ServerStatus, &mut Shown)| {
        let queue_length = u64::from(balancer.queued_for(status.live.id));
        match shown.row_of(&status, is_sticky, queue_length, tally) {
            Some(row) if !anew => row,
            _ => {
                shown.update(&status, is_sticky);
                shown.renew((now, unix_now), status, queue_length, tally)
            }
        }
    };
    let rows = statuses.into_iter().zip(&mut retired.shown).map(row);
    let servers: Vec<Arc<Server>> = rows.collect();
    let counters = balancer.counters();
    let sum = |of: fn(&BackendCounters) -> u64| counters.sum(of);
    let no_server = sum(|c| c.no_server.get());
    let mut traffic = retired.sum.clone();
    for server in &servers {
        add(&mut traffic, &server.traffic);
    }
    let dispatched: u64 = servers.iter().map(|s| s.requests_total).sum();
    let errors = traffic.connect_errors_total + traffic.response_errors_total + no_server;
    own_numbers(&mut traffic, counters, unix_now);
    Backend {
        name: settings.name.to_string(),
        id: managed.id,
        balance: settings.balance.to_string(),
        set_version: managed.set_version(),
        sticky: cookie_name(settings).to_owned(),
        check: describe_check(&settings.check),
        tls: match &settings.tls {
            None => "",
            Some(back) if back.verifies() => "verified",
            Some(_) => "unverified",
        }
        .to_owned(),
        kept_orders: managed.director().kept_orders().map(kept_order).collect(),
        requests_total: dispatched + retired.requests,
        errors_total: errors,
        in_flight: servers.iter().map(|s| s.in_flight).sum(),
        queue_length: u64::from(balancer.queued()),
        queue_length_max: u64::from(balancer.queued_max()),
        queue_timeouts_total: sum(|c| c.queue_timeouts.get()),
        no_server_total: no_server,
        retries_exhausted_total: sum(|c| c.retries_exhausted.get()),
        traffic,
        grpc_calls_total: calls(|at| counters.sum(|c| c.grpc[at].get())),
        grpc_errors_total: sum(|c| c.grpc_errors.get()),
        since_seconds: now.saturating_duration_since(tally.since).as_secs(),
        downtime_seconds: tally.downtime(now).as_secs(),
        down_transitions_total: tally.downs,
        set_changes_total: tally.set_changes.iter().map(word).collect(),
        sticky_requests_total: by_verdict(counters, |c| &c.sticky),
        sticky_cookies_set_total: by_verdict(counters, |c| &c.cookies_set),
        request_duration: merged(counters, |c| &c.total),
        time_to_first_byte: merged(counters, |c| &c.response),
        connect_duration: merged(counters, |c| &c.connect),
        queue_duration: merged(counters, |c| &c.queue),
        check_delay: managed.director().check_delay(),
        sources,
        servers,
    }
}

fn kept_order((server, orders): &(Name, ServerOrders)) -> KeptOrder {
    KeptOrder {
        server: server.to_string(),
        orders: orders.to_string(),
    }
}

fn by_cause(ejections: [u64; 3]) -> Arc<BTreeMap<Cow<'static, str>, u64>> {
    let causes = EjectionCause::ALL.iter().map(|cause| cause.as_str().into());
    Arc::new(causes.zip(ejections).collect())
}

/// A count under its word.
fn word<T: ToString>((key, n): (T, &u64)) -> (String, u64) {
    (key.to_string(), *n)
}

fn cookie_name(settings: &roundel_config::Backend) -> &str {
    settings.sticky.as_ref().map_or("", |s| &s.cookie)
}

/// What the backend counts itself, answers without a server included, replaces the sums.
fn own_numbers(traffic: &mut Traffic, counters: &PerWorker<BackendCounters>, unix_now: u64) {
    traffic.bytes_in_total = counters.sum(|c| c.bytes_in.get());
    traffic.bytes_out_total = counters.sum(|c| c.bytes_out.get());
    traffic.responses_total =
        std::array::from_fn(|class| counters.sum(|c| c.responses[class].get()));
    traffic.client_aborts_total = counters.sum(|c| c.client_aborts.get());
    traffic.denied_requests_total = counters.sum(|c| c.denied.get());
    let last = counters.iter().map(|c| c.last_request.get()).max();
    traffic.last_request_seconds = ago(unix_now, last);
}

fn server(
    (now, unix_now): (Instant, u64),
    status: &ServerStatus,
    shown: &Shown,
    tally: &Tally,
) -> Server {
    let live = &*status.live;
    let traffic = traffic(live, unix_now);
    let changes = tally.changes.get(&live.id);
    let check = check(status, tally);
    Server {
        name: Arc::clone(&shown.name),
        id: live.id.0,
        address: Arc::clone(&shown.address.1),
        state: status.state,
        reason: status.reason.clone(),
        admin: status.admin,
        doubt: status.doubt,
        weight: status.weight,
        user_weight: status.uweight,
        initial_weight: status.initial_weight,
        warming_percent: status.throttle,
        backup: status.backup,
        source: status.source.as_str().into(),
        cookie: Arc::clone(&shown.cookie),
        in_flight: u64::from(live.in_flight()),
        queue_length: 0,
        queue_length_max: u64::from(live.queued_max()),
        in_flight_limit: limit(live),
        requests_total: requests(live),
        errors_total: traffic.connect_errors_total + traffic.response_errors_total,
        traffic,
        since_seconds: now.saturating_duration_since(status.since).as_secs(),
        downtime_seconds: status.downtime.as_secs(),
        down_transitions_total: status.check_downs,
        ejections_total: status.ejections.iter().sum(),
        ejections_by_reason_total: Arc::clone(&shown.ejections.1),
        state_changes_total: changes
            .into_iter()
            .flatten()
            .map(|(state, n)| (state.as_str().into(), *n))
            .collect(),
        check,
    }
}

fn check(status: &ServerStatus, tally: &Tally) -> Option<Check> {
    let state = status.check.as_ref()?;
    let (passed, failed) = tally.probes(status.live.id);
    let probed = passed + failed > 0;
    Some(Check {
        status: state.status.as_str().into(),
        code: state.http_code,
        duration_ms: probed.then_some(state.duration.as_millis() as u64),
        text: state.description.clone(),
        running: state.running,
        rise: state.rise,
        fall: state.fall,
        health: state.health,
        passed_total: passed,
        failed_total: failed,
        failed_while_up_total: status.check_failures,
        off: state.off,
        port: state.port,
    })
}

/// The requests dispatched to a server.
fn requests(live: &ServerLive) -> u64 {
    live.workers.sum(|w| w.requests.get())
}

/// The most requests in flight that a server may have; `None` without a limit.
fn limit(live: &ServerLive) -> Option<u64> {
    Some(live.limit()).filter(|n| *n > 0).map(Into::into)
}

/// The counts of one server over all workers, as of so many seconds since the Unix epoch.
fn traffic(live: &ServerLive, unix_now: u64) -> Traffic {
    let sum = |of: fn(&ServerCounters) -> &Counter| live.workers.sum(|w| of(w).get());
    let max = |of: fn(&ServerCounters) -> &Counter| {
        let each = live.workers.iter().map(|w| of(w).get());
        each.max().unwrap_or(0)
    };
    Traffic {
        lb_total: sum(|c| &c.lb_total),
        bytes_in_total: sum(|c| &c.bytes_in),
        bytes_out_total: sum(|c| &c.bytes_out),
        responses_total: std::array::from_fn(|i| live.workers.sum(|w| w.responses[i].get())),
        connect_errors_total: sum(|c| &c.connect_errors),
        response_errors_total: sum(|c| &c.response_errors),
        retries_total: sum(|c| &c.retries),
        redispatches_total: sum(|c| &c.redispatches),
        client_aborts_total: sum(|c| &c.client_aborts),
        server_aborts_total: sum(|c| &c.server_aborts),
        connects_total: sum(|c| &c.connects),
        reuses_total: sum(|c| &c.reuses),
        denied_requests_total: 0,
        last_request_seconds: ago(unix_now, Some(max(|c| &c.last_request))),
        times: Times {
            count: sum(|c| &c.timed),
            queue_us: sum(|c| &c.queue_us),
            connect_us: sum(|c| &c.connect_us),
            response_us: sum(|c| &c.response_us),
            total_us: sum(|c| &c.total_us),
            queue_max_us: max(|c| &c.queue_us_max),
            connect_max_us: max(|c| &c.connect_us_max),
            response_max_us: max(|c| &c.response_us_max),
            total_max_us: max(|c| &c.total_us_max),
        },
    }
}

/// Adds the counts of one server to a sum.
fn add(sum: &mut Traffic, more: &Traffic) {
    sum.lb_total += more.lb_total;
    sum.bytes_in_total += more.bytes_in_total;
    sum.bytes_out_total += more.bytes_out_total;
    for (mine, theirs) in sum.responses_total.iter_mut().zip(more.responses_total) {
        *mine += theirs;
    }
    sum.connect_errors_total += more.connect_errors_total;
    sum.response_errors_total += more.response_errors_total;
    sum.retries_total += more.retries_total;
    sum.redispatches_total += more.redispatches_total;
    sum.client_aborts_total += more.client_aborts_total;
    sum.server_aborts_total += more.server_aborts_total;
    sum.connects_total += more.connects_total;
    sum.reuses_total += more.reuses_total;
    let (times, others) = (&mut sum.times, &more.times);
    times.count += others.count;
    times.queue_us += others.queue_us;
    times.connect_us += others.connect_us;
    times.response_us += others.response_us;
    times.total_us += others.total_us;
    times.queue_max_us = times.queue_max_us.max(others.queue_max_us);
    times.connect_max_us = times.connect_max_us.max(others.connect_max_us);
    times.response_max_us = times.response_max_us.max(others.response_max_us);
    times.total_max_us = times.total_max_us.max(others.total_max_us);
}

/// How many whole seconds ago; zero stands for never.
fn ago(unix_now: u64, then: Option<u64>) -> Option<u64> {
    let then = then.filter(|then| *then > 0)?;
    Some(unix_now.saturating_sub(then))
}

fn by_verdict(
    counters: &PerWorker<BackendCounters>,
    of: fn(&BackendCounters) -> &[Counter; 7],
) -> BTreeMap<String, u64> {
    let count = |(i, word): (usize, &&str)| {
        let n = counters.sum(|c| of(c)[i].get());
        ((*word).to_owned(), n)
    };
    StickyVerdict::LABELS
        .iter()
        .enumerate()
        .map(count)
        .collect()
}

fn merged(
    counters: &PerWorker<BackendCounters>,
    of: fn(&BackendCounters) -> &Histogram,
) -> HistogramSnapshot {
    let mut all = HistogramSnapshot::default();
    for worker in counters.iter() {
        all.merge(&of(worker).snapshot());
    }
    all
}

fn describe_check(spec: &CheckSpec) -> String {
    match &spec.kind {
        CheckKind::Off => String::new(),
        kind => format!("{kind} every {}", show_duration(spec.every)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roundel_balance::{BackendConfig, Balancer, Director, DirectorConfig, Policy, StickyKey};
    use roundel_model::{BackendSet, Generation, Presence, SourceKind, Weight, WeightOrder};

    #[test]
    fn sums_keep_what_forgotten_servers_counted() {
        let name = Name::new("nodes").unwrap();
        let balancer = Balancer::new(
            BackendConfig {
                name: name.clone(),
                policy: Policy::RoundRobin,
                sticky_key: StickyKey::default(),
            },
            1,
        );
        let live = balancer.live(&Name::new("a").unwrap());
        live.workers[0].requests.add(3);
        live.workers[0].retries.add(1);
        let mut retired = Retired {
            shown: vec![Shown {
                live: Arc::clone(&live),
                name: "a".into(),
                address: (([10, 0, 0, 1], 80).into(), "10.0.0.1:80".into()),
                cookie: "".into(),
                ejections: ([0; 3], Arc::default()),
                row: None,
            }],
            ..Retired::default()
        };
        // A request that ends after the row was forgotten still counts until then.
        live.workers[0].requests.add(1);
        assert!(retired.update(&[]));
        assert!(!retired.update(&[]));
        assert_eq!((retired.requests, retired.sum.retries_total), (4, 1));
    }

    #[test]
    fn a_row_holds_until_something_happens_to_its_server() {
        let now = Instant::now();
        let backend = BackendConfig {
            name: Name::new("nodes").unwrap(),
            policy: Policy::RoundRobin,
            sticky_key: StickyKey::default(),
        };
        let director = Director::new(Balancer::new(backend, 1), DirectorConfig::default(), 1);
        let mut nodes = Managed::new(1, director, now);
        let server = roundel_model::Server {
            name: Name::new("a").unwrap(),
            address: ([10, 0, 0, 1], 3000).into(),
            weight: Weight::ONE,
            backup: false,
            source: SourceKind::Static,
            presence: Presence::Present,
        };
        nodes.handle_set(
            now,
            BackendSet {
                backend: Name::new("nodes").unwrap(),
                generation: Generation(1),
                servers: vec![server],
            },
        );
        let status = |nodes: &Managed| nodes.director().servers(now).remove(0);
        let mut shown = Shown::new(&status(&nodes));
        assert!(
            shown
                .row_of(&status(&nodes), false, 0, &nodes.tally)
                .is_none()
        );
        let row = shown.renew((now, 0), status(&nodes), 0, &nodes.tally);
        let same = shown.row_of(&status(&nodes), false, 0, &nodes.tally);
        assert!(same.is_some_and(|same| Arc::ptr_eq(&same, &row)));
        assert!(
            shown
                .row_of(&status(&nodes), false, 1, &nodes.tally)
                .is_none()
        );
        let sticky = shown.row_of(&status(&nodes), true, 0, &nodes.tally);
        assert!(sticky.is_none());
        let weight = WeightOrder::Percent(0);
        nodes
            .set_weight(now, &Name::new("a").unwrap(), weight)
            .unwrap();
        assert!(
            shown
                .row_of(&status(&nodes), false, 0, &nodes.tally)
                .is_none()
        );
        shown.renew((now, 0), status(&nodes), 0, &nodes.tally);
        status(&nodes).live.workers[0].requests.add(1);
        assert!(
            shown
                .row_of(&status(&nodes), false, 0, &nodes.tally)
                .is_none()
        );
    }

    #[test]
    fn seconds_ago_and_never() {
        assert_eq!((ago(9, None), ago(9, Some(0))), (None, None));
        assert_eq!((ago(9, Some(4)), ago(9, Some(10))), (Some(5), Some(0)));
    }
}
