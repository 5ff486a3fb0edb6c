//! The shared state behind every view.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Bytes;
use roundel_tls::Front;
use tokio::sync::{OwnedMutexGuard, broadcast, oneshot, watch};

use crate::answers::Answers;
use crate::bounds::Bounds;
use crate::command::{Command, CommandError, CommandSender, Order, Outcome, Principal};
use crate::csv::Cleared;
use crate::door::{Read, Sessions};
use crate::guesses::Guesses;
use crate::history::History;
use crate::metrics::OwnNumbers;
use crate::moment::Moment;
use crate::sse::Frames;
use crate::status::{Event, Snapshot};

/// Who may act over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Acts {
    /// Nobody: acts answer 405.
    #[default]
    Off,
    /// Whoever connects from a loopback address.
    Loopback,
    /// Whoever brings this bearer token.
    Token(String),
}

/// Static settings of the admin plane.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who may read over HTTP. Default: everybody.
    pub read: Read,
    /// Whether everybody may read `/metrics` all the same.
    pub open_metrics: bool,
    /// Who may act over HTTP. Default: nobody.
    pub acts: Acts,
    /// Host names that acts may be addressed to, beside IP addresses, loopback names and
    /// names without a dot. Default: none. Guards against DNS rebinding.
    pub hosts: Vec<String>,
    /// What is shown over TLS to those who connect from now on; empty: the port speaks plain HTTP.
    pub tls: Arc<ArcSwapOption<Front>>,
    /// What strangers may take.
    pub bounds: Arc<Bounds>,
}

#[cfg(test)]
impl Default for Config {
    fn default() -> Self {
        Self {
            read: Read::Open,
            open_metrics: false,
            acts: Acts::Off,
            hosts: Vec::new(),
            tls: Arc::default(),
            bounds: Bounds::new(crate::Limits::default()),
        }
    }
}

/// The admin plane: a cheap handle that all listeners share.
#[derive(Clone)]
pub struct Admin {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Guards forms: only a page of this process can name it.
    pub(crate) form_key: String,
    pub(crate) moments: watch::Receiver<Arc<Moment>>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
    pub(crate) answers: Answers,
    pub(crate) frames: Frames,
    pub(crate) guesses: Guesses,
    pub(crate) sessions: Sessions,
    history: Arc<RwLock<History>>,
    commands: CommandSender,
    draining: AtomicBool,
    rendering: Arc<tokio::sync::Mutex<()>>,
    acts: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    cleared: Mutex<Arc<Cleared>>,
}

impl Admin {
    /// As [`Self::new`], with the keeper of history as a task of the current runtime.
    ///
    /// Panics: outside a tokio runtime; when the system has no random numbers.
    pub fn start(
        config: Config,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        commands: CommandSender,
        events: broadcast::Sender<Arc<Event>>,
    ) -> Self {
        let (admin, keeper) = Self::new(config, snapshots, commands, events);
        tokio::spawn(keeper);
        admin
    }

    /// Makes the plane, and the keeper of its history: without it what is shown stands still. The
    /// keeper ends when the snapshot's sender is dropped.
    ///
    /// `events` carries timeline events at the moment they happen, so that the page shows
    /// them at once; whoever makes events sends on a clone of it (and may ignore that nobody
    /// listens).
    /// Panics: when the system has no random numbers.
    pub fn new(
        config: Config,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        commands: CommandSender,
        events: broadcast::Sender<Arc<Event>>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let history = Arc::new(RwLock::new(History::new()));
        let first = moment(&history, snapshots.borrow_and_update().clone());
        let (sender, moments) = watch::channel(first);
        let shared = Shared {
            config,
            form_key: form_key(),
            moments,
            events,
            answers: Answers::default(),
            frames: Frames::default(),
            guesses: Guesses::default(),
            sessions: Sessions::default(),
            history: history.clone(),
            commands,
            draining: AtomicBool::new(false),
            rendering: Arc::default(),
            acts: Mutex::default(),
            cleared: Mutex::default(),
        };
        let shared = Arc::new(shared);
        // What is kept must not keep itself.
        let kept = Arc::downgrade(&shared);
        let keeper = async move {
            while snapshots.changed().await.is_ok() {
                let snapshot = snapshots.borrow_and_update().clone();
                let (seq, second) = (snapshot.seq, snapshot.second);
                sender.send_replace(moment(&history, snapshot));
                if let Some(shared) = kept.upgrade() {
                    shared.answers.forget(seq);
                    shared.frames.forget(second);
                }
            }
        };
        (Self { shared }, keeper)
    }

