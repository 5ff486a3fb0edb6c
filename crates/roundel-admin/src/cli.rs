//! The runtime API: HAProxy's line protocol over TCP or a unix socket.
//!
//! A connection sends one line of commands separated by `;` and gets the replies, each ended
//! by an empty line; after `prompt` it may send any number of lines. A client may close its
//! side as soon as it has sent: the replies still come. Source: HAProxy management guide,
//! section 9.3.

mod acts;
mod add;
mod dispatch;
mod help;
mod info;
mod reply;
mod show;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Interest, Ready,
};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Admin;
use crate::command::Principal;
use crate::places::Places;
use crate::pulse::{Paced, Pulse};
use reply::Shown;

/// The longest line of commands.
const MAX_LINE: u64 = 16 * 1024;

/// How long a connection may be silent, unless `set timeout cli` says otherwise.
const SILENCE: Duration = Duration::from_secs(10);

/// The longest silence that may be asked for.
const MAX_SILENCE: Duration = Duration::from_secs(24 * 3600);

/// The longest that a connection which only reads may have us wait.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// How long a client may take nothing of a reply.
const SLOW: Duration = Duration::from_secs(30);

/// While something is waited for, how often to see whether the client is gone.
const LOOK: Duration = Duration::from_millis(250);

/// How long a client may take to read the end of a reply before the connection is dropped.
const LINGER: Duration = Duration::from_secs(1);

/// How long connections may go on after `stop`: what they ask may be on its way.
const LAST: Duration = Duration::from_secs(1);

/// A pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Reads only.
    User,
    /// Reads the environment as well.
    Operator,
    /// Acts too.
    Admin,
}

/// A listener of either kind.
trait Listen {
    type Stream: Connection;

    /// The next connection, where it is from, and who that is.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, IpAddr, Principal)>> + Send;
}

/// A connection of either kind.
trait Connection: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {
    /// What can be done with it.
    fn readiness(&self) -> impl Future<Output = io::Result<Ready>> + Send;
}

impl Connection for TcpStream {
    fn readiness(&self) -> impl Future<Output = io::Result<Ready>> + Send {
        self.ready(Interest::WRITABLE)
    }
}

impl Connection for UnixStream {
    fn readiness(&self) -> impl Future<Output = io::Result<Ready>> + Send {
        self.ready(Interest::WRITABLE)
    }
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, IpAddr, Principal)> {
        let (stream, peer) = self.accept().await?;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Ok((stream, peer.ip(), Principal(format!("cli {peer}"))))
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, IpAddr, Principal)> {
        let (stream, _) = self.accept().await?;
        let here = Ipv4Addr::LOCALHOST.into();
        Ok((stream, here, Principal("cli socket".into())))
    }
}

/// Serves the runtime API on TCP until `stop` is ready. A failing accept is retried. Connections
/// that were accepted get a second more.
pub async fn serve_tcp(
    admin: Admin,
    listener: TcpListener,
    level: Level,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let places = Arc::clone(&admin.shared.config.bounds.cli);
    serve(admin, listener, level, places, stop).await
}

/// Serves the runtime API on a unix socket until `stop` is ready. A failing accept is retried.
pub async fn serve_unix(
    admin: Admin,
    listener: UnixListener,
    level: Level,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let places = admin.shared.config.bounds.private();
    serve(admin, listener, level, places, stop).await
}

