//! What balancers that share a set of names know of it together.
//!
//! Each entry is a file of [`crate::store`] as well, of which every balancer has one of its own: so a
//! cluster that begins anew has what any of them kept. A file is as old as its entry's version, in
//! milliseconds since 1970.

use roundel_cluster::{Cluster, Lead};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{Account, Progress, Store, StoreError};

/// The kinds of entries, by the ends of their names.
pub(crate) const ACCOUNT: &str = "account";
pub(crate) const PROGRESS: &str = "progress";
pub(crate) const CERTIFICATE: &str = "certificate";
pub(crate) const PROOFS: &str = "proofs";

/// The entries of one set of names with one CA.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    ca: String,
    set: String,
}

impl Shared {
    /// Offers the others what was kept here.
    ///
    /// Errors: files that cannot be read.
    pub(crate) fn new(cluster: Cluster, store: &Store) -> Result<Self, StoreError> {
        let (ca, set) = store.names();
        let shared = Self { cluster, ca, set };
        for kind in [ACCOUNT, PROGRESS, CERTIFICATE] {
            if let Some((version, text)) = store.kept(kind)? {
                let offered = shared
                    .cluster
                    .offer(&shared.entry(kind), version, text.into_bytes());
                if let Err(error) = offered {
                    tracing::warn!("acme: {} is not shared: {error}", shared.entry(kind));
                }
            }
        }
        Ok(shared)
    }

    /// The name of an entry. The account is one for all names.
    pub(crate) fn entry(&self, kind: &str) -> String {
        let Self { ca, set, .. } = self;
        match kind {
            ACCOUNT => format!("acme/{ca}/{kind}"),
            _ => format!("acme/{ca}/{set}/{kind}"),
        }
    }

    /// Who orders: `claimed`, if it lives. After a try that failed it is another's turn.
    pub(crate) fn lead(&self, progress: &Progress) -> Lead {
        let matter = format!("{}/{} {}", self.ca, self.set, progress.failures);
        self.cluster.lead(&matter, progress.at_work.as_deref())
    }

    /// An entry as text with its version.
    pub(crate) fn text(&self, kind: &str) -> Option<(u64, String)> {
        let (version, value) = self.cluster.get(&self.entry(kind))?;
        Some((version, String::from_utf8(value.to_vec()).ok()?))
    }

    /// An entry, if it can be understood.
    fn read<T: DeserializeOwned>(&self, kind: &str) -> Option<T> {
        let (_, text) = self.text(kind)?;
        serde_json::from_str(&text)
            .inspect_err(|error| {
                tracing::warn!("acme: {} of another balancer: {error}", self.entry(kind))
            })
            .ok()
    }

    pub(crate) fn account(&self) -> Option<Account> {
        self.read(ACCOUNT)
    }

    pub(crate) fn progress(&self) -> Option<Progress> {
        self.read(PROGRESS)
    }

    /// Puts an entry; others have it when its revision is confirmed.
    pub(crate) fn put(&self, kind: &str, text: String) -> Option<u64> {
        let put = self.cluster.put(&self.entry(kind), Some(text.into_bytes()));
        put.inspect_err(|error| tracing::warn!("acme: {} is not shared: {error}", self.entry(kind)))
            .ok()
    }

    pub(crate) fn put_json(&self, kind: &str, value: &impl Serialize) -> Option<u64> {
        let text = serde_json::to_string(value).expect("maps with text keys can be written");
        self.put(kind, text)
    }

    /// Returns when all live balancers have it.
    pub(crate) async fn confirmed(&self, put: Option<u64>) {
        if let Some(revision) = put {
            self.cluster.confirmed(revision).await;
        }
    }
}
