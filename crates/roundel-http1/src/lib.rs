//! HTTP/1 as a pure codec: bytes in, decisions and bytes out.
//!
//! Owns: heads (request, response, trailers), framing, the chunked coding, limits, the refusal of
//! everything that RFC 9110 and 9112 call malformed, the writing of heads from their parsed form, and
//! what may stand before the first head: the PROXY protocol ([`proxy_protocol`]); the normal form of a [`path`]; what of a
//! head and of trailers is [`grpc`]'s.
//!
//! Does not own: sockets, async, clocks, retries, routing, backends, header policy beyond what
//! the RFCs demand. Nothing here allocates per message: buffers, field lists and edits are reused.
//!
//! Start at [`RequestHead::parse`] and [`ResponseHead::parse`], then [`write_request`] and
//! [`write_response`]; bodies are [`Framing`], [`ChunkDecoder`], [`Remaining`] and [`chunk`].
//!
//! Invariants:
//! * A verdict depends on the bytes only, never on how they were cut into reads.
//! * A field line is never copied through. Framing and connection fields are always dropped by
//!   the writers and written anew from what was decided.
//! * Whatever a writer emits, the strict parser of this crate reads back as the same message.
//! * No input makes it panic, and work is linear in the bytes fed.

mod block;
pub mod chunk;
mod connection;
pub mod cookie;
mod edits;
mod fields;
mod framing;
pub mod grpc;
mod heads;
mod host;
mod known;
mod limits;
mod lines;
pub mod login;
mod method;
pub mod path;
pub mod proxy_protocol;
mod reason;
mod request;
mod response;
mod scan;
mod syntax;
mod target;
mod tokens;
mod trailers;
mod write;

pub use block::Block;
pub use chunk::{ChunkDecoder, Decoded};
pub use connection::Connection;
pub use edits::Edits;
pub use fields::{Field, Fields, Line, Span};
pub use framing::{Framing, Remaining};
pub use host::is_valid_host;
pub use known::Known;
pub use limits::Limits;
pub use lines::Lines;
pub use method::{Method, Version};
pub use reason::{Fault, Reason, Refusal};
pub use request::{Preface, RequestHead};
pub use response::{ResponseHead, reason_phrase};
pub use scan::Progress;
pub use target::Form;
pub use trailers::Trailers;
pub use write::{
    Persist, RequestPlan, ResponsePlan, put_field, put_status_line, write_request, write_response,
};
