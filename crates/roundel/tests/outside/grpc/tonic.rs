//! tonic as client and as server, with each other and with grpcio.

mod server;

use std::time::Duration;

use futures_util::stream;
use roundel_testkit::free_address;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, IntoStreamingRequest, Request, Response, Status, Streaming};

use self::server::{Message, Raw, Server};
use super::{balancer, calls, logged, wait_counted};
use crate::balancer::{Balancer, SOON};
use crate::turns::beside_others;

const CHECKED: &str = "proto = \"h2\"\ncheck = \"grpc\"";

/// A client of tonic: one connection for all its calls.
#[derive(Clone)]
struct Client(Grpc<Channel>);

type Path = http::uri::PathAndQuery;

fn path(method: &str) -> Path {
    format!("/test.Echo/{method}").parse().unwrap()
}

impl Client {
    async fn connect(to: &Balancer) -> Self {
        let to = Endpoint::from_shared(format!("http://{}", to.front)).unwrap();
        let channel = to.connect_timeout(SOON).connect().await.unwrap();
        Self(Grpc::new(channel).max_decoding_message_size(64 << 20))
    }

    async fn ready(&self) -> Grpc<Channel> {
        let mut grpc = self.0.clone();
        grpc.ready().await.unwrap();
        grpc
    }

    async fn unary(
        &self,
        method: &str,
        asked: Request<Message>,
    ) -> Result<Response<Message>, Status> {
        self.ready().await.unary(asked, path(method), Raw).await
    }

    async fn down(&self, method: &str, asked: &str) -> Result<Streaming<Message>, Status> {
        let asked = Request::new(asked.into());
        let mut grpc = self.ready().await;
        let answer = grpc.server_streaming(asked, path(method), Raw).await?;
        Ok(answer.into_inner())
    }
}

fn with_metadata(message: &[u8]) -> Request<Message> {
    let mut asked = Request::new(message.to_vec());
    let metadata = asked.metadata_mut();
    metadata.insert("x-asked", MetadataValue::from_static("a"));
    metadata.insert_bin("key-bin", MetadataValue::from_bytes(&[0, 1]));
    asked
}

/// Calls of every kind, 209 of which end well.
async fn every_kind(client: &Client) {
    let answer = client.unary("Unary", with_metadata(b"hello")).await;
    let answer = answer.unwrap();
    assert_eq!(answer.get_ref(), b"hello");
    assert_eq!(answer.metadata().get("x-asked").unwrap(), "a");
    let binary = answer.metadata().get_bin("key-bin").unwrap();
    assert_eq!(binary.to_bytes().unwrap()[..], [0, 1]);

    let large: Message = (0..251).cycle().take(5_000_000).collect();
    let answer = client.unary("Unary", Request::new(large.clone())).await;
    assert!(
        *answer.unwrap().get_ref() == large,
        "5 MB came back changed"
    );
    assert_eq!(
        client
            .unary("Unary", Request::new(vec![]))
            .await
            .unwrap()
            .get_ref(),
        b""
    );

    let all = stream::iter((0..100).map(|n| vec![b'a'; n])).into_streaming_request();
    let mut grpc = client.ready().await;
    let sum = grpc.client_streaming(all, path("Up"), Raw).await.unwrap();
    assert_eq!(sum.get_ref(), b"4950");

    let mut down = client.down("Down", "100 1000").await.unwrap();
    let mut sizes = vec![];
    while let Some(message) = down.message().await.unwrap() {
        sizes.push(message.len());
    }
    assert_eq!(sizes, [1000; 100]);

    both(client).await;

    let many = (0..200).map(|n: u32| {
        let client = client.clone();
        tokio::spawn(async move {
            let message = n.to_string().into_bytes();
            let answer = client.unary("Unary", Request::new(message.clone())).await;
            assert_eq!(*answer.unwrap().get_ref(), message);
        })
    });
    for one in many.collect::<Vec<_>>() {
        one.await.unwrap();
    }

    let mut asked = Request::new(vec![]);
    asked.set_timeout(Duration::from_secs(20));
    let left = client.unary("Left", asked).await.unwrap().into_inner();
    let left: f64 = String::from_utf8(left).unwrap().parse().unwrap();
    assert!(0.0 < left && left <= 20.0, "{left}");
    let again = client.unary("Unary", Request::new(b"z".to_vec())).await;
    assert_eq!(again.unwrap().get_ref(), b"z");
    let none = client.down("Down", "0 0").await.unwrap().message().await;
    assert_eq!(none.unwrap(), None);
}

/// Each message is answered before the next one is sent.
async fn both(client: &Client) {
    let (to, from) = tokio::sync::mpsc::channel::<Message>(1);
    let sent = stream::unfold(from, |mut from| async move {
        from.recv().await.map(|message| (message, from))
    });
    let mut grpc = client.ready().await;
    to.send(b"0".to_vec()).await.unwrap();
    let asked = sent.into_streaming_request();
    let answer = grpc.streaming(asked, path("Both"), Raw).await.unwrap();
    let mut answers = answer.into_inner();
    for n in 0..50 {
        let message = answers.message().await.unwrap().unwrap();
        assert_eq!(message, n.to_string().into_bytes());
        to.send((n + 1).to_string().into_bytes()).await.unwrap();
    }
    drop(to);
    assert_eq!(answers.message().await.unwrap().unwrap(), b"50");
    assert_eq!(answers.message().await.unwrap(), None);
}

