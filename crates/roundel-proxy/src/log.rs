//! The access log: one line per request, off the workers' path.
//!
//! A worker renders lines into a buffer of its own and hands full buffers to one writer thread
//! over a bounded channel. When the writer cannot keep up, whole buffers are dropped and their
//! lines counted; traffic never waits.

use std::io::Write;
use std::time::Duration;

mod line;
mod writer;

pub use line::LogFormat;
pub(crate) use line::{Encryption, Record};
pub use writer::LineWriter;

/// Buffers that may wait for the writer; with [`FULL`] this bounds the memory to about 4 MiB.
const WAITING: usize = 256;
/// Bytes at which a worker hands its buffer over.
const FULL: usize = 16 * 1024;

/// Where access lines go; clones lead to the same writer.
#[derive(Debug, Clone)]
pub struct AccessLog(Option<(LogFormat, LineWriter)>);

impl AccessLog {
    /// Writes nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts a thread that writes lines of `format` to `out`.
    ///
    /// Errors: the thread cannot be started.
    pub fn new(format: LogFormat, out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let writer = LineWriter::new("access-log", WAITING, out)?;
        Ok(Self(Some((format, writer))))
    }

    /// Lines lost because the writer could not keep up, or could not write.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |(_, writer)| writer.dropped())
    }

    /// Why the last write failed, if one ever did.
    pub fn last_error(&self) -> Option<String> {
        self.0.as_ref().and_then(|(_, writer)| writer.last_error())
    }

    /// Waits until what was handed over is written, at most for `limit`; blocks the thread.
    ///
    /// Lines still held by running workers are not covered: drain the proxy first.
    pub fn flush(&self, limit: Duration) {
        if let Some((_, writer)) = &self.0 {
            writer.flush(limit);
        }
    }

    /// Whether lines are wanted.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

/// One worker's end of the access log.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    log: AccessLog,
    bytes: Vec<u8>,
    lines: u64,
}

impl LogBuffer {
    pub(crate) fn new(log: AccessLog) -> Self {
        Self {
            log,
            bytes: Vec::new(),
            lines: 0,
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.log.is_on()
    }

    /// Adds one line.
    pub(crate) fn add(&mut self, record: &Record<'_>) {
        let Some((format, _)) = &self.log.0 else {
            return;
        };
        line::write(*format, record, &mut self.bytes);
        self.lines += 1;
        if self.bytes.len() >= FULL {
            self.hand_over();
        }
    }

    /// Hands the lines over to the writer, or drops and counts them when it is behind.
    pub(crate) fn hand_over(&mut self) {
        let Some((_, writer)) = &self.log.0 else {
            return;
        };
        if self.bytes.is_empty() {
            return;
        }
        let capacity = self.bytes.capacity();
        let lines = std::mem::replace(&mut self.bytes, Vec::with_capacity(capacity));
        writer.send(lines, std::mem::take(&mut self.lines));
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_arrive_in_order() {
        let out = Shared::default();
        let log = AccessLog::new(LogFormat::Common, out.clone()).unwrap();
        let mut buffer = LogBuffer::new(log.clone());
        for status in [200, 404] {
            buffer.add(&Record {
                status,
                ..line::sample()
            });
        }
        drop(buffer);
        log.flush(Duration::from_secs(10));
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let statuses: Vec<_> = text.lines().map(|l| l.split(' ').nth(8).unwrap()).collect();
        assert_eq!(statuses, ["200", "404"], "{text}");
    }
}
