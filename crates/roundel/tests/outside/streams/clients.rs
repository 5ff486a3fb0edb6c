//! Clients of HTTP/2: a crowd whose streams are held at their servers, and some that go on asking.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::Request;
use roundel_testkit::wait_for;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::balancer::SOON;

/// Streams that a client opens on one connection.
const STREAMS: usize = 100;
/// Longer than anything here takes; what hangs ends there.
const AT_MOST: Duration = Duration::from_secs(120);

/// What is asked for in turn: an answer that is held whole, one of which half is there, and one to a
/// request of which half is there.
const WORDS: [&str; 3] = ["wait", "begin", "upload"];

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// 200 with all of its body.
    Well,
    /// Another answer.
    Status(u16),
    /// It was reset after so many bytes of its body.
    Reset(Reason, usize),
    Other(String),
}

/// Streams that are held at their servers, with where each asked.
pub(super) struct Crowd {
    streams: Vec<(String, JoinHandle<End>)>,
    connections: Vec<JoinHandle<Result<(), h2::Error>>>,
    /// Streams of which half of the answer has come.
    begun: Arc<AtomicUsize>,
}

impl Crowd {
    /// Opens so many streams, one path prefix after the other, and waits until half of the answers is
    /// there where it is to be.
    pub(super) fn open(
        runtime: &Runtime,
        front: SocketAddr,
        prefixes: &[&str],
        count: usize,
        gate: &watch::Sender<bool>,
    ) -> Self {
        let mut crowd = Self {
            streams: Vec::new(),
            connections: Vec::new(),
            begun: Arc::default(),
        };
        let mut client = None;
        for n in 0..count {
            if n % STREAMS == 0 {
                let (send, connection) = runtime.block_on(connect(front)).unwrap();
                crowd.connections.push(connection);
                client = Some(send);
            }
            let prefix = prefixes[n % prefixes.len()];
            let word = WORDS[n / prefixes.len() % WORDS.len()];
            let path = format!("{prefix}/{word}");
            let held = held(
                client.clone().unwrap(),
                path.clone(),
                gate.subscribe(),
                crowd.begun.clone(),
            );
            let held = async { tokio::time::timeout(AT_MOST, held).await };
            let stream = runtime
                .spawn(async move { held.await.unwrap_or_else(|_| End::Other("it hangs".into())) });
            crowd.streams.push((path, stream));
        }
        let begins = |(path, _): &&(String, _)| path.ends_with("begin");
        let half = crowd.streams.iter().filter(begins).count();
        wait_for("half of the answers", 2 * SOON, || {
            (crowd.begun.load(Ordering::SeqCst) == half).then_some(())
        });
        crowd
    }

    /// How each ended, with what it asked for.
    pub(super) fn ends(self, runtime: &Runtime) -> (Vec<(String, End)>, Connections) {
        let ends = self.streams.into_iter();
        let ends = ends.map(|(path, end)| (path, runtime.block_on(end).unwrap()));
        (ends.collect(), Connections(self.connections))
    }

    /// All of them end well.
    pub(super) fn assert_well(self, runtime: &Runtime) -> Connections {
        let (ends, connections) = self.ends(runtime);
        let others: Vec<_> = ends.iter().filter(|(_, end)| *end != End::Well).collect();
        assert!(
            others.is_empty(),
            "{} of {}: {others:?}",
            others.len(),
            ends.len()
        );
        connections
    }
}

/// The connections of those streams.
pub(super) struct Connections(Vec<JoinHandle<Result<(), h2::Error>>>);

impl Connections {
    /// Each is ended by the other side, in order.
    pub(super) fn assert_closed(self, runtime: &Runtime) {
        for connection in self.0 {
            let end = async { tokio::time::timeout(2 * SOON, connection).await };
            let end = runtime.block_on(end).expect("a goodbye").unwrap();
            assert!(end.is_ok(), "{end:?}");
        }
    }
}

type Connected = (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>);

async fn connect(front: SocketAddr) -> Result<Connected, String> {
    let stream = TcpStream::connect(front).await;
    let stream = stream.map_err(|error| format!("connect: {error}"))?;
    let (send, connection) = h2::client::handshake(stream)
        .await
        .map_err(|error| format!("handshake: {error}"))?;
    Ok((send, tokio::spawn(connection)))
}

