//! Backends and their servers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use roundel_model::{AdminState, ServerState};
use roundel_stats::HistogramSnapshot;
use serde::{Deserialize, Serialize};

use super::coding;

/// What was heard last of a source that is asked again and again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Its word, such as `dns`.
    pub kind: String,
    /// What it is asked for.
    pub name: String,
    /// Whole seconds since it last answered; `None` if it never did.
    pub age_seconds: Option<u64>,
    /// Why the last question has no answer; empty if it has.
    pub error: String,
    /// What it says that is not taken, in words; empty if all is.
    pub notice: String,
}

impl Source {
    /// What is wrong with it, in words; `None` if nothing is.
    pub fn trouble(&self) -> Option<String> {
        let since = match self.age_seconds {
            Some(seconds) => format!("no answer for {seconds} s"),
            None => "never an answer".to_owned(),
        };
        let Self {
            kind,
            name,
            error,
            notice,
            ..
        } = self;
        match (error.is_empty(), notice.is_empty()) {
            (true, true) => None,
            (true, false) => Some(format!("{kind} {name}: {notice}")),
            (false, _) => Some(format!("{kind} {name}: {since} ({error})")),
        }
    }
}

/// One backend: its settings in words, its counters, its servers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backend {
    /// The name.
    pub name: String,
    /// A stable small integer, unique among frontends and backends, never reused.
    pub id: u32,
    /// The balancing algorithm's name, such as `roundrobin`.
    pub balance: String,
    /// The generation of the published set.
    pub set_version: u64,
    /// The sticky cookie's name; empty when sticky is off.
    pub sticky: String,
    /// The check in words, such as `HEAD / every 2s`; empty when checks are off.
    pub check: String,
    /// How servers are spoken to over TLS: `verified`, or `unverified` where nobody looks whether it
    /// is them; empty in clear.
    pub tls: String,
    /// The sources that are asked again and again, such as DNS.
    pub sources: Vec<Source>,
    /// The servers in set order, LEFT ones last. A row to which nothing has happened is shared by
    /// the snapshots of a second.
    pub servers: Vec<Arc<Server>>,
    /// Orders of operators that wait for servers that are not there, oldest first.
    pub kept_orders: Vec<KeptOrder>,
    /// Requests dispatched to a server.
    pub requests_total: u64,
    /// Connect errors plus response errors plus requests that found no server.
    pub errors_total: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that wait for a server.
    pub queue_length: u64,
    /// The most that ever waited at once.
    pub queue_length_max: u64,
    /// Requests that waited too long.
    pub queue_timeouts_total: u64,
    /// Requests that found no usable server.
    pub no_server_total: u64,
    /// Requests given up after the last retry.
    pub retries_exhausted_total: u64,
    /// What went through.
    pub traffic: Traffic,
    /// Whole seconds since the backend last became usable or unusable, or was made.
    pub since_seconds: u64,
    /// Whole seconds without a usable server, ever.
    pub downtime_seconds: u64,
    /// Times it went from usable to unusable.
    pub down_transitions_total: u64,
    /// Changes of the set by source word (`gossip`, `dns`, …).
    pub set_changes_total: BTreeMap<String, u64>,
    /// gRPC calls by the code with which they ended: `0` to `16`, `other`; without those that never
    /// occurred.
    pub grpc_calls_total: BTreeMap<String, u64>,
    /// Those of them that are errors, other than by an answer of 5xx.
    pub grpc_errors_total: u64,
    /// Requests by what their sticky cookie was: `none`, `valid`, `draining`, `down`, `invalid`, ….
    pub sticky_requests_total: BTreeMap<String, u64>,
    /// Sticky cookies set, by what the request's was: `none`, `down`, `invalid`, ….
    pub sticky_cookies_set_total: BTreeMap<String, u64>,
    /// From the request's head to the end of the answer.
    #[serde(with = "coding::histogram")]
    pub request_duration: HistogramSnapshot,
    /// From the request's head to the head of the answer.
    #[serde(with = "coding::histogram")]
    pub time_to_first_byte: HistogramSnapshot,
    /// How long connecting to a server took.
    #[serde(with = "coding::histogram")]
    pub connect_duration: HistogramSnapshot,
    /// How long requests waited in the queue.
    #[serde(with = "coding::histogram")]
    pub queue_duration: HistogramSnapshot,
    /// How late checks started, measured from the moment when each was due.
    #[serde(with = "coding::histogram")]
    pub check_delay: HistogramSnapshot,
}

