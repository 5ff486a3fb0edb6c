//! The session of one connection: what it makes of records, and records that it makes.
//!
//! It keeps no bytes: records are read and written in buffers of others, which an idle connection
//! does not have.

use std::io;
use std::sync::Arc;

use roundel_http1::Block;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

/// Bytes by which a record is longer than what it holds, at most: five for its head, eight for a
/// counter in TLS 1.2, sixteen for its seal, one for its kind in TLS 1.3.
const OVERHEAD: usize = 30;
/// The most plaintext in one record. Source: RFC 8446 5.1.
const RECORD: usize = 16 * 1024;
/// Room for a message between the two ends, such as the goodbye.
const MESSAGE: usize = 256;

/// Either end of a session.
pub(super) enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What is to be said to the other end.
#[derive(Clone, Copy)]
pub(super) enum Say<'s> {
    Nothing,
    Plaintext(&'s [u8]),
    /// Nothing follows.
    Goodbye,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more to do.
    Again,
    /// The other end says that nothing follows.
    Ended,
    /// All whole records were read; what was to be said was not.
    NoMore,
    /// All whole records were read, and it was said.
    Said,
}

impl Session {
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config).map(Self::Server)
    }
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        UnbufferedClientConnection::new(config, name).map(Self::Client)
    }

    /// What was agreed on.
    pub(super) fn common(&self) -> &CommonState {
        match self {
            Self::Server(session) => session,
            Self::Client(session) => session,
        }
    }

    /// Takes one step: reads some of `records`, where there are whole ones, else says `say`.
    ///
    /// Shape: plaintext goes to `plain`, records for the other end go behind those in `out`. Says how
    /// many bytes at the front of `records` are done with; the others have to be there, as they were
    /// left, for the next step.
    /// Errors: the session is over; further steps put alerts for the other end in `out`.
    pub(super) fn step(
        &mut self,
        records: &mut [u8],
        say: Say<'_>,
        plain: &mut dyn FnMut(&[u8]),
        out: &mut Block,
    ) -> (usize, Result<Step, Error>) {
        match self {
            Self::Server(session) => step(session.process_tls_records(records), say, plain, out),
            Self::Client(session) => step(session.process_tls_records(records), say, plain, out),
        }
    }
}

fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    say: Say<'_>,
    plain: &mut dyn FnMut(&[u8]),
    out: &mut Block,
) -> (usize, Result<Step, Error>) {
    let mut used = status.discard;
    let step = match status.state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                None => break Ok(Step::Again),
                Some(Ok(record)) => {
                    used += record.discard;
                    plain(record.payload);
                }
                Some(Err(error)) => break Err(error),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            put(out, MESSAGE, |room| match data.encode(room) {
                Err(EncodeError::InsufficientSize(short)) => Err(Some(short.required_size)),
                Err(EncodeError::AlreadyEncoded) => Err(None),
                Ok(n) => Ok(n),
            })
            .map(|()| Step::Again)
        }
        // What is in `out` is sent, or the connection ends.
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::Ended),
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let needs = |short: EncryptError| match short {
                EncryptError::InsufficientSize(short) => Some(short.required_size),
                EncryptError::EncryptExhausted => None,
            };
            match say {
                Say::Nothing => Ok(Step::NoMore),
                Say::Plaintext(bytes) => {
                    let size = bytes.len() + (bytes.len() / RECORD + 1) * OVERHEAD;
                    put(out, size, |room| {
                        traffic.encrypt(bytes, room).map_err(needs)
                    })
                    .map(|()| Step::Said)
                }
                Say::Goodbye => {
                    let mut goodbye = |room: &mut [u8]| traffic.queue_close_notify(room);
                    put(out, MESSAGE, |room| goodbye(room).map_err(needs)).map(|()| Step::Said)
                }
            }
        }
        // Early data is never accepted.
        Ok(_) => Ok(Step::NoMore),
        Err(error) => Err(error),
    };
    (used, step)
}

/// Has `write` put bytes behind those in `out`, where it finds room for `size` at first; it says how
/// much it needs if that is too little.
fn put(
    out: &mut Block,
    size: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), Error> {
    out.reserve(size);
    loop {
        match write(out.spare_mut()) {
            Ok(n) => {
                out.advance(n);
                return Ok(());
            }
            Err(Some(needed)) if needed > out.spare_mut().len() => out.reserve(needed),
            Err(_) => return Err(Error::EncryptError),
        }
    }
}

/// As an error of the transport.
pub(super) fn io_error(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
