//! Heads that make much of RFC 7541: by its tables, in pieces, and large, in both directions.

use std::net::SocketAddr;

use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::line::*;

/// The field at `index` of both tables.
fn indexed(index: u8) -> Vec<u8> {
    assert!(index < 127);
    vec![0x80 | index]
}

#[test]
fn heads_in_pieces_and_by_the_table_are_read_as_they_are_meant() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "");
    let mut lines = Vec::new();
    for round in 0..3 {
        let asked = proxy.ask("GET", "");
        if lines.is_empty() {
            lines.push(Line::take(&listener));
        }
        let line = &mut lines[0];
        let stream = line.request();
        let mut block = match round {
            // The table is emptied and grows again; then eighty fields, each kept, of which the oldest fall out.
            0 => [vec![0x20, 0x3f, 0xe1, 0x1f, OK]].concat(),
            _ => vec![OK],
        };
        for n in 0..80 {
            let name = format!("x-{n}");
            // 62 is the newest one of the dynamic table: from the second round on, the last that were kept.
            block.extend(match (round, n) {
                (0, _) => literal(&name, &"v".repeat(n + 1), true),
                (_, 60..) => indexed(u8::try_from(62 + 79 - n).unwrap()),
                _ => literal(&name, &"v".repeat(n + 1), false),
            });
        }
        // In pieces of seven bytes, an empty one among them.
        let pieces: Vec<&[u8]> = block.chunks(7).collect();
        let (first, rest) = pieces.split_first().unwrap();
        let mut bytes = frame(HEADERS, END_STREAM, stream, first);
        // Those that a proxy takes are bounded, so most of it comes in the last one.
        let (few, most) = rest.split_at(4);
        for piece in few {
            bytes.extend(frame(CONTINUATION, 0, stream, piece));
        }
        bytes.extend(frame(CONTINUATION, 0, stream, &[]));
        bytes.extend(frame(CONTINUATION, END_HEADERS, stream, &most.concat()));
        line.send(&bytes);
        let answer = asked.join().unwrap();
        assert_eq!(answer.status, 200);
        for n in 0..80 {
            let value = answer.header(&format!("x-{n}"));
            assert_eq!(value, Some("v".repeat(n + 1).as_str()), "{round}: x-{n}");
        }
    }
}

#[test]
fn an_index_of_no_field_ends_the_connection_and_no_other() {
    let (listener, address) = server();
    let proxy = Proxy::start(&[address], "retries = 0");
    let asked = proxy.ask("GET", "");
    let mut line = Line::take(&listener);
    let stream = line.request();
    let block = [vec![OK], indexed(126)].concat();
    line.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
    assert_eq!(asked.join().unwrap().status, 502);
    line.end();
    let asked = proxy.ask("GET", "");
    let mut line = Line::take(&listener);
    let stream = line.request();
    line.send(&whole(stream, b"hello"));
    assert_eq!(asked.join().unwrap().text(), "hello");
}

/// The fields of this request: some that all have, some that change now and then, some of its own, and a
/// value that no table has room for.
fn fields(number: usize) -> HeaderMap {
    let field = |n: usize| {
        let name = format!("x-{n}");
        let value = match n {
            0..10 => format!("constant {n}"),
            10..20 => format!("changes {}", (number + n) / 7),
            39 => "v".repeat(5000),
            _ => format!("{number} {n} \"\u{e9}\""),
        };
        (name.parse().unwrap(), value.parse().unwrap())
    };
    (0..40).map(field).collect()
}

/// The fields of a message that are ours.
fn ours(mut all: HeaderMap) -> HeaderMap {
    let other: Vec<_> = all
        .keys()
        .filter(|name| !name.as_str().starts_with("x-"))
        .cloned()
        .collect();
    let of_proxies = [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-forwarded-host",
    ];
    other.iter().for_each(|name| drop(all.remove(name)));
    of_proxies.iter().for_each(|name| drop(all.remove(*name)));
    all
}

/// Answers every request with its own fields; peers may keep `table` bytes of heads.
async fn echo(listener: TcpListener, table: u32) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut builder = h2::server::Builder::new();
            let served = builder.header_table_size(table).handshake(socket).await;
            let mut served: h2::server::Connection<_, bytes::Bytes> = served.unwrap();
            while let Some(Ok((request, mut respond))) = served.accept().await {
                let mut answer = Response::new(());
                *answer.headers_mut() = ours(request.into_parts().0.headers);
                // A client that is gone needs no answer.
                let _ = respond.send_response(answer, true);
            }
        });
    }
}

/// Asks with many requests at a time on one connection.
async fn ask(front: SocketAddr, table: u32) {
    let stream = TcpStream::connect(front).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let made = builder.header_table_size(table).handshake(stream).await;
    let (client, connection): (h2::client::SendRequest<bytes::Bytes>, _) = made.unwrap();
    let connection = tokio::spawn(connection);
    let mut asked = JoinSet::new();
    for number in 0..200 {
        let mut client = client.clone().ready().await.unwrap();
        let mut request = Request::new(());
        *request.uri_mut() = "http://a.example/x".parse().unwrap();
        *request.headers_mut() = fields(number);
        let answer = client.send_request(request, true).unwrap().0;
        asked.spawn(async move { (number, answer.await.unwrap().into_parts().0) });
        // So many are open at a time.
        if asked.len() == 50 {
            check(asked.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(answered) = asked.join_next().await {
        check(answered.unwrap());
    }
    connection.abort();
}

fn check((number, answer): (usize, http::response::Parts)) {
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(ours(answer.headers), fields(number), "{number}");
}

#[test]
fn heads_keep_every_field_whatever_tables_the_ends_allow() {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    for (client, server) in [(4096, 4096), (0, 65_536), (65_536, 0), (100, 100)] {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let proxy = Proxy::start(&[listener.local_addr().unwrap()], "");
        runtime.spawn(echo(listener, server));
        let asked = runtime.block_on(async { timeout(PATIENCE, ask(proxy.front, client)).await });
        asked.expect("all answers in time");
    }
}
