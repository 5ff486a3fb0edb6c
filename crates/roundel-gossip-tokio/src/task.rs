//! The one task that owns a node: input, then all outputs, then waiting.

mod address;
mod naming;
mod restart;
mod seeding;
mod unanswered;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_gossip::{Clocks, Event, Member, Node, Output, QueryId, Stats, StreamId};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::advertise::OwnAddress;
use crate::answers::Desk;
use crate::estate::Estate;
use crate::guard::{Panics, caught, guarded};
use crate::handle::Command;
use crate::joins::Joins;
use crate::places::Places;
use crate::socket::{Datagrams, Sockets, for_socket};
use crate::streams::{self, Moved, Reports, Writes};

use self::seeding::Resolved;
pub(crate) use self::seeding::Seeding;
pub(crate) use self::unanswered::Unanswered;

/// Datagrams taken at one wake-up, so that a flood does not starve timers and streams.
const DATAGRAMS_PER_WAKE: usize = 64;

/// The longest datagram there is.
const DATAGRAM: usize = 65_536;

/// Pause after a connection that could not be accepted, as when the process is out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// With more members than this they are published less often: each time costs a copy of all.
const MANY: usize = 256;

/// Shortest pause between two publications of many members.
const MANY_PAUSE: Duration = Duration::from_millis(50);

/// The same as a multiple of what the last one took, so that a flood of members leaves the task time
/// for what they say.
const MANY_REST: u32 = 10;

/// Longest wait for the last lines of the snapshot at the end.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How old the published counters may be.
const STATS_AGE: Duration = Duration::from_secs(1);

/// Everything the task owns.
pub(crate) struct Task {
    pub(crate) node: Node,
    pub(crate) sockets: Sockets,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) publish: Publish,
    pub(crate) seeding: Seeding,
    /// The name that the configuration gives us; ours may have a suffix.
    asked: String,
    started: Instant,
    /// When the interfaces are looked at.
    looks: tokio::time::Interval,
    /// No connection is accepted before this.
    accept_from: tokio::time::Instant,
    streams: BTreeMap<StreamId, Writes>,
    places: Places,
    /// Longest time for writing one message to a stream.
    write_limit: Duration,
    reports: (Reports, mpsc::Receiver<(StreamId, Moved)>),
    resolved: (mpsc::Sender<Resolved>, mpsc::Receiver<Resolved>),
    joins: Joins,
    leavers: Vec<oneshot::Sender<()>>,
    /// Where somebody claims our name.
    claimed_at: Option<SocketAddr>,
    /// Another node may be using the sockets.
    paused: bool,
    desk: Desk,
    files: Files,
}

/// What is kept on disk.
pub(crate) struct Files {
    /// Where the keys are kept.
    pub(crate) keyring: Option<PathBuf>,
    /// Who keeps the members.
    pub(crate) keeper: Option<JoinHandle<()>>,
}

/// Where the task tells what it knows.
pub(crate) struct Publish {
    pub(crate) name: watch::Sender<Arc<str>>,
    pub(crate) own: watch::Sender<OwnAddress>,
    pub(crate) trouble: watch::Sender<String>,
    pub(crate) members: watch::Sender<Arc<Vec<Member>>>,
    pub(crate) stats: watch::Sender<Stats>,
    pub(crate) clocks: watch::Sender<Clocks>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
    pub(crate) revision: u64,
    /// When the members may be published again, if they are many.
    pub(crate) members_from: Instant,
    pub(crate) stats_at: Instant,
}

/// What woke the task.
enum Wake {
    Datagrams,
    Accepted(std::io::Result<(TcpStream, SocketAddr)>),
    Stream(StreamId, Moved),
    Resolved(Resolved),
    Command(Option<Command>),
    Seeds,
    Interfaces,
    Timer,
}

impl Task {
    pub(crate) fn new(
        node: Node,
        asked: String,
        sockets: Sockets,
        commands: mpsc::Receiver<Command>,
        publish: Publish,
        seeding: Seeding,
        files: Files,
    ) -> Self {
        let places = Places::new(&node.config().limits);
        let write_limit = node.config().timings.stream_timeout;
        Self {
            node,
            sockets,
            commands,
            publish,
            seeding,
            asked,
            started: Instant::now(),
            looks: address::looks(),
            accept_from: tokio::time::Instant::now(),
            streams: BTreeMap::new(),
            places,
            write_limit,
            reports: mpsc::channel(256),
            resolved: mpsc::channel(16),
            joins: Joins::default(),
            leavers: Vec::new(),
            claimed_at: None,
            paused: false,
            desk: Desk::default(),
            files,
        }
    }

    /// Runs until it is told to stop, or nobody is left to tell it anything; or until it has
    /// panicked too often.
    pub(crate) async fn run(mut self) {
        let mut panics = Panics::default();
        loop {
            match caught(self.live()).await {
                Some(Some(reply)) => return self.end(reply).await,
                Some(None) => return,
                None if panics.note(Instant::now()) => {
                    tracing::error!("the gossip's driver panics again and again: it ends");
                    return;
                }
                None if self.restart() => {}
                None => return,
            }
        }
    }

