//! A fake server of WebSocket over HTTP/1.1 (RFC 6455).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use socket2::SockRef;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Set on the last frame of a message.
const FIN: u8 = 0x80;

/// Bytes of a message that is sent back in pieces.
const PIECE: usize = 1000;

/// What Sec-WebSocket-Accept says to a key. Source: RFC 6455 4.2.2.
pub fn websocket_accept(key: &str) -> String {
    let joined = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, joined.as_bytes()))
}

/// A listening server; one thread per connection; stops accepting on drop.
///
/// The path says what a socket does: `/echo` gives each message back, `/pieces` in fragments, `/ping`
/// pings once and tells what came back, `/close?1001` closes with that code at the first message,
/// `/abort` resets the connection at it. `/404`, `/426` and `/page` are no sockets; without an upgrade
/// everything is an empty page.
#[derive(Debug)]
pub struct SocketServer {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl SocketServer {
    /// Starts a server on a free port of 127.0.0.1.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let heard = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (told, stopped) = (Arc::clone(&heard), Arc::clone(&stop));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let told = Arc::clone(&told);
                thread::spawn(move || {
                    // A client that breaks off is the client's business.
                    let _ = serve(stream, &told);
                });
            }
        });
        Self {
            address,
            heard,
            stop,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How its sockets have ended, in order: `PATH CODE` for a close frame, `PATH end` without one,
    /// `PATH reset`.
    pub fn ends(&self) -> Vec<String> {
        self.heard.lock().expect("no panic while held").clone()
    }
}

impl Drop for SocketServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers requests until one becomes a socket.
fn serve(stream: TcpStream, heard: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let path = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
        let field = |name: &str| {
            let mut fields = lines.iter().filter_map(|line| line.split_once(':'));
            let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().to_owned())
        };
        let upgrades = field("upgrade").is_some_and(|name| name == "websocket");
        let status = match path.as_str() {
            "/404" => "404 Not Found",
            "/426" => "426 Upgrade Required",
            _ => "200 OK",
        };
        if !upgrades || status != "200 OK" || path == "/page" {
            let page = "<!DOCTYPE html><title>sockets</title>";
            let length = page.len();
            write!(
                stream.get_mut(),
                "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}"
            )?;
            continue;
        }
        let proof = websocket_accept(&field("sec-websocket-key").unwrap_or_default());
        let offered = field("sec-websocket-protocol").unwrap_or_default();
        let chosen = match offered.rsplit(',').next().map(str::trim) {
            None | Some("") => String::new(),
            Some(last) => format!("Sec-WebSocket-Protocol: {last}\r\n"),
        };
        write!(
            stream.get_mut(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {proof}\r\n{chosen}\r\n"
        )?;
        let end = match socket(&mut stream, &path) {
            Ok(end) => end,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => "reset".to_owned(),
            Err(_) => "end".to_owned(),
        };
        let mut heard = heard.lock().expect("no panic while held");
        heard.push(format!("{path} {end}"));
        return Ok(());
    }
}

/// Serves a socket until it has ended; says how.
fn socket(stream: &mut BufReader<TcpStream>, path: &str) -> io::Result<String> {
    if path == "/ping" {
        write_frame(stream.get_mut(), FIN | PING, b"are you there")?;
    }
    let (mut kind, mut message) = (TEXT, Vec::new());
    let closes = path.starts_with("/close?");
    loop {
        let (first, payload) = read_frame(stream)?;
        match first & 0xf {
            CLOSE => {
                let code = payload
                    .first_chunk()
                    .map_or(0, |code| u16::from_be_bytes(*code));
                // The other one's is answered, one's own is not.
                if !closes {
                    write_frame(stream.get_mut(), FIN | CLOSE, &payload)?;
                }
                return Ok(code.to_string());
            }
            PING => write_frame(stream.get_mut(), FIN | PONG, &payload)?,
            PONG => write_frame(stream.get_mut(), FIN | TEXT, &payload)?,
            opcode => {
                kind = if opcode == CONTINUATION { kind } else { opcode };
                message.extend_from_slice(&payload);
                if first & FIN != 0 {
                    if !answer(stream.get_mut(), path, kind, &message)? {
                        return Ok("aborted".to_owned());
                    }
                    message.clear();
                }
            }
        }
    }
}

/// Does what the path says with a message; false when the connection is to go.
fn answer(stream: &mut TcpStream, path: &str, kind: u8, message: &[u8]) -> io::Result<bool> {
    if path == "/abort" {
        SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
        return Ok(false);
    }
    if let Some(code) = path.strip_prefix("/close?") {
        let code: u16 = code.parse().map_err(io::Error::other)?;
        write_frame(
            stream,
            FIN | CLOSE,
            &[&code.to_be_bytes(), message].concat(),
        )?;
        return Ok(true);
    }
    if path != "/pieces" {
        write_frame(stream, FIN | kind, message)?;
        return Ok(true);
    }
    let count = message.len().div_ceil(PIECE).max(1);
    for n in 0..count {
        let piece = &message[n * PIECE..message.len().min((n + 1) * PIECE)];
        let opcode = if n == 0 { kind } else { CONTINUATION };
        let fin = if n + 1 == count { FIN } else { 0 };
        write_frame(stream, fin | opcode, piece)?;
    }
    Ok(true)
}

/// Reads a frame of a client: its first byte, and the payload without its mask.
fn read_frame(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        length => u64::from(length),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask)?;
    let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    stream.read_exact(&mut payload)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((head[0], payload))
}

fn write_frame(stream: &mut impl Write, first: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        medium @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame)
}
