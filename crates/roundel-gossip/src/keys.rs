//! Acts on the keys of all members, by Serf's internal queries.

use std::fmt;

use crate::query::QueryParams;
use crate::wire::{KeyRequest, SerfMessage};

/// What to do with a key on all members.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyAct {
    /// Adds a key that decrypts.
    Install(Vec<u8>),
    /// Makes an installed key the one that encrypts.
    Use(Vec<u8>),
    /// Removes a key that does not encrypt.
    Remove(Vec<u8>),
    /// Lists the installed keys.
    List,
}

impl KeyAct {
    /// The verb, as in `serf keys`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Install(_) => "install",
            Self::Use(_) => "use",
            Self::Remove(_) => "remove",
            Self::List => "list",
        }
    }

    /// The query that asks all members for it.
    pub fn query(&self) -> QueryParams {
        let (name, key) = match self {
            Self::Install(key) => ("_serf_install-key", key.clone()),
            Self::Use(key) => ("_serf_use-key", key.clone()),
            Self::Remove(key) => ("_serf_remove-key", key.clone()),
            Self::List => ("_serf_list-keys", Vec::new()),
        };
        QueryParams {
            name: name.to_owned(),
            payload: SerfMessage::KeyRequest(KeyRequest { key }).encode(),
            ..QueryParams::default()
        }
    }
}

/// Keys are secret.
impl fmt::Debug for KeyAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyAct({})", self.as_str())
    }
}

/// What one member says to a [`KeyAct`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAnswer {
    /// Whether it worked.
    pub done: bool,
    /// Why not, or a note. From the network.
    pub message: String,
    /// The installed keys in base64, when listed.
    pub keys: Vec<String>,
    /// The primary key in base64; empty when not listed and from agents before 0.9.
    pub primary: String,
}

impl KeyAnswer {
    /// Reads the payload of an answer; nothing if it is none.
    pub fn read(payload: &[u8]) -> Option<Self> {
        match SerfMessage::decode(payload) {
            Ok(SerfMessage::KeyResponse(response)) => Some(Self {
                done: response.result,
                message: response.message,
                keys: response.keys.unwrap_or_default(),
                primary: response.primary_key,
            }),
            _ => None,
        }
    }
}
