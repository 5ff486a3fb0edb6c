//! A light load that remembers why a request failed.
//!
//! Not for measuring speed: `wrk` and `h2load` do that. This one tells each failure apart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Connection;

/// How many failures are kept word for word.
const KEPT: usize = 20;

/// Pause of one client between two requests, so that a load never fills the machine.
const PAUSE: Duration = Duration::from_millis(1);

/// Whether a client keeps its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// One connection for as long as the server keeps it.
    KeepAlive,
    /// A connection per request.
    PerRequest,
}

/// What came of a load.
#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    /// Requests answered with a status below 400.
    pub ok: u64,
    /// All other requests.
    pub failed: u64,
    /// The first failures, word for word.
    pub failures: Vec<String>,
    /// Answers by the value of their `x-backend-ip` field, or else by their body.
    pub by_server: BTreeMap<String, u64>,
}

impl LoadReport {
    /// Panics unless something was answered and nothing failed.
    pub fn assert_clean(&self) {
        assert!(self.ok > 0, "no request was answered: {self:?}");
        assert_eq!(self.failed, 0, "requests failed: {self:#?}");
    }
}

/// Clients that send `GET /` until stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    report: Arc<Mutex<LoadReport>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` threads against `to`.
    pub fn start(to: SocketAddr, clients: usize, reuse: Reuse) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let report = Arc::new(Mutex::new(LoadReport::default()));
        let client = |_| {
            let (stop, sent, report) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&report));
            thread::spawn(move || {
                let mut connection = None;
                while !stop.load(Ordering::SeqCst) {
                    let outcome = one(&mut connection, to, reuse);
                    sent.fetch_add(1, Ordering::SeqCst);
                    record(&mut report.lock().expect("no panic while held"), outcome);
                    thread::sleep(PAUSE);
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self {
            stop,
            sent,
            report,
            clients,
        }
    }

    /// How many requests have ended so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Waits until `more` requests have ended from here on.
    pub fn wait_more(&self, more: u64, within: Duration) {
        let goal = self.sent() + more;
        crate::wait_for("the load to go on", within, || {
            (self.sent() >= goal).then_some(())
        });
    }

    /// What has come of it so far.
    pub fn report(&self) -> LoadReport {
        self.report.lock().expect("no panic while held").clone()
    }

    /// Ends all clients after their current request.
    pub fn stop(mut self) -> LoadReport {
        self.end();
        self.report()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

fn one(kept: &mut Option<Connection>, to: SocketAddr, reuse: Reuse) -> Result<String, String> {
    let fresh = kept.is_none();
    let connection = kept.take().map_or_else(|| Connection::open(to), Ok);
    let mut connection = connection.map_err(|e| format!("connect: {e}"))?;
    let close: &[_] = match reuse {
        Reuse::KeepAlive => &[],
        Reuse::PerRequest => &[("Connection", "close")],
    };
    let response = connection
        .send("GET", "/", close, b"")
        .map_err(|e| format!("exchange (fresh connection: {fresh}): {e}"))?;
    if connection.is_open() && reuse == Reuse::KeepAlive {
        *kept = Some(connection);
    }
    if response.status >= 400 {
        return Err(format!("status {}: {}", response.status, response.text()));
    }
    let server = response.header("x-backend-ip").map(String::from);
    Ok(server.unwrap_or_else(|| response.text()))
}

fn record(report: &mut LoadReport, outcome: Result<String, String>) {
    match outcome {
        Ok(server) => {
            report.ok += 1;
            *report.by_server.entry(server).or_default() += 1;
        }
        Err(why) => {
            report.failed += 1;
            if report.failures.len() < KEPT {
                report.failures.push(why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, Reply};

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn counts_answers_and_failures_apart() {
        let origin = Origin::named("a");
        let load = Load::start(origin.address(), 2, Reuse::KeepAlive);
        load.wait_more(20, SOON);
        let report = load.stop();
        report.assert_clean();
        assert_eq!(report.by_server["a"], report.ok);

        let broken = Origin::start(|_| Reply {
            status: 500,
            ..Reply::text("no")
        });
        let load = Load::start(broken.address(), 1, Reuse::PerRequest);
        load.wait_more(5, SOON);
        let report = load.stop();
        assert_eq!(
            (report.ok, report.failures[0].as_str()),
            (0, "status 500: no")
        );
    }
}
