//! The chunked coding (RFC 9112, 7.1).

mod decode;
mod encode;

pub use decode::{ChunkDecoder, Decoded};
pub use encode::{LAST, SizeLine, put_data, put_end, size_line};
