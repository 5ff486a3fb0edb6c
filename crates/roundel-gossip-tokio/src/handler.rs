//! Scripts that are run for events, as `serf agent -event-handler` runs them.
//!
//! A script gets the kind of event in its environment and members or a payload on its standard
//! input. Unlike with agents, scripts run one at a time, none runs for ever, and what happens to
//! members waits for nothing but the run before; user events are merged as agents merge them.

mod run;
mod user_events;

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use roundel_gossip::{Event, Member, QueryId};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use self::user_events::{UserEvent, UserEvents};
use crate::Handle;
use crate::handle::Shared;

/// A script that runs longer is killed.
const LIMIT: Duration = Duration::from_secs(60);

/// Most happenings that wait for their scripts; the oldest are dropped.
const WAITING: usize = 1024;

/// Most members in one run.
const MEMBERS: usize = 4096;

/// A script and the events for which it is run, as `FILTER=SCRIPT` or `SCRIPT` (for all).
///
/// The filter is a list of `member-join`, `member-leave`, `member-failed`, `member-update`,
/// `member-reap`, `user`, `user:NAME`, `query`, `query:NAME` and `*`, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    filters: Vec<Filter>,
    script: String,
}

/// Says what is wrong with a handler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// No script is named.
    #[error("no script; write member-join,member-leave=SCRIPT or SCRIPT")]
    NoScript,
    /// An event that there is not.
    #[error(
        "{0:?} is no event; there are member-join, member-leave, member-failed, member-update, \
         member-reap, user, user:NAME, query, query:NAME and *"
    )]
    Event(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    All,
    Kind(&'static str),
    Named(&'static str, String),
}

/// Something to run scripts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happening {
    Members(&'static str, Vec<Member>),
    User(UserEvent),
    Query {
        id: QueryId,
        name: String,
        payload: Vec<u8>,
        time: u64,
    },
}

const KINDS: [&str; 7] = [
    "member-join",
    "member-leave",
    "member-failed",
    "member-update",
    "member-reap",
    "user",
    "query",
];

impl FromStr for Handler {
    type Err = HandlerError;

    fn from_str(text: &str) -> Result<Self, HandlerError> {
        let (filters, script) = match text.split_once('=') {
            Some((filters, script)) => (filters, script),
            None => ("*", text),
        };
        if script.trim().is_empty() {
            return Err(HandlerError::NoScript);
        }
        let filters = filters.split(',').map(|word| filter(word.trim()));
        Ok(Self {
            filters: filters.collect::<Result<_, _>>()?,
            script: script.to_owned(),
        })
    }
}

fn filter(word: &str) -> Result<Filter, HandlerError> {
    if word == "*" {
        return Ok(Filter::All);
    }
    if let Some(kind) = KINDS.iter().find(|kind| **kind == word) {
        return Ok(Filter::Kind(kind));
    }
    match word.split_once(':') {
        Some(("user", name)) => Ok(Filter::Named("user", name.to_owned())),
        Some(("query", name)) => Ok(Filter::Named("query", name.to_owned())),
        _ => Err(HandlerError::Event(word.to_owned())),
    }
}

/// As it is read.
impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, filter) in self.filters.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match filter {
                Filter::All => write!(f, "{comma}*")?,
                Filter::Kind(kind) => write!(f, "{comma}{kind}")?,
                Filter::Named(kind, name) => write!(f, "{comma}{kind}:{name}")?,
            }
        }
        write!(f, "={}", self.script)
    }
}

impl Handler {
    fn wants(&self, happening: &Happening) -> bool {
        let (kind, name) = happening.kind();
        self.filters.iter().any(|filter| match filter {
            Filter::All => true,
            Filter::Kind(wanted) => *wanted == kind,
            Filter::Named(wanted, named) => *wanted == kind && named == name,
        })
    }
}