impl Backend {
    /// Answers that were errors: of 5xx, or the end of a gRPC call that failed.
    pub fn failures(&self) -> u64 {
        self.traffic.responses_total[4] + self.grpc_errors_total
    }

    /// How many servers take new requests.
    pub fn serving(&self) -> usize {
        self.servers.iter().filter(|s| s.state.takes_new()).count()
    }

    /// How many servers are known, without those that left.
    pub fn known(&self) -> usize {
        self.here().count()
    }

    /// Every server, in set order, LEFT ones last.
    pub fn rows(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().map(Arc::as_ref)
    }

    /// The servers without those that left.
    pub fn here(&self) -> impl Iterator<Item = &Server> {
        self.rows().filter(|s| s.state != ServerState::Left)
    }

    /// The server of this name.
    pub fn server(&self, name: &str) -> Option<&Server> {
        self.rows().find(|s| *s.name == *name)
    }

    /// Whether an operator can order anything for this name: a server that is there, or one that
    /// is away but under orders.
    pub fn takes_orders(&self, name: &str) -> bool {
        let here = self.here().any(|s| *s.name == *name);
        here || self.kept_orders.iter().any(|kept| kept.server == name)
    }
}

/// What an operator ordered for a server that is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptOrder {
    /// The server's name.
    pub server: String,
    /// What is ordered, such as `maint, weight 0`.
    pub orders: String,
}

/// One server. Texts that stay the same are shared from one snapshot to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// The name, unique in its backend.
    pub name: Arc<str>,
    /// A stable small integer from 1, unique in its backend, never reused.
    pub id: u32,
    /// `ip:port`.
    pub address: Arc<str>,
    /// The state as the director published it.
    #[serde(with = "coding::state")]
    pub state: ServerState,
    /// Why it is in this state, in words; empty for a plain one.
    pub reason: String,
    /// What an operator ordered: `ready`, `drain` or `maint`.
    #[serde(with = "coding::admin")]
    pub admin: AdminState,
    /// Whether it serves although something casts doubt on it, such as silent gossip.
    pub doubt: bool,
    /// The weight in force, 0 to 256; rounded down, but only a true zero shows as zero.
    pub weight: u16,
    /// The weight that its source or the operator gave.
    pub user_weight: u16,
    /// The weight that its source gave at first.
    pub initial_weight: u16,
    /// Slow start: percent of its weight in force; `None` when not warming.
    pub warming_percent: Option<u8>,
    /// Serves only while no other does.
    pub backup: bool,
    /// Who says that it exists: `static`, `file`, `dns`, `gossip`, `operator`.
    pub source: Cow<'static, str>,
    /// The value of its sticky cookie; empty when sticky is off.
    pub cookie: Arc<str>,
    /// Requests in flight.
    pub in_flight: u64,
    /// The most requests in flight allowed; `None` without a limit.
    pub in_flight_limit: Option<u64>,
    /// Requests that wait for it and no other server.
    pub queue_length: u64,
    /// The most that ever waited for it at once.
    pub queue_length_max: u64,
    /// Requests dispatched to it.
    pub requests_total: u64,
    /// Connect errors plus response errors.
    pub errors_total: u64,
    /// What went through.
    pub traffic: Traffic,
    /// Whole seconds in this state.
    pub since_seconds: u64,
    /// Whole seconds not usable, ever.
    pub downtime_seconds: u64,
    /// Times it went down.
    pub down_transitions_total: u64,
    /// Times that passive errors put it out.
    pub ejections_total: u64,
    /// The same by reason (`no_answer`, `consecutive_5xx`, `error_ratio`).
    pub ejections_by_reason_total: Arc<BTreeMap<Cow<'static, str>, u64>>,
    /// State changes by the state it went to (`up`, `down`, …).
    pub state_changes_total: BTreeMap<Cow<'static, str>, u64>,
    /// Its active check; `None` when checks are off.
    pub check: Option<Check>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: Arc::default(),
            id: 0,
            address: Arc::default(),
            state: ServerState::Joining,
            reason: String::new(),
            admin: AdminState::Ready,
            doubt: false,
            weight: 1,
            user_weight: 1,
            initial_weight: 1,
            warming_percent: None,
            backup: false,
            source: Cow::default(),
            cookie: Arc::default(),
            in_flight: 0,
            in_flight_limit: None,
            queue_length: 0,
            queue_length_max: 0,
            requests_total: 0,
            errors_total: 0,
            traffic: Traffic::default(),
            since_seconds: 0,
            downtime_seconds: 0,
            down_transitions_total: 0,
            ejections_total: 0,
            ejections_by_reason_total: Arc::default(),
            state_changes_total: BTreeMap::new(),
            check: None,
        }
    }
}

