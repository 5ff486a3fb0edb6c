//! What is kept and waited for at most: every bound of the crate.

use std::time::Duration;

/// Entries of a store. A certificate takes three, and a hundred certificates are many.
pub const ENTRIES: usize = 1024;
/// Bytes of an entry's name.
pub const NAME: usize = 256;
/// Bytes of an entry's value. A chain with its key has some 10 KiB.
pub const VALUE: usize = 128 << 10;
/// Bytes of all values together.
pub const TOTAL: usize = 16 << 20;

/// Bytes of entries in a frame, beyond which the next one is begun.
pub(crate) const BATCH: usize = 128 << 10;
/// Bytes of a frame: a batch, and the entry that crossed its bound.
pub(crate) const FRAME: usize = BATCH + VALUE + 1024;
/// Bytes of a balancer's name; as long as the gossip's.
pub(crate) const PEER: usize = 128;

/// Streams that stand.
pub(crate) const LINKS: usize = 64;
/// Handshakes of others at a time; whoever comes beyond is not answered.
pub(crate) const HANDSHAKES: usize = 16;
/// Of them from one address: one that is left open for long keeps nobody else out.
pub(crate) const HANDSHAKES_OF_ONE: usize = 4;
const _: () = assert!(HANDSHAKES_OF_ONE < HANDSHAKES);
/// Own handshakes at a time.
pub(crate) const DIALS: usize = 8;
/// Between two handshakes of others: with 0.3 ms of work each, strangers get 3 % of a core at most.
pub(crate) const PACE: Duration = Duration::from_millis(10);

/// How long a connection with its handshake and the first word may take.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);
/// Something is said at least that often.
pub(crate) const PING: Duration = Duration::from_secs(2);
/// A stream on which nothing comes, or nothing can be written, for so long is ended.
pub(crate) const SILENCE: Duration = Duration::from_secs(6);
/// Time to the next try to reach a balancer: doubled from the first to the second.
pub(crate) const RETRY: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(30));

/// How often a trouble is told of, and how many lines in that time.
pub(crate) const TELL: (Duration, u32) = (Duration::from_secs(60), 6);
