//! A server of bare HTTP/2 that does what grpcio's would not.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{Request, Response};

/// Where it is, and what it saw.
pub(super) struct Far {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Far {
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// Starts one. It lives as long as the tests do.
pub(super) fn start() -> Far {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, told.clone()));
            }
        });
    });
    Far { address, seen }
}

async fn serve(socket: tokio::net::TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond, seen.clone()));
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let say = |line: String| {
        let mut seen = seen.lock().unwrap();
        seen.push(line);
        seen.len()
    };
    let method = request.uri().path().rsplit('/').next().unwrap();
    let of = |status: u16| Response::builder().status(status);
    let call = || of(200).header("content-type", "application/grpc");
    match method {
        "Unary" => {
            let left = request.headers()["grpc-timeout"].to_str().unwrap();
            if say(format!("asked {left}")) == 1 {
                return respond.send_reset(Reason::REFUSED_STREAM);
            }
            let reset = poll_fn(|cx| respond.poll_reset(cx)).await;
            say(format!("reset {:?}", reset.unwrap()));
        }
        // As a server whose connection has served as many as it may, two times in a row.
        "Turned" => {
            if say(request.uri().path().to_owned()) <= 3 {
                return respond.send_reset(Reason::REFUSED_STREAM);
            }
            let head = call().header("grpc-status", "0");
            respond.send_response(head.body(()).unwrap(), true).unwrap();
        }
        "Begun" => {
            let mut send = respond
                .send_response(call().body(()).unwrap(), false)
                .unwrap();
            send.send_data(Bytes::from_static(b"begun"), false).unwrap();
            let _ = poll_fn(|cx| send.poll_reset(cx)).await;
        }
        "Plain503" => {
            say(request.uri().path().to_owned());
            respond
                .send_response(of(503).body(()).unwrap(), true)
                .unwrap();
        }
        "Bare" => {
            say(request.uri().path().to_owned());
            respond
                .send_response(call().body(()).unwrap(), true)
                .unwrap();
        }
        "Later" | "Never" => {
            say(request.uri().path().to_owned());
            let pushback = if method == "Never" { "-1" } else { "0" };
            let head = call().header("grpc-status", "14");
            let head = head.header("grpc-retry-pushback-ms", pushback);
            respond.send_response(head.body(()).unwrap(), true).unwrap();
        }
        _ => {
            say(request.uri().path().to_owned());
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}
