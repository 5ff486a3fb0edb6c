//! What is said on a stream: frames, each with its length before it.
//!
//! | frame | meaning |
//! |---|---|
//! | `Hello` | the first of each side: the format, the balancer's name, and whom it looks for if it does |
//! | `Entries` | these have changed; the first ones are the whole store |
//! | `Whole` | so far that was the whole store |
//! | `Taken` | so many frames of entries have taken effect here |
//! | `Ping` | still here |
//!
//! Numbers are big-endian. Whoever cannot read a frame ends the stream.

use zeroize::Zeroizing;

use crate::limits::{BATCH, FRAME, NAME, PEER, VALUE};
use crate::store::Entry;

/// The format. One that is not known is refused.
const FORMAT: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello { name: String, to: Option<String> },
    Entries(Vec<(String, Entry)>),
    Whole,
    Taken(u64),
    Ping,
}

/// Why a frame cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("it speaks another format")]
    Format,
    #[error("a frame is longer than any of ours")]
    Long,
    #[error("a frame cannot be understood")]
    Broken,
}

/// The bytes of the length before each frame.
pub(crate) const HEAD: usize = 4;

/// How long the frame is that follows.
pub(crate) fn length(head: [u8; HEAD]) -> Result<usize, WireError> {
    let length = u32::from_be_bytes(head) as usize;
    match length {
        0 => Err(WireError::Broken),
        length if length > FRAME => Err(WireError::Long),
        length => Ok(length),
    }
}

impl Frame {
    /// With its length before it.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(vec![0; HEAD]);
        match self {
            Self::Hello { name, to } => {
                bytes.extend([0, FORMAT]);
                put(&mut bytes, name.as_bytes());
                put(&mut bytes, to.as_deref().unwrap_or_default().as_bytes());
            }
            Self::Entries(entries) => {
                bytes.reserve_exact(FRAME.min(BATCH + 1024));
                bytes.push(1);
                for (name, entry) in entries {
                    put_entry(&mut bytes, name, entry);
                }
            }
            Self::Whole => bytes.push(2),
            Self::Taken(count) => {
                bytes.push(3);
                bytes.extend(count.to_be_bytes());
            }
            Self::Ping => bytes.push(4),
        }
        let length = (bytes.len() - HEAD) as u32;
        bytes[..HEAD].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// Errors: anything that [`Frame::encode`] does not write.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (kind, mut rest) = bytes.split_first().ok_or(WireError::Broken)?;
        let frame = match kind {
            0 => {
                let format = take(&mut rest, 1)?;
                if format != [FORMAT] {
                    return Err(WireError::Format);
                }
                let name = text(&mut rest, PEER)?;
                let to = text(&mut rest, PEER)?;
                let to = (!to.is_empty()).then_some(to);
                Self::Hello { name, to }
            }
            1 => {
                let mut entries = Vec::new();
                while !rest.is_empty() {
                    entries.push(entry(&mut rest)?);
                }
                Self::Entries(entries)
            }
            2 => Self::Whole,
            3 => Self::Taken(number(&mut rest)?),
            4 => Self::Ping,
            _ => return Err(WireError::Broken),
        };
        match rest {
            [] => Ok(frame),
            _ => Err(WireError::Broken),
        }
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u32).to_be_bytes());
    bytes.extend(part);
}

fn put_entry(bytes: &mut Vec<u8>, name: &str, entry: &Entry) {
    put(bytes, name.as_bytes());
    bytes.extend(entry.version.to_be_bytes());
    put(bytes, entry.author.as_bytes());
    match &entry.value {
        None => bytes.push(0),
        Some(value) => {
            bytes.push(1);
            put(bytes, value);
        }
    }
}

fn entry(rest: &mut &[u8]) -> Result<(String, Entry), WireError> {
    let name = text(rest, NAME)?;
    let version = number(rest)?;
    let author = text(rest, PEER)?;
    let value = match take(rest, 1)? {
        [0] => None,
        [1] => Some(Zeroizing::new(part(rest, VALUE)?.to_vec())),
        _ => return Err(WireError::Broken),
    };
    Ok((
        name,
        Entry {
            version,
            author,
            value,
        },
    ))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], WireError> {
    rest.split_off(..count).ok_or(WireError::Broken)
}

fn number(rest: &mut &[u8]) -> Result<u64, WireError> {
    let bytes = take(rest, 8)?;
    Ok(u64::from_be_bytes(
        bytes.try_into().expect("eight were taken"),
    ))
}

fn part<'a>(rest: &mut &'a [u8], most: usize) -> Result<&'a [u8], WireError> {
    let length = take(rest, 4)?;
    let length = u32::from_be_bytes(length.try_into().expect("four were taken")) as usize;
    match length > most {
        true => Err(WireError::Long),
        false => take(rest, length),
    }
}

fn text(rest: &mut &[u8], most: usize) -> Result<String, WireError> {
    let bytes = part(rest, most)?;
    let text = std::str::from_utf8(bytes).map_err(|_| WireError::Broken)?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame() -> impl Strategy<Value = Frame> {
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
        let entry = ("[a-z/]{1,9}", any::<u64>(), "[a-z]{1,9}", value);
        let entry = entry.prop_map(|(name, version, author, value)| {
            (
                name,
                Entry {
                    version,
                    author,
                    value: value.map(Zeroizing::new),
                },
            )
        });
        prop_oneof![
            ("[a-z]{1,9}", proptest::option::of("[a-z]{1,9}"))
                .prop_map(|(name, to)| Frame::Hello { name, to }),
            proptest::collection::vec(entry, 0..5).prop_map(Frame::Entries),
            Just(Frame::Whole),
            any::<u64>().prop_map(Frame::Taken),
            Just(Frame::Ping),
        ]
    }

    proptest! {
        #[test]
        fn a_frame_reads_as_it_was_written(frame in frame()) {
            let bytes = frame.encode();
            let (head, body) = bytes.split_first_chunk().unwrap();
            prop_assert_eq!(length(*head), Ok(body.len()));
            prop_assert_eq!(Frame::decode(body), Ok(frame));
        }

        #[test]
        fn anything_else_is_refused_and_never_a_panic(frame in frame(), cut in 0..200usize, at in 0..200usize, byte in any::<u8>()) {
            let mut bytes = frame.encode()[HEAD..].to_vec();
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            if let Ok(read) = Frame::decode(&bytes) {
                prop_assert_eq!(&read.encode()[HEAD..], &bytes[..]);
            }
        }
    }

    #[test]
    fn lengths_are_believed_up_to_a_bound() {
        let check = |bytes: &[u8], error| assert_eq!(Frame::decode(bytes), Err(error));
        assert_eq!(
            length((FRAME as u32 + 1).to_be_bytes()),
            Err(WireError::Long)
        );
        assert_eq!(length([0; 4]), Err(WireError::Broken));
        check(&[], WireError::Broken);
        check(&[0, 2, 0, 0, 0, 0], WireError::Format);
        check(&[0, 1, 0xff, 0xff, 0xff, 0xff, 1], WireError::Long);
        check(&[4, 0], WireError::Broken);
    }
}
