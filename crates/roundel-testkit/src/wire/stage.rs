//! Where cases are played: slots of lanes and servers, one case at a time in each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::case::{Act, Case, Ends, Lane, Step};
use super::client::Link;
use super::judge::{self, Played, Verdict};
use super::origin::{Seen, Site, State};
use super::way::{Shown, Way};
use super::{DEADLINE, message};
use crate::network::{free_port, loopback};

/// Time for a close that is allowed but not demanded.
const SOON: Duration = Duration::from_millis(500);

/// One set of addresses of the proxy under test with servers of its own.
#[derive(Debug)]
pub struct Slot {
    /// The servers.
    pub site: Site,
    /// Where the proxy listens, by the order of [`Lane::ALL`].
    pub lanes: Vec<(Lane, SocketAddr)>,
    /// What the proxy shows there, if it is TLS that is spoken.
    pub shown: Option<Shown>,
}

/// What a proxy under test must be configured to do; it is rendered for each kind of proxy.
#[derive(Debug)]
pub struct Topology {
    /// The slots.
    pub slots: Vec<Slot>,
}

/// A running proxy under test.
#[derive(Debug)]
pub struct Stage {
    topology: Topology,
}

impl Topology {
    /// Milliseconds of the quick lane's timeouts: request head, client, server.
    pub const QUICK: u64 = 400;

    /// Starts the servers of `slots` slots and finds free ports for the lanes.
    pub fn new(slots: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| Slot::new(None)).collect(),
        }
    }

    /// The same with as many slots more in which TLS is spoken.
    pub fn with_tls(slots: usize, shown: &Shown) -> Self {
        let mut all = Self::new(slots);
        let more = (0..slots).map(|_| Slot::new(Some(shown.clone())));
        all.slots.extend(more);
        all
    }

    /// The servers behind a lane, by name.
    pub fn servers(slot: &Slot, lane: Lane) -> Vec<(&'static str, SocketAddr)> {
        let site = &slot.site;
        match lane {
            Lane::One | Lane::Trusted | Lane::Quick => vec![("a", site.a)],
            Lane::Pair | Lane::Sticky => vec![("a", site.a), ("b", site.b)],
            Lane::Dead => vec![("dead", site.dead), ("a", site.a)],
            Lane::None => vec![("dead", site.dead)],
        }
    }
}

impl Slot {
    fn new(shown: Option<Shown>) -> Self {
        let ip = loopback();
        let mut lanes: Vec<(Lane, SocketAddr)> = Vec::new();
        for lane in Lane::ALL {
            let fresh = |_: &()| {
                let port = free_port(ip);
                let taken = lanes.iter().any(|(_, a)| a.port() == port);
                (!taken).then_some(port)
            };
            let port = std::iter::repeat(()).find_map(|()| fresh(&()));
            lanes.push((lane, (ip, port.expect("a free port")).into()));
        }
        Self {
            site: Site::start(),
            lanes,
            shown,
        }
    }

    /// Whether it is TLS that clients speak.
    pub fn is_tls(&self) -> bool {
        self.shown.is_some()
    }

    /// The way to a lane.
    pub fn lane(&self, lane: Lane) -> Way {
        let found = self.lanes.iter().find(|(l, _)| *l == lane);
        Way {
            address: found.expect("every lane has an address").1,
            tls: self.shown.as_ref().map(|shown| Arc::clone(&shown.client)),
        }
    }

    /// Waits until a server has a request, whole or not; says whether one came in time.
    pub fn is_asked(&self) -> bool {
        let asked = |s: &State| !s.seen.is_empty();
        self.site.shared.wait(Instant::now() + DEADLINE, asked)
    }

    /// Waits until the proxy has given up a connection to a server; says whether it did in time.
    pub fn is_cancelled(&self) -> bool {
        let ended = |s: &State| s.ends.iter().any(Option::is_some);
        self.site.shared.wait(Instant::now() + DEADLINE, ended)
    }

