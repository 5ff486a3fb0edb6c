//! Settings of the gossip node.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Merge;
use crate::Gossip;
use crate::file::{File, GossipTable};
use crate::state;
use crate::value::{self, Fault};

/// memberlist's port, which Serf uses too.
const PORT: &str = ":7946";

impl Merge<'_> {
    /// The gossip node: on without a file, by its table, or by any of its flags.
    pub(crate) fn gossip(&mut self, file: &File) -> Option<Gossip> {
        let flags = [
            "gossip_listen",
            "advertise",
            "join",
            "node_name",
            "tags",
            "gossip_key",
            "gossip_key_file",
            "gossip_keyring_file",
            "gossip_snapshot",
            "event_handlers",
        ];
        let flagged = flags.iter().any(|id| self.given.origin(id).is_some());
        if self.source.is_some() && file.gossip.is_none() && !flagged {
            return None;
        }
        let none = GossipTable::default();
        let table = file.gossip.as_ref().map_or(&none, |at| &at.value);
        let args = &self.flags.gossip;
        let join = Some(args.join.clone()).filter(|list| !list.is_empty());
        let mut tags = self.tags(table);
        tags.entry("role".to_owned())
            .or_insert_with(|| "balancer".to_owned());
        let keys = self.keys(table);
        let handlers = Some(args.event_handlers.clone()).filter(|list| !list.is_empty());
        let listen = self.choose(
            "gossip.listen",
            ("gossip_listen", args.gossip_listen.as_ref()),
            table.listen.as_ref(),
            value::listen(PORT).expect("a fixed address"),
        );
        let snapshot = self.pick(
            "gossip.snapshot",
            ("gossip_snapshot", args.gossip_snapshot.as_ref()),
            table.snapshot.as_ref(),
        );
        Some(Gossip {
            listen,
            advertise: self.pick(
                "gossip.advertise",
                ("advertise", args.advertise.as_ref()),
                table.advertise.as_ref(),
            ),
            join: self.choose(
                "gossip.join",
                ("join", join.as_ref()),
                table.join.as_ref(),
                Vec::new(),
            ),
            node_name: self
                .pick(
                    "gossip.node_name",
                    ("node_name", args.node_name.as_ref()),
                    table.node_name.as_ref(),
                )
                .unwrap_or_else(crate::host::node_name)
                .to_string(),
            tags,
            keys,
            keyring: self.pick(
                "gossip.keyring_file",
                ("gossip_keyring_file", args.gossip_keyring_file.as_ref()),
                table.keyring_file.as_ref(),
            ),
            snapshot: snapshot.or_else(|| state::snapshot(self.flags.state_dir.as_deref(), listen)),
            handlers: self.choose(
                "gossip.event_handlers",
                ("event_handlers", handlers.as_ref()),
                table.event_handlers.as_ref(),
                Vec::new(),
            ),
        })
    }

    /// Tags of the file with those of flags over them.
    fn tags(&mut self, table: &GossipTable) -> BTreeMap<String, String> {
        let mut tags = BTreeMap::new();
        for (key, at) in &table.tags {
            self.note_file(&format!("gossip.tags.{key}"), &at.span);
            tags.insert(key.clone(), at.value.clone());
        }
        for (key, value) in self.flags.gossip.tags.iter().flatten() {
            self.note_given(&format!("gossip.tags.{key}"), "tags");
            tags.insert(key.clone(), value.clone());
        }
        tags
    }

    fn keys(&mut self, table: &GossipTable) -> Vec<Vec<u8>> {
        let args = &self.flags.gossip;
        let (text, span) = if let Some(key) = &args.gossip_key {
            self.note_given("gossip.key_file", "gossip_key");
            (Some(key.clone()), None)
        } else if let Some(path) = &args.gossip_key_file {
            self.note_given("gossip.key_file", "gossip_key_file");
            (self.secret(path, None), None)
        } else if let Some(at) = &table.key_file {
            self.note_file("gossip.key_file", &at.span);
            (self.secret(&at.value, Some(at)), Some(at.span.clone()))
        } else {
            return Vec::new();
        };
        let Some(text) = text else {
            return Vec::new();
        };
        match read_key(&text) {
            Ok(key) => vec![key],
            Err(fault) => self.at(span, fault).into_iter().collect(),
        }
    }
}

/// Reads a key in Serf's form: base64 of 16, 24 or 32 bytes.
pub fn read_key(text: &str) -> Result<Vec<u8>, Fault> {
    STANDARD
        .decode(text.trim())
        .ok()
        .filter(|key| matches!(key.len(), 16 | 24 | 32))
        .ok_or_else(|| {
            Fault::new(
                "the gossip key is not base64 of 16, 24 or 32 bytes",
                "make one by `roundel keygen`",
            )
        })
}
