//! Every bound of the codec in one place, with the source of each.

/// Bytes of one UDP datagram that are looked at; the largest that UDP can carry.
///
/// Source: memberlist `net_transport.go`, `udpPacketBufSize`.
pub const DATAGRAM: usize = 65_536;

/// Bytes that one emitted packet has by default, all layers included.
///
/// Source: our own. memberlist aims at 1,400; 1,200 fits the smallest path that IPv6 and common
/// tunnels leave (RFC 8200 section 5: 1,280 less headers).
pub const PACKET_BUDGET: usize = 1_200;

/// Bytes that a compressed packet may unpack to.
///
/// Source: our own; nobody packs more than a datagram can hold.
pub const PACKET_UNPACKED: usize = 65_536;

/// Messages of one compound, the most that its count byte can say.
///
/// Source: memberlist `util.go`, `makeCompoundMessage`.
pub const COMPOUND_PARTS: usize = 255;

/// Bytes of one encrypted frame on a stream, and of everything else one peer sends on it.
///
/// Source: memberlist `net.go`, `maxPushStateBytes`.
pub const STREAM_WIRE: usize = 20 << 20;

/// Bytes that a compressed stream message may unpack to.
///
/// Source: memberlist at head, twice `maxPushStateBytes`.
pub const STREAM_UNPACKED: usize = 40 << 20;

/// Node records of one push/pull.
///
/// Source: our own, thirteen times the largest cluster this crate is tuned for; memberlist at head
/// takes 1,048,576.
pub const PUSH_PULL_NODES: usize = 131_072;

/// Rejected records of one push/pull that are described; further ones are only counted.
pub const REJECTED: usize = 64;

/// Bytes of the application state in a push/pull.
///
/// Source: memberlist at head, `maxPushStateBytes`.
pub const USER_STATE: usize = 20 << 20;

/// Slots of the event buffer in a push/pull.
///
/// Source: our own; Serf's default is 512 (`serf/config.go`, `EventBuffer`).
pub const EVENT_SLOTS: usize = 8_192;

/// Bytes of a node name.
///
/// Source: our own. Serf's optional name check allows 128, host names go up to 253.
pub const NAME: usize = 255;

/// Bytes of a node's metadata.
///
/// Source: memberlist `config.go`, `MetaMaxSize`.
pub const META: usize = 512;

/// Bytes of a label.
///
/// Source: memberlist `label.go`, `LabelMaxSize`.
pub const LABEL: usize = 255;

/// Keys in a key ring.
///
/// Source: our own; each one is a trial decryption that any stranger can cause.
pub const KEYS: usize = 16;

/// Bytes of an error text that a peer sent, the rest is cut.
pub const ERROR_TEXT: usize = 512;

/// Nesting of lists and maps that a reader follows.
///
/// Source: our own; the deepest message in use has four levels.
pub const DEPTH: usize = 16;

/// Values in one small map of a stream (a header or one node record).
///
/// Source: our own. The largest has seven fields. It bounds the work that is repeated when a
/// stream trickles in byte by byte.
pub const STREAM_MAP_VALUES: usize = 256;

/// Bytes of such a map.
///
/// Source: our own, sixteen times the largest that agents send.
pub const STREAM_MAP: usize = 16 << 10;

/// Values in one Serf message.
///
/// Source: our own; it keeps a message of tiny values from taking many times its size once it is
/// read. A datagram cannot hold more.
pub const SERF_VALUES: usize = 65_536;

/// Values in the Serf state of a push/pull.
///
/// Source: our own: three for each of [`PUSH_PULL_NODES`] names, the event buffer, and as much
/// again.
pub const SERF_STATE_VALUES: usize = 1 << 20;