    /// Plays something on lane `One` whose client is code, while the servers play `script`; gives
    /// what the client returns and the requests that the servers saw.
    ///
    /// Errors: the client's own, or bytes at a server that are not HTTP.
    pub fn exchange<T>(
        &self,
        script: &[Vec<Act>],
        client: impl FnOnce(&Way) -> Result<T, String>,
    ) -> Result<(T, Vec<Seen>), String> {
        self.site.begin(script);
        let got = client(&self.lane(Lane::One));
        let state = self.site.end();
        match state.faults.first() {
            Some(fault) => Err(format!("the origin received what is not HTTP: {fault}")),
            None => Ok((got?, state.seen)),
        }
    }
}

impl Stage {
    /// Takes a topology that a proxy serves.
    pub fn new(topology: Topology) -> Self {
        Self { topology }
    }

    /// The slots.
    pub fn slots(&self) -> &[Slot] {
        &self.topology.slots
    }

    /// Whether every lane with a server answers.
    pub fn serves(&self) -> bool {
        let slots = self.topology.slots.iter();
        let mut lanes = slots.flat_map(|slot| Lane::ALL.map(|lane| (slot, lane)));
        lanes.all(|(slot, lane)| {
            slot.site.begin(&[]);
            let answers = lane == Lane::None || answers(&slot.lane(lane));
            slot.site.end();
            answers
        })
    }

    /// Plays the cases in clear, and over TLS where there are slots for that: one at a time per
    /// slot. Judges them, in the order of the cases.
    pub fn run(&self, cases: &[Case]) -> Vec<Verdict> {
        let over_tls: Vec<&Case> = cases.iter().filter(|c| c.clear_only.is_none()).collect();
        let queues = [
            Queue::new(false, cases.iter().collect()),
            Queue::new(true, over_tls),
        ];
        thread::scope(|scope| {
            for slot in &self.topology.slots {
                let queue = &queues[usize::from(slot.is_tls())];
                scope.spawn(move || queue.play(slot));
            }
        });
        queues.into_iter().flat_map(Queue::verdicts).collect()
    }
}

/// Cases that wait for a slot.
struct Queue<'a> {
    tls: bool,
    cases: Vec<&'a Case>,
    next: AtomicUsize,
    verdicts: Mutex<Vec<Option<Verdict>>>,
}

impl<'a> Queue<'a> {
    fn new(tls: bool, cases: Vec<&'a Case>) -> Self {
        let verdicts = Mutex::new(vec![None; cases.len()]);
        Self {
            tls,
            cases,
            next: AtomicUsize::new(0),
            verdicts,
        }
    }

    fn play(&self, slot: &Slot) {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = self.cases.get(at) else {
                return;
            };
            let mut verdict = play(slot, case);
            if self.tls {
                verdict.name += " over TLS";
            }
            self.verdicts.lock().expect("no panic while held")[at] = Some(verdict);
        }
    }

    /// In the order of the cases.
    fn verdicts(self) -> impl Iterator<Item = Verdict> {
        let verdicts = self.verdicts.into_inner().expect("no panic while held");
        verdicts.into_iter().flatten()
    }
}

/// Whether a request is answered by a server.
fn answers(way: &Way) -> bool {
    let Ok(mut link) = Link::open(way, Instant::now() + DEADLINE) else {
        return false;
    };
    link.probe().is_ok() && link.probe_answered()
}

/// Plays one case in a slot.
fn play(slot: &Slot, case: &Case) -> Verdict {
    slot.site.begin(&case.script);
    let deadline = Instant::now() + DEADLINE;
    let mut links = Vec::new();
    let mut failed = client(slot, case, deadline, &mut links).err();
    if failed.is_none() && case.outcomes.iter().any(|o| o.cancelled) {
        let cancelled = |s: &State| s.ends.iter().any(Option::is_some);
        if !slot.site.shared.wait(deadline, cancelled) {
            failed = Some("the proxy goes on with the origin".to_owned());
        }
    }
    let state = slot.site.end();
    let played = Played {
        links: &links,
        state: &state,
        failed,
        tls: slot.is_tls(),
    };
    judge::judge(case, &played)
}

