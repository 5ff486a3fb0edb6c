//! One measurement: load on one balancer for a moment, and what that cost it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::h2load;
use super::peer::Started;
use super::row::{BROWSER, Handshake, Work};
use crate::load::{Latency, Report};
use crate::machine::cpu_ns;
use crate::process::{Running, myself};

/// What one measurement gave.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) cpu_us_per_request: f64,
    pub(crate) completed: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) latency_us: Latency,
    /// Requests without the right answer, by cause.
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Sample {
    /// All requests that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

/// Loads `peer` from these cores; the CPU time is that of all its threads.
///
/// Errors: when nothing at all was answered rightly.
pub(crate) fn take(peer: &Started, work: &Work, cores: &str, time: Duration) -> Result<Sample> {
    let pid = peer.process.pid();
    let address = peer.address(work)?;
    let arguments = arguments(work, address, time)?;
    let before;
    let report: Report = if work.streams.is_some() {
        before = cpu_ns(pid)?;
        h2load::run(work, address, cores, time)?
    } else if work.tls.is_some() {
        // The handshakes of connections that are kept are no part of their requests.
        let load = warm(cores, &arguments, &peer.trusted)?;
        before = cpu_ns(pid)?;
        read(load.go()?.as_bytes())?
    } else {
        before = cpu_ns(pid)?;
        generate(cores, &arguments)?
    };
    let spent = cpu_ns(pid)? - before;
    if report.completed == 0 {
        bail!("no right answer from {address}: {:?}", report.failed);
    }
    Ok(Sample {
        cpu_us_per_request: spent as f64 / 1e3 / report.completed as f64,
        completed: report.completed,
        requests_per_second: report.completed as f64 / report.seconds,
        latency_us: report.latency_us,
        failures: report.failed,
    })
}

/// Runs the load generator as a process of its own and reads its report.
pub(crate) fn generate(cores: &str, arguments: &[String]) -> Result<Report> {
    let output = myself(cores)?.arg("load").args(arguments).output()?;
    if !output.status.success() {
        bail!(
            "the load failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    read(&output.stdout)
}

fn read(report: &[u8]) -> Result<Report> {
    serde_json::from_slice(report).context("the load's report cannot be read")
}

/// A load over TLS that has made its first requests.
fn warm(cores: &str, arguments: &[String], trusted: &Path) -> Result<Running> {
    let mut command = myself(cores)?;
    command.arg("load").args(arguments).arg("--warm");
    command.arg("--tls").arg(trusted).stdout(Stdio::piped());
    let mut load = Running::start_held(&mut command)?;
    load.wait_line("warm")?;
    Ok(load)
}

/// The words for `load` that mean this work.
pub(crate) fn arguments(work: &Work, address: SocketAddr, time: Duration) -> Result<Vec<String>> {
    let mut words = vec![
        address.to_string(),
        work.path.to_owned(),
        format!("--expect={}", work.expect),
        format!("--connections={}", work.connections),
        format!("--millis={}", time.as_millis()),
    ];
    words.extend(work.rate.map(|rate| format!("--rate={rate}")));
    words.extend(work.post.map(|bytes| format!("--post={bytes}")));
    match work.tls {
        Some(Handshake::Resumed) => words.push("--resume".to_owned()),
        Some(Handshake::Hybrid) => words.push("--hybrid".to_owned()),
        Some(Handshake::Full) | None => {}
    }
    if work.close {
        words.push("--close".to_owned());
    }
    if work.browser {
        let cookie = format!("Cookie: theme=dark; {}; lang=fr", cookie(address)?);
        let lines = BROWSER.into_iter().chain([cookie.as_str()]);
        words.extend(lines.map(|line| format!("--header={line}")));
    }
    Ok(words)
}

/// Asks for the sticky cookie once, as a browser would have got it.
fn cookie(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /128 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    // Up to the end of the head: the relay leaves it to the origin to close.
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut head = lines.take_while(|line| !line.is_empty());
    let cookie = head.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("set-cookie")
            .then(|| value.split(';').next().unwrap_or(value).trim().to_owned())
    });
    // Who sets none is sent one all the same, so that requests are of one size.
    Ok(cookie.unwrap_or_else(|| "SERVERID=none".to_owned()))
}
