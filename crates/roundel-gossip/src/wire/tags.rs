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
