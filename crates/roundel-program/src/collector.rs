//! Everything that the views show, in one snapshot: once a second, and after each act.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roundel_admin::status::{ConfigStatus, Pipes, Process, Snapshot, Source, Traffic};
use roundel_balance::{Crowd, ServerStatus};
use roundel_config::Settings;
use roundel_model::{EventKind, Name};
use roundel_proxy::{AccessLog, Proxy};

use crate::acme::Acme;
use crate::alarm::{Alarms, Change};
use crate::event_log::EventLog;
use crate::managed::Managed;
use crate::proc;
use crate::sources::Sources;

mod backend;
mod bounds;
mod certificates;
mod cluster;
mod frontend;

use backend::Retired;
pub(crate) use cluster::GossipView;

/// Makes one snapshot after the other and remembers what a single one cannot show.
pub(crate) struct Collector {
    started: Instant,
    seq: u64,
    second: u64,
    /// The second of the snapshot before.
    shown: u64,
    ids: Ids,
    process: Process,
    access_log: AccessLog,
    of_admin: Arc<roundel_admin::Bounds>,
    retired: BTreeMap<Name, Retired>,
    alarms: Alarms,
}

/// Hands out the stable small numbers of frontends and backends.
#[derive(Default)]
struct Ids {
    last: u32,
    frontends: BTreeMap<Name, u32>,
}

/// What the collector reads.
pub(crate) struct Sight<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) acme: &'a Acme,
    pub(crate) node: &'a str,
    pub(crate) proxy: &'a Proxy,
    pub(crate) backends: &'a mut BTreeMap<Name, Managed>,
    pub(crate) gossip: Option<&'a GossipView>,
    pub(crate) sources: &'a Sources,
    pub(crate) events: &'a EventLog,
    pub(crate) config: &'a ConfigStatus,
    pub(crate) draining: bool,
}

impl Collector {
    pub(crate) fn new(
        started: Instant,
        workers: usize,
        access_log: AccessLog,
        of_admin: Arc<roundel_admin::Bounds>,
    ) -> Self {
        let process = Process {
            revision: crate::cli::REVISION.to_owned(),
            start_time_seconds: unix_now() - started.elapsed().as_secs_f64(),
            pid: std::process::id(),
            threads: workers as u64,
            ..Process::default()
        };
        Self {
            started,
            seq: 0,
            second: 0,
            shown: 0,
            ids: Ids::default(),
            process,
            access_log,
            of_admin,
            retired: BTreeMap::new(),
            alarms: Alarms::default(),
        }
    }

    /// Panics, for the tests of what follows that.
    #[cfg(debug_assertions)]
    pub(crate) fn panic(&self) {
        panic!("a panic that was asked for");
    }

    /// The next snapshot begins another second.
    pub(crate) fn begin_second(&mut self) {
        self.second += 1;
    }

    /// A number for a backend that is new; frontends and backends share one sequence.
    pub(crate) fn next_id(&mut self) -> u32 {
        self.ids.last += 1;
        self.ids.last
    }

    /// What servers counted that are not among those here, or have left, and their requests.
    pub(crate) fn retired(&self, backend: &Name, here: &[ServerStatus]) -> (Traffic, u64) {
        let retired = self.retired.get(backend);
        retired.map(|r| r.with_left(here)).unwrap_or_default()
    }

    /// Takes what such servers counted in another process.
    pub(crate) fn inherit_retired(&mut self, backend: &Name, (sum, requests): (Traffic, u64)) {
        let retired = self.retired.entry(backend.clone()).or_default();
        retired.add(&sum, requests);
    }

