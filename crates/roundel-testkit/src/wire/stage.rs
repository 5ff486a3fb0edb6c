//! Where cases are played: slots of lanes and servers, one case at a time in each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::bridge::Bridges;
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
    /// What is spoken on both sides.
    pub pairing: Pairing,
    /// Where clients connect, likewise: a bridge, if the proxy is to be asked by HTTP/2.
    doors: Vec<(Lane, SocketAddr)>,
    /// Where the proxy finds the servers `a` and `b`.
    servers: [SocketAddr; 2],
}

/// Which protocols are spoken in front of the proxy and behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pairing {
    /// HTTP/1 on both sides.
    Http1,
    /// The same, over TLS in front.
    Tls,
    /// HTTP/2 in front, HTTP/1 behind.
    Front,
    /// HTTP/1 in front, HTTP/2 behind.
    Behind,
    /// HTTP/2 on both sides.
    Both,
}

impl Pairing {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Http1,
        Self::Tls,
        Self::Front,
        Self::Behind,
        Self::Both,
    ];

    /// What follows a case's name.
    fn words(self) -> &'static str {
        match self {
            Self::Http1 => "",
            Self::Tls => " over TLS",
            Self::Front => " over HTTP/2 in front",
            Self::Behind => " over HTTP/2 behind",
            Self::Both => " over HTTP/2 on both sides",
        }
    }

    /// Whether clients speak TLS.
    pub fn is_tls(self) -> bool {
        self == Self::Tls
    }

    /// Whether the proxy is asked by HTTP/2.
    pub fn front_is_http2(self) -> bool {
        matches!(self, Self::Front | Self::Both)
    }

    /// Whether the proxy asks servers by HTTP/2.
    pub fn behind_is_http2(self) -> bool {
        matches!(self, Self::Behind | Self::Both)
    }
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
        let slot = |_| Slot::new(Pairing::Http1, None, None);
        Self {
            slots: (0..slots).map(slot).collect(),
        }
    }

    /// The same with as many slots more for each of the other pairings; the proxy shows this over TLS.
    pub fn with_all(slots: usize, shown: &Shown) -> Self {
        let mut all = Self::new(slots);
        let bridges = Bridges::start();
        for pairing in Pairing::ALL.into_iter().skip(1) {
            let shown = (pairing == Pairing::Tls).then(|| shown.clone());
            let slot = |_| Slot::new(pairing, shown.clone(), Some(&bridges));
            all.slots.extend((0..slots).map(slot));
        }
        all
    }

    /// The servers behind a lane, by name.
    pub fn servers(slot: &Slot, lane: Lane) -> Vec<(&'static str, SocketAddr)> {
        let [a, b] = slot.servers;
        let dead = slot.site.dead;
        match lane {
            Lane::One | Lane::Trusted | Lane::Quick => vec![("a", a)],
            Lane::Pair | Lane::Sticky => vec![("a", a), ("b", b)],
            Lane::Dead => vec![("dead", dead), ("a", a)],
            Lane::None => vec![("dead", dead)],
        }
    }
}

impl Slot {
    fn new(pairing: Pairing, shown: Option<Shown>, bridges: Option<&Bridges>) -> Self {
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
        let site = Site::start();
        let (mut doors, mut servers) = (lanes.clone(), [site.a, site.b]);
        if let Some(bridges) = bridges {
            if pairing.front_is_http2() {
                for (_, at) in &mut doors {
                    *at = bridges.front(*at, &site.shared);
                }
            }
            if pairing.behind_is_http2() {
                servers = servers.map(|at| bridges.back(at, &site.shared));
            }
        }
        Self {
            site,
            lanes,
            shown,
            pairing,
            doors,
            servers,
        }
    }

