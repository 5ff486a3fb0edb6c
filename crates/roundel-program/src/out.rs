//! Text on standard output, where the reader may go away at any time (`roundel members | head`).

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use roundel_model::{Shown, visible_json};

/// Prints text as it is. Errors: as the system says; `println!` would panic.
pub(crate) fn text(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush())
}

/// Prints one line, whatever its words hold.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    self::text(format_args!("{}\n", Shown(text)))
}

/// Prints JSON and ends the line.
pub(crate) fn json(json: String) -> io::Result<()> {
    self::text(visible_json(json) + "\n")
}

/// Waits until nobody reads standard output any more. Does not return where that cannot be known, as of
/// a file.
pub(crate) async fn reader_gone() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    loop {
        let out = io::stdout();
        let mut fds = [PollFd::new(&out, PollFlags::empty())];
        let polled = poll(&mut fds, Some(&Timespec::default()));
        if polled.is_ok() && fds[0].revents().contains(PollFlags::ERR) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether an error only says that nobody reads any more.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
