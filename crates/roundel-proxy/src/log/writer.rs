//! Lines that a thread of their own writes, so that a slow or stuck reader holds up nobody.

use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often somebody who waits for the writer looks whether it has caught up.
const LOOK: Duration = Duration::from_millis(5);

/// Where lines go; clones lead to the same writer. What it cannot take is lost and counted.
#[derive(Debug, Clone)]
pub struct LineWriter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lines: SyncSender<Message>,
    losses: Arc<Losses>,
}

#[derive(Debug, Default)]
struct Losses {
    lines: AtomicU64,
    /// What the last failed write was told.
    error: Mutex<Option<String>>,
}

#[derive(Debug)]
enum Message {
    /// Whole lines, and how many.
    Lines(Vec<u8>, u64),
    Flush(SyncSender<()>),
}

impl LineWriter {
    /// Starts a thread called `name` that writes to `out`; at most `waiting` calls wait for it.
    ///
    /// Errors: the thread cannot be started.
    pub fn new(
        name: &str,
        waiting: usize,
        out: impl Write + Send + 'static,
    ) -> std::io::Result<Self> {
        let (lines, inbox) = mpsc::sync_channel(waiting);
        let losses = Arc::<Losses>::default();
        let theirs = Arc::clone(&losses);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_all(&inbox, &theirs, out))?;
        Ok(Self(Arc::new(Inner { lines, losses })))
    }

    /// Has these bytes written, which are so many whole lines. Never waits.
    pub fn send(&self, bytes: Vec<u8>, lines: u64) {
        let message = Message::Lines(bytes, lines);
        if self.0.lines.try_send(message).is_err() {
            self.0.losses.lines.fetch_add(lines, Relaxed);
        }
    }

    /// Lines lost, since the writer was behind or could not write them; in the latter case
    /// [`LineWriter::last_error`] says why from then on.
    pub fn dropped(&self) -> u64 {
        self.0.losses.lines.load(Acquire)
    }

    /// Why the last write failed, if one ever did.
    pub fn last_error(&self) -> Option<String> {
        let error = self.0.losses.error.lock();
        error.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what was sent before is written, at most for `limit` whatever the reader does;
    /// blocks the thread.
    pub fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let (done, wait) = mpsc::sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match self.0.lines.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => message = back,
                Err(_) => return,
            }
            std::thread::sleep(LOOK);
        }
        let _ = wait.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

fn write_all(inbox: &Receiver<Message>, losses: &Losses, mut out: impl Write) {
    while let Ok(message) = inbox.recv() {
        match message {
            // A closed pipe or a full disk must not stop the program; the next lines may fare
            // better.
            Message::Lines(bytes, lines) => {
                if let Err(error) = out.write_all(&bytes).and_then(|()| out.flush()) {
                    // Whoever sees the count finds the reason.
                    let mut last = losses.error.lock().unwrap_or_else(PoisonError::into_inner);
                    *last = Some(error.to_string());
                    drop(last);
                    losses.lines.fetch_add(lines, Release);
                }
            }
            Message::Flush(done) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes nothing until it is released.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_reader_costs_lines_and_no_time() {
        let (release, stuck) = mpsc::sync_channel(0);
        let writer = LineWriter::new("stuck", 4, Stuck(stuck)).unwrap();
        for _ in 0..20 {
            writer.send(b"a\nb\n".to_vec(), 2);
        }
        // One of them is with the writer, four wait.
        assert!(
            (30..=32).contains(&writer.dropped()),
            "{}",
            writer.dropped()
        );
        // Ends although nothing moves and the channel is full.
        writer.flush(Duration::from_millis(20));
        assert_eq!(writer.last_error(), None);
        drop(release);
        writer.flush(Duration::from_secs(10));
    }

    #[test]
    fn what_cannot_be_written_is_counted_with_its_reason() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let writer = LineWriter::new("full", 4, full.unwrap()).unwrap();
        writer.send(b"a\nb\nc\n".to_vec(), 3);
        writer.flush(Duration::from_secs(10));
        assert_eq!(writer.dropped(), 3);
        let error = writer.last_error().unwrap();
        assert!(error.contains("No space left"), "{error}");
    }
}
