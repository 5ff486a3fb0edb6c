//! A server of tonic, with the methods that grpcio's has. Messages are bytes: no generated code is needed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Buf, BufMut};
use futures_util::future::pending;
use futures_util::stream::{self, Stream, StreamExt};
use roundel_testkit::{free_address, wait_for};
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::server::Grpc;
use tonic::{Code, Request, Response, Status, Streaming};
use tower::service_fn;

use crate::balancer::SOON;

pub(super) type Message = Vec<u8>;
type Answer<T> = Result<Response<T>, Status>;

/// A message is its bytes.
#[derive(Clone, Copy)]
pub(super) struct Raw;

impl Codec for Raw {
    type Encode = Message;
    type Decode = Message;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Message;
    type Error = Status;

    fn encode(&mut self, item: Message, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Message;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Message>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).into()))
    }
}

/// A server that ends with its runtime.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    said: Said,
    /// Gone when it was killed.
    runtime: Option<Runtime>,
}

/// What it says of calls that are given up.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn say(&self, words: String) {
        self.0.lock().unwrap().push(words);
    }

    /// Says that a call began, and that it ended when this is dropped.
    fn begin(&self, name: &str) -> Ends {
        self.say(format!("began {name}"));
        Ends(self.clone(), name.to_owned())
    }
}

struct Ends(Said, String);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.say(format!("ended {}", self.1));
    }
}

impl Server {
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (address, said) = (free_address(), Said::default());
        let says = said.clone();
        let service = service_fn(move |asked| serve(asked, says.clone()));
        runtime.spawn(tonic::transport::Server::builder().serve(address, service));
        Self {
            address,
            said,
            runtime: Some(runtime),
        }
    }

    /// Waits until it has said this.
    pub(super) fn wait_said(&self, words: &str) {
        wait_for(words, SOON, || {
            let said = self.said.0.lock().unwrap();
            said.iter().any(|line| line == words).then_some(())
        });
    }

    /// Ends it with all its connections.
    pub(super) fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn serve(asked: http::Request<Body>, said: Said) -> Result<http::Response<Body>, Infallible> {
    let mut grpc = Grpc::new(Raw).max_decoding_message_size(64 << 20);
    Ok(match asked.uri().path() {
        "/test.Echo/Unary" => grpc.unary(service_fn(unary), asked).await,
        "/test.Echo/Fail" => grpc.unary(service_fn(fail), asked).await,
        "/test.Echo/Left" => grpc.unary(service_fn(left), asked).await,
        "/test.Echo/Up" => grpc.client_streaming(service_fn(up), asked).await,
        "/test.Echo/Down" => grpc.server_streaming(service_fn(down), asked).await,
        "/test.Echo/Both" => grpc.streaming(service_fn(both), asked).await,
        "/test.Echo/Hang" => {
            let hang = service_fn(move |asked| hang(asked, said.clone()));
            grpc.server_streaming(hang, asked).await
        }
        "/test.Echo/Never" => {
            let never = service_fn(move |asked| never(asked, said.clone()));
            grpc.unary(never, asked).await
        }
        "/grpc.health.v1.Health/Check" => grpc.unary(service_fn(check), asked).await,
        path => Status::unimplemented(format!("no {path}")).into_http(),
    })
}

async fn unary(asked: Request<Message>) -> Answer<Message> {
    let (metadata, _, message) = asked.into_parts();
    let mut answer = Response::new(message);
    copy(&metadata, answer.metadata_mut());
    Ok(answer)
}

/// Sends back what the caller sent to be seen again.
fn copy(from: &MetadataMap, to: &mut MetadataMap) {
    if let Some(value) = from.get("x-asked") {
        to.insert("x-asked", value.clone());
    }
    if let Some(value) = from.get_bin("key-bin") {
        to.insert_bin("key-bin", value.clone());
    }
}

/// `CODE words`, with the code's name or its number.
async fn fail(asked: Request<Message>) -> Answer<Message> {
    let text = String::from_utf8(asked.get_ref().clone()).unwrap();
    let (code, words) = text.split_once(' ').unwrap();
    let code = match code {
        "NOT_FOUND" => Code::NotFound,
        "DATA_LOSS" => Code::DataLoss,
        number => Code::from(number.parse::<i32>().unwrap()),
    };
    let mut metadata = MetadataMap::new();
    copy(asked.metadata(), &mut metadata);
    Err(Status::with_metadata(code, words, metadata))
}

/// The seconds that are left, as grpcio's server says them.
async fn left(asked: Request<Message>) -> Answer<Message> {
    let value = asked.metadata().get("grpc-timeout");
    let value = value.ok_or_else(|| Status::internal("no grpc-timeout"))?;
    let (digits, unit) = value.to_str().unwrap().split_at(value.len() - 1);
    let unit = match unit {
        "H" => 3600.0,
        "M" => 60.0,
        "S" => 1.0,
        "m" => 1e-3,
        "u" => 1e-6,
        "n" => 1e-9,
        _ => return Err(Status::internal(format!("grpc-timeout: {value:?}"))),
    };
    let seconds = digits.parse::<f64>().unwrap() * unit;
    Ok(Response::new(seconds.to_string().into_bytes()))
}

async fn up(asked: Request<Streaming<Message>>) -> Answer<Message> {
    let mut messages = asked.into_inner();
    let mut sum = 0;
    while let Some(message) = messages.message().await? {
        sum += message.len();
    }
    Ok(Response::new(sum.to_string().into_bytes()))
}

async fn down(
    asked: Request<Message>,
) -> Answer<impl Stream<Item = Result<Message, Status>> + Send> {
    let text = String::from_utf8(asked.into_inner()).unwrap();
    let (count, size) = text.split_once(' ').unwrap();
    let (count, size) = (count.parse().unwrap(), size.parse().unwrap());
    let messages = (0..count).map(move |_: usize| Ok(vec![b'x'; size]));
    Ok(Response::new(stream::iter(messages)))
}

async fn both(asked: Request<Streaming<Message>>) -> Answer<Streaming<Message>> {
    Ok(Response::new(asked.into_inner()))
}

fn name(asked: Request<Message>) -> String {
    String::from_utf8(asked.into_inner()).unwrap()
}

async fn hang(
    asked: Request<Message>,
    said: Said,
) -> Answer<impl Stream<Item = Result<Message, Status>> + Send> {
    let ends = said.begin(&name(asked));
    let begun = stream::once(async { Ok(b"begun".to_vec()) });
    Ok(Response::new(begun.chain(stream::once(async move {
        let _ends = ends;
        pending().await
    }))))
}

async fn never(asked: Request<Message>, said: Said) -> Answer<Message> {
    let _ends = said.begin(&name(asked));
    pending().await
}

/// SERVING, in the health protocol's one field.
async fn check(_: Request<Message>) -> Answer<Message> {
    Ok(Response::new(vec![0x08, 0x01]))
}
