//! Connections to servers that are being made for all who wait for one.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::sync::watch;

use super::ByServer;
use crate::shared::PoolKey;
use crate::transport::Io;
use crate::upstream::h2::STREAMS;
use crate::vacancies::Vacancies;

/// What making a connection came to: no word, or what went wrong.
type Done = Option<Result<(), Failed>>;

/// What went wrong, for each who waited.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    kind: io::ErrorKind,
    text: String,
    /// The number of the operating system, by which a shortage is known.
    code: Option<i32>,
}

/// One connection that is being made.
#[derive(Debug)]
pub(crate) struct Dial {
    owner: u64,
    address: SocketAddr,
    waiting: Cell<usize>,
    done: watch::Sender<Done>,
    /// It turned out to carry one exchange at a time: whoever comes first has it.
    single: RefCell<Option<Io>>,
}

/// Those that are being made, and what is known of those that were.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    open: RefCell<ByServer<Vec<Rc<Dial>>>>,
    /// What a connection to a server carried that was made last.
    known: RefCell<ByServer<Known>>,
    /// Who waits for a place where no further connection may be made.
    vacancies: RefCell<ByServer<Rc<Vacancies>>>,
}

/// What a connection carries.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Known {
    /// How many streams; 0 where the server speaks HTTP/1.
    pub(crate) streams: usize,
    /// Whether such a stream may be a socket.
    pub(crate) sockets: bool,
}

/// A place among those who wait.
pub(crate) struct Waiting(Rc<Dial>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.update(|waiting| waiting - 1);
    }
}

impl Waiting {
    /// Waits until the connection is made. Gives it where it is for one only.
    ///
    /// Errors: it was not made.
    pub(crate) async fn wait(self) -> io::Result<Option<Io>> {
        let mut done = self.0.done.subscribe();
        let told = match done.wait_for(Option::is_some).await {
            Ok(told) => told.clone(),
            Err(_) => None,
        };
        match told {
            Some(Ok(())) => Ok(self.0.single.borrow_mut().take()),
            Some(Err(failed)) => Err(failed.into()),
            None => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        match failed.code {
            Some(code) => Self::from_raw_os_error(code),
            None => Self::new(failed.kind, failed.text),
        }
    }
}

impl Dials {
    /// Joins those who wait for a connection to this server, if it will have a place for one more.
    pub(crate) fn join(&self, key: PoolKey, owner: u64, address: SocketAddr) -> Option<Waiting> {
        let most = self.known(key).map_or(STREAMS, |known| known.streams);
        let open = self.open.borrow();
        let fits = |dial: &&Rc<Dial>| {
            dial.owner == owner && dial.address == address && dial.waiting.get() < most
        };
        let dial = open.get(&key)?.iter().find(fits)?;
        Some(dial.clone().wait())
    }

    /// Begins one; [`Self::end`] has to follow.
    pub(crate) fn begin(&self, key: PoolKey, owner: u64, address: SocketAddr) -> Rc<Dial> {
        let dial = Rc::new(Dial {
            owner,
            address,
            waiting: Cell::new(0),
            done: watch::Sender::default(),
            single: RefCell::default(),
        });
        let mut open = self.open.borrow_mut();
        open.entry(key).or_default().push(dial.clone());
        dial
    }

    /// Tells all who wait what came of it. `single` is a connection for one of them only.
    pub(crate) fn end(&self, key: PoolKey, dial: &Rc<Dial>, came: io::Result<Option<Io>>) {
        let mut open = self.open.borrow_mut();
        if let Some(list) = open.get_mut(&key) {
            list.retain(|other| !Rc::ptr_eq(other, dial));
            if list.is_empty() {
                open.remove(&key);
            }
        }
        let done = came
            .map(|single| {
                dial.single.replace(single);
            })
            .map_err(|error| Failed {
                kind: error.kind(),
                code: error.raw_os_error(),
                text: error.to_string(),
            });
        dial.done.send_replace(Some(done));
        // It has places for more than waited for it, or makes room for another one.
        self.vacancies(key).tell_all();
    }

    /// Who waits for a place on connections to this server.
    pub(crate) fn vacancies(&self, key: PoolKey) -> Rc<Vacancies> {
        self.vacancies.borrow_mut().entry(key).or_default().clone()
    }

    /// How many are being made to this server.
    pub(crate) fn count(&self, key: PoolKey) -> usize {
        self.open.borrow().get(&key).map_or(0, Vec::len)
    }

    /// What a connection to this server carried that was made last; `None` where none was made.
    pub(crate) fn known(&self, key: PoolKey) -> Option<Known> {
        self.known.borrow().get(&key).copied()
    }

    pub(crate) fn note(&self, key: PoolKey, known: Known) {
        self.known.borrow_mut().insert(key, known);
    }

    /// Forgets what is known of servers that are gone.
    pub(crate) fn sweep(&self, takes_requests: impl Fn(&PoolKey) -> bool) {
        self.known.borrow_mut().retain(|key, _| takes_requests(key));
        // Those of connections that are there and of who waits are kept.
        let mut vacancies = self.vacancies.borrow_mut();
        vacancies.retain(|key, all| Rc::strong_count(all) > 1 || takes_requests(key));
    }
}

impl Dial {
    /// Waits with the others.
    pub(crate) fn wait(self: Rc<Self>) -> Waiting {
        self.waiting.update(|waiting| waiting + 1);
        Waiting(self)
    }
}