    /// The way to a lane.
    pub fn lane(&self, lane: Lane) -> Way {
        let found = self.doors.iter().find(|(l, _)| *l == lane);
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

    /// Plays the cases in each pairing that there are slots for, one at a time per slot. Judges them,
    /// in the order of the cases.
    pub fn run(&self, cases: &[Case]) -> Vec<(Pairing, Vec<Verdict>)> {
        let queues = Pairing::ALL.map(|pairing| {
            let fits = |case: &&Case| match pairing {
                Pairing::Http1 => true,
                Pairing::Tls => case.clear_only.is_none(),
                Pairing::Behind => case.http1_only.is_none(),
                Pairing::Front | Pairing::Both => case.http1_only.is_none() && case.has_a_head(),
            };
            Queue::new(pairing, cases.iter().filter(fits).collect())
        });
        thread::scope(|scope| {
            for slot in &self.topology.slots {
                let queue = queues.iter().find(|queue| queue.pairing == slot.pairing);
                let queue = queue.expect("one for each");
                scope.spawn(move || queue.play(slot));
            }
        });
        let verdicts = queues.map(|queue| (queue.pairing, queue.verdicts().collect()));
        verdicts.into()
    }
}

/// Cases that wait for a slot.
struct Queue<'a> {
    pairing: Pairing,
    cases: Vec<&'a Case>,
    next: AtomicUsize,
    verdicts: Mutex<Vec<Option<Verdict>>>,
}

impl<'a> Queue<'a> {
    fn new(pairing: Pairing, cases: Vec<&'a Case>) -> Self {
        let verdicts = Mutex::new(vec![None; cases.len()]);
        Self {
            pairing,
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
            verdict.name += self.pairing.words();
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
        pairing: slot.pairing,
    };
    let mut verdict = judge::judge(case, &played);
    if state.skip.is_some() {
        verdict.failure = None;
        verdict.skip = state.skip;
    }
    verdict
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
        let had: usize = links.iter().map(|l| l.answers.len()).sum();
        let link = links.last_mut().expect("one is open");
        if matches!(step, Step::End) && slot.pairing.front_is_http2() {
            // One stream tells nothing of its connection: an answer is read, if one is wanted.
            if had < wanted(case) {
                link.answer()?;
            }
            continue;
        }
        if matches!(step, Step::Send(_) | Step::Cut(_) | Step::Drip(..)) && link.is_fresh() {
            match case.methods.is_empty() {
                true => link.method(&first_word(step)),
                false => methods.by_ref().for_each(|m| link.method(m)),
            }
        }
        take_step(slot, step, link, deadline)?;
    }
    let (link, earlier) = links.split_last_mut().expect("one is open");
    let earlier = earlier.iter().map(|l| l.answers.len()).sum();
    finish(case, link, earlier, slot.pairing.front_is_http2())
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
            let come = |s: &State| s.signals.contains(word) || s.skip.is_some();
            if !shared.wait(deadline, come) {
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

/// How many answers a right outcome has at most.
fn wanted(case: &Case) -> usize {
    let each = case.outcomes.iter();
    let each = each.map(|o| o.answers.as_ref().map_or(0, Vec::len));
    each.max().unwrap_or(0)
}

/// Reads what is still to come, as far as the outcomes need it; `earlier` answers came on other
/// connections.
fn finish(case: &Case, link: &mut Link, earlier: usize, http2: bool) -> Result<(), String> {
    link.settle()?;
    let outcomes = &case.outcomes;
    let wants = |ends: Ends| outcomes.iter().any(|o| o.ends == ends);
    if !http2 && outcomes.iter().all(|o| o.ends == Ends::Closed) {
        return link.end();
    }
    let most = wanted(case).saturating_sub(earlier);
    while link.answers.len() < most && link.end.is_none() && link.answer()? {}
    if wants(Ends::Kept) && !http2 && link.end.is_none() {
        link.probe()?;
    }
    if http2 {
        return Ok(());
    }
    // Where either is right, a proxy that means to close does so at once.
    if wants(Ends::Closed) && link.end.is_none() {
        link.poll(SOON)?;
    }
    Ok(())
}
