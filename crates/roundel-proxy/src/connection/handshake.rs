//! The handshake of a connection over TLS, before its first request.
//!
//! The client is heard first: what it says chooses the certificate and the conditions. Steps that do
//! the sums are taken in turns with requests; a client that says nothing holds up nobody, and holds
//! what it has sent.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use roundel_http1::RequestHead;
use roundel_tls::{ACME_TLS, Answer, Certificate};
use rustls::server::{Accepted, Acceptor};
use tokio::net::TcpStream;

use super::request::refuse_plain;
use crate::counters::HandshakeError;
use crate::deadline::Deadline;
use crate::linger::linger;
use crate::peer::{Connection, Guest, Peer};
use crate::secured::Secured;
use crate::transport::Io;
use crate::transport::tls::Tls;

/// Bytes for which there is room before a client is heard: most say no more than this.
const HELLO: usize = 2 * 1024;
/// The kind of a record with which a handshake begins. Source: RFC 8446 5.1.
const HANDSHAKE: u8 = 22;
/// A fatal alert in clear, `unrecognized_name`. Source: RFC 8446 6.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The same, `unexpected_message` and `decode_error`.
const UNEXPECTED_MESSAGE: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

/// Why a connection ends before its first request.
enum Failure {
    /// The client has not begun to speak.
    Quiet,
    /// The process ends.
    Stopped,
    /// The handshake failed, for what rustls says if it does.
    Failed(HandshakeError, Option<rustls::Error>),
}

impl From<HandshakeError> for Failure {
    fn from(why: HandshakeError) -> Self {
        Self::Failed(why, None)
    }
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        use rustls::Error;
        let why = match &error {
            Error::AlertReceived(_) => HandshakeError::Alert,
            Error::NoCertificatesPresented
            | Error::InvalidCertificate(_)
            | Error::InvalidCertRevocationList(_) => HandshakeError::ClientCertificate,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
                HandshakeError::Incompatible
            }
            _ => HandshakeError::Protocol,
        };
        Self::Failed(why, Some(error))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            Ok(error) => error.into(),
            Err(_) => HandshakeError::Closed.into(),
        }
    }
}

/// Makes the handshake of a client that has sent the bytes in `begun` already. Says whether it is
/// HTTP/2 that follows; `None` if nothing does.
pub(super) async fn accept(
    guest: Box<Guest>,
    begun: Option<Box<RequestHead>>,
) -> Option<(Box<Guest>, bool)> {
    let Guest {
        connection,
        deadline,
    } = *guest;
    let Connection {
        mut peer,
        stream: Io::Plain(mut socket),
        proxied,
        ..
    } = connection
    else {
        return None;
    };
    let started = peer.worker.clock().now();
    deadline.set(peer.slot.look(|rules| rules.frontend.timeouts.http_request));
    let mut hello = Hello::default();
    if let Some(head) = begun {
        hello.bytes.extend_from_slice(head.block.filled());
        peer.worker.blocks.give_request(head);
    }
    let connection = |peer, stream| Connection {
        peer,
        stream,
        h2c: false,
        proxied,
        tls: false,
    };
    let heard = hear(&peer, &mut socket, &deadline, &mut hello).await;
    if let Err(Failure::Failed(HandshakeError::NotTls, _)) = &heard
        && hello.is_text()
    {
        note(&peer, HandshakeError::NotTls, None);
        refuse_plain(connection(peer, Io::Plain(socket)), deadline, started).await;
        return None;
    }
    let mut told = None;
    let shaken = match heard {
        Ok(heard) => shake(&peer, socket, &deadline, hello.bytes, heard, &mut told).await,
        Err(failure) => Err(failure),
    };
    match shaken {
        // A CA has seen the proof that it asked for.
        Ok((tls, _)) if tls.common().alpn_protocol() == Some(ACME_TLS) => None,
        Ok((tls, secured)) => {
            let counters = peer.slot.counters(peer.worker.index);
            let resumed = usize::from(secured.resumed);
            counters.tls_handshakes[secured.version_index()][resumed].add(1);
            let is_http2 = tls.common().alpn_protocol() == Some(b"h2");
            peer.secure(secured);
            let connection = connection(peer, Io::Tls(tls));
            let guest = Guest {
                connection,
                deadline,
            };
            Some((Box::new(guest), is_http2))
        }
        Err(Failure::Failed(why, error)) => {
            note(&peer, why, error);
            if let Some(socket) = told {
                // What it has sent meanwhile must not take the alert from it.
                Box::pin(linger(&peer.worker, Io::Plain(socket), &deadline)).await;
            }
            None
        }
        Err(Failure::Quiet | Failure::Stopped) => None,
    }
}

/// Counts a handshake that failed.
#[cold]
fn note(peer: &Peer, why: HandshakeError, error: Option<rustls::Error>) {
    peer.slot.counters(peer.worker.index).tls_failures[why as usize].add(1);
    let error = error.map(|error| error.to_string()).unwrap_or_default();
    tracing::debug!(
        frontend = peer.slot.rules().frontend.name.as_str(),
        client = %peer.address,
        reason = why.as_str(),
        error = %error.escape_debug(),
        "a handshake failed"
    );
}

/// What a client says first.
#[derive(Default)]
struct Hello {
    bytes: Vec<u8>,
    /// Reads one that does not fit into one record.
    acceptor: Option<Box<Acceptor>>,
    /// How much of the bytes it has.
    fed: usize,
}

