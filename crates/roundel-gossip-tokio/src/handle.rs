//! The application's side of a running node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::advertise::OwnAddress;
use crate::answers::Answers;
use crate::estate::Estate;
use crate::key_report::KeyReport;
use crate::seeds::Seed;
use roundel_gossip::{
    ConfigError, Event, KeyAct, Limits, Member, QueryId, QueryParams, Question, SayError, Stats,
    Status,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Steers a running node. Cheap to clone; the node ends with [`Handle::shutdown`] or when all
/// handles are gone. It outlives two panics of its driver within a minute: then it begins anew as the
/// same member, knows the others as before and says so by [`Event::Restarted`].
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles of one node share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: watch::Receiver<Arc<str>>,
    pub(crate) local: SocketAddr,
    pub(crate) own: watch::Receiver<OwnAddress>,
    pub(crate) trouble: watch::Receiver<String>,
    pub(crate) members: watch::Receiver<Arc<Vec<Member>>>,
    pub(crate) stats: watch::Receiver<Stats>,
    pub(crate) limits: Limits,
    pub(crate) events: broadcast::WeakSender<Arc<Event>>,
    pub(crate) commands: mpsc::Sender<Command>,
}

/// What a handle asks of the task.
#[derive(Debug)]
pub(crate) enum Command {
    Join(Vec<Seed>, oneshot::Sender<Result<usize, JoinError>>),
    Leave(oneshot::Sender<()>),
    SetTags(
        BTreeMap<String, String>,
        oneshot::Sender<Result<(), ConfigError>>,
    ),
    WatchOnly(BTreeSet<String>),
    Query(QueryParams, oneshot::Sender<Result<Answers, SayError>>),
    Respond(QueryId, Vec<u8>, oneshot::Sender<Result<(), SayError>>),
    UserEvent {
        name: String,
        payload: Vec<u8>,
        coalesce: bool,
        reply: oneshot::Sender<Result<(), SayError>>,
    },
    Listen(String, oneshot::Sender<mpsc::Receiver<Question>>),
    Pause(oneshot::Sender<Option<Estate>>),
    Resume,
    #[cfg(debug_assertions)]
    Panic,
    Shutdown(oneshot::Sender<()>),
}

/// Says why no given address could be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// None answered; the text tells of each.
    #[error("no member answered: {0}")]
    NobodyAnswered(String),
    /// An address is not written as one.
    #[error("{0:?} is no address: write host, host:port, ip or ip:port")]
    Address(String),
    /// The node is leaving or has ended.
    #[error("the gossip node has ended")]
    Ended,
}

impl Handle {
    /// The address listened on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    /// The address at which others reach us, and how we came by it.
    pub fn own_address(&self) -> OwnAddress {
        self.shared.own.borrow().clone()
    }

    /// Which seeds have not answered and what was tried, if none has for some seconds; else empty.
    pub fn seed_trouble(&self) -> String {
        self.shared.trouble.borrow().clone()
    }

    /// Our own name: the one of the configuration, with a suffix if that belongs to another
    /// member.
    pub fn name(&self) -> Arc<str> {
        self.shared.name.borrow().clone()
    }

    /// All members, sorted by name, ourselves included. Changes with every change of a member.
    pub fn members(&self) -> watch::Receiver<Arc<Vec<Member>>> {
        self.shared.members.clone()
    }

    /// Events from here on. A subscriber that falls more than 1,024 behind loses the oldest
    /// (`Lagged`) and should read [`Handle::members`] again. Ends when the node ends.
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        match self.shared.events.upgrade() {
            Some(sender) => sender.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// What the node counts; at most a second old.
    pub fn stats(&self) -> Stats {
        self.shared.stats.borrow().clone()
    }

    /// What peers can make the node hold.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Joins by all the given addresses (same form as [`crate::Config::join`]) and gives how many
    /// answered. Errors: no one answered. Once only; seeds of the configuration are retried.
    pub async fn join(&self, addresses: Vec<String>) -> Result<usize, JoinError> {
        let parse =
            |text: &String| Seed::parse(text).ok_or_else(|| JoinError::Address(text.clone()));
        let seeds = addresses.iter().map(parse).collect::<Result<_, _>>()?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Join(seeds, reply)).await;
        answer.await.unwrap_or(Err(JoinError::Ended))
    }