    /// A plane that has seen `snapshots`, with the settings of `like`.
    #[cfg(test)]
    pub(crate) fn lived(snapshots: impl Iterator<Item = Snapshot>, like: Self) -> Self {
        let history = Arc::new(RwLock::new(History::new()));
        let all = snapshots.map(|s| moment(&history, Arc::new(s)));
        let (_, moments) = watch::channel(all.last().expect("at least one"));
        let old = &like.shared;
        let shared = Shared {
            config: old.config.clone(),
            form_key: old.form_key.clone(),
            moments,
            events: old.events.clone(),
            answers: Answers::default(),
            frames: Frames::default(),
            guesses: Guesses::default(),
            sessions: Sessions::default(),
            history,
            commands: old.commands.clone(),
            draining: AtomicBool::new(false),
            rendering: Arc::default(),
            acts: Mutex::default(),
            cleared: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The routes of port 1936.
    pub fn router(&self) -> Router {
        crate::routes::router(self.clone())
    }

    /// Makes `/readyz` answer 503 from this moment on, without waiting for a snapshot.
    pub fn set_draining(&self) {
        self.shared.draining.store(true, Relaxed);
    }

    /// Whether the process is ending.
    pub(crate) fn is_draining(&self) -> bool {
        self.shared.draining.load(Relaxed) || self.moment().snapshot.draining
    }

    /// The newest numbers.
    pub(crate) fn moment(&self) -> Arc<Moment> {
        self.shared.moments.borrow().clone()
    }

    /// Waits until nothing else is rendered.
    pub(crate) async fn alone(&self) -> Alone {
        Alone {
            _held: self.shared.rendering.clone().lock_owned().await,
        }
    }

    /// The JSON of a moment, made by whoever asks first. `None`: readers hold as much as they may.
    pub(crate) async fn json(&self, moment: Arc<Moment>) -> Option<Bytes> {
        if let Some(made) = moment.json_made() {
            return Some(made);
        }
        let alone = self.alone().await;
        if let Some(made) = moment.json_made() {
            return Some(made);
        }
        let bounds = &self.shared.config.bounds;
        if !bounds.room().await {
            return None;
        }
        let memory = Arc::clone(&bounds.memory);
        Some(alone.render(move || moment.json(&memory)).await)
    }

    /// The past; held only while something is rendered.
    pub(crate) fn history(&self) -> RwLockReadGuard<'_, History> {
        let history = self.shared.history.read();
        history.unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the greatest rates seen: HAProxy's `clear counters`.
    pub(crate) fn clear_maxima(&self) {
        let history = self.shared.history.write();
        history
            .unwrap_or_else(PoisonError::into_inner)
            .clear_maxima();
        self.shared.answers.forget(u64::MAX);
    }

    /// Has HAProxy's table begin anew: the greatest values, with `all` the counters as well.
    pub(crate) fn clear_counters(&self, all: bool) {
        let cleared = self.shared.cleared.lock();
        let mut cleared = cleared.unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut cleared).clear(&self.moment(), all);
        drop(cleared);
        self.shared.answers.forget(u64::MAX);
    }

    /// What HAProxy's table leaves out.
    pub(crate) fn cleared(&self) -> Arc<Cleared> {
        let cleared = self.shared.cleared.lock();
        cleared.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The admin plane's own numbers.
    pub(crate) fn own_numbers(&self) -> OwnNumbers {
        let acts = self.shared.acts.lock();
        let acts = acts.unwrap_or_else(PoisonError::into_inner);
        OwnNumbers {
            viewers: self.shared.config.bounds.viewers.used(),
            wrong_tokens: self.shared.guesses.count(),
            draining: self.is_draining(),
            acts: acts.iter().map(|(key, n)| (*key, *n)).collect(),
        }
    }

    /// Hands one act to the one writer and waits for its answer.
    pub(crate) async fn order(
        &self,
        command: Command,
        principal: Principal,
    ) -> Result<Outcome, CommandError> {
        let word = command.as_str();
        tracing::info!(action = word, who = %principal.0, "operator act: {command}");
        let result = self.send(command, principal).await;
        self.count(word, if result.is_ok() { "ok" } else { "refused" });
        result
    }

    async fn send(&self, command: Command, who: Principal) -> Result<Outcome, CommandError> {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            command,
            principal: who,
            reply,
        };
        let sent = self.shared.commands.send(order).await;
        sent.map_err(|_| CommandError::Closed)?;
        let outcome = answer.await.map_err(|_| CommandError::Closed)??;
        let mut moments = self.shared.moments.clone();
        // Whoever asks next reads what was done. An error means the end, when nothing is read.
        let _ = moments.wait_for(|m| m.snapshot.seq >= outcome.seq).await;
        Ok(outcome)
    }

    fn count(&self, action: &'static str, result: &'static str) {
        let acts = self.shared.acts.lock();
        let mut acts = acts.unwrap_or_else(PoisonError::into_inner);
        *acts.entry((action, result)).or_default() += 1;
    }
}

/// The right to render. With thousands of servers a view is many megabytes: it must not hold up checks,
/// gossip and health, nor be made several times at once.
pub(crate) struct Alone {
    _held: OwnedMutexGuard<()>,
}

impl Alone {
    /// Renders on a thread of its own, to the end even if nobody waits for it any more.
    pub(crate) async fn render<T: Send + 'static>(
        self,
        render: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let rendered = tokio::task::spawn_blocking(move || {
            let _alone = self;
            render()
        });
        let rendered = rendered.await;
        rendered.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

fn moment(history: &RwLock<History>, snapshot: Arc<Snapshot>) -> Arc<Moment> {
    let past = history.write();
    let rates = past.unwrap_or_else(PoisonError::into_inner).see(&snapshot);
    Arc::new(Moment::new(snapshot, rates))
}

fn form_key() -> String {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
