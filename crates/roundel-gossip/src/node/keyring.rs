//! Queries about the keys of all members.

use std::collections::VecDeque;
use std::time::Instant;

use super::states::States;
use super::{Node, Output};
use crate::event::Event;
use crate::query::{MAX_QUERY, QueryId};
use crate::wire::{Key, KeyError, KeyResponse, Keyring, SerfMessage};

/// Most changes that wait for one that is being saved.
const SAVING: usize = 64;

/// What an agent without keys says.
const NOT_ENCRYPTED: &str = "No keyring to modify (encryption not enabled)";

/// Changes of the keys, one after the other: each holds once it is saved, and only then.
#[derive(Debug, Default)]
pub(super) struct Saving {
    /// The one that is being saved, and the ring that it makes.
    under_way: Option<(Change, Keyring)>,
    waiting: VecDeque<Change>,
}

/// A change that somebody asks for.
#[derive(Debug)]
struct Change {
    id: QueryId,
    what: String,
    key: Vec<u8>,
    by: String,
}

impl Node {
    /// Acts on our keys as somebody asks all members to, and answers.
    pub(super) fn key_query(
        &mut self,
        now: Instant,
        id: QueryId,
        what: &str,
        payload: &[u8],
        by: &str,
    ) {
        let Ok(SerfMessage::KeyRequest(request)) = SerfMessage::decode(payload) else {
            return self.key_failed(now, id, "Failed to decode key request");
        };
        if self.seal.envelope.keyring.is_empty() {
            return self.key_failed(now, id, NOT_ENCRYPTED);
        }
        if what == "list-keys" {
            return self.key_list(now, id);
        }
        if self.saving.waiting.len() >= SAVING {
            return self.key_failed(now, id, "too many changes of the keys at once");
        }
        self.saving.waiting.push_back(Change {
            id,
            what: what.to_owned(),
            key: request.key,
            by: by.to_owned(),
        });
        self.next_change(now);
    }

    /// Makes the changes that wait, until one has to be saved.
    fn next_change(&mut self, now: Instant) {
        while self.saving.under_way.is_none() {
            let Some(change) = self.saving.waiting.pop_front() else {
                return;
            };
            let mut ring = self.seal.envelope.keyring.clone();
            if let Err(error) = change_keys(&mut ring, &change) {
                self.key_failed(now, change.id, &error.to_string());
            } else if ring == self.seal.envelope.keyring {
                self.key_answer(now, change.id, &done());
            } else if self.config.keys_are_saved {
                let keys = ring.keys().iter().map(|key| key.as_bytes().to_vec());
                self.outputs.push_back(Output::SaveKeys {
                    query: change.id,
                    keys: keys.collect(),
                });
                self.saving.under_way = Some((change, ring));
            } else {
                self.keys_changed(now, change, ring);
            }
        }
    }

    fn keys_changed(&mut self, now: Instant, change: Change, ring: Keyring) {
        self.seal.envelope.keyring = ring;
        self.states = States::default();
        self.event(Event::KeysChanged {
            act: change.what,
            by: change.by,
            installed: self.seal.envelope.keyring.keys().len(),
        });
        self.key_answer(now, change.id, &done());
    }

    /// The owner saved the keys, or could not; then they are as they were.
    pub(super) fn saved(&mut self, now: Instant, id: QueryId, error: Option<&str>) {
        let under_way = self.saving.under_way.take_if(|(change, _)| change.id == id);
        let Some((change, ring)) = under_way else {
            return;
        };
        match error {
            None => self.keys_changed(now, change, ring),
            Some(why) => self.key_failed(now, id, &format!("cannot save the keys: {why}")),
        }
        self.next_change(now);
    }

    fn key_failed(&mut self, now: Instant, id: QueryId, why: &str) {
        let response = KeyResponse {
            message: why.chars().take(256).collect(),
            ..KeyResponse::default()
        };
        self.key_answer(now, id, &response);
    }

    /// Lists our keys; as many as fit an answer.
    fn key_list(&mut self, now: Instant, id: QueryId) {
        let keys = self.seal.envelope.keyring.keys().iter();
        let keys: Vec<String> = keys.map(|key| base64(key.as_bytes())).collect();
        let mut response = KeyResponse {
            result: true,
            message: String::new(),
            primary_key: keys.first().cloned().unwrap_or_default(),
            keys: Some(keys.clone()),
        };
        let total = keys.len();
        let mut shown = total;
        while shown > 0 {
            let payload = SerfMessage::KeyResponse(response.clone()).encode();
            if self.answer_length(id, payload) <= MAX_QUERY.min(self.longest_message() - 1) {
                break;
            }
            shown -= 1;
            response.keys = Some(keys[..shown].to_vec());
            response.message =
                format!("truncated key list response, showing first {shown} of {total} keys");
        }
        self.key_answer(now, id, &response);
    }

    fn key_answer(&mut self, now: Instant, id: QueryId, response: &KeyResponse) {
        let payload = SerfMessage::KeyResponse(response.clone()).encode();
        // Whoever asked may be tired of waiting.
        let _ = self.answer(now, id, payload);
    }
}

fn change_keys(ring: &mut Keyring, change: &Change) -> Result<(), KeyError> {
    let key = Key::new(&change.key)?;
    match change.what.as_str() {
        "install-key" => ring.install(key),
        "use-key" => ring.use_key(&key),
        _ => ring.remove(&key),
    }
}

fn done() -> KeyResponse {
    KeyResponse {
        result: true,
        ..KeyResponse::default()
    }
}

/// Standard base64 with padding (RFC 4648 section 4), as agents write keys.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0; 3];
        word[..chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        for place in 0..4 {
            if place <= chunk.len() {
                let digit = (word >> (18 - 6 * place)) & 63;
                out.push(char::from(DIGITS[digit as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_the_rfc() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in pairs {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
