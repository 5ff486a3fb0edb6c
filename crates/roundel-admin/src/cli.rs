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
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Admin;
use crate::command::Principal;
use reply::Shown;

/// The longest line of commands.
const MAX_LINE: u64 = 16 * 1024;

/// How long a connection may be silent, unless `set timeout cli` says otherwise.
const SILENCE: Duration = Duration::from_secs(10);

/// The longest silence that may be asked for.
const MAX_SILENCE: Duration = Duration::from_secs(24 * 3600);

/// The most connections to one listener at a time; more wait.
const MAX_CONNECTIONS: usize = 64;

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
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection, and who it is from.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Principal)>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Principal)> {
        let (stream, peer) = self.accept().await?;
        let peer = std::net::SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Ok((stream, Principal(format!("cli {peer}"))))
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Principal)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, Principal("cli socket".into())))
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
    serve(admin, listener, level, stop).await
}

/// Serves the runtime API on a unix socket until `stop` is ready. A failing accept is retried.
pub async fn serve_unix(
    admin: Admin,
    listener: UnixListener,
    level: Level,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    serve(admin, listener, level, stop).await
}

async fn serve(
    admin: Admin,
    listener: impl Listen,
    level: Level,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        while connections.try_join_next().is_some() {}
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (
                slot.expect("the semaphore is never closed"),
                listener.next().await,
            )
        };
        let (slot, accepted) = tokio::select! {
            biased;
            () = &mut stop => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, principal)) => {
                let session = Session {
                    admin: admin.clone(),
                    level,
                    principal,
                    prompt: false,
                    shown: Shown::default(),
                    silence: SILENCE,
                };
                connections.spawn(async move {
                    if let Err(error) = session.converse(stream).await {
                        tracing::debug!(%error, "runtime API connection ended");
                    }
                    drop(slot);
                });
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
}

/// What comes after a reply.
enum Then {
    Continue,
    Quit,
}

impl Session {
    async fn converse(mut self, stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
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
    async fn answer(&mut self, line: &str, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<Then> {
        for command in commands(line) {
            let Some(reply) = self.dispatch(&command).await else {
                return Ok(Then::Quit);
            };
            let mut text = reply.render(self.shown);
            if self.prompt {
                text.push_str("> ");
            }
            to.write_all(text.as_bytes()).await?;
        }
        to.flush().await?;
        Ok(Then::Continue)
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