async fn serve(
    admin: Admin,
    listener: impl Listen,
    level: Level,
    places: Arc<Places>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.next() => accepted,
        };
        match accepted {
            // As many as are served may wait for a place.
            Ok(_) if connections.len() >= 2 * places.limit() => {}
            Ok((stream, from, principal)) => {
                let session = Session {
                    admin: admin.clone(),
                    level,
                    principal,
                    prompt: false,
                    shown: Shown::default(),
                    silence: SILENCE,
                    pulse: Pulse::new(),
                };
                connections.spawn(session.run(stream, from, Arc::clone(&places)));
            }
            Err(error) => {
                tracing::warn!(%error, "runtime API cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Whoever is silent for longer than that has nothing under way.
    let _ = timeout(LAST, all).await;
    Ok(())
}

/// One connection.
struct Session {
    admin: Admin,
    level: Level,
    principal: Principal,
    /// Whether `prompt` was given.
    prompt: bool,
    /// Whether and how replies say how bad they are.
    shown: Shown,
    silence: Duration,
    pulse: Arc<Pulse>,
}

/// What comes after a reply.
enum Then {
    Continue,
    Quit,
}

type Stream<C> = BufReader<Paced<C>>;

impl Session {
    /// Serves a connection once there is a place for it.
    async fn run<C: Connection>(self, stream: C, from: IpAddr, places: Arc<Places>) {
        let pulse = Arc::clone(&self.pulse);
        let Some(_place) = places.wait(from, &pulse).await else {
            return;
        };
        let stream = Paced::new(stream, Arc::clone(&pulse), SLOW);
        let served = tokio::select! {
            served = self.converse(BufReader::new(stream)) => served,
            () = pulse.closed() => Ok(()),
        };
        if let Err(error) = served {
            tracing::debug!(%error, "runtime API connection ended");
        }
    }

    async fn converse<C: Connection>(mut self, mut stream: Stream<C>) -> io::Result<()> {
        loop {
            let Ok(line) = timeout(self.silence, read_line(&mut stream)).await else {
                break;
            };
            let Some(line) = line? else { break };
            if matches!(self.answer(&line, &mut stream).await?, Then::Quit) {
                break;
            }
            // Without a prompt one line is all, but whatever came along with it counts too.
            if !self.prompt && !stream.buffer().contains(&b'\n') {
                break;
            }
        }
        stream.get_mut().shutdown().await?;
        // Closing with input unread would reset the connection and lose the reply.
        let _ = timeout(
            LINGER,
            tokio::io::copy(&mut stream.take(MAX_LINE), &mut tokio::io::sink()),
        )
        .await;
        Ok(())
    }

    /// Answers all commands of one line.
    async fn answer<C: Connection>(&mut self, line: &str, to: &mut Stream<C>) -> io::Result<Then> {
        for command in commands(line) {
            // Others need not wait for one who reads and has us wait.
            let waits = command.first().is_some_and(|word| word == "wait");
            let cedes = waits && self.level == Level::User;
            let pulse = Arc::clone(&self.pulse);
            let _answering = (!cedes).then(|| pulse.answer());
            let reply = tokio::select! {
                reply = self.dispatch(&command) => reply,
                () = hung_up(to.get_ref().get_ref()), if waits => None,
            };
            let Some(reply) = reply else {
                return Ok(Then::Quit);
            };
            let (before, text) = reply.render(self.shown);
            let end: &[u8] = if self.prompt { b"\n> " } else { b"\n" };
            if text.len() as u64 <= MAX_LINE {
                // In one piece: the kernel would hold the last back until the first is acknowledged.
                let whole = [before.as_bytes(), &text, end].concat();
                to.write_all(&whole).await?;
            } else {
                to.write_all(before.as_bytes()).await?;
                to.write_all(&text).await?;
                to.write_all(end).await?;
            }
        }
        to.flush().await?;
        Ok(Then::Continue)
    }
}

/// Waits until a client has closed both sides. One that has sent all it wants to may still read.
async fn hung_up(stream: &impl Connection) {
    while !stream.readiness().await.is_ok_and(|r| r.is_write_closed()) {
        sleep(LOOK).await;
    }
}

/// The next line without its end; `None` at the end of input.
async fn read_line(from: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let n = from.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    if n as u64 == MAX_LINE && line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
    }
    let text = String::from_utf8_lossy(&line);
    let text = text.trim_end_matches(['\n', '\r']).to_owned();
    Ok((n > 0).then_some(text))
}

/// Splits a line at each `;` that no backslash precedes; an empty line is one empty command.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![vec![String::new()]];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let words = all.last_mut().expect("never empty");
        match c {
            '\\' => {
                let word = words.last_mut().expect("never empty");
                word.extend(chars.next());
            }
            ';' => all.push(vec![String::new()]),
            c if c.is_whitespace() => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    for words in &mut all {
        words.retain(|word| !word.is_empty());
    }
    let several = all.len() > 1;
    all.retain(|words| !words.is_empty() || !several);
    all
}

#[cfg(test)]
mod tests;
