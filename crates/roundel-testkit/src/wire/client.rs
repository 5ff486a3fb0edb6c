//! The raw client.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::message::{self, Message, Parsed};
use super::origin::End;
use super::way::{Way, Wire};

/// One final answer and the interim ones before it.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The answer, as much of it as came.
    pub message: Message,
    /// The heads of the interim answers.
    pub interim: Vec<Message>,
    /// It did not come to its end.
    pub broken: bool,
}

/// One connection of a raw client.
#[derive(Debug)]
pub struct Link {
    stream: Option<Wire>,
    methods: VecDeque<String>,
    buffer: Vec<u8>,
    interim: Vec<Message>,
    /// Everything received.
    pub received: Vec<u8>,
    /// The final answers so far.
    pub answers: Vec<Answer>,
    /// How the proxy ended it.
    pub end: Option<End>,
    deadline: Instant,
    peer: SocketAddr,
    asked: bool,
    /// It is not found out any more whether the proxy has read what was sent.
    blind: bool,
    /// What was answered when it was asked whether it is kept.
    probe: Option<bool>,
}

impl Link {
    /// Connects. Errors: nobody listens, or the handshake fails.
    pub fn open(way: &Way, deadline: Instant) -> io::Result<Self> {
        Ok(Self {
            stream: Some(way.open(&[])?),
            methods: VecDeque::new(),
            buffer: Vec::new(),
            interim: Vec::new(),
            received: Vec::new(),
            answers: Vec::new(),
            end: None,
            deadline,
            peer: way.address,
            asked: false,
            blind: false,
            probe: None,
        })
    }

    /// Names the method of a request to come, for reading its answer; `GET` if none is named.
    pub fn method(&mut self, method: &str) {
        self.methods.push_back(method.to_owned());
    }

    /// Sends bytes; that the proxy takes no more is no error, for its answer tells why.
    pub fn send(&mut self, bytes: &[u8]) {
        self.asked = true;
        if let Some(stream) = &mut self.stream {
            let _ = stream.write_all(bytes);
        }
    }

    /// The pair of a cookie as the last answer that set it said.
    pub(super) fn cookie(&self, name: &str) -> Option<String> {
        let fields = self.answers.iter().rev().map(|a| &a.message);
        let mut pairs = fields.flat_map(|m| m.all("set-cookie"));
        let is_named = |v: &&str| v.split('=').next() == Some(name);
        let set = pairs.find(is_named)?;
        set.split(';').next().map(String::from)
    }

    /// Sends bytes one by one with pauses; stops when an answer or an end comes.
    pub fn drip(&mut self, bytes: &[u8], pause: Duration) -> Result<(), String> {
        for byte in bytes {
            self.send(&[*byte]);
            if self.poll(pause)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Looks for an answer or an end for as long as `pause`.
    pub(super) fn poll(&mut self, pause: Duration) -> Result<bool, String> {
        let end = Instant::now() + pause;
        while self.end.is_none() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            match self.read(left)? {
                true => return Ok(true),
                false if self.end.is_some() => return Ok(true),
                false => {}
            }
        }
        Ok(true)
    }

    /// Waits until the proxy has read everything that was sent: its receive queue is empty.
    ///
    /// Gives up after a tenth of a second, and for good on this connection: the table of a busy
    /// machine is slow to read, which makes a cut less sure, not wrong.
    pub fn taken(&mut self) {
        let patience = Instant::now() + Duration::from_millis(100);
        if self.blind {
            return;
        }
        let Some(stream) = &self.stream else {
            return;
        };
        let Ok(local) = stream.socket().local_addr() else {
            return;
        };
        while Instant::now() < patience {
            match unread(self.peer, local) {
                Some(0) | None if Instant::now() < patience => return,
                _ => thread::sleep(Duration::from_millis(1)),
            }
        }
        self.blind = true;
    }

    /// Ends the sending side.
    pub fn half_close(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.half_close();
        }
    }