impl Happening {
    fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::Join(m) => Self::Members("member-join", vec![m.clone()]),
            Event::Leave(m) => Self::Members("member-leave", vec![m.clone()]),
            Event::Failed(m) => Self::Members("member-failed", vec![m.clone()]),
            Event::Update(m) => Self::Members("member-update", vec![m.clone()]),
            Event::Reap(m) => Self::Members("member-reap", vec![m.clone()]),
            Event::Query(question) if !question.name.starts_with(roundel_gossip::INTERNAL) => {
                Self::Query {
                    id: question.id,
                    name: question.name.clone(),
                    payload: question.payload.clone(),
                    time: question.time,
                }
            }
            _ => return None,
        })
    }

    fn kind(&self) -> (&'static str, &str) {
        match self {
            Self::Members(kind, _) => (kind, ""),
            Self::User(event) => ("user", &event.name),
            Self::Query { name, .. } => ("query", name),
        }
    }
}

/// What waits for its scripts.
#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Happening>,
    /// User events that are to be merged or brought into order first.
    held: UserEvents,
    dropped: u64,
}

impl Waiting {
    fn note(&mut self, now: Instant, event: &Event) {
        if let Event::User {
            name,
            payload,
            time,
            coalesce,
        } = event
        {
            let event = UserEvent {
                name: name.clone(),
                payload: payload.clone(),
                time: *time,
            };
            self.held.add(now, event, *coalesce);
        } else if let Some(happening) = Happening::of(event) {
            self.add(happening);
        }
    }

    /// Has the user events that are due wait with the rest.
    fn release(&mut self, now: Instant) {
        for event in self.held.take(now) {
            self.add(Happening::User(event));
        }
        self.dropped += std::mem::take(&mut self.held.dropped);
    }

    fn tell_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            tracing::warn!(dropped, "event handlers are too slow: events were dropped");
        }
    }

    /// Adds a happening; members to whom the same happened one after another share a run.
    fn add(&mut self, happening: Happening) {
        if let Happening::Members(kind, more) = &happening
            && let Some(Happening::Members(last, members)) = self.queue.back_mut()
            && last == kind
            && members.len() < MEMBERS
        {
            members.extend(more.iter().cloned());
            return;
        }
        if self.queue.len() >= WAITING {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.queue.push_back(happening);
    }
}

/// Runs scripts for events until the node ends. The first is that the node itself is a member.
pub(crate) fn start(handle: Handle, handlers: Vec<Handler>) {
    let events = handle.events();
    let own = handle.members().borrow().iter().cloned().collect();
    let mut waiting = Waiting::default();
    waiting.add(Happening::Members("member-join", own));
    let runner = Runner {
        events,
        waiting,
        // The node must end when the application lets go of it.
        shared: Arc::downgrade(&handle.shared),
    };
    tokio::spawn(runner.run(handlers));
}

/// Waits for events, and has the scripts run for them.
struct Runner {
    events: broadcast::Receiver<Arc<Event>>,
    waiting: Waiting,
    shared: Weak<Shared>,
}

impl Runner {
    async fn run(mut self, handlers: Vec<Handler>) {
        loop {
            self.waiting.release(Instant::now());
            let Some(happening) = self.waiting.queue.pop_front() else {
                if self.listen().await {
                    continue;
                }
                return;
            };
            for handler in handlers.iter().filter(|h| h.wants(&happening)) {
                let Some(shared) = self.shared.upgrade() else {
                    return;
                };
                let handle = Handle { shared };
                let run = run::run(handle, &handler.script, &happening, LIMIT);
                tokio::pin!(run);
                loop {
                    tokio::select! {
                        () = &mut run => break,
                        goes_on = self.listen() => if !goes_on {
                            // What was begun ends as it would.
                            run.await;
                            return;
                        },
                    }
                }
            }
            self.waiting.tell_dropped();
        }
    }

    /// Takes the next event, or waits until held ones are due; false when the node has ended.
    async fn listen(&mut self) -> bool {
        let due = async {
            match self.waiting.held.due() {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.events.recv() => match event {
                Ok(event) => self.waiting.note(Instant::now(), &event),
                Err(RecvError::Lagged(lost)) => self.waiting.dropped += lost,
                Err(RecvError::Closed) => return false,
            },
            () = due => self.waiting.release(Instant::now()),
        }
        true
    }
}

#[cfg(test)]
mod tests;
