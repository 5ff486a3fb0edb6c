//! RFC 9113 towards servers, frame by frame: what no server library would send when it is wanted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use roundel_testkit::wire::{Answer, Link, Way};
use roundel_testkit::{Process, free_address, wait_for};
use tempfile::TempDir;

use crate::frames::frame;

/// Longer than a silent server is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// `:status` in the static table (RFC 7541 A).
const OK: &[u8] = &[0x88];
const NO_CONTENT: &[u8] = &[0x89];

/// A balancer before two servers.
struct Stage {
    front: SocketAddr,
    /// The servers' connections as they come.
    sockets: Receiver<Socket>,
    _process: Process,
    _folder: TempDir,
}

/// A connection of the balancer to a server.
struct Socket {
    server: usize,
    stream: TcpStream,
}

impl Stage {
    fn start() -> Self {
        let (to, sockets) = channel();
        let servers = [0, 1].map(|server| {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let to = to.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let socket = Socket::begin(server, stream);
                    if to.send(socket).is_err() {
                        return;
                    }
                }
            });
            format!("{{ name = \"s{server}\", address = \"{address}\" }}")
        });
        let [front, stats] = [(); 2].map(|()| free_address());
        let text = format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[global]\nthreads = 1\n\
             [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\n\
             [[backend]]\nname = \"nodes\"\ncheck = \"off\"\nsticky = \"off\"\nproto = \"h2\"\n\
             server = [{}]\n",
            servers.join(", ")
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roundel.toml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_roundel"));
        let mut process = Process::spawn(command.args(["serve", "-c"]).arg(&file));
        wait_for("the frontend", PATIENCE, || {
            assert!(process.try_exit().is_none(), "{process}");
            TcpStream::connect(front).ok()
        });
        Self {
            front,
            sockets,
            _process: process,
            _folder: folder,
        }
    }

    /// A client that has sent this.
    fn ask(&self, text: &str) -> Link {
        let way = Way {
            address: self.front,
            tls: None,
        };
        let mut link = Link::open(&way, Instant::now() + PATIENCE).unwrap();
        link.send(text.as_bytes());
        link
    }

    fn socket(&self) -> Socket {
        self.sockets.recv_timeout(PATIENCE).expect("a connection")
    }
}

impl Socket {
    fn begin(server: usize, mut stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.read_exact(&mut [0; 24]).unwrap();
        let mut socket = Self { server, stream };
        socket.send(&[frame(SETTINGS, 0, 0, &[])]);
        socket
    }

    /// Sends frames in one piece.
    fn send(&mut self, frames: &[Vec<u8>]) {
        self.stream.write_all(&frames.concat()).unwrap();
    }

    /// Reads frames to the next of this kind that no other end has answered; gives stream and payload.
    fn wait(&mut self, wanted: u8) -> (u32, Vec<u8>) {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).unwrap();
            let is_ack = matches!(head[3], SETTINGS | PING) && head[4] & ACK != 0;
            if head[3] == wanted && !is_ack {
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                return (stream, payload);
            }
        }
    }

    /// Waits for a request, and gives its stream.
    fn asked(&mut self) -> u32 {
        self.wait(HEADERS).0
    }

    fn no_content(&mut self, stream: u32) {
        self.send(&[frame(HEADERS, END_HEADERS | END_STREAM, stream, NO_CONTENT)]);
    }
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST, 0, stream, &code.to_be_bytes())
}

/// The one answer, whole or broken.
fn answer(link: &mut Link) -> Answer {
    assert!(link.answer().unwrap(), "no answer: {link:?}");
    link.answers.last().unwrap().clone()
}

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
/// A request that does not end.
const PART: &str = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\npart";

/// RFC 9113 8.7: only REFUSED_STREAM says that nothing was done.
#[test]
fn what_a_server_may_have_done_is_not_asked_again() {
    for code in [NO_ERROR, INTERNAL_ERROR, CANCEL] {
        let stage = Stage::start();
        let mut link = stage.ask(POST);
        let mut first = stage.socket();
        let stream = first.asked();
        first.send(&[reset(stream, code)]);
        assert_eq!(answer(&mut link).message.status(), 502, "{code}");
        assert!(stage.sockets.try_recv().is_err(), "{code}");
    }
}

/// RFC 9113 8.1: END_STREAM says that an answer is whole, and what follows it speaks of the request.
/// Servers such as HAProxy stop what is left of a request with CANCEL, not NO_ERROR.
#[test]
fn an_answer_behind_end_stream_is_whole_whatever_resets_its_stream() {
    for text in [GET, PART] {
        for code in [NO_ERROR, CANCEL, INTERNAL_ERROR, REFUSED_STREAM] {
            for body in ["hello", ""] {
                let stage = Stage::start();
                let mut link = stage.ask(text);
                let mut socket = stage.socket();
                let stream = socket.asked();
                let mut frames = match body {
                    "" => vec![frame(HEADERS, END_HEADERS | END_STREAM, stream, OK)],
                    body => vec![
                        frame(HEADERS, END_HEADERS, stream, OK),
                        frame(DATA, END_STREAM, stream, body.as_bytes()),
                    ],
                };
                frames.push(reset(stream, code));
                socket.send(&frames);
                let answer = answer(&mut link);
                let got = (answer.message.status(), answer.message.body, answer.broken);
                assert_eq!(got, (200, body.into(), false), "{code} {body:?} {text:?}");
            }
        }
    }
}

/// Without it, nothing says that an answer without a length is all there.
#[test]
fn an_answer_without_end_stream_is_broken_by_an_error() {
    for code in [CANCEL, INTERNAL_ERROR] {
        let stage = Stage::start();
        let mut link = stage.ask(GET);
        let mut socket = stage.socket();
        let stream = socket.asked();
        socket.send(&[
            frame(HEADERS, END_HEADERS, stream, OK),
            frame(DATA, 0, stream, b"hello"),
        ]);
        link.until("hello").unwrap();
        socket.send(&[reset(stream, code)]);
        assert!(answer(&mut link).broken, "{code}");
    }
}

/// TCP alone would wait for many minutes, and the server's timeout for 50 s.
#[test]
fn a_server_that_answers_no_ping_is_left() {
    let (quiet, silent) = (Stage::start(), Stage::start());
    let mut patient = quiet.ask(POST);
    let mut living = quiet.socket();
    let stream = living.asked();
    let mut link = silent.ask(GET);
    let mut dead = silent.socket();
    dead.asked();
    let (_, payload) = living.wait(PING);
    living.send(&[frame(PING, ACK, 0, &payload)]);
    // The silent one is asked as well, says nothing, and loses its request to the other server.
    dead.wait(PING);
    let mut second = silent.socket();
    assert_ne!(second.server, dead.server);
    let other = second.asked();
    second.no_content(other);
    assert_eq!(answer(&mut link).message.status(), 204);
    // A word is enough: what takes its time has kept its request meanwhile.
    living.no_content(stream);
    assert_eq!(answer(&mut patient).message.status(), 204);
    assert!(quiet.sockets.try_recv().is_err());
}
