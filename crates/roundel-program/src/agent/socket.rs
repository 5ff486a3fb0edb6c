//! The agent's unix socket: the same lines as a balancer's, about the gossip only.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_admin::Admin;
use roundel_admin::cli::{self, Level};
use roundel_admin::command::{Command, CommandError, Order, Outcome};
use roundel_admin::status::Snapshot;
use roundel_gossip_tokio::{Event, Handle};
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::collector::GossipView;
use crate::control::cluster::{self, Answer};
use crate::control::gossip;
use crate::event_log::EventLog;
use crate::serve::bound::bind_socket;

/// A socket that answers; it ends, and its path goes, when this is dropped.
pub(crate) struct Socket {
    path: PathBuf,
    _tasks: JoinSet<()>,
}

/// What is shown of the node, and who is asked.
struct Desk {
    started: Instant,
    name: String,
    seeds: Vec<String>,
    encrypted: bool,
    log: EventLog,
    view: Option<GossipView>,
    events: broadcast::Receiver<Arc<Event>>,
    seq: u64,
    /// Acts under way, and where their answers go.
    acts: JoinSet<(
        oneshot::Sender<Answer>,
        Result<Answer, oneshot::error::RecvError>,
    )>,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

/// What is rendered for readers of the socket, which its owner alone can reach, in bytes.
const MEMORY: u64 = 64 << 20;

impl Socket {
    /// Opens the socket for an agent with these settings. Errors: it cannot be opened.
    pub(crate) fn open(path: &Path, config: &roundel_agent::Config) -> anyhow::Result<Self> {
        let listener = bind_socket(path)?;
        let log = EventLog::new();
        let (orders_sender, orders) = mpsc::channel(64);
        let (snapshots, newest) = watch::channel(Arc::default());
        let desk = Desk {
            started: Instant::now(),
            name: config.gossip.name.clone(),
            seeds: config.gossip.join.clone(),
            encrypted: !config.gossip.keys.is_empty(),
            log: log.clone(),
            view: None,
            events: broadcast::channel(1).1,
            seq: 0,
            acts: JoinSet::new(),
            snapshots,
        };
        let admin = Admin::start(
            roundel_admin::Config {
                read: roundel_admin::Read::Open,
                open_metrics: false,
                acts: roundel_admin::Acts::Off,
                hosts: Vec::new(),
                tls: Arc::default(),
                bounds: crate::limits::admin(MEMORY),
            },
            newest,
            orders_sender,
            log.live(),
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(desk.run(config.node.subscribe(), orders));
        tasks.spawn(answer(admin, listener));
        Ok(Self {
            path: path.to_owned(),
            _tasks: tasks,
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody may have removed it.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(admin: Admin, listener: UnixListener) {
    let never = std::future::pending();
    if let Err(error) = cli::serve_unix(admin, listener, Level::Admin, never).await {
        tracing::error!(%error, "the agent's socket ended");
    }
}

impl Desk {
    async fn run(
        mut self,
        mut node: watch::Receiver<Option<Handle>>,
        mut orders: mpsc::Receiver<Order>,
    ) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = false;
        loop {
            tokio::select! {
                Ok(()) = node.changed() => {
                    let handle = node.borrow_and_update().clone();
                    open = handle.is_some();
                    self.take(handle);
                }
                Some(order) = orders.recv() => self.order(order),
                event = self.events.recv(), if open => match event {
                    Ok(event) => self.happened(&event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    // Another node follows, or the end.
                    Err(broadcast::error::RecvError::Closed) => open = false,
                },
                Some(Ok((reply, Ok(answer)))) = self.acts.join_next() => {
                    self.publish();
                    let seq = self.seq;
                    // Whoever asked may be gone.
                    let _ = reply.send(answer.map(|outcome| Outcome { seq, ..outcome }));
                }
                _ = second.tick() => self.publish(),
            }
        }
    }

    fn take(&mut self, handle: Option<Handle>) {
        if let Some(handle) = &handle {
            self.events = handle.events();
        }
        self.view = handle.map(|h| {
            let (name, seeds) = (self.name.clone(), self.seeds.clone());
            GossipView::new(h, name, seeds, self.encrypted, None)
        });
        self.publish();
    }

    fn happened(&mut self, event: &Event) {
        if let Some(view) = &mut self.view {
            view.observe(event);
        }
        // Here all members are alike.
        gossip::tell(&self.log, event, |_| false);
    }

    fn order(&mut self, order: Order) {
        let about_gossip = matches!(
            order.command,
            Command::Join { .. }
                | Command::Leave { .. }
                | Command::Query(_)
                | Command::UserEvent { .. }
                | Command::Keys { .. }
        );
        let refusal = match &self.view {
            _ if !about_gossip => "An agent knows no servers; ask a balancer.",
            None => "The agent has not joined: it waits for the app's port.",
            Some(view) => {
                let Order {
                    command,
                    principal,
                    reply,
                } = order;
                let log = self.log.clone();
                let (done, answer) = oneshot::channel();
                cluster::carry_out(view.handle(), log, command, principal.0, done);
                self.acts.spawn(async move { (reply, answer.await) });
                return;
            }
        };
        // Whoever asked may be gone.
        let _ = order
            .reply
            .send(Err(CommandError::Refused(refusal.to_owned())));
    }

    fn publish(&mut self) {
        self.seq += 1;
        let (members, gossip) = match &self.view {
            Some(view) => {
                let (members, gossip) = view.collect(|_, _| None);
                (members, Some(gossip))
            }
            None => (Vec::new(), None),
        };
        let node = self
            .view
            .as_ref()
            .map(|view| view.handle().name().to_string());
        self.snapshots.send_replace(Arc::new(Snapshot {
            seq: self.seq,
            second: self.seq,
            node: node.unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time_ms: (crate::collector::unix_now() * 1e3) as u64,
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            members,
            gossip,
            events: self.log.recent(),
            ..Snapshot::default()
        }));
    }
}
