//! Every bound of an HTTP/2 connection in front, and where each comes from.
//!
//! The first group is what the `h2` crate is told; none of its defaults is left to it. The second is what
//! we count ourselves, because it costs without holding anything: see [`super::calm`] and [`super::hold`].

use std::time::Duration;

use h2::server::Builder;
use roundel_http1::Limits;

use super::calm::Bound;

/// Streams that one connection may have open at once. RFC 9113 6.5.2 asks for 100 at least, browsers
/// and gRPC open about as many.
pub(super) const STREAMS: u32 = 128;
/// Bytes of body that a stream may have sent before they are taken.
pub(super) const STREAM_WINDOW: u32 = 64 * 1024;
/// The same over all streams of a connection, but for its tunnels: each has a window of its own, or
/// servers that read from none would hold up all else.
pub(super) const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of a stream that wait for its connection.
pub(super) const SEND_BUFFER: usize = 16 * 1024;
/// The largest frame that is taken: what every peer has to take (RFC 9113 6.5.2). A larger one would
/// only be a larger buffer.
const FRAME: u32 = 16 * 1024;
/// Bytes of the table of fields that the decoder keeps: the size that a connection begins with (RFC
/// 7541 4.2), so that no change of it is awaited.
const TABLE: u32 = 4096;
/// What the overhead of small DATA frames that wait may come to, as `h2` counts it: 256 bytes each,
/// less their payload. Most are taken as soon as they are there; those of an answered stream are not.
const DATA_OVERHEAD: usize = 4 * 1024 * 1024;
/// Streams that were given up before they were accepted: all that may be open.
const PENDING_RESETS: usize = STREAMS as usize;
/// Streams that we have reset and still know, so that what was under way on them is no error: as many
/// as are open, for as long as a slow way takes there and back.
const REMEMBERED_RESETS: usize = STREAMS as usize;
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
/// Streams that the client's mistakes had `h2` reset, in the life of a connection. Those that cost
/// something are in [`RESETS`] and [`FRAMES`], which forget; this is behind them.
const LOCAL_ERRORS: usize = 16 * 1024;
/// What `h2` adds to each field of a head (RFC 9113 6.5.2).
const FIELD: usize = 32;

/// Exchanges of one connection at once: a stream that its client gives up is none of those open, but
/// takes a moment to end. More wait.
pub(super) const LIVE: usize = 2 * STREAMS as usize;
/// Streams given up by their client that a connection may owe: a page that is left gives up a hundred
/// at once. An answered stream makes up for one.
pub(super) const RESETS: Bound = Bound {
    most: 512,
    forgotten: 10,
};
/// Frames that do nothing for an exchange (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA), and
/// heads by their size; each costs about a microsecond. What is answered and sent makes up for them,
/// so what is left is a fiftieth of a worker at most.
pub(super) const FRAMES: Bound = Bound {
    most: 20_000,
    forgotten: 2_000,
};
/// DATA frames below [`SMALL`] bytes. They are in order, but each is work for us and for a server: a
/// tenth of a worker may go there for ever. What is sent to the client makes up for them.
pub(super) const SMALL_FRAMES: Bound = Bound {
    most: 150_000,
    forgotten: 50_000,
};
/// Bytes by which heads exceed [`LARGE_HEAD`]. A few bytes on the wire can stand for 64 KiB (RFC 7541
/// 7.3), which are written out for a server each time.
pub(super) const LARGE_HEADS: Bound = Bound {
    most: 16 * 1024 * 1024,
    forgotten: 2 * 1024 * 1024,
};
pub(super) const LARGE_HEAD: usize = 16 * 1024;
/// Bytes beyond a block each that the heads of open streams may have; streams with more are refused, to
/// be sent again when others have ended. Twenty of 64 KiB, each of which is written out for a server.
pub(super) const OPEN_HEADS: u64 = 1024 * 1024;
/// Payload below which a DATA frame counts in [`SMALL_FRAMES`].
pub(super) const SMALL: usize = 64;

/// Streams that may wait for a window while nothing moves on their connection. Those beyond end after
/// [`shut_for`], the oldest first, as after `timeouts.client`; when it comes to [`REAPED`], the
/// connection does.
pub(super) const SHUT: usize = 32;
pub(super) const REAPED: usize = 64;

/// How long a stream whose answer is sent may go on with its request. It gets no window meanwhile.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// How long a finished connection may take to say goodbye.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);

/// How long streams beyond [`SHUT`] may wait for a window, where each may for `client`. A client that was
/// stopped for some seconds, by a debugger or a link that stalls, finds its calls as they were; what they
/// hold meanwhile is bounded by `http2_memory` in any case.
pub(super) fn shut_for(client: Duration) -> Duration {
    (client / 3).min(Duration::from_secs(15))
}

/// Fields that a head may bring, crumbs of Cookie counted one by one: twice what HTTP/1 takes, as with
/// HAProxy, since browsers send each cookie as a crumb.
pub(super) fn fields(limits: &Limits) -> usize {
    2 * limits.fields
}

/// What `h2` is told.
pub(super) fn builder(limits: &Limits) -> Builder {
    // What HTTP/1 takes is taken here as well: a client does not choose its protocol by the size of
    // its cookies. HAProxy, nginx and Envoy have one limit for both, too. `h2` answers more with 431.
    let list = limits.head + FIELD * fields(limits);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_frame_size(FRAME)
        .header_table_size(TABLE)
        .data_frame_budget(DATA_OVERHEAD)
        .enable_connect_protocol()
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .reset_stream_duration(REMEMBERED_FOR)
        .max_local_error_reset_streams(Some(LOCAL_ERRORS))
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX));
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClientTimeouts;

    #[test]
    fn many_streams_wait_for_a_window_for_less_long_than_few() {
        let default = ClientTimeouts::default().client;
        let waits = [default, Duration::from_secs(6), Duration::from_secs(3600)].map(shut_for);
        assert_eq!(waits.map(|wait| wait.as_secs()), [15, 2, 15]);
    }
}