/// Plays the client's part. Errors: it hangs, or what comes is not HTTP.
fn client(
    slot: &Slot,
    case: &Case,
    deadline: Instant,
    links: &mut Vec<Link>,
) -> Result<(), String> {
    let open = |links: &mut Vec<Link>| {
        let link = Link::open(&slot.lane(case.lane), deadline);
        links.push(link.map_err(|e| format!("cannot connect: {e}"))?);
        Ok::<(), String>(())
    };
    let mut methods = case.methods.iter();
    open(links)?;
    for step in &case.steps {
        if matches!(step, Step::Open) {
            open(links)?;
            continue;
        }
        let link = links.last_mut().expect("one is open");
        if matches!(step, Step::Send(_) | Step::Cut(_) | Step::Drip(..)) && link.is_fresh() {
            match case.methods.is_empty() {
                true => link.method(&first_word(step)),
                false => methods.by_ref().for_each(|m| link.method(m)),
            }
        }
        take_step(slot, step, link, deadline)?;
    }
    let (link, earlier) = links.split_last_mut().expect("one is open");
    finish(case, link, earlier.iter().map(|l| l.answers.len()).sum())
}

fn first_word(step: &Step) -> String {
    let (Step::Send(bytes) | Step::Cut(bytes) | Step::Drip(bytes, _)) = step else {
        return "GET".to_owned();
    };
    let line = message::text(bytes);
    line.trim_start()
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn take_step(slot: &Slot, step: &Step, link: &mut Link, deadline: Instant) -> Result<(), String> {
    let shared = &slot.site.shared;
    match step {
        Step::Send(bytes) => link.send(bytes),
        Step::SendCookie(name, bytes) => {
            let pair = link.cookie(name).ok_or("no answer sets the cookie")?;
            link.send(message::text(bytes).replace("{}", &pair).as_bytes());
        }
        Step::Cut(bytes) => {
            link.send(bytes);
            link.taken();
        }
        Step::Drip(bytes, pause) => {
            link.drip(bytes, Duration::from_millis(*pause))?;
        }
        Step::Answer => {
            if !link.answer()? {
                return Err("the connection ends without an answer".to_owned());
            }
        }
        Step::Until(needle) => link.until(needle)?,
        Step::HalfClose => link.half_close(),
        Step::Reset => link.reset(),
        Step::End => link.end()?,
        Step::Signal(word) => shared.signal(word),
        Step::Await(word) => {
            if !shared.wait(deadline, |s| s.signals.contains(word)) {
                return Err(format!("the origin never came to {word:?}"));
            }
        }
        Step::OriginClosed => {
            if !shared.wait(deadline, State::is_quiet) {
                return Err("a connection to the origin stays open".to_owned());
            }
        }
        Step::Open => {}
    }
    Ok(())
}

/// Reads what is still to come, as far as the outcomes need it; `earlier` answers came on other
/// connections.
fn finish(case: &Case, link: &mut Link, earlier: usize) -> Result<(), String> {
    link.settle()?;
    let outcomes = &case.outcomes;
    let wants = |ends: Ends| outcomes.iter().any(|o| o.ends == ends);
    if outcomes.iter().all(|o| o.ends == Ends::Closed) {
        return link.end();
    }
    let most = outcomes
        .iter()
        .map(|o| o.answers.as_ref().map_or(0, Vec::len));
    let most = most.max().unwrap_or(0).saturating_sub(earlier);
    while link.answers.len() < most && link.end.is_none() && link.answer()? {}
    if wants(Ends::Kept) && link.end.is_none() {
        link.probe()?;
    }
    // Where either is right, a proxy that means to close does so at once.
    if wants(Ends::Closed) && link.end.is_none() {
        link.poll(SOON)?;
    }
    Ok(())
}
