//! Settings of the gossip node.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Merge, all, known, small, told};
use crate::Gossip;
use crate::file::{File, GossipTable};
use crate::key::Table;
use crate::reader::{At, Place};
use crate::state;
use crate::value::Fault;

impl Merge<'_> {
    /// The gossip node: on without a file, by its table, or by any of its flags.
    pub(crate) fn gossip(&self, file: &mut File) -> Option<Gossip> {
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
        let none = || At::default(GossipTable::default());
        let table = &mut file.gossip.get_or_insert_with(none).value;
        self.overrule_gossip(table);
        let keys = self.keys(table);
        table.fill();
        let found = || At::default(crate::host::node_name());
        let name = table.node_name.get_or_insert_with(found);
        let node_name = name.value.to_string();
        let listen = known(&table.listen);
        if table.snapshot.is_none() {
            let found = state::snapshot(self.flags.state_dir.as_deref(), listen);
            table.snapshot = found.map(At::default);
        }
        let tags = known(&table.tags).into_iter();
        Some(Gossip {
            listen,
            advertise: told(&table.advertise),
            join: all(&table.join),
            node_name,
            tags: tags.map(|(key, at)| (key, at.value)).collect(),
            keys,
            keyring: told(&table.keyring_file),
            snapshot: told(&table.snapshot),
            handlers: all(&table.event_handlers),
            memory: small(known(&table.memory)),
            max_members: small(known(&table.max_members)),
            allow_addr: all(&table.allow_addr),
        })
    }

    fn overrule_gossip(&self, table: &mut GossipTable) {
        let flags = &self.flags.gossip;
        let listen = flags.gossip_listen.as_ref();
        self.overrule("gossip_listen", listen, &mut table.listen);
        let advertise = flags.advertise.as_ref();
        self.overrule("advertise", advertise, &mut table.advertise);
        self.overrule_list("join", &flags.join, &mut table.join);
        let node_name = flags.node_name.as_ref();
        self.overrule("node_name", node_name, &mut table.node_name);
        let key_file = flags.gossip_key_file.as_ref();
        self.overrule("gossip_key_file", key_file, &mut table.key_file);
        let keyring = flags.gossip_keyring_file.as_ref();
        self.overrule("gossip_keyring_file", keyring, &mut table.keyring_file);
        let snapshot = flags.gossip_snapshot.as_ref();
        self.overrule("gossip_snapshot", snapshot, &mut table.snapshot);
        let handlers = &flags.event_handlers;
        self.overrule_list("event_handlers", handlers, &mut table.event_handlers);
        self.tags(table);
    }

    /// Tags of the file with those of flags over them.
    fn tags(&self, table: &mut GossipTable) {
        let none = || At::default(BTreeMap::new());
        let tags = table.tags.get_or_insert_with(none);
        for (key, value) in self.flags.gossip.tags.iter().flatten() {
            let at = self.given("tags", value.clone());
            tags.place = at.place.clone();
            tags.value.insert(key.clone(), at);
        }
        let role = tags.value.entry("role".to_owned());
        role.or_insert_with(|| At::default("balancer".to_owned()));
    }

    fn keys(&self, table: &mut GossipTable) -> Vec<Vec<u8>> {
        let (text, place) = if let Some(key) = &self.flags.gossip.gossip_key {
            // Which is not in a file.
            table.key_file = None;
            (Some(key.clone()), Place::Default)
        } else if let Some(at) = &table.key_file {
            (self.secret(&at.value, &at.place), at.place.clone())
        } else {
            return Vec::new();
        };
        let Some(text) = text else {
            return Vec::new();
        };
        match read_key(&text) {
            Ok(key) => vec![key],
            Err(fault) => self.at(&place, fault).into_iter().collect(),
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
