//! A load that does not wait: each request starts when it is due, whatever became of the others.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::server::Wish;
use crate::{Connection, Dice, hash};

/// Requests that may be under way at the same time; beyond it the load would not be open.
const CLIENTS: usize = 600;
/// Rest after which a client's connection is not used again: the proxy may be closing it.
const RESTED: Duration = Duration::from_secs(5);
/// Requests in a hundred that begin on a connection of their own.
const FRESH: usize = 10;

/// One request as it is due.
#[derive(Debug, Clone)]
struct Due {
    wish: Wish,
    method: &'static str,
    body: Vec<u8>,
    fresh: bool,
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Status 200, and everything in the answer belongs to the request.
    Right,
    /// Another status.
    Status(u16),
    /// No whole answer.
    Broken(String),
    /// An answer that belongs to something else.
    Wrong(String),
}

/// One request and when it ran, counted from the start of the load.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: u64,
    pub(super) method: &'static str,
    pub(super) began: Duration,
    pub(super) ended: Duration,
    pub(super) outcome: Outcome,
}

/// A running load.
#[derive(Debug)]
pub(super) struct OpenLoad {
    stop: Sender<()>,
    dispatcher: JoinHandle<()>,
    clients: Vec<JoinHandle<()>>,
    records: Arc<Mutex<Vec<Record>>>,
}

impl OpenLoad {
    /// Sends `rate` requests per second to `to` from now on.
    pub(super) fn start(to: SocketAddr, rate: u32, seed: u64, start: Instant) -> Self {
        let (stop, stopped) = channel();
        let (dues, due) = channel();
        let due = Arc::new(Mutex::new(due));
        let records = Arc::<Mutex<Vec<Record>>>::default();
        let dispatcher = thread::spawn(move || dispatch(rate, seed, start, &stopped, &dues));
        let client = |_| {
            let (due, records) = (Arc::clone(&due), Arc::clone(&records));
            let client = thread::Builder::new().stack_size(256 * 1024);
            let run = move || serve_dues(to, start, &due, &records);
            client.spawn(run).expect("threads are to be had")
        };
        Self {
            stop,
            dispatcher,
            clients: (0..CLIENTS).map(client).collect(),
            records,
        }
    }

    /// Sends nothing more, waits for what is under way, and gives every request in order.
    pub(super) fn stop(self) -> Vec<Record> {
        let _ = self.stop.send(());
        let _ = self.dispatcher.join();
        for client in self.clients {
            let _ = client.join();
        }
        let mut records = std::mem::take(&mut *self.records.lock().expect("no panic while held"));
        records.sort_by_key(|record| record.id);
        records
    }
}

fn dispatch(rate: u32, seed: u64, start: Instant, stopped: &Receiver<()>, dues: &Sender<Due>) {
    let mut dice = Dice::new(seed);
    for id in 0.. {
        let at = start + Duration::from_secs(1) * u32::try_from(id).unwrap_or(u32::MAX) / rate;
        let left = at.saturating_duration_since(Instant::now());
        let goes_on = stopped.recv_timeout(left).is_err();
        if !goes_on || dues.send(Due::throw(id, &mut dice)).is_err() {
            return;
        }
    }
}

impl Due {
    /// Three in four only read; sizes stay so small that an answer is written at once.
    fn throw(id: u64, dice: &mut Dice) -> Self {
        let method = match dice.roll(20) {
            0..15 => "GET",
            15..19 => "POST",
            _ => "PUT",
        };
        let length = if method == "GET" { 0 } else { dice.roll(8192) };
        let size = if dice.percent(20) { 16_384 } else { 512 };
        let wait = if dice.percent(30) { dice.roll(20) } else { 0 };
        let wait = u64::try_from(wait).unwrap_or(0);
        Self {
            wish: Wish { id, size, wait },
            method,
            body: dice.bytes(length),
            fresh: dice.percent(FRESH),
        }
    }
}

fn serve_dues(
    to: SocketAddr,
    start: Instant,
    due: &Mutex<Receiver<Due>>,
    records: &Mutex<Vec<Record>>,
) {
    let mut kept: Option<(Connection, Instant)> = None;
    loop {
        // Held while waiting: whoever waits longest is not asked first, which is fine.
        let next = due.lock().expect("no panic while held").recv();
        let Ok(due) = next else { return };
        let began = start.elapsed();
        let usable = |(connection, since): &(Connection, Instant)| {
            !due.fresh && since.elapsed() < RESTED && connection.is_quiet()
        };
        let connection = kept.take().filter(usable).map(|(connection, _)| connection);
        let (outcome, connection) = ask(to, connection, &due);
        kept = connection.map(|connection| (connection, Instant::now()));
        let record = Record {
            id: due.wish.id,
            method: due.method,
            began,
            ended: start.elapsed(),
            outcome,
        };
        records.lock().expect("no panic while held").push(record);
    }
}

fn ask(to: SocketAddr, kept: Option<Connection>, due: &Due) -> (Outcome, Option<Connection>) {
    let mut connection = match kept.map_or_else(|| Connection::open(to), Ok) {
        Ok(connection) => connection,
        Err(error) => return (Outcome::Broken(format!("connect: {error}")), None),
    };
    let answer = match connection.send(due.method, &due.wish.target(), &[], &due.body) {
        Ok(answer) => answer,
        Err(error) => return (Outcome::Broken(error.to_string()), None),
    };
    let outcome = if answer.status != 200 {
        Outcome::Status(answer.status)
    } else if answer.header("x-id") != Some(&*due.wish.id.to_string()) {
        Outcome::Wrong(format!("an answer for {:?}", answer.header("x-id")))
    } else if answer.header("x-got") != Some(&*hash(&due.body).to_string()) {
        Outcome::Wrong("another body arrived".into())
    } else if answer.body != due.wish.body() {
        Outcome::Wrong(format!("another body of {} bytes", answer.body.len()))
    } else {
        Outcome::Right
    };
    let open = connection.is_open();
    (outcome, open.then_some(connection))
}
