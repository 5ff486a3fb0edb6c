//! Compression: LZW, least significant bit first, literals of 8 bits.
//!
//! Source: memberlist `util.go`, `compressPayload`; the code itself is the `weezl` crate.

use weezl::{BitOrder, LzwStatus, decode, encode};

use super::message::COMPRESS;
use super::msgpack::{ReadError, Reader, Writer, read_map};

/// Width of a literal in bits.
const LITERAL_BITS: u8 = 8;

/// The only algorithm there is.
const ALGORITHM: u64 = 0;

/// Bytes by which the output grows.
const STEP: usize = 16 << 10;

/// Why a compressed message could not be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The map around the packed bytes is malformed or cut off.
    #[error("{0}")]
    Malformed(#[from] ReadError),
    /// An algorithm that nobody uses.
    #[error("compression algorithm {0} is unknown")]
    Algorithm(u64),
    /// The packed bytes make no sense or end too early.
    #[error("the packed bytes are damaged")]
    Damaged,
    /// The unpacked bytes would exceed the limit.
    #[error("the unpacked bytes are over the limit")]
    TooLarge,
}

/// Builds a compress message around `plain`.
pub(super) fn pack_message(plain: &[u8]) -> Vec<u8> {
    let packed = pack(plain);
    let mut out = Vec::with_capacity(packed.len() + 16);
    out.push(COMPRESS);
    let mut w = Writer::new(&mut out);
    w.map(2);
    w.key("Algo");
    w.uint(ALGORITHM);
    w.key("Buf");
    w.raw(&packed);
    out
}

/// Unpacks the body of a compress message, which is a map.
///
/// Errors: `Malformed(Truncated)` if more bytes may complete the map.
pub(super) fn unpack_message(
    body: &[u8],
    values: usize,
    limit: usize,
) -> Result<Vec<u8>, UnpackError> {
    let (mut algorithm, mut packed): (u64, &[u8]) = (ALGORITHM, &[]);
    read_map(&mut Reader::with_values(body, values), |key, r| {
        match key {
            b"Algo" => algorithm = r.uint()?,
            b"Buf" => packed = r.raw()?.unwrap_or_default(),
            _ => r.skip()?,
        }
        Ok(())
    })?;
    if algorithm != ALGORITHM {
        return Err(UnpackError::Algorithm(algorithm));
    }
    unpack(packed, limit)
}

fn pack(plain: &[u8]) -> Vec<u8> {
    encode::Encoder::new(BitOrder::Lsb, LITERAL_BITS)
        .encode(plain)
        .expect("every byte is a literal of 8 bits")
}

/// Unpacks to at most `limit` bytes.
fn unpack(packed: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
    let mut decoder = decode::Decoder::new(BitOrder::Lsb, LITERAL_BITS);
    let (mut out, mut written) = (Vec::new(), 0);
    let mut rest = packed;
    loop {
        if written == out.len() {
            // One byte over the limit tells output that ends there from output that goes on.
            let grown = (out.len() + STEP.max(out.len())).min(limit + 1);
            out.reserve_exact(grown - written);
            out.resize(grown, 0);
        }
        let step = decoder.decode_bytes(rest, &mut out[written..]);
        rest = &rest[step.consumed_in..];
        written += step.consumed_out;
        if written > limit {
            return Err(UnpackError::TooLarge);
        }
        match step.status {
            Ok(LzwStatus::Done) => break,
            Ok(LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            _ => return Err(UnpackError::Damaged),
        }
    }
    out.truncate(written);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(message: &[u8], limit: usize) -> Result<Vec<u8>, UnpackError> {
        unpack_message(&message[1..], 16, limit)
    }

    #[test]
    fn the_limit_is_exact() {
        for len in [0, 1, STEP - 1, STEP, STEP + 1, 3 * STEP] {
            let plain: Vec<u8> = (0..len).map(|at| (at / 7) as u8).collect();
            let message = pack_message(&plain);
            assert_eq!(unpacked(&message, len).unwrap(), plain);
            if len > 0 {
                assert_eq!(unpacked(&message, len - 1), Err(UnpackError::TooLarge));
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped() {
        let message = pack_message(&vec![0; 8 << 20]);
        assert!(message.len() < 65_536, "{}", message.len());
        assert_eq!(unpacked(&message, 65_536), Err(UnpackError::TooLarge));
    }

    #[test]
    fn damage_is_noticed() {
        let message = pack_message(b"tobeornottobeortobeornot");
        let body = &message[1..];
        for cut in 0..body.len() {
            let result = unpack_message(&body[..cut], 16, 1_000);
            let expected = UnpackError::Malformed(ReadError::Truncated);
            assert_eq!(result, Err(expected), "{cut}");
        }
        assert_eq!(unpack(&[], 1_000), Err(UnpackError::Damaged));
        assert_eq!(unpack(&[0; 9], 1_000), Err(UnpackError::Damaged));
        assert_eq!(unpack(&[0xff; 9], 1_000), Err(UnpackError::Damaged));
    }
}
