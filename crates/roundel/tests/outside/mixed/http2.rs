//! Clients that speak HTTP/2, with several streams on each connection.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use roundel_testkit::Dice;
use tokio::task::JoinSet;

use super::{Done, HTTP2_CLIENTS, Tally, Wish};

/// Streams at a time on one connection.
const STREAMS: usize = 4;

/// Runs all clients on one thread until the time is over.
pub(super) fn run(front: SocketAddr, seed: u64, until: Instant, tally: &Mutex<Tally>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let clients = (0..HTTP2_CLIENTS as u64).map(|i| async move {
        let mut dice = Dice::new(seed.wrapping_mul(7_000_003) + i);
        while Instant::now() < until {
            for outcome in connection(front, &mut dice, until).await {
                Tally::note(tally, outcome);
            }
        }
    });
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        futures_join(clients.collect()).await;
    });
}

/// Waits for all.
async fn futures_join(all: Vec<impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        match all.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

/// One connection with several rounds of streams; now and then it is dropped in the middle.
async fn connection(
    front: SocketAddr,
    dice: &mut Dice,
    until: Instant,
) -> Vec<Result<Done, String>> {
    let stream = match tokio::net::TcpStream::connect(front).await {
        Ok(stream) => stream,
        Err(error) => return vec![Err(format!("h2 connect: {error}"))],
    };
    let (client, driver) = match h2::client::handshake(stream).await {
        Ok(both) => both,
        Err(error) => return vec![Err(format!("h2 handshake: {error}"))],
    };
    let driver = tokio::task::spawn_local(driver);
    let mut outcomes = Vec::new();
    for _ in 0..=dice.roll(8) {
        let mut streams = JoinSet::new();
        for _ in 0..=dice.roll(STREAMS) {
            let (client, aborts) = (client.clone(), dice.percent(25));
            streams.spawn_local(ask(client, Wish::throw(dice), aborts));
        }
        if dice.percent(10) {
            // All streams go down with the connection.
            tokio::task::yield_now().await;
            streams.abort_all();
            driver.abort();
            outcomes.push(Ok(Done::Aborted));
            return outcomes;
        }
        while let Some(outcome) = streams.join_next().await {
            outcomes.push(outcome.unwrap());
        }
        if Instant::now() >= until {
            break;
        }
    }
    drop(client);
    let _ = driver.await;
    outcomes
}

async fn ask(client: SendRequest<Bytes>, wish: Wish, aborts: bool) -> Result<Done, String> {
    let told = |e: h2::Error| format!("h2 {} {}: {e}", wish.method, wish.target());
    let mut client = client.ready().await.map_err(told)?;
    let target = format!("http://mixed{}", wish.target());
    let request = Request::builder()
        .method(wish.method)
        .uri(target)
        .body(())
        .unwrap();
    let has_body = matches!(wish.method, "POST" | "PUT");
    let (response, mut body) = client.send_request(request, !has_body).map_err(told)?;
    if aborts {
        if has_body {
            let _ = body.send_data(Bytes::from(wish.body.clone()), false);
        }
        tokio::task::yield_now().await;
        body.send_reset(h2::Reason::CANCEL);
        return Ok(Done::Aborted);
    }
    if has_body {
        body.send_data(Bytes::from(wish.body.clone()), true)
            .map_err(told)?;
    }
    let (head, mut received) = response.await.map_err(told)?.into_parts();
    let mut data = Vec::new();
    while let Some(chunk) = received.data().await {
        let chunk = chunk.map_err(told)?;
        received
            .flow_control()
            .release_capacity(chunk.len())
            .map_err(told)?;
        data.extend_from_slice(&chunk);
    }
    let field = |name| text(&head.headers, name);
    wish.judge(head.status.as_u16(), field("x-id"), field("x-got"), &data)?;
    Ok(Done::Answers(1))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
