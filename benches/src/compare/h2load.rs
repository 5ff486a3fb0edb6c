//! Load over HTTP/2: nghttp2's `h2load`, a closed loop of its streams.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::row::Work;
use crate::load::{Latency, Report};
use crate::origin::MESSAGE;
use crate::process::{find, pinned};

/// Loads `address` from these cores, and checks status and length of what it answers.
pub(super) fn run(work: &Work, address: SocketAddr, cores: &str, time: Duration) -> Result<Report> {
    let streams = work.streams.context("it is no work over HTTP/2")?;
    let program = find("h2load").context("h2load is gone")?;
    let folder = tempfile::tempdir()?;
    let (log, body) = (folder.path().join("log"), folder.path().join("body"));
    let scheme = if work.tls.is_some() { "https" } else { "http" };
    let mut command = pinned(cores, &program);
    command
        .arg(format!("--clients={}", work.connections))
        .arg(format!("--max-concurrent-streams={streams}"))
        .arg(format!("--duration={}ms", time.as_millis()))
        .arg("--tls13-ciphers=TLS_AES_128_GCM_SHA256")
        .args(["--groups=X25519", "--npn-list=h2"])
        .arg(format!("--log-file={}", log.display()))
        .arg(format!("{scheme}://{address}{}", work.path));
    if let Some(bytes) = work.post {
        fs::write(&body, vec![b'x'; bytes as usize])?;
        command.arg(format!("--data={}", body.display()));
    }
    if work.grpc {
        fs::write(&body, MESSAGE)?;
        command.arg(format!("--data={}", body.display())).args([
            "--header=content-type: application/grpc",
            "--header=te: trailers",
        ]);
    }
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("h2load failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let log = fs::read_to_string(&log).context("h2load wrote no log")?;
    report(&said, &log, work.expect, time).with_context(|| format!("h2load said {said:?}"))
}

/// Reads what `h2load` says and its log, which has a line for each request: when it began, its status,
/// and the microseconds that it took.
fn report(said: &str, log: &str, expect: u64, time: Duration) -> Result<Report> {
    let mut failed = BTreeMap::new();
    let mut latencies = Vec::new();
    for line in log.lines() {
        let mut words = line.split('\t').skip(1);
        match (words.next(), words.next().map(str::parse::<u32>)) {
            (Some("200"), Some(Ok(micros))) => latencies.push(micros),
            (Some(status), Some(Ok(_))) => {
                *failed.entry(format!("status {status}")).or_default() += 1
            }
            _ => bail!("{line:?} is no line of its log"),
        }
    }
    let completed = latencies.len() as u64;
    let bytes = number(said, " (", ") data").context("no count of bytes")?;
    if bytes < completed * expect {
        failed.insert("bytes were missing".to_owned(), 1);
    }
    for (why, before, after) in [
        ("failed", "succeeded, ", " failed"),
        ("errored", "failed, ", " errored"),
        ("no answer in time", "errored, ", " timeout"),
    ] {
        match number(said, before, after).with_context(|| format!("no count of {why}"))? {
            0 => {}
            n => *failed.entry(why.to_owned()).or_default() += n,
        }
    }
    latencies.sort_unstable();
    Ok(Report {
        seconds: time.as_secs_f64(),
        completed,
        failed,
        latency_us: latency(&latencies),
    })
}

/// The number that ends before the first `after` and begins behind the last `before` of it.
fn number(said: &str, before: &str, after: &str) -> Option<u64> {
    let text = &said[..said.find(after)?];
    text[text.rfind(before)? + before.len()..].parse().ok()
}

fn latency(sorted: &[u32]) -> Latency {
    let at = |q: f64| {
        let place = (sorted.len() as f64 * q) as usize;
        sorted
            .get(place)
            .or(sorted.last())
            .map_or(0.0, |us| f64::from(*us))
    };
    Latency {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "finished in 400.34ms, 7.50 req/s, 1.2KB/s\n\
         requests: 3 total, 4 started, 3 done, 2 succeeded, 1 failed, 0 errored, 0 timeout\n\
         status codes: 2 2xx, 0 3xx, 0 4xx, 1 5xx\n\
         traffic: 1.2KB (1234) total, 333B (333) headers (space savings 70.00%), 384B (384) data\n";
    const LOG: &str = "1700\t200\t90\n1701\t200\t30\n1702\t503\t10\n";

    #[test]
    fn counts_and_latencies_are_read() {
        let report = report(SAID, LOG, 128, Duration::from_millis(400)).unwrap();
        assert_eq!(report.completed, 2);
        let failed: Vec<_> = report
            .failed
            .iter()
            .map(|(k, n)| (k.as_str(), *n))
            .collect();
        assert_eq!(failed, [("failed", 1), ("status 503", 1)]);
        assert_eq!((report.latency_us.p50, report.latency_us.max), (90.0, 90.0));
    }

    #[test]
    fn short_answers_are_failures() {
        let report = report(SAID, LOG, 193, Duration::from_millis(400)).unwrap();
        assert!(report.failed.contains_key("bytes were missing"));
    }

    #[test]
    fn what_is_not_understood_is_no_measurement() {
        let read = |said, log| report(said, log, 128, Duration::from_millis(400));
        assert!(read("", LOG).is_err());
        assert!(read(SAID, "a\tb\tc\n").is_err());
    }
}
