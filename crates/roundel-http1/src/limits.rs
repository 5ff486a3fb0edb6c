//! How much a peer may send, and how strictly doubtful forms are judged.

/// Bounds what a head, a chunk line and a trailer section may weigh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, line and fields with the empty line at the end. Default 64 KiB; more is 431.
    pub head: usize,
    /// Bytes of a request target. Default 16 KiB; more is 414.
    pub target: usize,
    /// Number of fields in a head or trailer section. Default 100, at most [`Limits::MOST_FIELDS`]; more is 431.
    pub fields: usize,
    /// Bytes of chunk extensions in one body. Default 4 KiB.
    pub extensions: usize,
    /// Bytes of a trailer section. Default 8 KiB; a body's read buffer must be able to hold this much.
    pub trailers: usize,
    /// Refuses every target byte that RFC 3986 does not allow. Default false: `[ ] \ ^ { | }`, the
    /// backtick and a lone `%` pass, because browsers send them.
    pub strict_target: bool,
    /// Refuses (400) an absolute-form target whose authority differs from Host. Default true; else
    /// the target wins and Host is written from it (RFC 9112, 3.2.2).
    pub refuse_host_mismatch: bool,
}

impl Limits {
    /// The largest number of fields that a head can hold, whatever the setting.
    pub const MOST_FIELDS: usize = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 64 * 1024,
            target: 16 * 1024,
            fields: 100,
            extensions: 4 * 1024,
            trailers: 8 * 1024,
            strict_target: false,
            refuse_host_mismatch: true,
        }
    }
}