async fn held(
    client: SendRequest<Bytes>,
    path: String,
    mut gate: watch::Receiver<bool>,
    begun: Arc<AtomicUsize>,
) -> End {
    let is_upload = path.ends_with("upload");
    let uri = format!("http://a.example{path}");
    let request = match is_upload {
        true => Request::post(uri).header("content-length", 8),
        false => Request::get(uri),
    };
    let other = |error: h2::Error| End::Other(error.to_string());
    let mut client = match client.ready().await {
        Ok(client) => client,
        Err(error) => return other(error),
    };
    let sent = client.send_request(request.body(()).unwrap(), !is_upload);
    drop(client);
    let (answer, mut send) = match sent {
        Ok(sent) => sent,
        Err(error) => return other(error),
    };
    let upload = async move {
        if is_upload {
            let _ = send.send_data(Bytes::from_static(b"half"), false);
            let _ = gate.wait_for(|open| *open).await;
            let _ = send.send_data(Bytes::from_static(b"half"), true);
        }
        std::future::pending::<End>().await
    };
    let answer = async {
        match answer.await {
            Ok(answer) => ended(answer.status().as_u16(), answer.into_body(), &begun).await,
            Err(error) => reset(&error, 0),
        }
    };
    tokio::select! {
        end = answer => end,
        end = upload => end,
    }
}

async fn ended(status: u16, mut body: RecvStream, begun: &AtomicUsize) -> End {
    let mut got = Vec::new();
    while let Some(piece) = body.data().await {
        match piece {
            Ok(piece) => {
                let _ = body.flow_control().release_capacity(piece.len());
                got.extend_from_slice(&piece);
                if got == b"half" {
                    begun.fetch_add(1, Ordering::SeqCst);
                }
            }
            Err(error) => return reset(&error, got.len()),
        }
    }
    match (status, &got[..]) {
        (200, b"whole-ok" | b"halfhalf") => End::Well,
        (200, _) => End::Other(format!("{got:?}")),
        _ => End::Status(status),
    }
}

fn reset(error: &h2::Error, after: usize) -> End {
    match error.reason() {
        Some(reason) if error.is_reset() => End::Reset(reason, after),
        _ => End::Other(error.to_string()),
    }
}

/// Clients that ask one request after the other, each on a connection of its own.
pub(super) struct Load {
    stop: watch::Sender<bool>,
    asked: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    pub(super) fn start(runtime: &Runtime, front: SocketAddr, prefixes: &[&'static str]) -> Self {
        let (stop, asked) = (watch::Sender::new(false), Arc::new(AtomicUsize::new(0)));
        let client = |prefix: &&'static str| {
            runtime.spawn(ask(front, prefix, asked.clone(), stop.subscribe()))
        };
        let clients = prefixes.iter().map(client).collect();
        Self {
            stop,
            asked,
            clients,
        }
    }

    /// Waits until so many more requests were answered.
    pub(super) fn wait_more(&self, count: usize) {
        let before = self.asked.load(Ordering::SeqCst);
        let mut stopped = false;
        wait_for("more answers", 2 * SOON, || {
            stopped = self.clients.iter().any(JoinHandle::is_finished);
            let more = self.asked.load(Ordering::SeqCst) - before;
            (stopped || more >= count).then_some(())
        });
    }

    /// Ends it; none of its requests has failed.
    pub(super) fn stop(self, runtime: &Runtime) {
        self.stop.send_replace(true);
        for client in self.clients {
            assert_eq!(runtime.block_on(client).unwrap(), Ok(()));
        }
    }
}

/// Asks until it is told to stop. What a connection's end leaves undone by the other side's own word
/// (RFC 9113 8.7) is asked again on the next; anything else is a failure.
async fn ask(
    front: SocketAddr,
    prefix: &str,
    asked: Arc<AtomicUsize>,
    stop: watch::Receiver<bool>,
) -> Result<(), String> {
    while !*stop.borrow() {
        let (client, connection) = connect(front).await?;
        while !*stop.borrow() {
            let Ok(mut client) = client.clone().ready().await else {
                break;
            };
            let uri = format!("http://a.example{prefix}/now");
            let request = Request::get(uri).body(()).unwrap();
            let Ok((answer, _)) = client.send_request(request, true) else {
                break;
            };
            match answer.await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let end = ended(status, answer.into_body(), &AtomicUsize::new(0)).await;
                    if end != End::Well {
                        return Err(format!("{prefix}: {end:?}"));
                    }
                }
                Err(error) if is_undone(&error) => break,
                Err(error) => return Err(format!("{prefix}: {error}")),
            }
            asked.fetch_add(1, Ordering::SeqCst);
        }
        drop(client);
        let _ = connection.await;
    }
    Ok(())
}

fn is_undone(error: &h2::Error) -> bool {
    let reason = error.reason();
    error.is_remote()
        && (error.is_go_away() && reason == Some(Reason::NO_ERROR)
            || error.is_reset() && reason == Some(Reason::REFUSED_STREAM))
}
