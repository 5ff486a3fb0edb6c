//! Scripted servers of one slot: they record every byte and answer as told.

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::sync::Notify;

use super::DEADLINE;
use super::case::Act;
use super::message::{self, Message, Parsed};

/// How a peer ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It finished sending.
    Fin,
    /// It broke the connection.
    Reset,
}

/// One request that a server saw.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `a` or `b`.
    pub server: char,
    /// Which connection of the case it came on.
    pub connection: usize,
    /// What came of it.
    pub message: Message,
    /// Its end came.
    pub whole: bool,
}

/// Everything about the case that a slot's servers play.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What is to be played for the requests to come.
    pub(super) script: VecDeque<Vec<Act>>,
    /// The requests in the order of their heads.
    pub(super) seen: Vec<Seen>,
    /// What was received, by connection.
    pub(super) bytes: Vec<Vec<u8>>,
    /// How the proxy ended each connection.
    pub(super) ends: Vec<Option<End>>,
    /// Bytes that are not HTTP/1.
    pub(super) faults: Vec<String>,
    /// What the scripts told each other.
    pub(super) signals: BTreeSet<&'static str>,
    streams: Vec<Option<TcpStream>>,
    closing: bool,
    /// Why the case makes no sense with the protocols that are spoken in this slot.
    pub(super) skip: Option<String>,
    /// Tells the connections of one case from those of the next.
    round: u64,
}

impl State {
    /// No connection of the case is open.
    pub(super) fn is_quiet(&self) -> bool {
        self.streams.iter().all(Option::is_none)
    }
}

/// What a slot's servers and its client share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// A case is over: bridges end their connections, so that the next one meets none.
    pub(super) over: Notify,
    /// Connections of bridges behind the proxy.
    pub(super) bridged: AtomicUsize,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    pub(super) fn signal(&self, word: &'static str) {
        self.lock().signals.insert(word);
        self.changed.notify_all();
    }

    /// One connection of a bridge more, or less.
    pub(super) fn count(&self, open: bool) {
        match open {
            true => self.bridged.fetch_add(1, Ordering::AcqRel),
            false => self.bridged.fetch_sub(1, Ordering::AcqRel),
        };
        self.changed.notify_all();
    }

    /// Which case is played.
    pub(super) fn round(&self) -> u64 {
        self.lock().round
    }

    /// Whether that case is still played.
    pub(super) fn is_playing(&self, round: u64) -> bool {
        let state = self.lock();
        state.round == round && !state.closing
    }

    /// That case makes no sense here.
    pub(super) fn skip(&self, round: u64, why: String) {
        let mut state = self.lock();
        if state.round == round && !state.closing {
            state.skip.get_or_insert(why);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until `ready` holds or `deadline` is over; says whether it held.
    pub(super) fn wait(&self, deadline: Instant, ready: impl Fn(&State) -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if ready(&state) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.expect("no panic while held").0;
        }
    }
}

/// The servers of one slot: `a` and `b` listen, and a third address refuses.
#[derive(Debug)]
pub struct Site {
    /// The first server.
    pub a: SocketAddr,
    /// The second server.
    pub b: SocketAddr,
    /// Refuses connections as long as the site lives.
    pub dead: SocketAddr,
    pub(super) shared: Arc<Shared>,
    _reserved: Socket,
}

impl Site {
    /// Starts the servers on free ports of 127.0.0.1.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        // Bound and not listening: nobody else can take the port, and connecting is refused.
        let reserved = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        reserved.bind(&any.into()).expect("a free port");
        let dead = reserved.local_addr().expect("a bound socket");
        Self {
            a: listen('a', &shared),
            b: listen('b', &shared),
            dead: dead.as_socket().expect("an IPv4 address"),
            shared,
            _reserved: reserved,
        }
    }

    /// Begins a case.
    pub(super) fn begin(&self, script: &[Vec<Act>]) {
        let quiet = |_: &State| self.shared.bridged.load(Ordering::Acquire) == 0;
        self.shared.wait(Instant::now() + DEADLINE, quiet);
        let mut state = self.shared.lock();
        let round = state.round + 1;
        *state = State {
            script: script.iter().cloned().collect(),
            round,
            ..State::default()
        };
    }

    /// Ends a case: closes what is open and takes what was recorded.
    pub(super) fn end(&self) -> State {
        let mut state = self.shared.lock();
        state.closing = true;
        for stream in state.streams.iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.shared.changed.notify_all();
        let round = state.round;
        let taken = std::mem::take(&mut *state);
        state.closing = true;
        state.round = round;
        drop(state);
        self.shared.over.notify_waiters();
        taken
    }
}

