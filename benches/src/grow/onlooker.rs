//! Somebody who looks: the page's stream of events stays open, metrics are fetched each second.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// Looks until ended.
pub(super) struct Onlooker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Onlooker {
    pub(super) fn start(stats: SocketAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut events = TcpStream::connect(stats)?;
        events.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")?;
        events.set_read_timeout(Some(Duration::from_millis(50)))?;
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 64 << 10];
            let mut scraped: Option<Instant> = None;
            while !stopped.load(Ordering::Relaxed) {
                if scraped.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
                    scraped = Some(Instant::now());
                    get(stats, "/metrics")?;
                }
                match events.read(&mut buffer) {
                    Ok(0) => return Err(anyhow!("the page's events ended")),
                    Ok(_) => {}
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            Ok(())
        });
        Ok(Self { stop, thread })
    }

    pub(super) fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("it panicked"))?
    }
}

/// The body, or more, of a small answer.
pub(super) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .with_context(|| format!("{address}{path}"))?;
    Ok(text)
}
