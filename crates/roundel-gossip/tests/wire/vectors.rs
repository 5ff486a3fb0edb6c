//! Loads the recorded files.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roundel_gossip::wire::{Envelope, Key, Keyring};
use serde_json::Value;

/// The files of traffic between agents.
pub(crate) const RECORDED: [&str; 7] = [
    "debian-0.9.4-plain.jsonl",
    "debian-0.9.4-compress.jsonl",
    "debian-0.9.4-encrypt.jsonl",
    "debian-0.9.4-keyring.jsonl",
    "tag-0.8.2-plain.jsonl",
    "tag-0.8.2-compress.jsonl",
    "tag-0.8.2-encrypt.jsonl",
];

/// Reads one file, a vector a line.
pub(crate) fn load(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// The envelope of the agents in `file`, with the key of index `primary` in front.
pub(crate) fn envelope(file: &str, primary: usize) -> Envelope {
    let text = std::fs::read_to_string(folder().join("keys.json")).unwrap();
    let keys: Value = serde_json::from_str(&text).unwrap();
    let keys = keys[file].as_array().cloned().unwrap_or_default();
    let mut keys: Vec<Key> = keys
        .iter()
        .map(|key| Key::new(&STANDARD.decode(key.as_str().unwrap()).unwrap()).unwrap())
        .collect();
    if !keys.is_empty() {
        keys.swap(0, primary);
    }
    Envelope {
        keyring: Keyring::new(keys).unwrap(),
        ..Envelope::default()
    }
}

/// Takes the bytes of a hexadecimal field; absent is empty.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap_or_default())
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}
