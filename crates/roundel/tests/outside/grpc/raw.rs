//! A call by bare HTTP/2: what grpcio would not send, and all that it would not show.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: http::response::Parts,
    /// The head ended the stream.
    pub(super) is_only_head: bool,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Answer {
    /// A field of the head, empty without one.
    pub(super) fn field(&self, name: &str) -> &str {
        let value = self.head.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// A trailer, empty without one.
    pub(super) fn trailer(&self, name: &str) -> &str {
        let value = self.trailers.as_ref().and_then(|map| map.get(name));
        value.map_or("", |value| value.to_str().unwrap())
    }
}

/// Calls a method with one message and further fields.
pub(super) fn call(to: SocketAddr, method: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::post(format!("http://a.example/test.Echo/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let talk = async { tokio::time::timeout(Duration::from_secs(60), talk(to, request)).await };
    runtime.block_on(talk).expect("an answer").expect("HTTP/2")
}

async fn talk(to: SocketAddr, request: Request<()>) -> Result<Answer, h2::Error> {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let (answer, mut send) = client.ready().await?.send_request(request, false)?;
    send.send_data(Bytes::from_static(b"\0\0\0\0\x05hello"), true)?;
    let (head, mut body) = answer.await?.into_parts();
    let mut answer = Answer {
        head,
        is_only_head: body.is_end_stream(),
        body: Vec::new(),
        trailers: None,
    };
    while let Some(piece) = body.data().await {
        let piece = piece?;
        let _ = body.flow_control().release_capacity(piece.len());
        answer.body.extend_from_slice(&piece);
    }
    answer.trailers = body.trailers().await?;
    Ok(answer)
}
