//! The origin server of every comparison: one thread, prebuilt answers, nothing else.

mod calls;

pub(crate) use self::calls::MESSAGE;

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Addresses to listen on; each names itself in `X-Backend`.
    #[arg(required = true)]
    listen: Vec<SocketAddr>,
    /// Answers calls of gRPC there, over HTTP/2 in clear; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    grpc: Vec<SocketAddr>,
}

/// What is never answered.
const NEVER: &[u8] = b"GET /never ";

/// 128 B, 10 KiB, 1 MiB, 16 MiB.
type Answers = [Vec<u8>; 4];

pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut accepting = Vec::new();
        for address in &options.grpc {
            let listener = listen(*address).await?;
            accepting.push(tokio::task::spawn_local(calls::accept(listener)));
        }
        for (index, address) in options.listen.iter().enumerate() {
            let listener = listen(*address).await?;
            let answers =
                Rc::new([128, 10 << 10, 1 << 20, 16 << 20].map(|size| answer(index + 1, size)));
            accepting.push(tokio::task::spawn_local(accept(listener, answers)));
        }
        println!("ready");
        for task in accepting {
            task.await??;
        }
        Ok(())
    })
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}"))
}

fn answer(origin: usize, size: usize) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 01 Nov 2026 08:49:37 GMT\r\n\
         Content-Type: text/plain\r\nX-Backend: b{origin}\r\nContent-Length: {size}\r\n\r\n"
    )
    .into_bytes();
    bytes.resize(bytes.len() + size, b'x');
    bytes
}

async fn accept(listener: TcpListener, answers: Rc<Answers>) -> Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answers = Rc::clone(&answers);
        tokio::task::spawn_local(async move {
            // A peer that goes away ends its own connection and nothing else.
            let _ = converse(&mut stream, &answers).await;
        });
    }
}

async fn converse(stream: &mut TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut input = Vec::with_capacity(32 << 10);
    loop {
        if input.starts_with(NEVER) {
            // Until the other side has had enough.
            while stream.read_buf(&mut input).await? != 0 {}
            return Ok(());
        }
        while let Some((length, answer)) = request(&input, answers) {
            input.drain(..length);
            stream.write_all(answer).await?;
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// Finds a whole request at the start of `input`: its length in bytes and its answer.
fn request<'a>(input: &[u8], answers: &'a Answers) -> Option<(usize, &'a [u8])> {
    let head = memchr::memmem::find(input, b"\r\n\r\n")? + 4;
    let body = content_length(&input[..head]);
    let which = match input.get(5..).unwrap_or_default() {
        [b'1', b'0', b'k', ..] => 1,
        [b'1', b'm', ..] => 2,
        [b'1', b'6', b'm', ..] => 3,
        _ => 0,
    };
    (input.len() >= head + body).then(|| (head + body, answers[which].as_slice()))
}

fn content_length(head: &[u8]) -> usize {
    if head.starts_with(b"GET") {
        return 0;
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    text.lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}
