//! Floods by one client of HTTP/2: each connection is ended with a reason, and nobody else is troubled.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use roundel_testkit::{get, poll};

use super::data::{head, large, trap, trap_server};
use super::frames::{
    DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, POST, RST_STREAM, SETTINGS, frame,
    preface, request,
};
use super::stage::Ground;
use super::{Row, row};

const ENHANCE_YOUR_CALM: u32 = 11;
const PING: u8 = 6;
const END: u8 = END_STREAM | END_HEADERS;
/// How long a flood lasts at most, and how long its end may be under way: streams may wait for a window for
/// 15 s.
const FLOOD: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("h2-resets", "HTTP/2 streams given up once accepted", resets),
        row("h2-pings", "HTTP/2 PING without end", pings),
        row("h2-small", "HTTP/2 bodies in frames of one byte", small),
        row(
            "h2-windows",
            "128 HTTP/2 streams of 10 MB, no window",
            windows,
        ),
        row("h2-heads", "HTTP/2 heads of 60 kB in 24 bytes", heads),
    ]
    .into_iter()
    .map(|row| row.more(trap).flood())
    .collect()
}

/// Floods a connection, then further ones for as long as a flood lasts. Errors: one of them is not ended
/// for `reason`.
fn flood(
    ground: &Ground<'_>,
    reason: &str,
    answer: impl Fn(TcpStream) + Clone + Send + 'static,
    say: impl Fn(&mut TcpStream) -> Result<()>,
) -> Result<()> {
    let begun = Instant::now();
    let mut ended = 0;
    thread::scope(|scope| {
        trap_server(ground, scope, answer)?;
        while begun.elapsed() < FLOOD.min(ground.left()) || ended == 0 {
            let mut client = TcpStream::connect(ground.stage.at(8080))?;
            client.set_write_timeout(Some(PATIENCE))?;
            let mut reader = client.try_clone()?;
            let code = thread::spawn(move || goaway(&mut reader));
            // It fails when the connection has ended.
            let _ = say(&mut client);
            let code = code.join().ok().context("the reader panicked")??;
            ensure!(code == ENHANCE_YOUR_CALM, "ended with {code}");
            ended += 1;
        }
        let reason_of = format!("reason=\"{reason}\"");
        let is_counted = || {
            let metrics = get(ground.stage.at(1936), "/metrics").ok()?.text();
            let mut lines = metrics.lines();
            let counted = lines.find(|line| {
                line.starts_with("roundel_frontend_connections_rejected_total")
                    && line.contains(&reason_of)
            })?;
            (!counted.ends_with(" 0")).then_some(())
        };
        // What is shown is as old as a second.
        poll(PATIENCE, is_counted).with_context(|| format!("not counted as {reason}"))?;
        let log = ground.stage.process.stderr();
        ensure!(
            log.contains(&format!("ENHANCE_YOUR_CALM, {reason}")),
            "no word in the log"
        );
        Ok(())
    })
}

/// Reads to a GOAWAY and gives its code.
fn goaway(client: &mut TcpStream) -> Result<u32> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut room = Vec::new();
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).context("no reason is told")?;
        room.resize(
            u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize,
            0,
        );
        client.read_exact(&mut room)?;
        if head[3] == GOAWAY {
            let code = room.get(4..8).context("a GOAWAY without a code")?;
            return Ok(u32::from_be_bytes(code.try_into()?));
        }
    }
}

/// Never answers.
fn mute(stream: TcpStream) {
    let mut reader = BufReader::new(&stream);
    while head(&mut reader).is_some() {}
}

fn resets(ground: &Ground<'_>) -> Result<()> {
    flood(ground, "http2_resets", mute, |client| {
        client.write_all(&preface(65_535))?;
        for stream in (0..10_000).map(|n| 2 * n + 1) {
            client.write_all(&frame(HEADERS, END, stream, &request(GET)))?;
            // Once it is accepted.
            if stream % 32 == 31 {
                thread::sleep(Duration::from_millis(5));
                for given_up in (stream - 30..=stream).step_by(2) {
                    client.write_all(&frame(RST_STREAM, 0, given_up, &8u32.to_be_bytes()))?;
                }
            }
        }
        Ok(())
    })
}

fn pings(ground: &Ground<'_>) -> Result<()> {
    let burst = frame(PING, 0, 0, b"areulive").repeat(1_000);
    flood(ground, "http2_frames", mute, |client| {
        client.write_all(&preface(65_535))?;
        (0..1_000).try_for_each(|_| Ok(client.write_all(&burst)?))
    })
}

fn small(ground: &Ground<'_>) -> Result<()> {
    let sink = |mut stream: TcpStream| {
        let mut room = vec![0; 64 * 1024];
        while let Ok(1..) = stream.read(&mut room) {}
    };
    flood(ground, "http2_small_frames", sink, |client| {
        client.write_all(&preface(65_535))?;
        // What the windows allow: 16 of 64 KiB in one of 1 MiB.
        for stream in (0..16).map(|n| 2 * n + 1) {
            client.write_all(&frame(HEADERS, END_HEADERS, stream, &request(POST)))?;
            let burst = frame(DATA, 0, stream, b"x").repeat(1_000);
            for _ in 0..64 {
                client.write_all(&burst)?;
            }
        }
        Ok(())
    })
}

fn windows(ground: &Ground<'_>) -> Result<()> {
    flood(ground, "http2_shut_windows", large, |client| {
        client.write_all(&preface(65_535))?;
        // SETTINGS_INITIAL_WINDOW_SIZE.
        client.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]))?;
        for stream in (0..128).map(|n| 2 * n + 1) {
            client.write_all(&frame(HEADERS, END, stream, &request(GET)))?;
        }
        Ok(())
    })
}

fn heads(ground: &Ground<'_>) -> Result<()> {
    let answer = |mut stream: TcpStream| {
        let mut room = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = stream.read(&mut room) {
            let ends = room[..n].ends_with(b"\r\n\r\n");
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            if ends && stream.write_all(answer).is_err() {
                return;
            }
        }
    };
    // A field of 3 kB for the table, whose length is a number of three bytes (RFC 7541 5.1 and 6.2.1).
    let field = [&[0x40, 1, b'x', 127, 0xb9, 22][..], &[b'v'; 3_000]].concat();
    let first = [request(GET), field].concat();
    let again = [request(GET), vec![0xbe; 20]].concat();
    flood(ground, "http2_large_heads", answer, |client| {
        client.write_all(&preface(65_535))?;
        client.write_all(&frame(HEADERS, END, 1, &first))?;
        for stream in (1..100_000).map(|n| 2 * n + 1) {
            client.write_all(&frame(HEADERS, END, stream, &again))?;
            // No more than are taken at once, most of the time.
            if stream % 64 == 63 {
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    })
}
