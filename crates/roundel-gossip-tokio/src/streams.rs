//! TCP streams: one short-lived task each, which moves bytes and knows nothing of them.

use std::io::{self, ErrorKind::TimedOut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use roundel_gossip::StreamId;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::places::Place;

/// Longest wait for the peer's end after ours, so that what we wrote last is not cut off by a
/// reset.
const LINGER: Duration = Duration::from_millis(500);

/// Bytes read at once.
const CHUNK: usize = 16 << 10;

/// Bytes that the kernel keeps for a peer that does not read; it takes twice as much.
const SEND_BUFFER: usize = 128 << 10;

/// What a stream's task tells the node's task.
#[derive(Debug)]
pub(crate) enum Moved {
    /// The connection stands.
    Opened(Option<IpAddr>),
    /// Bytes came.
    Bytes(Vec<u8>),
    /// The connection could not be made, failed, or ended.
    Closed(String),
}

/// Where all streams report to.
pub(crate) type Reports = mpsc::Sender<(StreamId, Moved)>;

/// What is to be written to one stream; dropping it closes the stream after the last write.
///
/// Unbounded, as the node writes at most one message to a stream.
pub(crate) type Writes = mpsc::UnboundedSender<Arc<[u8]>>;

/// Serves an accepted connection, which keeps its place to the end. `limit` is the longest time
/// for writing one message: a peer that does not read must not keep it in memory.
pub(crate) fn accepted(
    id: StreamId,
    socket: TcpStream,
    reports: Reports,
    limit: Duration,
    place: Place,
) -> (Writes, AbortHandle) {
    let (writes, inbox) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        serve(id, socket, reports, limit, inbox).await;
        drop(place);
    });
    (writes, task.abort_handle())
}

/// Makes a connection, then serves it.
pub(crate) fn open(id: StreamId, to: SocketAddr, reports: Reports, limit: Duration) -> Writes {
    let (writes, inbox) = mpsc::unbounded_channel::<Arc<[u8]>>();
    tokio::spawn(async move {
        let mut inbox = inbox;
        let connected = tokio::select! {
            result = TcpStream::connect(to) => result,
            // Nothing is written before the stream is open, so this is the close.
            _ = inbox.recv() => return,
        };
        match connected {
            Ok(socket) => {
                if reports
                    .send((id, Moved::Opened(near_end(&socket))))
                    .await
                    .is_ok()
                {
                    serve(id, socket, reports, limit, inbox).await;
                }
            }
            Err(error) => {
                let _ = reports.send((id, Moved::Closed(error.to_string()))).await;
            }
        }
    });
    writes
}

/// Moves bytes both ways until either side ends.
async fn serve(
    id: StreamId,
    mut socket: TcpStream,
    reports: Reports,
    limit: Duration,
    mut inbox: mpsc::UnboundedReceiver<Arc<[u8]>>,
) {
    let _ = socket.set_nodelay(true);
    let _ = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER);
    forget_unsent(&socket, true);
    let mut buffer = vec![0; CHUNK];
    loop {
        tokio::select! {
            write = inbox.recv() => match write {
                Some(bytes) => {
                    let written = tokio::time::timeout(limit, socket.write_all(&bytes)).await;
                    let late = || Err(io::Error::new(TimedOut, "the peer does not read"));
                    if let Err(error) = written.unwrap_or_else(|_| late()) {
                        return report_end(id, &reports, Err(error)).await;
                    }
                }
                None => return finish(socket, limit).await,
            },
            read = socket.read(&mut buffer) => match read {
                Ok(len) if len > 0 => {
                    let moved = Moved::Bytes(buffer[..len].to_vec());
                    if reports.send((id, moved)).await.is_err() {
                        return;
                    }
                }
                end => {
                    forget_unsent(&socket, false);
                    return report_end(id, &reports, end).await;
                }
            },
        }
    }
}

/// Whether the kernel gives up what it could not send when the socket is closed: it would keep
/// that for minutes for a peer that does not read.
fn forget_unsent(socket: &TcpStream, forget: bool) {
    let _ = SockRef::from(socket).set_linger(forget.then_some(Duration::ZERO));
}

async fn report_end(id: StreamId, reports: &Reports, end: io::Result<usize>) {
    let why = match end {
        Ok(_) => "the peer closed the connection".to_owned(),
        Err(error) => error.to_string(),
    };
    let _ = reports.send((id, Moved::Closed(why))).await;
}

/// Ends our side, then reads the rest away: closing with bytes unread would reset the connection
/// and could take our last words from the peer.
async fn finish(mut socket: TcpStream, limit: Duration) {
    forget_unsent(&socket, false);
    let _ = tokio::time::timeout(limit, socket.shutdown()).await;
    let mut rest = [0; 1024];
    let drain = async { while socket.read(&mut rest).await.is_ok_and(|len| len > 0) {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

fn near_end(socket: &TcpStream) -> Option<IpAddr> {
    socket.local_addr().ok().map(|at| at.ip())
}