    /// Closes the sockets, waits for the last lines of the snapshot and says so.
    async fn end(mut self, reply: oneshot::Sender<()>) {
        // The sockets are closed before the answer, so the port is free by then.
        let keeper = self.files.keeper.take();
        drop(self);
        if let Some(keeper) = keeper {
            let _ = tokio::time::timeout(LAST_LINES, keeper).await;
        }
        let _ = reply.send(());
    }

    /// Gives whom to tell of the end, if somebody asked for it.
    async fn live(&mut self) -> Option<oneshot::Sender<()>> {
        let mut buffer = Datagrams::new(DATAGRAM);
        loop {
            let wake = self.wait().await;
            let now = Instant::now();
            match wake {
                Wake::Datagrams => self.take_datagrams(now, &mut buffer),
                Wake::Accepted(result) => self.take_stream(now, result),
                Wake::Stream(id, moved) => self.stream_moved(now, id, moved),
                Wake::Resolved(resolved) => self.join_resolved(now, resolved),
                Wake::Command(Some(Command::Shutdown(reply))) => return Some(reply),
                Wake::Command(Some(command)) => self.obey(now, command),
                Wake::Command(None) => return None,
                Wake::Seeds => self.try_seeds(),
                Wake::Interfaces => {
                    self.look_at_interfaces(now);
                    self.look_at_seeds(now);
                }
                Wake::Timer => {}
            }
            if !self.paused && self.node.poll_timeout().is_some_and(|at| at <= now) {
                self.node.handle_timeout(now);
            }
            self.carry_out();
            self.publish_changes(now);
        }
    }

    async fn wait(&mut self) -> Wake {
        let deadline = self.next_deadline();
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let seeds = async {
            match self.seeding.next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let awake = !self.paused;
        let accept = async {
            tokio::time::sleep_until(self.accept_from).await;
            self.sockets.tcp.accept().await
        };
        tokio::select! {
            _ = self.sockets.udp.readable(), if awake => Wake::Datagrams,
            result = accept, if awake => Wake::Accepted(result),
            Some((id, moved)) = self.reports.1.recv() => Wake::Stream(id, moved),
            Some(resolved) = self.resolved.1.recv() => Wake::Resolved(resolved),
            command = self.commands.recv() => Wake::Command(command),
            () = seeds, if awake => Wake::Seeds,
            _ = self.looks.tick(), if awake => Wake::Interfaces,
            () = timer, if awake => Wake::Timer,
        }
    }

    /// When the node wants to be called, or waiting news are to be published.
    fn next_deadline(&self) -> Option<Instant> {
        let publish = &self.publish;
        let waiting = publish.revision != self.node.revision();
        let news = waiting.then_some(publish.members_from);
        self.node.poll_timeout().into_iter().chain(news).min()
    }

    fn take_datagrams(&mut self, now: Instant, buffer: &mut Datagrams) {
        for _ in 0..DATAGRAMS_PER_WAKE {
            let Ok((bytes, from, at)) = buffer.receive(&self.sockets.udp) else {
                return;
            };
            let node = &mut self.node;
            if guarded(|| node.handle_datagram_at(now, from, at, bytes)).is_none() {
                node.refuse_broken(from);
            }
            self.carry_out();
        }
    }

    fn take_stream(&mut self, now: Instant, result: std::io::Result<(TcpStream, SocketAddr)>) {
        match result {
            Ok((socket, from)) => {
                if let Some((id, crowd)) = self.places.make_room(from.ip()) {
                    self.streams.remove(&id);
                    self.node.handle_stream_crowded(now, id, from, crowd);
                }
                if let Some(id) = self.node.accept_stream(now, from) {
                    if let Ok(at) = socket.local_addr() {
                        self.node.handle_stream_at(id, at.ip());
                    }
                    let place = self.places.take(id, from.ip());
                    let (reports, limit) = (self.reports.0.clone(), self.write_limit);
                    let (writes, task) = streams::accepted(id, socket, reports, limit, place);
                    self.places.served_by(id, task);
                    self.streams.insert(id, writes);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a gossip stream");
                self.accept_from = tokio::time::Instant::now() + ACCEPT_PAUSE;
            }
        }
    }

    fn stream_moved(&mut self, now: Instant, id: StreamId, moved: Moved) {
        match moved {
            Moved::Opened(at) => {
                if let Some(at) = at {
                    self.node.handle_stream_at(id, at);
                }
                self.node.handle_stream_opened(now, id);
            }
            Moved::Bytes(bytes) => {
                let node = &mut self.node;
                if guarded(|| node.handle_stream_bytes(now, id, &bytes)).is_none() {
                    node.refuse_broken_stream(id);
                }
            }
            Moved::Closed(why) => {
                self.streams.remove(&id);
                self.node.handle_stream_closed(now, id, &why);
            }
        }
    }

    fn obey(&mut self, now: Instant, command: Command) {
        match command {
            Command::Join(seeds, reply) => self.resolve(seeds, Some(reply)),
            Command::Leave(reply) => {
                self.seeding.next = None;
                self.leavers.push(reply);
                self.node.leave(now);
            }
            Command::SetTags(tags, reply) => {
                let _ = reply.send(self.node.set_tags(now, tags));
            }
            Command::WatchOnly(names) => self.node.watch_only(now, &names),
            Command::Query(params, reply) => {
                let asked = self.node.query(now, &params);
                let _ = reply.send(asked.map(|id| self.desk.asked(id)));
            }
            Command::Respond(query, payload, reply) => {
                let _ = reply.send(self.node.respond(now, query, &payload));
            }
            Command::UserEvent {
                name,
                payload,
                coalesce,
                reply,
            } => {
                let _ = reply.send(self.node.user_event(now, &name, &payload, coalesce));
            }
            Command::Listen(prefix, reply) => {
                let _ = reply.send(self.desk.listen(prefix));
            }
            Command::Pause(reply) => {
                let own = self.publish.own.borrow().clone();
                let estate = Estate::of(&self.node, &self.asked, &self.sockets, own);
                self.paused = estate.is_some();
                let _ = reply.send(estate);
            }
            Command::Resume => self.paused = false,
            #[cfg(debug_assertions)]
            Command::Panic => panic!("a panic that was asked for"),
            Command::Shutdown(_) => {}
        }
    }

    /// Does all that the node asks for.
    fn carry_out(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                // Whoever goes on as this member speaks for it.
                Output::Datagram { .. } if self.paused => {}
                Output::Datagram { to, bytes } => {
                    let to = for_socket(self.sockets.local, to);
                    // A datagram that cannot be sent is lost, as datagrams may be.
                    if let Err(error) = self.sockets.udp.try_send_to(&bytes, to) {
                        tracing::trace!(%to, %error, "cannot send a gossip datagram");
                    }
                }
                Output::Open { id, to } => {
                    let reports = self.reports.0.clone();
                    let writes = streams::open(id, to, reports, self.write_limit);
                    self.streams.insert(id, writes);
                }
                Output::Write { id, bytes } => {
                    if let Some(writes) = self.streams.get(&id) {
                        let _ = writes.send(bytes);
                    }
                }
                Output::Close { id } => {
                    self.streams.remove(&id);
                }
                Output::SaveKeys { query, keys } => self.save_keys(query, &keys),
                Output::Event(event) => self.happened(event),
            }
        }
    }

