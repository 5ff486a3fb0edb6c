//! The proxies that can be put before a fleet, each with the settings that suit it best.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::fleet::{Member, Proxy};
use crate::{Process, Signal, free_address, wait_for};

/// Silence of a server after which a request fails with 504, for all proxies.
const SERVER_SECONDS: u32 = 2;
/// Time for a proxy to begin.
const SOON: Duration = Duration::from_secs(30);

/// Starts Roundel with its own defaults; its servers come from a file that is written anew.
///
/// Panics if files cannot be written.
pub fn roundel(program: &Path, folder: &Path) -> Proxy {
    let (front, stats) = (free_address(), free_address());
    let (nodes, file) = (folder.join("nodes"), folder.join("roundel.toml"));
    put(&nodes, "");
    let config = move |queue: u32| {
        let nodes = nodes.display();
        format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[access_log]\nformat = \"off\"\n\
             [defaults]\ntimeouts = {{ server = \"{SERVER_SECONDS}s\", queue = \"{queue}s\" }}\n\
             [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\ndefault_backend = \"nodes\"\n\
             [[backend]]\nname = \"nodes\"\nsticky = \"off\"\ndiscover = [{{ file = {{ path = \"{nodes}\" }} }}]\n"
        )
    };
    put(&file, &config(5));
    let process = Process::spawn(Command::new(program).args(["serve", "-c"]).arg(&file));
    let nodes = folder.join("nodes");
    let mut queue = 5;
    Proxy {
        name: "Roundel".into(),
        process,
        front,
        tell: Box::new(move |members| {
            let mut lines = String::new();
            for Member { name, address } in members {
                let _ = writeln!(lines, "{name} {address}");
            }
            put(&nodes, &lines);
        }),
        reload: Box::new(move |process| {
            queue += 1;
            put(&file, &config(queue));
            process.signal(Signal::HUP);
        }),
    }
}

/// Starts HAProxy so that it loses as little as it can: quick checks, a look at answers too, every
/// safe retry, POST excepted. Its servers are all known; a command says which of them count.
///
/// Panics if files cannot be written or its socket does not answer.
pub fn haproxy(program: &Path, version: &str, folder: &Path, members: &[Member]) -> Proxy {
    let front = free_address();
    let (file, socket) = (folder.join("haproxy.cfg"), folder.join("haproxy.sock"));
    put(&file, &haproxy_config(front, &socket, members));
    let mut process = Process::spawn(
        Command::new(program)
            .args(["-W", "-db", "-q", "-f"])
            .arg(&file),
    );
    wait_for("HAProxy's socket", SOON, || {
        assert!(process.try_exit().is_none(), "{process}");
        UnixStream::connect(&socket).ok()
    });
    let all = members.to_vec();
    let tell = move |listed: &[Member]| {
        for member in &all {
            let state = match listed.contains(member) {
                true => "ready",
                false => "drain",
            };
            let server = format!("nodes/{}", member.name);
            ask(&socket, &format!("set server {server} state {state}\n"));
        }
    };
    Proxy {
        name: format!("HAProxy {version}"),
        process,
        front,
        tell: Box::new(tell),
        reload: Box::new(|process| process.signal(Signal::USR2)),
    }
}

fn haproxy_config(front: SocketAddr, socket: &Path, members: &[Member]) -> String {
    let socket = socket.display();
    let mut text = format!(
        "global\n  maxconn 4000\n  stats socket {socket} mode 600 level admin expose-fd listeners\n\
         defaults\n  mode http\n  timeout connect 1s\n  timeout client 50s\n  \
         timeout server {SERVER_SECONDS}s\n  timeout queue 5s\n  timeout http-request 10s\n  \
         timeout http-keep-alive 60s\n  timeout check 500ms\n  retries 3\n  option redispatch 1\n  \
         retry-on all-retryable-errors\n  option httpchk HEAD /\n  http-reuse safe\n\
         frontend front\n  bind {front}\n  default_backend nodes\n\
         backend nodes\n  balance roundrobin\n  http-request disable-l7-retry if METH_POST\n  \
         default-server check inter 500ms fastinter 100ms downinter 100ms fall 2 rise 1 \
         observe layer7 error-limit 1 on-error mark-down\n"
    );
    for Member { name, address } in members {
        let _ = writeln!(text, "  server {name} {address}");
    }
    text
}

fn ask(socket: &Path, command: &str) {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return;
    };
    let _ = stream.write_all(command.as_bytes());
    let _ = stream.read_to_string(&mut String::new());
}

/// Replaces a file whole, so that no reader sees half of it.
fn put(path: &PathBuf, text: &str) {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, text).expect("a scratch file can be written");
    fs::rename(&fresh, path).expect("a scratch file can be renamed");
}