/// How a call fails that its server ends before any message.
async fn failed(client: &Client, words: &str) -> Status {
    let answer = client.unary("Fail", with_metadata(words.as_bytes())).await;
    answer.unwrap_err()
}

#[test]
fn tonic_calls_tonic() {
    let _turn = beside_others();
    let server = Server::start();
    let balancer = balancer("", CHECKED, &[server.address]);
    balancer.wait_up(1, SOON);
    Runtime::new().unwrap().block_on(async {
        let client = Client::connect(&balancer).await;
        every_kind(&client).await;
        let status = failed(&client, "NOT_FOUND no such order: ä, 50%").await;
        assert_eq!(
            (status.code(), status.message()),
            (Code::NotFound, "no such order: ä, 50%")
        );
        assert_eq!(status.metadata().get("x-asked").unwrap(), "a");
        let unknown = client.unary("Nothing", Request::new(vec![])).await;
        let unknown = unknown.unwrap_err();
        assert_eq!(
            (unknown.code(), unknown.message()),
            (Code::Unimplemented, "no /test.Echo/Nothing")
        );
        // Every code is what its server said, and what is counted.
        for code in 1..=16 {
            assert_eq!(
                failed(&client, &format!("{code} x")).await.code() as i32,
                code
            );
        }
    });
    wait_counted(&balancer, "0", 209);
    wait_counted(&balancer, "5", 2);
    wait_counted(&balancer, "12", 2);
    wait_counted(&balancer, "16", 1);
}

#[test]
fn tonic_calls_grpcio() {
    let _turn = beside_others();
    let Some(server) = super::server("well") else {
        return;
    };
    let balancer = balancer("", CHECKED, &[server.address]);
    balancer.wait_up(1, SOON);
    Runtime::new().unwrap().block_on(async {
        let client = Client::connect(&balancer).await;
        every_kind(&client).await;
        let answer = client.unary("Unary", with_metadata(b"")).await.unwrap();
        // Of its trailers.
        assert_eq!(answer.metadata().get("x-end").unwrap(), "z");
        let status = failed(&client, "DATA_LOSS 50% lost").await;
        assert_eq!(
            (status.code(), status.message()),
            (Code::DataLoss, "50% lost")
        );
    });
    wait_counted(&balancer, "0", 210);
    wait_counted(&balancer, "15", 1);
}

#[test]
fn grpcio_calls_tonic() {
    let _turn = beside_others();
    let server = Server::start();
    let balancer = balancer("", CHECKED, &[server.address]);
    balancer.wait_up(1, SOON);
    let all = [
        "large,5000000",
        "upload",
        "download",
        "both",
        "many,200",
        "left,20",
    ];
    let Some(told) = calls(&balancer, &all) else {
        return;
    };
    let names = all.map(|call| call.split(',').next().unwrap());
    assert_eq!(told, names.map(|name| format!("{name} OK ")));
    let told = calls(&balancer, &["fail,NOT_FOUND,50% gone", "cancel"]).unwrap();
    assert_eq!(told[0], "fail NOT_FOUND 50% gone");
    assert!(told[1].starts_with("cancel CANCELLED"), "{told:?}");
    server.wait_said("ended cancel");
    wait_counted(&balancer, "0", 205);
    wait_counted(&balancer, "5", 1);
}

#[test]
fn tonic_gives_up_or_runs_out_of_time() {
    let _turn = beside_others();
    let server = Server::start();
    let balancer = balancer("", CHECKED, &[server.address]);
    balancer.wait_up(1, SOON);
    Runtime::new().unwrap().block_on(async {
        let client = Client::connect(&balancer).await;
        let mut hang = client.down("Hang", "given up").await.unwrap();
        assert_eq!(hang.message().await.unwrap().unwrap(), b"begun");
        drop(hang);
        server.wait_said("ended given up");
        assert_eq!(logged(&balancer, "Hang", 1)["term"], "client_abort");
        // All three keep the time, and tonic's two ends call it CANCELLED.
        let mut asked = Request::new(b"late".to_vec());
        asked.set_timeout(Duration::from_millis(300));
        let late = client.unary("Never", asked).await.unwrap_err();
        assert!(
            matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled),
            "{late:?}"
        );
        server.wait_said("ended late");
        let again = client.unary("Unary", Request::new(b"z".to_vec())).await;
        assert_eq!(again.unwrap().get_ref(), b"z");
    });
}

#[test]
fn tonic_hears_that_its_server_died() {
    let _turn = beside_others();
    let mut server = Server::start();
    let balancer = balancer("", CHECKED, &[server.address]);
    balancer.wait_up(1, SOON);
    Runtime::new().unwrap().block_on(async {
        let client = Client::connect(&balancer).await;
        let mut hang = client.down("Hang", "broken").await.unwrap();
        assert_eq!(hang.message().await.unwrap().unwrap(), b"begun");
        server.kill();
        let died = hang.message().await.unwrap_err();
        assert_eq!(died.code(), Code::Unavailable, "{died:?}");
        assert_eq!(logged(&balancer, "Hang", 14)["term"], "server_abort");
    });
    let nobody = super::balancer(
        "",
        "check = \"off\"\nretries = 0\ntimeouts = { queue = \"0s\" }",
        &[free_address()],
    );
    Runtime::new().unwrap().block_on(async {
        let client = Client::connect(&nobody).await;
        let refused = client.unary("Unary", Request::new(vec![])).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().contains("server"), "{refused:?}");
    });
}
