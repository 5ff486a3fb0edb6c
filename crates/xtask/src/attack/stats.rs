//! Attacks on port 1936 and on the runtime API.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use roundel_testkit::{Connection, request};

use super::stage::Ground;
use super::{Row, row};

/// Servers of a large balancer.
const CROWD: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(2);

/// Wrong tokens in a second that are slow enough to be nothing.
const FEW_TOKENS: f64 = 500.0;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("5", "600 readers of /metrics that do not read", metrics).crowd(CROWD),
        row("5h", "600 half heads on 1936", halves),
        row("11", "200 viewers of /events that do not read", viewers).crowd(CROWD),
        row("13", "64 × `wait 1h` on the runtime API", waits),
        row("17", "wrong admin tokens", tokens),
        row("23", "/metrics 20 times a second", scrapes).crowd(CROWD),
    ]
}

/// Connections to 1936 that said this.
fn hold(ground: &Ground<'_>, connections: usize, said: &[u8]) -> Vec<Connection> {
    let open = |_| {
        let mut connection = Connection::open_within(ground.stage.at(1936), PATIENCE).ok()?;
        connection.put(said).ok()?;
        Some(connection)
    };
    (0..connections).filter_map(open).collect()
}

fn metrics(ground: &Ground<'_>) -> Result<()> {
    let held = hold(ground, 600, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    thread::sleep(ground.left());
    drop(held);
    Ok(())
}

fn halves(ground: &Ground<'_>) -> Result<()> {
    let held = hold(ground, 600, b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: ");
    thread::sleep(ground.left());
    drop(held);
    Ok(())
}

/// The operator still gets a seat, on a host of his own.
fn viewers(ground: &Ground<'_>) -> Result<()> {
    let held = hold(ground, 200, b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    thread::sleep(ground.left() / 2);
    let seat = thread::scope(|scope| {
        let operator = scope.spawn(|| {
            ground.stage.balancer().enter()?;
            first_line(ground, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        });
        operator.join().expect("no panic")
    })?;
    thread::sleep(ground.left());
    drop(held);
    ensure!(seat.contains(" 200 "), "the operator gets {seat:?}");
    Ok(())
}

fn first_line(ground: &Ground<'_>, said: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&ground.stage.at(1936), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(said.as_bytes())?;
    let mut room = [0; 64];
    let length = stream.read(&mut room)?;
    let text = String::from_utf8_lossy(&room[..length]).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Whoever waits and is gone holds nobody up. The port is on loopback, so this is a neighbour there.
fn waits(ground: &Ground<'_>) -> Result<()> {
    ground.stage.balancer().enter()?;
    let line = |said: &[u8]| {
        let mut stream = TcpStream::connect_timeout(&([127, 0, 0, 1], 9999).into(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(said)?;
        Ok::<_, std::io::Error>(stream)
    };
    let held: Vec<_> = (0..64).map(|_| line(b"wait 1h\n")).collect();
    thread::sleep(Duration::from_secs(1));
    drop(held);
    thread::sleep(Duration::from_secs(1));
    let mut told = String::new();
    let asked = line(b"show info\n").and_then(|mut stream| stream.read_to_string(&mut told));
    asked.context("the runtime API is silent")?;
    ensure!(told.contains("Uptime"), "the runtime API says {told:?}");
    Ok(())
}

fn tokens(ground: &Ground<'_>) -> Result<()> {
    let (begun, tried) = (Instant::now(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..8 {
            let tried = &tried;
            scope.spawn(move || {
                while !ground.left().is_zero() {
                    let token = format!("Bearer {client}{:0>31}", tried.load(Ordering::Relaxed));
                    // A name with dots would be refused before the token is looked at.
                    let fields = [("Authorization", token.as_str()), ("Host", "lb")];
                    let path = "/api/v1/backends/nodes/servers/s1:maint";
                    // What is refused as a connection has tried no token.
                    let answer = request(ground.stage.at(1936), "POST", path, &fields, b"{}");
                    if answer.is_ok_and(|answer| answer.status == 401) {
                        tried.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let rate = tried.into_inner() as f64 / begun.elapsed().as_secs_f64();
    ensure!(rate > 0.0, "no token was looked at");
    ensure!(rate < FEW_TOKENS, "{rate:.0} tokens a second can be tried");
    Ok(())
}

/// From one connection, as one Prometheus too many.
fn scrapes(ground: &Ground<'_>) -> Result<()> {
    let mut connection = Connection::open_within(ground.stage.at(1936), PATIENCE)?;
    let mut due = Instant::now();
    while !ground.left().is_zero() {
        let answer = connection.send("GET", "/metrics", &[], b"")?;
        ensure!(answer.status == 200, "/metrics is a {}", answer.status);
        due += Duration::from_millis(50);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
