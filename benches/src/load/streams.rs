//! Connections of HTTP/2 that are held: idle ones, and ones whose streams wait for their server.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;

use super::Options;

/// Opens connections in order. On each of them streams ask for what the origin never answers, and one behind
/// them for what it does: when that is there, so are the others.
pub(super) async fn hold(options: &Options) -> Result<()> {
    let uri = |path: &str| format!("http://{}{path}", options.address);
    let mut held = Vec::new();
    for number in 0..options.connections {
        let stream = TcpStream::connect(options.address).await?;
        let (send, connection) = h2::client::handshake(stream).await?;
        tokio::task::spawn_local(connection);
        let mut send = send.ready().await?;
        let mut waiting = Vec::new();
        for _ in 0..options.streams.unwrap_or(0) {
            let asked = Request::get(uri("/never")).body(())?;
            waiting.push(send.send_request(asked, true)?.0);
            send = send.ready().await?;
        }
        let length = ask(&mut send, &uri(&options.path)).await;
        let length = length.with_context(|| format!("connection {number}"))?;
        ensure!(
            length == options.expect,
            "connection {number}: {length} bytes"
        );
        held.push((send, waiting));
    }
    super::until_told().await
}

/// Asks for this. Returns the length of the answer, which must be a 200.
async fn ask(send: &mut SendRequest<Bytes>, uri: &str) -> Result<u64> {
    let (answer, _) = send.send_request(Request::get(uri).body(())?, true)?;
    let answer = answer.await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    let (mut body, mut length) = (answer.into_body(), 0);
    while let Some(part) = body.data().await {
        let part = part?;
        length += part.len() as u64;
        body.flow_control().release_capacity(part.len())?;
    }
    Ok(length)
}
