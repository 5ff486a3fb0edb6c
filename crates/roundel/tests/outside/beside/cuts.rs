//! `shutdown sessions server` at both: who is cut, what its client gets and what the log says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use roundel_testkit::{Process, get, loopback, poll, wait_for};

use super::all_states::{rows, say};
use super::{Pair, wait_lines};
use crate::balancer::SOON;
use crate::turns::beside_others;

const BEGUN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
const CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n";
/// For the key of RFC 6455 1.3, which HAProxy looks at.
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A server that ends none of its answers, but that to `/full/b`.
fn app() -> SocketAddr {
    let listener = TcpListener::bind((loopback(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    address
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line)?;
        }
        line.clear();
        let answer = match path.as_str() {
            "/begin" | "/begin?n" => BEGUN,
            "/chunks" => CHUNKS,
            "/switch" => SWITCH,
            "/full/b" => "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb",
            _ => "",
        };
        stream.get_mut().write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// A client, and what it had got when its connection ended.
fn ask(front: SocketAddr, path: &'static str) -> JoinHandle<(String, String)> {
    thread::spawn(move || {
        let mut stream = TcpStream::connect(front).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let connection = match path {
            "/switch" => UPGRADE,
            _ => "Connection: close\r\n",
        };
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n{connection}\r\n").unwrap();
        let mut got = Vec::new();
        // Whether it ends in order or not.
        let ended = stream.read_to_end(&mut got);
        let timed_out = ended.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "{path} goes on");
        let got = String::from_utf8(got).unwrap();
        let (head, body) = got.split_once("\r\n\r\n").expect(path);
        let status = head.split(' ').nth(1).unwrap().to_owned();
        // The sentence of an answer of its own is each balancer's.
        let body = if status == "502" { "" } else { body };
        (status, body.to_owned())
    })
}

/// Status and letters of the line about a path.
fn logged(process: &Process, path: &str) -> (String, String) {
    let line = wait_lines(process, path, 1).remove(0);
    let words: Vec<&str> = line.split(' ').collect();
    (words[5].to_owned(), words[9].to_owned())
}

/// Waits until so many are at `b/s`, at `full/one` and behind it.
fn wait_for_counts(stats: SocketAddr, wanted: [&str; 3]) {
    let counts = || {
        let rows = rows(stats);
        let cell = |proxy: &str, server: &str, column: &str| {
            let row = rows.get(&(proxy.to_owned(), server.to_owned()));
            // A server that is not known yet has nothing.
            row.map_or(String::new(), |row| row[column].clone())
        };
        [
            cell("b", "s", "scur"),
            cell("full", "one", "scur"),
            cell("full", "BACKEND", "qcur"),
        ]
    };
    let reached = poll(SOON, || (counts() == wanted).then_some(()));
    assert!(reached.is_some(), "{wanted:?}, not {:?}", counts());
}

/// What a client got and what the log says, of each path.
type Ends = BTreeMap<&'static str, [(String, String); 2]>;

fn play(pair: &Pair, ours: bool) -> Ends {
    let (front, stats, process, socket) = match ours {
        true => {
            let (ours, socket) = (&pair.ours, "roundel.sock");
            (ours.front, ours.stats, &ours.process, socket)
        }
        false => (pair.front, pair.stats, &pair.theirs, "haproxy.sock"),
    };
    let socket = pair.folder.path().join(socket);
    let mut asked = BTreeMap::new();
    for path in ["/wait", "/begin", "/chunks", "/switch", "/full/a"] {
        asked.insert(path, ask(front, path));
    }
    wait_for_counts(stats, ["4", "1", "0"]);
    asked.insert("/full/b", ask(front, "/full/b"));
    wait_for_counts(stats, ["4", "1", "1"]);
    assert_eq!(say(&socket, "shutdown sessions server b/s"), "\n");
    wait_for_counts(stats, ["0", "1", "1"]);
    // Who waits is called when the one before is cut.
    assert_eq!(say(&socket, "shutdown sessions server full/one"), "\n");
    let ends = asked.into_iter().map(|(path, client)| {
        let got = client.join().unwrap();
        (path, [got, logged(process, path)])
    });
    let ends = ends.collect();
    // With nothing left to cut.
    assert_eq!(say(&socket, "shutdown sessions server b/s"), "\n");
    assert_eq!(get(front, "/full/b").unwrap().status, 200);
    ends
}

#[test]
fn sessions_of_a_server_end_as_at_haproxy() {
    let _turn = beside_others();
    let app = app();
    let ours = format!(
        "default_backend = \"b\"\nroute = [{{ path_prefix = \"/full\", backend = \"full\" }}]\n\
         [[backend]]\nname = \"b\"\ncheck = \"off\"\nsticky = \"off\"\n\
         server = [{{ name = \"s\", address = \"{app}\" }}]\n\
         [[backend]]\nname = \"full\"\ncheck = \"off\"\nsticky = \"off\"\nmaxconn = 1\n\
         timeouts = {{ queue = \"30s\" }}\nserver = [{{ name = \"one\", address = \"{app}\" }}]\n"
    );
    let theirs = format!(
        "  use_backend full if {{ path_beg /full }}\n  default_backend b\n\
         backend b\n  server s {app}\nbackend full\n  server one {app} maxconn 1\n"
    );
    let Some(pair) = Pair::start(&ours, &theirs) else {
        return;
    };
    let [mut theirs, ours] = [false, true].map(|ours| play(&pair, ours));
    // HAProxy knows no phase of a tunnel, `HAPROXY.md`.
    let tunnel = theirs.get_mut("/switch").unwrap();
    assert_eq!(tunnel[1].1, "K---");
    tunnel[1].1 = "KD--".to_owned();
    assert_eq!(ours, theirs);
    let letters = |path: &str| ours[path][1].1.as_str();
    assert_eq!(letters("/wait"), "KH--");
    assert_eq!(["/begin", "/chunks", "/switch"].map(letters), ["KD--"; 3]);
    assert_eq!([letters("/full/a"), letters("/full/b")], ["KH--", "----"]);
    let act = "operator act: shutdown sessions server b/s action=";
    pair.ours.process.wait_line(act, SOON);
    let socket = pair.folder.path().join("roundel.sock");
    let events = say(&socket, "show events");
    assert!(events.contains("requests cut by operator: 4"), "{events}");
    one_that_left_is_cut_as_well(&pair, app);
}

/// HAProxy deletes no server that has requests; ours may have some for a while.
fn one_that_left_is_cut_as_well(pair: &Pair, app: SocketAddr) {
    let socket = pair.folder.path().join("roundel.sock");
    let order = |line: &str| say(&socket, line);
    order("disable server b/s");
    order(&format!("add server b/n {app}"));
    let client = ask(pair.ours.front, "/begin?n");
    wait_for("the request", SOON, || {
        order("show sess").contains(" srv=n\n").then_some(())
    });
    order("disable server b/n");
    assert_eq!(order("del server b/n"), "Server deleted.\n");
    assert_eq!(order("shutdown sessions server b/n"), "\n");
    assert_eq!(client.join().unwrap().1, "hel");
    assert_eq!(logged(&pair.ours.process, "/begin?n").1, "KD--");
}