    /// Breaks the connection.
    pub fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.reset();
        }
    }

    pub(super) fn is_fresh(&self) -> bool {
        !self.asked
    }

    /// Sends one more request and notes whether it is answered as itself.
    pub(super) fn probe(&mut self) -> Result<(), String> {
        self.methods.clear();
        self.send(b"GET /probe-kept HTTP/1.1\r\nHost: probe\r\n\r\n");
        let before = self.answers.len();
        self.answer()?;
        let answer = self.answers.drain(before..).next();
        let fits = |a: &Answer| a.message.body.starts_with(b"GET /probe-kept ");
        self.probe = Some(answer.as_ref().is_some_and(fits));
        Ok(())
    }

    pub(super) fn was_probed(&self) -> bool {
        self.probe.is_some()
    }

    pub(super) fn probe_answered(&self) -> bool {
        self.probe == Some(true)
    }

    /// Reads one final answer; false when the connection ends without one.
    pub fn answer(&mut self) -> Result<bool, String> {
        loop {
            if self.take(false)? {
                return Ok(true);
            }
            if self.end.is_some() {
                return self.take(true);
            }
            self.read_on()?;
        }
    }

    /// Reads until these bytes have come.
    pub fn until(&mut self, needle: &str) -> Result<(), String> {
        while message::find(&self.received, needle.as_bytes()).is_none() {
            if self.end.is_some() {
                return Err(format!("ended before {needle:?}"));
            }
            self.read_on()?;
        }
        Ok(())
    }

    /// Reads to the end of the connection, and all answers.
    pub fn end(&mut self) -> Result<(), String> {
        self.drain()?;
        self.settle()
    }

    /// Reads to the end of the connection without reading answers. Errors: it hangs.
    pub fn drain(&mut self) -> Result<(), String> {
        while self.end.is_none() && self.stream.is_some() {
            self.read_on()?;
        }
        Ok(())
    }

    /// Reads the answers out of what was received.
    pub fn settle(&mut self) -> Result<(), String> {
        while self.take(self.end.is_some())? {}
        Ok(())
    }

    fn read_on(&mut self) -> Result<(), String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let got = message::text(&self.received[..self.received.len().min(600)]);
            return Err(format!("hangs; received so far: {got:?}"));
        }
        self.read(left).map(|_| ())
    }

    /// Reads once, for at most `left`; says whether bytes came.
    fn read(&mut self, left: Duration) -> Result<bool, String> {
        let Some(stream) = &mut self.stream else {
            self.end = Some(End::Reset);
            return Ok(false);
        };
        let mut room = vec![0; 64 * 1024];
        stream.set_read_timeout(left);
        match stream.read(&mut room) {
            Ok(0) => self.end = Some(End::Fin),
            Ok(n) => {
                self.buffer.extend_from_slice(&room[..n]);
                self.received.extend_from_slice(&room[..n]);
                return Ok(true);
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.end = Some(End::Reset),
        }
        Ok(false)
    }

    /// Takes one final answer from the buffer; with `ended` an incomplete one too.
    fn take(&mut self, ended: bool) -> Result<bool, String> {
        loop {
            let method = self.methods.front().map_or("GET", |m| m.as_str());
            let clean = ended && self.end == Some(End::Fin);
            match message::response(&self.buffer, method, clean) {
                Parsed::Whole(message, used) => {
                    self.buffer.drain(..used);
                    let switches = message.status() == 101;
                    if message.status() < 200 && !switches {
                        self.interim.push(message);
                        continue;
                    }
                    self.accept(message, false);
                    return Ok(true);
                }
                Parsed::Head(message) if ended => {
                    self.buffer.clear();
                    self.accept(message, true);
                    return Ok(true);
                }
                Parsed::Bad(why) => {
                    if self
                        .answers
                        .last()
                        .is_some_and(|a| a.message.status() == 101)
                    {
                        return Ok(false);
                    }
                    return Err(format!("malformed answer: {why}"));
                }
                Parsed::Little if ended && !self.buffer.is_empty() => {
                    if self
                        .answers
                        .last()
                        .is_some_and(|a| a.message.status() == 101)
                    {
                        return Ok(false);
                    }
                    self.buffer.clear();
                    self.accept(Message::default(), true);
                    return Ok(true);
                }
                Parsed::Head(_) | Parsed::Little => return Ok(false),
            }
        }
    }

    fn accept(&mut self, message: Message, broken: bool) {
        self.methods.pop_front();
        self.answers.push(Answer {
            message,
            interim: std::mem::take(&mut self.interim),
            broken,
        });
    }
}

/// Bytes that `local`'s socket has received from `remote` and nobody has read; `None` when there
/// is no such connection any more. Source: proc_net_tcp(5).
fn unread(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    // The table may hold thousands of finished connections: look for the pair before splitting.
    let at = table.find(&format!(" {} {} ", hex(local), hex(remote)))?;
    let queues = table[at..].split_whitespace().nth(3)?;
    u64::from_str_radix(queues.split(':').nth(1)?, 16).ok()
}

fn hex(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => {
            let ip = u32::from_ne_bytes(v4.ip().octets());
            format!("{ip:08X}:{:04X}", v4.port())
        }
        SocketAddr::V6(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn unread_bytes_are_seen_and_go_when_read() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let address = listener.local_addr().unwrap();
        let mut link = Link::open(&Way { address, tls: None }, deadline).unwrap();
        let (mut other, from) = listener.accept().unwrap();
        link.send(b"abc");
        let local = other.local_addr().unwrap();
        crate::wait_for("bytes", Duration::from_secs(5), || {
            (unread(local, from) == Some(3)).then_some(())
        });
        other.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(unread(local, from), Some(0));
        link.taken();
    }
}