    /// Leaves the cluster as announced: says so to all, waits until it is spread (at most about
    /// two seconds, much less with few members), and goes on answering probes until
    /// [`Handle::shutdown`].
    pub async fn leave(&self) {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Leave(reply)).await;
        let _ = answer.await;
    }

    /// Replaces our tags and spreads them. Errors: longer than 512 bytes when encoded; then
    /// nothing changes.
    pub async fn set_tags(&self, tags: BTreeMap<String, String>) -> Result<(), ConfigError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::SetTags(tags, reply)).await;
        answer.await.unwrap_or(Ok(()))
    }

    /// Pings these members, and no others, several times a second while nothing else is heard of
    /// them, and tells by [`Event::Silent`] and [`Event::Heard`] whether they answer. Waits for
    /// nothing: gives whether it was taken, which it is not while the node has too much to do.
    pub fn watch_only(&self, names: BTreeSet<String>) -> bool {
        let command = Command::WatchOnly(names);
        self.shared.commands.try_send(command).is_ok()
    }

    /// Asks all members, or some, and gives their answers and acknowledgements as they come, ours
    /// too. Errors: see [`SayError`].
    pub async fn query(&self, params: QueryParams) -> Result<Answers, SayError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Query(params, reply)).await;
        answer.await.unwrap_or(Err(SayError::Left))
    }

    /// Queries to us whose names begin with `prefix`, from here on, to be answered with
    /// [`Handle::respond`]. Each is also an [`Event::Query`]. A listener that falls more than 256
    /// behind loses the newest. Queries between nodes (`_serf_...`) come only with the prefix
    /// [`EXTENSION`](roundel_gossip::EXTENSION).
    pub async fn questions(&self, prefix: &str) -> mpsc::Receiver<Question> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Listen(prefix.to_owned(), reply)).await;
        answer.await.unwrap_or_else(|_| mpsc::channel(1).1)
    }

    /// Answers a query, once. Errors: too long, or the query is over or answered already.
    pub async fn respond(&self, query: QueryId, payload: Vec<u8>) -> Result<(), SayError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Respond(query, payload, reply)).await;
        answer.await.unwrap_or(Err(SayError::Left))
    }

    /// Announces a user event to all members; we are told of it too. `coalesce` lets handlers
    /// merge events of one name. Errors: name and payload are longer than 512 bytes together.
    pub async fn user_event(
        &self,
        name: &str,
        payload: Vec<u8>,
        coalesce: bool,
    ) -> Result<(), SayError> {
        let (reply, answer) = oneshot::channel();
        let name = name.to_owned();
        self.send(Command::UserEvent {
            name,
            payload,
            coalesce,
            reply,
        })
        .await;
        answer.await.unwrap_or(Err(SayError::Left))
    }

    /// Has all members change or list their keys, and gives what each says; as soon as all have
    /// answered. Errors: the request cannot be sent.
    pub async fn keys(&self, act: &KeyAct) -> Result<KeyReport, SayError> {
        let members = self.shared.members.borrow().clone();
        let living = members.iter().filter(|m| m.status == Status::Alive);
        let mut report = KeyReport::of(living.map(|m| m.name.clone()).collect());
        let mut answers = self.query(act.query()).await?;
        while !report.silent.is_empty() {
            match answers.next().await {
                Some(answer) => report.take(&answer),
                None => break,
            }
        }
        Ok(report)
    }

    /// Holds the node still for another one that is to go on as the same member, maybe in another
    /// process: nothing is read or sent from here on. Give what this gives to
    /// [`start_from`](crate::start_from); what arrives meanwhile waits in the sockets. Nothing is
    /// given if the node has left or has ended, or there is no descriptor left.
    ///
    /// Then [`Handle::shutdown`], or [`Handle::resume`] if nobody goes on after all.
    pub async fn pause(&self) -> Option<Estate> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Pause(reply)).await;
        answer.await.ok().flatten()
    }

    /// Goes on after [`Handle::pause`].
    pub async fn resume(&self) {
        self.send(Command::Resume).await;
    }

    /// Has the driver panic, for the tests of what follows that. Debug builds only.
    #[cfg(debug_assertions)]
    pub async fn panic(&self) {
        self.send(Command::Panic).await;
    }

    /// Ends the node and closes its sockets, without leaving: peers will see a failure unless
    /// [`Handle::leave`] came first.
    pub async fn shutdown(self) {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Shutdown(reply)).await;
        let _ = answer.await;
    }

    /// A node that has ended drops the command, and with it the reply channel.
    async fn send(&self, command: Command) {
        let _ = self.shared.commands.send(command).await;
    }
}
