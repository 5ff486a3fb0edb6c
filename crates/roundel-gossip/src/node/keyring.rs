//! Queries about the keys of all members.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Node, Output};
use crate::event::Event;
use crate::query::{MAX_QUERY, QueryId};
use crate::wire::{Key, KeyError, KeyResponse, SerfMessage};

/// Most changes that wait for being saved.
const SAVING: usize = 64;

/// What an agent without keys says.
const NOT_ENCRYPTED: &str = "No keyring to modify (encryption not enabled)";

/// Changes of the keys that wait for being saved before they are confirmed.
#[derive(Debug, Default)]
pub(super) struct Saving {
    waiting: BTreeSet<QueryId>,
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
        let before = self.seal.envelope.keyring.clone();
        if let Err(error) = self.change_keys(what, &request.key) {
            return self.key_failed(now, id, &error.to_string());
        }
        if self.seal.envelope.keyring == before {
            return self.key_answer(now, id, &done());
        }
        self.event(Event::KeysChanged {
            act: what.to_owned(),
            by: by.to_owned(),
            installed: self.seal.envelope.keyring.keys().len(),
        });
        if !self.config.keys_are_saved {
            return self.key_answer(now, id, &done());
        }
        if self.saving.waiting.len() >= SAVING {
            self.saving.waiting.pop_first();
        }
        self.saving.waiting.insert(id);
        let keys = self.seal.envelope.keyring.keys();
        let keys = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        self.outputs.push_back(Output::SaveKeys { query: id, keys });
    }

    fn change_keys(&mut self, what: &str, key: &[u8]) -> Result<(), KeyError> {
        let key = Key::new(key)?;
        let ring = &mut self.seal.envelope.keyring;
        match what {
            "install-key" => ring.install(key),
            "use-key" => ring.use_key(&key),
            _ => ring.remove(&key),
        }
    }

    /// The owner saved the keys, or could not.
    pub(super) fn saved(&mut self, now: Instant, id: QueryId, error: Option<&str>) {
        if !self.saving.waiting.remove(&id) {
            return;
        }
        match error {
            None => self.key_answer(now, id, &done()),
            Some(why) => self.key_failed(now, id, why),
        }
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