/// What went through a backend or a server since it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Times that the balancing algorithm chose it; sticky choices are not counted.
    pub lb_total: u64,
    /// Bytes of requests towards servers.
    pub bytes_in_total: u64,
    /// Bytes of answers towards clients.
    pub bytes_out_total: u64,
    /// Answers by class: 1xx, 2xx, 3xx, 4xx, 5xx, other.
    pub responses_total: [u64; 6],
    /// Connections that could not be made.
    pub connect_errors_total: u64,
    /// Broken answers and connections lost before an answer; server aborts included.
    pub response_errors_total: u64,
    /// Attempts made again.
    pub retries_total: u64,
    /// Requests sent to another server; counted where they left.
    pub redispatches_total: u64,
    /// Exchanges that the client broke off.
    pub client_aborts_total: u64,
    /// Exchanges that the server broke off.
    pub server_aborts_total: u64,
    /// Connections made to servers.
    pub connects_total: u64,
    /// Requests sent on a connection used before.
    pub reuses_total: u64,
    /// Requests denied by a rule.
    pub denied_requests_total: u64,
    /// Whole seconds since the last request; `None` when there was none.
    pub last_request_seconds: Option<u64>,
    /// Durations of the exchanges.
    pub times: Times,
}

/// Sums and greatest values of the durations of finished exchanges, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    /// How many exchanges the sums are of.
    pub count: u64,
    /// Waited in the queue.
    pub queue_us: u64,
    /// Connected.
    pub connect_us: u64,
    /// From the request sent to the head of the answer.
    pub response_us: u64,
    /// From the request's head to the end of the answer.
    pub total_us: u64,
    /// The longest wait in the queue.
    pub queue_max_us: u64,
    /// The longest connect.
    pub connect_max_us: u64,
    /// The longest wait for a head.
    pub response_max_us: u64,
    /// The longest exchange.
    pub total_max_us: u64,
}

/// A server's active check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// HAProxy's word for the last result: `L4OK`, `L7STS`, …; `INI` before the first.
    pub status: Cow<'static, str>,
    /// The HTTP status code of the last result.
    pub code: Option<u16>,
    /// How long the last probe took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// What the last probe said, such as `Connection refused`.
    pub text: Arc<str>,
    /// Whether a probe runs at this moment.
    pub running: bool,
    /// Passed probes that make it UP.
    pub rise: u32,
    /// Failed probes that make it DOWN.
    pub fall: u32,
    /// 0 to `rise + fall - 1`; DOWN below `rise`.
    pub health: u32,
    /// Probes that passed.
    pub passed_total: u64,
    /// Probes that failed.
    pub failed_total: u64,
    /// Probes that failed while it was UP.
    pub failed_while_up_total: u64,
    /// Whether an operator switched it off.
    pub off: bool,
    /// The port that an operator ordered for it; otherwise the server's own.
    pub port: Option<u16>,
}
