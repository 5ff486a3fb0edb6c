//! The server of a fleet: answers so that every mix-up shows, and writes down what it received.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::origin::{self, Reply};
use crate::{Dice, Received, hash};

/// Silence after which a server that was told to end does so: nobody chooses it any more.
const QUIET: Duration = Duration::from_millis(700);

/// Where a request tells a server to end once it is quiet.
pub(super) const END: &str = "/end";

/// The field of an answer that names the server by its address.
pub(super) const SERVER: &str = "x-server";

/// What a request asks for, as it is written in its target: `/r/ID?size=BYTES&wait=MS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) id: u64,
    pub(super) size: usize,
    pub(super) wait: u64,
}

impl Wish {
    pub(super) fn target(self) -> String {
        format!("/r/{}?size={}&wait={}", self.id, self.size, self.wait)
    }

    fn parse(target: &str) -> Option<Self> {
        let (id, rest) = target.strip_prefix("/r/")?.split_once("?size=")?;
        let (size, wait) = rest.split_once("&wait=")?;
        Some(Self {
            id: id.parse().ok()?,
            size: size.parse().ok()?,
            wait: wait.parse().ok()?,
        })
    }

    /// The body of the answer, which nobody else's answer has.
    pub(super) fn body(self) -> Vec<u8> {
        Dice::new(self.id).bytes(self.size)
    }
}

/// Serves on `address` until told to end at `END`; writes `ID METHOD` into the file at `log`
/// as soon as the head of a request is there, before anything is answered.
///
/// An answer carries the request's number (`x-id`), the hash of the body received (`x-got`) and a
/// body that follows from the number. `HEAD /` is for checks and not written down.
/// Errors: the address or the file cannot be had.
pub fn serve(address: SocketAddr, log: &Path) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let log = Arc::new(OpenOptions::new().create(true).append(true).open(log)?);
    let (asked, requests) = channel();
    let ends = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ends);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (log, asked, told) = (Arc::clone(&log), asked.clone(), Arc::clone(&told));
            thread::spawn(move || converse(stream, &log, &asked, &told));
        }
    });
    loop {
        match requests.recv_timeout(QUIET) {
            Err(RecvTimeoutError::Timeout) if ends.load(Ordering::SeqCst) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            _ => {}
        }
    }
}

fn converse(stream: TcpStream, log: &File, asked: &Sender<()>, ends: &AtomicBool) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Ok(Some(mut received)) = origin::read_head(&mut reader) {
        let wish = Wish::parse(&received.target);
        if let Some(wish) = wish {
            let _ = asked.send(());
            // One write per line, so that lines of several threads do not mix.
            let line = format!("{} {}\n", wish.id, received.method);
            if (&*log).write_all(line.as_bytes()).is_err() {
                return;
            }
        }
        if origin::read_body(&mut reader, &mut received).is_err() {
            return;
        }
        if received.target == END {
            ends.store(true, Ordering::SeqCst);
        }
        let mut reply = wish.map_or_else(|| Reply::text(""), |wish| answer(wish, &received));
        let name = reader.get_ref().local_addr().map(|a| a.to_string());
        let name = name.unwrap_or_default();
        reply.headers.push((SERVER.into(), name));
        if origin::write(reader.get_mut(), &received, &reply).is_err()
            || received.header("connection") == Some("close")
        {
            return;
        }
    }
}

fn answer(wish: Wish, received: &Received) -> Reply {
    thread::sleep(Duration::from_millis(wish.wait));
    Reply {
        status: 200,
        headers: vec![
            ("x-id".into(), wish.id.to_string()),
            ("x-got".into(), hash(&received.body).to_string()),
        ],
        body: wish.body(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Connection, free_address, get, wait_for};

    #[test]
    fn writes_down_what_it_answers_and_ends_when_quiet() {
        let (address, folder) = (free_address(), std::env::temp_dir());
        let log = folder.join(format!("chaos-server-{}", std::process::id()));
        let server = thread::spawn({
            let log = log.clone();
            move || serve(address, &log)
        });
        let soon = Duration::from_secs(10);
        let mut client = wait_for("the server", soon, || Connection::open(address).ok());
        let wish = Wish {
            id: 42,
            size: 10,
            wait: 0,
        };
        let answer = client.send("POST", &wish.target(), &[], b"abc").unwrap();
        assert_eq!(answer.header("x-id"), Some("42"));
        assert_eq!(answer.header("x-got"), Some(&*hash(b"abc").to_string()));
        assert_eq!(answer.body, wish.body());
        get(address, END).unwrap();
        server.join().unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "42 POST\n");
        std::fs::remove_file(log).unwrap();
    }
}