    /// Rare and short, so that it may hold the task up.
    fn save_keys(&mut self, query: QueryId, keys: &[Vec<u8>]) {
        let saved = match &self.files.keyring {
            Some(path) => crate::keyring::save(path, keys),
            None => Ok(()),
        };
        let error = saved.err().map(|error| error.to_string());
        if let Some(error) = &error {
            tracing::warn!(error, "cannot save the gossip keyring");
        }
        self.node
            .handle_keys_saved(Instant::now(), query, error.as_deref());
    }

    fn happened(&mut self, event: Event) {
        let event = match event {
            Event::Answer(answer) => return self.desk.answered(answer),
            Event::QueryEnded { query } => return self.desk.ended(query),
            event => event,
        };
        match &event {
            Event::Query(question) => self.desk.question(question),
            Event::Joined { address, .. } => {
                self.joins.ended(*address, None);
                self.seed_answered();
                self.seeding.answered.insert(*address, Instant::now());
                if self.seeding.next.is_some() {
                    self.seeds_after(false);
                }
            }
            // It may be a seed, and its name may stand for another address by now.
            Event::Failed(_) | Event::Leave(_) => self.seeds_soon(),
            Event::JoinFailed { address, reason } => {
                self.joins.ended(*address, Some(reason));
                self.seeding.unanswered.failed(*address, reason);
            }
            Event::Renamed { to, .. } => self.renamed(to),
            Event::Join(member) => self.confirmed(member),
            Event::Moved { to, peer, .. } => self.moved(*to, *peer),
            Event::Departed => {
                for reply in self.leavers.drain(..) {
                    let _ = reply.send(());
                }
            }
            _ => {}
        }
        crate::log::event(&event);
        self.note_claim(&event);
        let loses_name = self.loses_name(&event);
        // Nobody may be listening.
        let _ = self.publish.events.send(Arc::new(event));
        if loses_name {
            self.take_another_name(Instant::now());
        }
    }

    fn publish_changes(&mut self, now: Instant) {
        let publish = &mut self.publish;
        let many = publish.members.borrow().len() > MANY;
        let rested = now >= publish.members_from;
        if publish.revision != self.node.revision() && (rested || !many) {
            publish.revision = self.node.revision();
            let begun = Instant::now();
            let members = self.node.members().cloned().collect();
            publish.members.send_replace(Arc::new(members));
            publish.members_from = now + MANY_PAUSE.max(begun.elapsed() * MANY_REST);
        }
        let clocks = self.node.clocks();
        publish
            .clocks
            .send_if_modified(|old| std::mem::replace(old, clocks) != clocks);
        if now.saturating_duration_since(publish.stats_at) >= STATS_AGE {
            publish.stats_at = now;
            publish.stats.send_replace(Stats {
                places: self.places.taken(),
                ..self.node.stats()
            });
        }
    }
}