fn listen(name: char, shared: &Arc<Shared>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                if let Some(mut seat) = Seat::new(name, shared, stream) {
                    seat.run();
                    seat.leave();
                }
            });
        }
    });
    address
}

/// One connection from the proxy.
struct Seat {
    name: char,
    shared: Arc<Shared>,
    stream: TcpStream,
    round: u64,
    index: usize,
    /// What was read and belongs to no request that is over.
    buffer: Vec<u8>,
    ended: bool,
}

impl Seat {
    fn new(name: char, shared: Arc<Shared>, stream: TcpStream) -> Option<Self> {
        stream.set_nodelay(true).ok()?;
        stream.set_write_timeout(Some(DEADLINE)).ok()?;
        let mut state = shared.lock();
        if state.closing {
            return None;
        }
        let index = state.streams.len();
        state.streams.push(stream.try_clone().ok());
        state.bytes.push(Vec::new());
        state.ends.push(None);
        let round = state.round;
        drop(state);
        Some(Self {
            name,
            shared,
            stream,
            round,
            index,
            buffer: Vec::new(),
            ended: false,
        })
    }

    /// The state, while this connection's case is played.
    fn state(&self) -> Option<MutexGuard<'_, State>> {
        let state = self.shared.lock();
        (state.round == self.round && !state.closing).then_some(state)
    }

    /// Closes the connection, and only then says so.
    fn leave(self) {
        let Self {
            shared,
            stream,
            round,
            index,
            ..
        } = self;
        drop(stream);
        let mut state = shared.lock();
        if state.round == round && !state.closing {
            state.streams[index] = None;
        }
        drop(state);
        shared.changed.notify_all();
    }

    /// Reads once; false at the end.
    fn fill(&mut self) -> bool {
        let mut room = [0; 16 * 1024];
        let read = self.stream.read(&mut room);
        let Some(mut state) = self.state() else {
            return false;
        };
        match read {
            Ok(n) if n > 0 => {
                state.bytes[self.index].extend_from_slice(&room[..n]);
                drop(state);
                self.buffer.extend_from_slice(&room[..n]);
            }
            other => {
                state.ends[self.index] = Some(match other {
                    Ok(_) => End::Fin,
                    Err(_) => End::Reset,
                });
                drop(state);
                self.ended = true;
            }
        }
        self.shared.changed.notify_all();
        !self.ended
    }

    fn run(&mut self) {
        loop {
            let Some(head) = self.head() else { return };
            let Some(mut state) = self.state() else {
                return;
            };
            let at = state.seen.len();
            let (server, connection) = (self.name, self.index);
            let message = head.clone();
            state.seen.push(Seen {
                server,
                connection,
                message,
                whole: false,
            });
            let acts = state.script.pop_front();
            drop(state);
            self.shared.changed.notify_all();
            let goes_on = match acts {
                Some(acts) => acts.iter().all(|act| self.act(act, at)),
                None => self.echo(at),
            };
            if !goes_on || !self.whole(at) {
                return;
            }
            if let Parsed::Whole(_, used) = message::request(&self.buffer) {
                self.buffer.drain(..used);
            }
        }
    }

    /// Reads until a head is there.
    fn head(&mut self) -> Option<Message> {
        loop {
            match message::request(&self.buffer) {
                Parsed::Whole(message, _) | Parsed::Head(message) => return Some(message),
                Parsed::Bad(why) => return self.fault(why),
                Parsed::Little if !self.fill() => return None,
                Parsed::Little => {}
            }
        }
    }

    fn fault<T>(&mut self, why: String) -> Option<T> {
        let shown = message::text(&self.buffer);
        let mut state = self.state()?;
        state.faults.push(format!("{why} in {shown:?}"));
        None
    }

    /// Reads until the request is whole and notes it.
    fn whole(&mut self, at: usize) -> bool {
        loop {
            let parsed = message::request(&self.buffer);
            let (message, whole) = match parsed {
                Parsed::Whole(message, _) => (message, true),
                Parsed::Head(message) => (message, false),
                Parsed::Bad(why) => return self.fault::<()>(why).is_some(),
                Parsed::Little => return false,
            };
            let Some(mut state) = self.state() else {
                return false;
            };
            state.seen[at].message = message;
            state.seen[at].whole = whole;
            drop(state);
            if whole {
                return true;
            }
            if !self.fill() {
                return false;
            }
        }
    }

    /// Answers with the method, the target and the body's length and sum.
    fn echo(&mut self, at: usize) -> bool {
        if !self.whole(at) {
            return false;
        }
        let Some(state) = self.state() else {
            return false;
        };
        let request = state.seen[at].message.clone();
        drop(state);
        let body = echo(&request);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Origin: {}\r\n\r\n",
            body.len(),
            self.name
        );
        let body = if request.word(0) == "HEAD" { "" } else { &body };
        self.write(format!("{head}{body}").as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Plays one act; false when the connection is over.
    fn act(&mut self, act: &Act, at: usize) -> bool {
        match act {
            Act::Body => self.whole(at),
            Act::Send(bytes) => {
                // A proxy that goes away meanwhile is judged by what follows.
                let _ = self.write(bytes);
                true
            }
            Act::Eof => {
                while self.fill() {}
                false
            }
            Act::Until(needle) => {
                while message::find(&self.buffer, needle.as_bytes()).is_none() {
                    if !self.fill() {
                        return false;
                    }
                }
                true
            }
            Act::HalfClose => self.stream.shutdown(Shutdown::Write).is_ok(),
            Act::Close => {
                self.note(at);
                let _ = self.stream.shutdown(Shutdown::Both);
                false
            }
            Act::Reset => {
                self.note(at);
                reset(&self.stream);
                false
            }
            Act::Signal(word) => {
                self.shared.signal(word);
                true
            }
            Act::Await(word) => {
                let deadline = Instant::now() + DEADLINE;
                let round = self.round;
                let ready = |s: &State| s.signals.contains(word) || s.closing || s.round != round;
                self.shared.wait(deadline, ready) && self.state().is_some()
            }
            Act::Flood(bytes) => self.flood(*bytes),
        }
    }

    /// Notes how much of the request is there without reading on.
    fn note(&mut self, at: usize) {
        let parsed = message::request(&self.buffer);
        if let Some(mut state) = self.state()
            && let Parsed::Whole(message, _) = parsed
        {
            state.seen[at].message = message;
            state.seen[at].whole = true;
        }
    }

    fn flood(&mut self, mut bytes: u64) -> bool {
        let block = [b'x'; 64 * 1024];
        while bytes > 0 {
            let n = bytes.min(block.len() as u64) as usize;
            if !self.write(&block[..n]) {
                if let Some(mut state) = self.state() {
                    state.ends[self.index] = Some(End::Reset);
                }
                self.shared.changed.notify_all();
                return false;
            }
            bytes -= n as u64;
        }
        true
    }
}

/// The text that a server answers a request with when it has no script.
pub fn echo(request: &Message) -> String {
    // Source: FNV-1a, 64 bits; any checksum of the body does.
    let sum = request.body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    });
    let length = request.body.len();
    format!("{} {} {length} {sum:x}", request.word(0), request.word(1))
}

/// Makes the close of a connection a reset.
pub(super) fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