    /// Reads everything once.
    pub(crate) fn collect(&mut self, sight: Sight<'_>) -> Arc<Snapshot> {
        let now = Instant::now();
        let anew = std::mem::replace(&mut self.shown, self.second) != self.second;
        self.seq += 1;
        if anew {
            proc::refresh(&mut self.process);
        }
        self.process.max_connections = sight.proxy.maxconn();
        self.process.worker_restarts_total = sight.proxy.worker_ends().borrow().replaced;
        self.process.lingering = sight.proxy.lingering();
        let pipes = sight.proxy.pipes();
        self.process.pipes = Pipes {
            most: pipes.most,
            used: pipes.used,
            free: pipes.free,
            bytes_total: pipes.bytes,
        };
        self.process.worker_stall_seconds = sight.proxy.slowest_worker().1.as_secs_f64();
        let frontends = self.frontends(&sight);
        let mut backends = Vec::with_capacity(sight.settings.backends.len());
        for settings in &sight.settings.backends {
            if let Some(managed) = sight.backends.get_mut(&settings.name) {
                let retired = self.retired.entry(settings.name.clone()).or_default();
                let mut sources = sight.sources.heard(&settings.name, now);
                sources.extend(crowded(settings, managed.director().crowd()));
                backends.push(backend::collect(
                    (now, anew),
                    settings,
                    managed,
                    retired,
                    sources,
                ));
            }
        }
        if anew {
            self.watch_clients(&sight, &backends);
        }
        let (members, gossip) = match sight.gossip {
            Some(view) => {
                let (members, gossip) = view.collect(sight.sources.metrics_of());
                (members, Some(gossip))
            }
            None => (Vec::new(), None),
        };
        Arc::new(Snapshot {
            seq: self.seq,
            second: self.second,
            node: sight.node.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time_ms: (unix_now() * 1e3) as u64,
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            draining: sight.draining,
            process: self.process.clone(),
            config: sight.config.clone(),
            frontends,
            backends,
            members,
            gossip,
            certificates: certificates::all(sight.settings, sight.acme, SystemTime::now()),
            bounds: bounds::all(&sight, &self.of_admin),
            alarms: self.alarms.open(),
            events: sight.events.recent(),
            log_lines_dropped_total: self.access_log.dropped(),
            system_log_lines_dropped_total: crate::logging::dropped(),
        })
    }

    /// Judges how clients fare, and tells what changed.
    fn watch_clients(&mut self, sight: &Sight<'_>, backends: &[roundel_admin::status::Backend]) {
        let at = (self.started.elapsed(), unix_now() as u64);
        let patience = |name: &str| {
            let mut settings = sight.settings.backends.iter();
            let found = settings.find(|b| b.name.as_str() == name);
            found.map_or(Duration::ZERO, |b| b.timeouts.queue)
        };
        let rules = &sight.settings.alarm;
        for change in self.alarms.second(at, rules, backends, patience) {
            match change {
                Change::Begun(alarm) => {
                    sight
                        .events
                        .add(EventKind::Alarm, alarm.backend, alarm.text, None);
                }
                Change::Ended(alarm, lasted) => {
                    let text = format!("quiet again: {}", alarm.text);
                    let lasted = Some(lasted);
                    sight
                        .events
                        .add(EventKind::Quiet, alarm.backend, text, lasted);
                }
            }
        }
    }

    /// The access log whose losses it shows.
    pub(crate) fn access_log(&self) -> &AccessLog {
        &self.access_log
    }

    fn frontends(&mut self, sight: &Sight<'_>) -> Vec<roundel_admin::status::Frontend> {
        let running = sight.proxy.frontends();
        let mut list = Vec::with_capacity(running.len());
        for status in &running {
            let id = match self.ids.frontends.get(&status.name) {
                Some(id) => *id,
                None => {
                    let id = self.next_id();
                    self.ids.frontends.insert(status.name.clone(), id);
                    id
                }
            };
            let settings = sight.settings.frontends.iter();
            let default = settings
                .filter(|f| f.name == status.name)
                .map(|f| f.default_backend.to_string())
                .next();
            list.push(frontend::collect(id, status, default.unwrap_or_default()));
        }
        list
    }
}

/// Says, where that is so, that sources name more servers than are taken.
fn crowded(settings: &roundel_config::Backend, crowd: Crowd) -> Option<Source> {
    (crowd.waiting > 0).then(|| Source {
        kind: "max_servers".to_owned(),
        name: settings.max_servers.to_string(),
        notice: format!("{} servers wait for a place or a turn", crowd.waiting),
        ..Source::default()
    })
}

/// Seconds since the Unix epoch.
pub(crate) fn unix_now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |d| d.as_secs_f64())
}
