//! TCP streams: one short-lived task each, which moves bytes and knows nothing of them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use roundel_gossip::StreamId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Longest wait for the peer's end after ours, so that what we wrote last is not cut off by a
/// reset.
const LINGER: Duration = Duration::from_millis(500);

/// Longest time for writing what is left when a stream is closed.
const FLUSH: Duration = Duration::from_secs(10);

/// Bytes read at once.
const CHUNK: usize = 16 << 10;

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
pub(crate) type Writes = mpsc::UnboundedSender<Vec<u8>>;

/// Serves an accepted connection.
pub(crate) fn accepted(id: StreamId, socket: TcpStream, reports: Reports) -> Writes {
    let (writes, inbox) = mpsc::unbounded_channel();
    tokio::spawn(serve(id, socket, reports, inbox));
    writes
}

/// Makes a connection, then serves it.
pub(crate) fn open(id: StreamId, to: SocketAddr, reports: Reports) -> Writes {
    let (writes, inbox) = mpsc::unbounded_channel::<Vec<u8>>();
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
                    serve(id, socket, reports, inbox).await;
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
    mut inbox: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    let _ = socket.set_nodelay(true);
    let mut buffer = vec![0; CHUNK];
    loop {
        tokio::select! {
            write = inbox.recv() => match write {
                Some(bytes) => {
                    if let Err(error) = socket.write_all(&bytes).await {
                        return report_end(id, &reports, Err(error)).await;
                    }
                }
                None => return finish(socket).await,
            },
            read = socket.read(&mut buffer) => match read {
                Ok(len) if len > 0 => {
                    let moved = Moved::Bytes(buffer[..len].to_vec());
                    if reports.send((id, moved)).await.is_err() {
                        return;
                    }
                }
                end => return report_end(id, &reports, end).await,
            },
        }
    }
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
async fn finish(mut socket: TcpStream) {
    let _ = tokio::time::timeout(FLUSH, socket.shutdown()).await;
    let mut rest = [0; 1024];
    let drain = async { while socket.read(&mut rest).await.is_ok_and(|len| len > 0) {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

fn near_end(socket: &TcpStream) -> Option<IpAddr> {
    socket.local_addr().ok().map(|at| at.ip())
}
