#!/usr/bin/env bash
# A reset by the crate h2 takes back the head and the data that were handed to it before.
#
# Versions: h2 0.4.20, tokio 1.54.1, http 1.4.0.
#
# A server that has begun an answer and cannot end it (a proxy whose own server died) resets the stream, and
# wants the client to see how far the answer got. send_response and send_data return Ok and put frames into a
# queue; send_reset in the same turn empties that queue and sends RST_STREAM alone. The client sees no status
# and no byte. If the task that drives the connection has a turn in between, it sees both. So a head that was
# "sent" is not known to have been, and what a client learns depends on the scheduler unless one lets the
# connection write first. In HTTP/1 the bytes written before a close arrive.
#
# Output seen:
#   reset in the same turn: no head; the stream was reset
#   reset after a pause: 200, 5 bytes; the stream was reset
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "reset"
version = "0.0.0"
edition = "2021"
[dependencies]
h2 = "=0.4.20"
http = "=1.4.0"
bytes = "=1.11.0"
tokio = { version = "=1.54.1", features = ["macros", "rt", "io-util", "time"] }
TOML
cat >src/main.rs <<'RUST'
use std::time::Duration;

use bytes::Bytes;

/// One exchange, in memory; the server resets what it has begun.
async fn exchange(pause: bool) -> String {
    let (near, far) = tokio::io::duplex(65536);
    let server = tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"hello"), false).unwrap();
                if pause {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                body.send_reset(h2::Reason::INTERNAL_ERROR);
            });
        }
    });
    let (mut client, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://localhost/").body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let seen = match answer.await {
        Err(error) if error.is_reset() => "no head; the stream was reset".to_owned(),
        Err(error) => format!("{error}"),
        Ok(answer) => {
            let (status, mut body, mut count) = (answer.status().as_u16(), answer.into_body(), 0);
            loop {
                match body.data().await {
                    Some(Ok(piece)) => count += piece.len(),
                    Some(Err(e)) if e.is_reset() => {
                        break format!("{status}, {count} bytes; the stream was reset")
                    }
                    other => break format!("{status}, {count} bytes; {other:?}"),
                }
            }
        }
    };
    server.abort();
    seen
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("reset in the same turn: {}", exchange(false).await);
    println!("reset after a pause: {}", exchange(true).await);
}
RUST
unset CARGO_TARGET_DIR
seen=$(timeout 300 cargo run -q)
echo "$seen"
wanted='reset in the same turn: no head; the stream was reset
reset after a pause: 200, 5 bytes; the stream was reset'
[ "$seen" = "$wanted" ]
