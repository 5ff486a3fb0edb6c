//! Both balancers with a server in each state: up, spare, down, never up, drained, in maintenance,
//! of weight 0, and one whose backend queues.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use roundel_testkit::{Origin, Reply, free_address, get, poll};

use super::Pair;
use crate::balancer::SOON;

const NAMES: [&str; 6] = ["up", "down", "drain", "maint", "zero", "spare"];
const CHECK: &str =
    "sticky = \"off\"\ncheck = { http = \"GET /\", every = \"200ms\", timeout = \"5s\" }\n";

/// Requests that wait at the server of backend `full`, and behind it, until they may go.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn wait(&self) {
        let shut = self.open.lock().unwrap();
        drop(self.opened.wait_while(shut, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Both, with servers in all states.
pub(super) struct AllStates {
    pub(super) pair: Pair,
    gate: Arc<Gate>,
    held: Vec<JoinHandle<u16>>,
    _apps: Vec<Origin>,
}

/// The cells of a row by column, of each proxy and server.
pub(super) type Rows = BTreeMap<(String, String), BTreeMap<String, String>>;

/// The rows of the backends, of a CSV whose cells hold no comma.
pub(super) fn rows(at: SocketAddr) -> Rows {
    let csv = get(at, "/;csv").unwrap().text();
    let mut lines = csv.trim_start_matches("# ").lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        let cells = header.iter().zip(line.split(','));
        let row = cells.map(|(name, cell)| ((*name).to_owned(), cell.to_owned()));
        let words: Vec<&str> = line.split(',').collect();
        ((words[0].to_owned(), words[1].to_owned()), row.collect())
    };
    let ours = |proxy: &str| ["b", "dead", "full"].contains(&proxy);
    lines
        .map(row)
        .filter(|((proxy, _), _)| ours(proxy))
        .collect()
}

impl AllStates {
    /// Starts everything and waits until both say that the states are these.
    pub(super) fn start() -> Option<Self> {
        let mut apps: BTreeMap<&str, Origin> = NAMES.map(|name| (name, Origin::named(name))).into();
        let gate = Arc::new(Gate::default());
        let full = busy(gate.clone());
        let closed = free_address();
        let [ours, theirs] = files(&apps, closed, full.address());
        let pair = Pair::start(&ours, &theirs)?;
        drop(apps.remove("down"));
        let apps = apps.into_values().chain([full]).collect();
        let mut all = Self {
            pair,
            gate,
            held: Vec::new(),
            _apps: apps,
        };
        all.order();
        all.settle();
        all.fill();
        Some(all)
    }

    /// The runtime sockets, HAProxy's first.
    pub(super) fn sockets(&self) -> [PathBuf; 2] {
        ["haproxy.sock", "roundel.sock"].map(|name| self.pair.folder.path().join(name))
    }

    /// Where the statistics are, HAProxy's first.
    pub(super) fn stats(&self) -> [SocketAddr; 2] {
        [self.pair.stats, self.pair.ours.stats]
    }

    fn order(&self) {
        for socket in self.sockets() {
            for line in [
                "set server b/drain state drain",
                "set server b/maint state maint",
                "set weight b/zero 0",
            ] {
                assert_eq!(say(&socket, line).trim(), "", "{line}");
            }
        }
    }

    fn settle(&self) {
        let settled = |rows: &Rows| {
            let status = |name: &str| rows[&("b".to_owned(), name.to_owned())]["status"].clone();
            ["up", "spare"].map(status) == ["UP", "UP"]
                && ["down", "never"].map(status) == ["DOWN", "DOWN"]
        };
        for at in self.stats() {
            let waited = poll(SOON, || settled(&rows(at)).then_some(()));
            assert!(waited.is_some(), "{:#?}", rows(at));
        }
    }

    /// One request at the server of `full`, two behind it, at either.
    fn fill(&mut self) {
        for front in [self.pair.front, self.pair.ours.front] {
            let ask = || thread::spawn(move || get(front, "/full").unwrap().status);
            self.held.extend([(); 3].map(|()| ask()));
        }
        for at in self.stats() {
            let queued = |(_, row): (&(String, String), &BTreeMap<String, String>)| {
                row["qcur"].parse::<u32>().unwrap_or_default()
            };
            let full = || rows(at).iter().map(queued).sum::<u32>() == 2;
            let waited = poll(SOON, || full().then_some(()));
            assert!(waited.is_some(), "{:#?}", rows(at));
        }
    }
}

impl AllStates {
    /// Lets the held requests go, and gives their statuses, HAProxy's first.
    pub(super) fn let_go(&mut self) -> [Vec<u16>; 2] {
        self.gate.open();
        let mut statuses = self.held.drain(..).map(|held| held.join().unwrap());
        [(); 2].map(|()| statuses.by_ref().take(3).collect())
    }
}

impl Drop for AllStates {
    fn drop(&mut self) {
        self.gate.open();
        for held in self.held.drain(..) {
            let ended = held.join();
            assert!(
                ended.is_ok_and(|status| status == 200) || thread::panicking(),
                "a held request failed"
            );
        }
    }
}

/// A server that keeps every request but a check until the gate opens.
fn busy(gate: Arc<Gate>) -> Origin {
    Origin::start(move |request| {
        if request.target == "/full" {
            gate.wait();
        }
        Reply::text("full")
    })
}

/// What stands in the files of Roundel and of HAProxy.
fn files(apps: &BTreeMap<&str, Origin>, closed: SocketAddr, full: SocketAddr) -> [String; 2] {
    let servers = apps.iter().map(|(name, app)| (*name, app.address()));
    let servers: Vec<_> = servers.chain([("never", closed)]).collect();
    let ours = servers.iter().map(|(name, address)| {
        let backup = *name == "spare";
        format!("{{ name = \"{name}\", address = \"{address}\", backup = {backup} }}")
    });
    let ours = format!(
        "default_backend = \"b\"\nroute = [{{ path_prefix = \"/full\", backend = \"full\" }}]\n\
         [[backend]]\nname = \"b\"\n{CHECK}server = [{}]\n\
         [[backend]]\nname = \"dead\"\n{CHECK}server = [{{ name = \"never\", address = \"{closed}\" }}]\n\
         [[backend]]\nname = \"full\"\n{CHECK}maxconn = 1\ntimeouts = {{ queue = \"30s\" }}\n\
         server = [{{ name = \"one\", address = \"{full}\" }}]\n",
        ours.collect::<Vec<_>>().join(", ")
    );
    let theirs = servers.iter().map(|(name, address)| {
        let backup = if *name == "spare" { " backup" } else { "" };
        format!("  server {name} {address} check inter 200ms{backup}\n")
    });
    let check = "  option httpchk GET /\n";
    let theirs = format!(
        "  use_backend full if {{ path_beg /full }}\n  default_backend b\n\
         backend b\n{check}{}backend dead\n{check}  server never {closed} check inter 200ms\n\
         backend full\n{check}  server one {full} check inter 200ms maxconn 1\n",
        theirs.collect::<String>()
    );
    [ours, theirs]
}

/// Sends one line to a runtime socket and gives what comes back.
pub(super) fn say(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{line}").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}
