//! Servers of HTTP/1 and HTTP/2 that hold what they are asked for until told to go on.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use roundel_testkit::poll;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::balancer::SOON;

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
    held: AtomicUsize,
    gone: AtomicUsize,
}

/// One of those that are counted, until it is dropped.
struct One<'a>(&'a AtomicUsize);

impl<'a> One<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a server's connections have of it.
#[derive(Clone)]
struct Scene {
    counts: Arc<Counts>,
    gate: watch::Receiver<bool>,
}

impl Scene {
    /// Waits for the gate; `false` when the one who asks has gone before.
    async fn hold(&self, gone: impl Future<Output = ()>) -> bool {
        let _held = One::of(&self.counts.held);
        let mut gate = self.gate.clone();
        tokio::select! {
            opened = gate.wait_for(|open| *open) => opened.is_ok(),
            () = gone => {
                self.counts.gone.fetch_add(1, Ordering::SeqCst);
                false
            }
        }
    }
}

impl Server {
    pub(super) fn start(runtime: &Runtime, speaks: Speaks, gate: &watch::Sender<bool>) -> Self {
        let counts = Arc::new(Counts::default());
        let scene = Scene {
            counts: counts.clone(),
            gate: gate.subscribe(),
        };
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                scene.counts.accepted.fetch_add(1, Ordering::SeqCst);
                let scene = scene.clone();
                tokio::spawn(async move {
                    let _open = One::of(&scene.counts.open);
                    match speaks {
                        Speaks::Http1 => drop(http1(socket, &scene).await),
                        Speaks::Http2 => http2(socket, &scene).await,
                    }
                });
            }
        });
        Self { address, counts }
    }

    /// Connections that it has taken so far.
    pub(super) fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// Waits until exactly so many requests are held here.
    pub(super) fn wait_held(&self, count: usize) {
        self.wait("held", &self.counts.held, count);
    }

    /// Waits until so many requests were given up while they were held.
    pub(super) fn wait_gone(&self, count: usize) {
        self.wait("given up", &self.counts.gone, count);
    }

    /// Waits until no connection is open.
    pub(super) fn wait_closed(&self) {
        self.wait("connections", &self.counts.open, 0);
    }

    fn wait(&self, what: &str, of: &AtomicUsize, count: usize) {
        let mut last = 0;
        let reached = poll(2 * SOON, || {
            last = of.load(Ordering::SeqCst);
            (last == count).then_some(())
        });
        assert!(reached.is_some(), "{what}: {last}, not {count}");
    }
}

/// The word that says what to do: the last of the path.
fn word(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

async fn http1(socket: TcpStream, scene: &Scene) -> io::Result<()> {
    let mut stream = BufReader::new(socket);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await?;
        }
        line.clear();
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n";
        let (now, then) = match word(&path) {
            "wait" => (String::new(), format!("{head}whole-ok")),
            "begin" => (format!("{head}half"), "half".to_owned()),
            "upload" => {
                stream.read_exact(&mut [0; 4]).await?;
                (String::new(), format!("{head}whole-ok"))
            }
            _ => {
                stream
                    .write_all(format!("{head}whole-ok").as_bytes())
                    .await?;
                continue;
            }
        };
        stream.write_all(now.as_bytes()).await?;
        // More of an upload comes after the gate has opened.
        let gone = async {
            if stream.fill_buf().await.is_ok_and(|more| !more.is_empty()) {
                std::future::pending::<()>().await;
            }
        };
        if !scene.hold(gone).await {
            return Ok(());
        }
        if word(&path) == "upload" {
            stream.read_exact(&mut [0; 4]).await?;
        }
        stream.write_all(then.as_bytes()).await?;
    }
    Ok(())
}

async fn http2(socket: TcpStream, scene: &Scene) {
    let Ok(mut connection) = h2::server::handshake(socket).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let scene = scene.clone();
        tokio::spawn(async move { stream(request, respond, &scene).await });
    }
}

async fn stream(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    scene: &Scene,
) -> Option<()> {
    let (request, mut body) = request.into_parts();
    let head = Response::new(());
    let word = word(request.uri.path());
    match word {
        "begin" => {
            let mut send = respond.send_response(head, false).ok()?;
            send.send_data(Bytes::from_static(b"half"), false).ok()?;
            let gone = async { drop(poll_fn(|cx| send.poll_reset(cx)).await) };
            if scene.hold(gone).await {
                send.send_data(Bytes::from_static(b"half"), true).ok()?;
            }
            return Some(());
        }
        "wait" | "upload" => {
            if word == "upload" {
                read(&mut body, 4).await?;
            }
            let gone = async { drop(poll_fn(|cx| respond.poll_reset(cx)).await) };
            if !scene.hold(gone).await {
                return None;
            }
            if word == "upload" {
                read(&mut body, 4).await?;
            }
        }
        _ => {}
    }
    let mut send = respond.send_response(head, false).ok()?;
    send.send_data(Bytes::from_static(b"whole-ok"), true).ok()
}

async fn read(body: &mut h2::RecvStream, mut left: usize) -> Option<()> {
    while left > 0 {
        let piece = body.data().await?.ok()?;
        body.flow_control().release_capacity(piece.len()).ok()?;
        left = left.checked_sub(piece.len())?;
    }
    Some(())
}
