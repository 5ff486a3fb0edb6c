//! The metadata of a node as Serf uses it: a map from text to text.
//!
//! Source: hashicorp/serf `serf/serf.go`, `encodeTags` and `decodeTags`.

use std::collections::BTreeMap;

use super::limits;
use super::msgpack::{ReadError, Reader, Writer};

/// First byte of metadata that holds a map.
const MAGIC: u8 = 0xff;

/// The tag that stands for the whole metadata in its oldest form.
const ROLE: &str = "role";

/// The encoded tags are longer than a node's metadata may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tags take {len} bytes, {limit} are allowed", limit = limits::META)]
pub struct TagsTooLong {
    /// Bytes that the tags would take.
    pub len: usize,
}

/// Encodes tags as metadata, in the order of their names.
///
/// Errors: more than [`limits::META`] bytes.
pub fn encode(tags: &BTreeMap<String, String>) -> Result<Vec<u8>, TagsTooLong> {
    let mut out = vec![MAGIC];
    write_map(&mut Writer::new(&mut out), tags);
    match out.len() {
        len if len > limits::META => Err(TagsTooLong { len }),
        _ => Ok(out),
    }
}

/// Decodes the tags in a node's metadata.
///
/// Shape: without the first byte `ff`, the whole metadata is the value of the tag `role`.
/// Errors: text that is not UTF-8, a malformed map, or more than [`limits::META`] bytes.
pub fn decode(meta: &[u8]) -> Result<BTreeMap<String, String>, ReadError> {
    if meta.len() > limits::META {
        return Err(ReadError::TooLong(meta.len()));
    }
    let [MAGIC, map @ ..] = meta else {
        let role = std::str::from_utf8(meta).map_err(|_| ReadError::NotText)?;
        return Ok(BTreeMap::from([(ROLE.to_owned(), role.to_owned())]));
    };
    read_map_of_text(&mut Reader::new(map))
}

pub(super) fn write_map(w: &mut Writer<'_>, tags: &BTreeMap<String, String>) {
    w.map(tags.len());
    for (name, value) in tags {
        w.raw(name.as_bytes());
        w.raw(value.as_bytes());
    }
}

pub(super) fn read_map_of_text(r: &mut Reader<'_>) -> Result<BTreeMap<String, String>, ReadError> {
    let mut tags = BTreeMap::new();
    for _ in 0..r.map()? {
        let name = r.text(limits::META)?.to_owned();
        tags.insert(name, r.text(limits::META)?.to_owned());
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn what_agents_send_is_understood() {
        let check = |meta: &[u8], expected: &[(&str, &str)]| {
            assert_eq!(decode(meta).unwrap(), tags(expected), "{meta:02x?}");
        };
        check(b"\xff\x81\xa4role\xa3web", &[("role", "web")]);
        check(b"\xff\x80", &[]);
        check(b"", &[("role", "")]);
        check(b"oldrole", &[("role", "oldrole")]);
        check(
            b"\xff\x82\xa1b\xa12\xa1a\xd9\x011",
            &[("a", "1"), ("b", "2")],
        );
    }

    #[test]
    fn no_tags_take_two_bytes() {
        assert_eq!(encode(&tags(&[])).unwrap(), [0xff, 0x80]);
    }

    #[test]
    fn the_limit_counts_all_bytes() {
        let fits = "x".repeat(limits::META - 7);
        let meta = encode(&tags(&[("t", &fits)])).unwrap();
        assert_eq!(meta.len(), limits::META);
        assert_eq!(decode(&meta).unwrap()["t"], fits);
        let over = fits + "x";
        let len = limits::META + 1;
        assert_eq!(encode(&tags(&[("t", &over)])), Err(TagsTooLong { len }));
        assert_eq!(decode(&vec![b'r'; 513]), Err(ReadError::TooLong(513)));
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(decode(&[0xff]), Err(ReadError::Truncated));
        assert_eq!(decode(&[0xfe]), Err(ReadError::NotText));
        assert_eq!(decode(b"\xff\x81\xa1a\xa1\xfe"), Err(ReadError::NotText));
        assert!(decode(b"\xff\x81\xa1a\x01").is_err());
        assert!(decode(b"\xff\x92\xa1a\xa1b").is_err());
    }
}
