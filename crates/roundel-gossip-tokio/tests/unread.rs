//! Peers that ask for the state and do not read it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{alive, config, eventually, node, status, until};
use roundel_gossip::wire::{NodeRecord, NodeState, PushPull, RecordState, StreamMessage, Versions};
use roundel_gossip_tokio::{Config, Handle, Status, Timings, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const SOON: Duration = Duration::from_secs(30);

/// How many members there are: the state is far longer than what the kernel takes unread.
const MEMBERS: usize = 1000;

/// How many do not read.
const SILENT: usize = 200;

/// The most of them that one address may occupy.
const PLACES: usize = 32;

/// A connection from an address of its own, for which the kernels hold little unread: loopback's
/// long segments would let them hold megabytes.
async fn connect(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket2::SockRef::from(&socket).set_tcp_mss(536).unwrap();
    socket.bind("127.0.0.66:0".parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Makes members up whose tags cannot be compressed.
fn members() -> Vec<NodeState> {
    let mut rng = fastrand::Rng::with_seed(3);
    let member = |n: usize| {
        let address = SocketAddr::from(([127, 77, (n >> 8) as u8, n as u8], 7946));
        let meta = (0..500).map(|_| rng.u8(..)).collect();
        let record = NodeRecord::new(format!("m{n}"), address, meta, 1, Versions::SERF);
        NodeState {
            record: record.unwrap(),
            state: RecordState::Alive,
        }
    };
    (0..MEMBERS).map(member).collect()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Bytes of memory in use.
fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

async fn teach(lb: &Handle) -> usize {
    let mut stream = connect(lb.local_addr()).await;
    let state = StreamMessage::PushPull(PushPull {
        nodes: members(),
        ..PushPull::default()
    });
    let bytes = state.encode();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    until(lb, "it knows all", SOON, |m| alive(m) > MEMBERS).await;
    bytes.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_left_unread_costs_little_and_ends() {
    let lb = start(Config {
        timings: Timings {
            stream_timeout: Duration::from_secs(4),
            ..Timings::lan()
        },
        ..config("lb")
    })
    .await
    .unwrap();
    let state = teach(&lb).await;
    let (files, bytes) = (descriptors(), memory());

    let ask = StreamMessage::PushPull(PushPull::default()).encode();
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        let mut stream = connect(lb.local_addr()).await;
        // One that made room for a newer one may be closed already.
        let _ = stream.write_all(&ask).await;
        silent.push(stream);
    }
    let late = node("late", Some(&lb)).await;
    until(&lb, "another joins meanwhile", SOON, |m| {
        status(m, "late") == Some(Status::Alive)
    })
    .await;
    let (files_now, bytes_now) = (descriptors(), memory());
    let most = files + SILENT + PLACES + 16;
    assert!(files_now <= most, "{files_now} descriptors, {files} before");
    // The state is there once for all of them, and what the newcomer has of it.
    let most = bytes + PLACES * (64 << 10) + 8 * state;
    assert!(bytes_now <= most, "{bytes_now} bytes, {bytes} before");

    // Nobody waits for them for ever.
    eventually("the streams end", SOON, async || {
        (descriptors() <= files + SILENT + 32).then_some(())
    })
    .await;
    assert_eq!(silent.len(), SILENT);
    late.leave().await;
}
