//! HAProxy and Roundel in front of the same servers.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use roundel_testkit::{Process, external, free_address, request, wait_for};

use super::servers::App;
use crate::balancer::{Balancer, SOON};

/// The weight that every server of the configuration has.
pub(super) const WEIGHT: u32 = 2;

/// One of the two.
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) socket: PathBuf,
    front: SocketAddr,
    /// Where its page answers, if it has one.
    pub(super) stats: Option<SocketAddr>,
    pub(super) process: Process,
}

/// Both, and the folder they live in.
pub(super) struct Stage {
    pub(super) sides: [Side; 2],
    _folder: tempfile::TempDir,
}

/// Sends one line and gives all that comes back.
pub(super) fn say(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

impl Stage {
    /// Starts both with these servers, checked often. `None` without HAProxy.
    pub(super) fn new(apps: &[App]) -> Option<Self> {
        let haproxy = external("haproxy", "haproxy")?;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let sides = [
            start_haproxy(&haproxy, apps, path("haproxy.cfg"), path("haproxy.sock")),
            start_roundel(apps, &path("roundel.toml"), path("roundel.sock")),
        ];
        for side in &sides {
            wait_for(side.name, SOON, || {
                let all = apps.iter().map(|app| app.name.clone()).collect();
                (side.serving(apps.len() as u32 * WEIGHT) == all).then_some(())
            });
        }
        Some(Self {
            sides,
            _folder: folder,
        })
    }
}

fn start_haproxy(program: &Path, apps: &[App], file: PathBuf, socket: PathBuf) -> Side {
    let front = free_address();
    let mut text = format!(
        "global\n  stats socket {} level admin\n  nbthread 1\ndefaults\n  mode http\n  \
         option redispatch\n  retries 3\n  timeout connect 2s\n  timeout client 5s\n  \
         timeout server 5s\n  timeout queue 100ms\nfrontend f\n  bind {front}\n  maxconn 500\n  \
         default_backend b\nbackend b\n  balance roundrobin\n  cookie SERVERID insert indirect\n  \
         http-reuse never\n  option httpchk HEAD /\n",
        socket.display()
    );
    for App { name, address, .. } in apps {
        text += &format!(
            "  server {name} {address} check inter 100ms fall 2 rise 2 weight {WEIGHT} cookie {name}\n"
        );
    }
    std::fs::write(&file, text).unwrap();
    let process = Process::spawn(Command::new(program).arg("-db").arg("-f").arg(&file));
    wait_for("HAProxy's socket", SOON, || {
        UnixStream::connect(&socket).ok().map(drop)
    });
    Side {
        name: "haproxy",
        socket,
        front,
        stats: None,
        process,
    }
}

/// Starts Roundel alone with these servers, checked often.
pub(super) fn start_roundel(apps: &[App], file: &Path, socket: PathBuf) -> Side {
    let servers = apps.iter().map(|app| (app, WEIGHT));
    let at = [free_address(), free_address()];
    std::fs::write(file, configuration(at, &socket, servers)).unwrap();
    let balancer = Balancer::with_file(file.to_str().unwrap(), at);
    Side {
        name: "roundel",
        socket,
        front: at[0],
        stats: Some(at[1]),
        process: balancer.process,
    }
}

/// Roundel's configuration with these servers and their weights, frontend and page at `at`.
fn configuration<'a>(
    at: [SocketAddr; 2],
    socket: &Path,
    servers: impl Iterator<Item = (&'a App, u32)>,
) -> String {
    let [front, stats] = at;
    let mut text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\nsocket = \"{}\"\n[[frontend]]\nname = \"f\"\n\
         listen = \"{front}\"\nmaxconn = 500\ndefault_backend = \"b\"\n[[backend]]\nname = \"b\"\n\
         timeouts = {{ queue = \"100ms\" }}\nsticky = {{ cookie = \"SERVERID\" }}\n\
         outlier = \"off\"\n\
         check = {{ http = \"HEAD /\", every = \"100ms\", rise = 2, fall = 2 }}\nserver = [\n",
        socket.display()
    );
    for (App { name, address, .. }, weight) in servers {
        text +=
            &format!("  {{ name = \"{name}\", address = \"{address}\", weight = {weight} }},\n");
    }
    text + "]\n"
}

impl Side {
    /// Writes another configuration of Roundel: these servers and their weights.
    pub(super) fn configure<'a>(&self, file: &Path, servers: impl Iterator<Item = (&'a App, u32)>) {
        let stats = self.stats.expect("Roundel has a page");
        let text = configuration([self.front, stats], &self.socket, servers);
        let draft = file.with_extension("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, file).unwrap();
    }

    pub(super) fn say(&self, line: &str) -> String {
        say(&self.socket, line)
    }

    /// Who answers one request; `None` for nobody.
    fn get(&self, cookie: Option<&str>) -> Option<String> {
        let cookie = cookie.map(|value| format!("SERVERID={value}"));
        let headers: Vec<_> = cookie
            .iter()
            .map(|pair| ("Cookie", pair.as_str()))
            .collect();
        let response = request(self.front, "GET", "/", &headers, b"").ok()?;
        (response.status == 200).then(|| response.text())
    }

    /// The servers that answer new clients, looked for with two rounds of so many requests.
    pub(super) fn serving(&self, round: u32) -> BTreeSet<String> {
        let looks = (0..2 * round.max(1)).filter_map(|_| self.get(None));
        looks.collect()
    }

    /// The servers that answer the clients who have their cookie, among those whose names begin
    /// so.
    pub(super) fn serving_sticky(&self, prefix: &str) -> BTreeSet<String> {
        let table = self.say("show stat b 4 -1");
        let mut lines = table.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let column = |name: &str| head.iter().position(|word| *word == name).unwrap();
        let (name, cookie) = (column("svname"), column("cookie"));
        let rows = lines.map(|line| line.split(',').collect::<Vec<_>>());
        let sticks = |row: Vec<&str>| {
            let (name, cookie) = (*row.get(name)?, *row.get(cookie)?);
            let is_own = name.starts_with(prefix) && name != "BACKEND";
            (is_own && self.get(Some(cookie)).as_deref() == Some(name)).then(|| name.to_owned())
        };
        rows.filter_map(sticks).collect()
    }
}