impl Hello {
    /// Whether it looks like a request of HTTP/1.
    fn is_text(&self) -> bool {
        self.bytes.first().is_some_and(u8::is_ascii_uppercase)
    }

    /// Looks whether it is whole. Errors: it is none; the alert for the client is sent.
    fn look(&mut self, socket: &TcpStream) -> Result<Option<Accepted>, Failure> {
        match self.bytes[..] {
            [] | [HANDSHAKE] | [HANDSHAKE, _] | [HANDSHAKE, _, _] | [HANDSHAKE, _, _, _] => {
                return Ok(None);
            }
            [HANDSHAKE, _, _, high, low, ref rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                // Half of one costs its bytes and no more.
                if self.acceptor.is_none() && rest.len() < length {
                    return Ok(None);
                }
            }
            _ => return Err(HandshakeError::NotTls.into()),
        }
        let acceptor = self.acceptor.get_or_insert_default();
        while self.fed < self.bytes.len() {
            let fed = acceptor.read_tls(&mut &self.bytes[self.fed..]);
            self.fed += fed.map_err(|_| HandshakeError::Protocol)?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(accepted) => return Ok(accepted),
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    let _ = alert.write_all(&mut bytes);
                    if bytes.is_empty() {
                        // What is no hello at all is refused without a word by the library.
                        bytes.extend(match error {
                            rustls::Error::InvalidMessage(_) => DECODE_ERROR,
                            _ => UNEXPECTED_MESSAGE,
                        });
                    }
                    let _ = socket.try_write(&bytes);
                    return Err(error.into());
                }
            }
        }
        Ok(None)
    }

    /// Ready when more of it has come.
    fn poll_more(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            match socket.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(HandshakeError::Closed.into())),
                Poll::Pending => return Poll::Pending,
            }
            self.bytes.reserve(HELLO);
            return Poll::Ready(match socket.try_read_buf(&mut self.bytes) {
                Ok(0) if self.bytes.is_empty() => Err(Failure::Quiet),
                Ok(0) => Err(HandshakeError::Closed.into()),
                Ok(_) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => Err(HandshakeError::Closed.into()),
            });
        }
    }
}

/// How the client is answered, and the name that it asked for.
struct Heard {
    answer: Answer,
    server_name: Option<Box<str>>,
}

/// Hears the client out. Errors: it was told why it is refused.
async fn hear(
    peer: &Peer,
    socket: &mut TcpStream,
    deadline: &Deadline,
    hello: &mut Hello,
) -> Result<Heard, Failure> {
    let worker = &peer.worker;
    let accepted = loop {
        if let Some(accepted) = hello.look(socket)? {
            break accepted;
        }
        poll_fn(|cx| match hello.poll_more(socket, cx) {
            Poll::Ready(more) => Poll::Ready(more),
            Poll::Pending if deadline.poll_fired(cx) => {
                Poll::Ready(Err(match deadline.is_stopped() {
                    true => Failure::Stopped,
                    false if hello.bytes.is_empty() => Failure::Quiet,
                    false => HandshakeError::Timeout.into(),
                }))
            }
            Poll::Pending if hello.bytes.is_empty() && worker.closes_idle() => {
                Poll::Ready(Err(Failure::Quiet))
            }
            Poll::Pending => Poll::Pending,
        })
        .await?;
    };
    let client = accepted.client_hello();
    let front = peer.slot.look(|rules| rules.frontend.tls.clone());
    match front.and_then(|front| front.answer(&client)) {
        Some(answer) => Ok(Heard {
            answer,
            server_name: client.server_name().map(Into::into),
        }),
        None => {
            let _ = socket.try_write(&UNRECOGNIZED_NAME);
            Err(HandshakeError::UnrecognizedName.into())
        }
    }
}

/// Makes the handshake with a client that was heard. Errors: the socket of a client that was told why
/// is left in `told`.
async fn shake(
    peer: &Peer,
    socket: TcpStream,
    deadline: &Deadline,
    hello: Vec<u8>,
    heard: Heard,
    told: &mut Option<TcpStream>,
) -> Result<(Tls<TcpStream>, Secured), Failure> {
    let mut tls = Tls::server(socket, heard.answer.config, &hello)?;
    drop(hello);
    let worker = &peer.worker;
    loop {
        let turn = worker.handshakes.acquire().await;
        let advanced = tls.advance();
        if tls.is_handshaking() {
            tokio::task::yield_now().await;
        }
        drop(turn);
        if let Err(error) = advanced {
            *told = Some(tls.into_socket());
            return Err(error.into());
        }
        if !tls.is_handshaking() {
            break;
        }
        poll_fn(|cx| match tls.poll_more(cx) {
            Poll::Ready(more) => Poll::Ready(more.map_err(Failure::from)),
            Poll::Pending if deadline.poll_fired(cx) => {
                Poll::Ready(Err(match deadline.is_stopped() {
                    true => Failure::Stopped,
                    false => HandshakeError::Timeout.into(),
                }))
            }
            Poll::Pending => Poll::Pending,
        })
        .await?;
    }
    let certificate: Arc<Certificate> = heard.answer.certificate;
    let secured = Secured::new(tls.common(), heard.server_name, certificate);
    Ok((tls, secured))
}
