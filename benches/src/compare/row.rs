//! The rows: one kind of work each, made by wrk.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::LOAD_CORE;
use super::peer::Peer;

/// One kind of work.
pub(crate) struct Row {
    pub(crate) letter: char,
    pub(crate) title: &'static str,
    path: &'static str,
    connections: u16,
    sticky: bool,
    headers: Headers,
    post: bool,
    /// How many times longer than the others a sample takes.
    pub(crate) stretch: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Headers {
    Few,
    /// What a browser sends, with a cookie jar.
    Browser,
    /// A connection per request.
    Close,
}

/// What wrk counted.
pub(crate) struct Load {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
}

const fn row(letter: char, title: &'static str, path: &'static str) -> Row {
    Row {
        letter,
        title,
        path,
        connections: 64,
        sticky: false,
        headers: Headers::Few,
        post: false,
        stretch: 1,
    }
}

/// Every row, in the order of the table.
pub(crate) const ALL: [Row; 7] = [
    row('a', "128 B keep-alive", "/128"),
    Row {
        sticky: true,
        headers: Headers::Browser,
        ..row('r', "browser headers and sticky cookie", "/128")
    },
    Row {
        sticky: true,
        ..row('e', "sticky cookie, small request", "/128")
    },
    row('b', "10 KB answer", "/10k"),
    Row {
        post: true,
        ..row('f', "10 KB POST", "/128")
    },
    Row {
        headers: Headers::Close,
        ..row('d', "a connection per request", "/128")
    },
    Row {
        connections: 16,
        stretch: 2,
        ..row('c', "1 MB answer, 16 streams", "/1m")
    },
];

const BROWSER: [&str; 14] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: fr-CH,fr;q=0.8,en-US;q=0.5,en;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "DNT: 1",
    "Sec-GPC: 1",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-User: ?1",
    "Priority: u=0, i",
    "Referer: http://www.example.org/shop/items?page=2",
    "Cache-Control: max-age=0",
];

impl Row {
    /// Loads `peer` for `time` and returns what wrk counted.
    pub(crate) fn load(&self, peer: &Peer, time: Duration, scratch: &Path) -> Result<Load> {
        let port = if self.sticky { peer.sticky } else { peer.plain };
        let mut wrk = Command::new("taskset");
        wrk.args(["-c", LOAD_CORE, "wrk", "-t1"])
            .arg(format!("-c{}", self.connections))
            .arg(format!("-d{}s", time.as_secs()));
        match self.headers {
            Headers::Few => {}
            Headers::Close => {
                wrk.args(["-H", "Connection: close"]);
            }
            Headers::Browser => {
                let jar = format!("Cookie: theme=dark; {}; lang=fr", jar(port)?);
                BROWSER.iter().chain([&jar.as_str()]).for_each(|header| {
                    wrk.args(["-H", header]);
                });
            }
        }
        if self.post {
            let script = scratch.join("post.lua");
            std::fs::write(
                &script,
                "wrk.method = 'POST'\nwrk.body = string.rep('x', 10240)\n",
            )?;
            wrk.arg("-s").arg(script);
        }
        let out = wrk
            .arg(format!("http://127.0.0.1:{port}{}", self.path))
            .output()
            .context("cannot start wrk")?;
        let text = String::from_utf8_lossy(&out.stdout);
        if !out.status.success() {
            bail!("wrk failed: {text}{}", String::from_utf8_lossy(&out.stderr));
        }
        counted(&text)
    }
}

/// Asks for the sticky cookie once, as a browser would have got it.
fn jar(port: u16) -> Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /128 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    text.lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("set-cookie")
                .then(|| value.split(';').next().unwrap_or(value).trim().to_owned())
        })
        .with_context(|| format!("port {port} sets no sticky cookie"))
}

/// Reads wrk's report: completed requests, and every kind of failure.
fn counted(text: &str) -> Result<Load> {
    let completed = text
        .lines()
        .find(|line| line.contains(" requests in "))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("wrk's report cannot be read: {text}"))?;
    let failed = text.lines().map(failures).sum();
    Ok(Load { completed, failed })
}

/// Failures named by one line of wrk's report: `Socket errors: connect 0, read 3, …` or
/// `Non-2xx or 3xx responses: 7`.
fn failures(line: &str) -> u64 {
    let line = line.trim();
    let Some((_, counts)) = line
        .split_once("Socket errors:")
        .or_else(|| line.split_once("Non-2xx or 3xx responses:"))
    else {
        return 0;
    };
    counts
        .split(',')
        .filter_map(|part| part.split_whitespace().last()?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_report_of_wrk() {
        let text = "Running 1s test\n  1234 requests in 1.00s, 1.2MB read\n  \
            Socket errors: connect 0, read 3, write 1, timeout 2\n  \
            Non-2xx or 3xx responses: 7\nRequests/sec: 1234.0\n";
        let load = counted(text).unwrap();
        assert_eq!((load.completed, load.failed), (1234, 13));
        assert!(counted("nonsense").is_err());
    }
}
