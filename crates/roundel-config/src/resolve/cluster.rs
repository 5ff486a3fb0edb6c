//! What balancers alone share.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roundel_cluster::KEY;

use super::{Merge, known};
use crate::file::File;
use crate::key::Table;
use crate::reader::Place;
use crate::value::Fault;
use crate::{Cluster, Gossip};

impl Merge<'_> {
    /// The sharing among balancers: on by a key.
    pub(crate) fn cluster(&self, file: &mut File, gossip: Option<&Gossip>) -> Option<Cluster> {
        let flag = self.flags.cluster_key_file.as_ref();
        let table = &mut file.cluster;
        self.overrule("cluster_key_file", flag, &mut table.key_file);
        let said = table.listen.as_ref().map(|at| at.place.clone());
        if table.key_file.is_some() {
            table.fill();
        }
        let Some(file) = &table.key_file else {
            let fault = Fault::new(
                "balancers share certificates and keys of tickets only under a key that they alone hold",
                "make one by `roundel keygen`, give each balancer the same file, and add key_file = \
                 \"/run/secrets/cluster_key\" or --cluster-key-file",
            );
            return self.at(&said?, fault);
        };
        let Some(gossip) = gossip else {
            let fault = Fault::new(
                "balancers that share find each other by gossip, and there is none",
                "add [gossip] with join = [\"another balancer\"], or leave [cluster] out",
            );
            return self.at(&file.place, fault);
        };
        let key = self.cluster_key(&self.secret(&file.value, &file.place)?, &file.place)?;
        if gossip.keys.iter().any(|known| known[..] == key[..]) {
            let fault = Fault::new(
                "the cluster's key is the key of the gossip, which every app has, and so no secret of the balancers",
                "make another by `roundel keygen`",
            );
            return self.at(&file.place, fault);
        }
        let listen = known(&table.listen);
        Some(Cluster { listen, key })
    }

    fn cluster_key(&self, text: &str, place: &Place) -> Option<[u8; KEY]> {
        let key = STANDARD.decode(text).ok();
        key.and_then(|key| key.try_into().ok()).or_else(|| {
            let fault = Fault::new(
                "what key_file of [cluster] or --cluster-key-file names is not base64 of 32 bytes",
                "make one by `roundel keygen`",
            );
            self.at(place, fault)
        })
    }
}
