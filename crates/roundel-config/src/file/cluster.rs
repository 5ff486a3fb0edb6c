//! `[cluster]`: what balancers alone share.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::key::{Key, Maybe, Table, key};
use crate::kind::{FilePath, Listen};

/// `[cluster]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ClusterTable {
    pub(crate) listen: Maybe<SocketAddr>,
    pub(crate) key_file: Maybe<PathBuf>,
}

impl Table for ClusterTable {
    const EXAMPLE: &'static str = "[cluster]";
    const LATER: &'static [(&'static str, &'static str)] =
        &[("key", "secrets do not belong in this file: use key_file")];

    fn keys() -> Vec<Key<Self>> {
        vec![
            key!(key_file, FilePath)
                .example("\"/run/secrets/cluster_key\"")
                .restart()
                .words(
                    "base64 of 32 bytes, as `roundel keygen` makes them; for balancers alone, so another than \
                     the gossip's, which every app has",
                ),
            // The one after the gossip's.
            key!(listen, Listen)
                .default("\":7947\"")
                .example("\":7947\"")
                .restart()
                .words("TCP, for the other balancers"),
        ]
    }
}
