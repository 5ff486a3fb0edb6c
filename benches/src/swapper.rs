//! Publishes set after set in a running Roundel, through its socket for operators.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// Changes a server's weight again and again until ended; each change is a new set.
pub(crate) struct Swapper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Swapper {
    /// Starts with `per_second` changes of the weight of `server` (`backend/server`).
    pub(crate) fn start(socket: &Path, server: &str, per_second: u32) -> Result<Self> {
        let mut stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        order(&mut stream, "prompt")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, server) = (Arc::clone(&stop), server.to_owned());
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut done = 0;
            while !stopped.load(Ordering::Relaxed) {
                let due = Duration::from_secs(done) / per_second;
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
                let weight = 1 + done % 2;
                let reply = order(&mut stream, &format!("set weight {server} {weight}"))?;
                if !reply.trim_matches(['\n', ' ', '>']).is_empty() {
                    bail!("set weight: {reply}");
                }
                done += 1;
            }
            Ok(done)
        });
        Ok(Self { stop, thread })
    }

    /// Ends it and says how many sets there were.
    pub(crate) fn end(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("it panicked"))?
    }
}

/// Sends one line and returns all that comes up to the next prompt.
fn order(stream: &mut UnixStream, line: &str) -> Result<String> {
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    while !reply.ends_with(b"> ") {
        match stream.read(&mut buffer)? {
            0 => bail!("the socket was closed after {line:?}"),
            n => reply.extend_from_slice(&buffer[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
