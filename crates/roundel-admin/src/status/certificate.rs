//! What clients are shown over TLS.

use serde::{Deserialize, Serialize};

/// One certificate that clients are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// The names and addresses for which it stands.
    pub names: Vec<String>,
    /// The frontends that show it.
    pub frontends: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// What its key is: `ECDSA`, `Ed25519` or `RSA`.
    pub key: String,
    /// Where it comes from: `file`, or `acme` for one that is ordered.
    pub source: String,
    /// The file of its chain.
    pub file: String,
    /// SHA-256, 64 hexadecimal digits.
    pub fingerprint: String,
    /// From when on it counts, in seconds since the Unix epoch.
    pub not_before_seconds: u64,
    /// Until when it counts, in seconds since the Unix epoch.
    pub not_after_seconds: u64,
    /// How far its life has come: `not_yet`, `fresh`, `due`, `late`, `urgent` or `ended`.
    pub stage: String,
    /// What people should know of it; empty while there is nothing to do.
    pub warning: String,
    /// How its orders go; `None` for one that is read from files.
    pub orders: Option<Orders>,
}

/// How the orders of a certificate go. The counts are of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Orders {
    /// The directory of the CA that is asked.
    pub directory: String,
    /// When the last one was done, in seconds since the Unix epoch.
    pub last_success_seconds: Option<u64>,
    /// Why the last try failed; `None` when it did not.
    pub last_error: Option<String>,
    /// When it is ordered anew, or tried again, in seconds since the Unix epoch.
    pub next_try_seconds: Option<u64>,
    /// Tries that have failed since the last that did not.
    pub failures: u32,
    /// Orders done.
    pub issued_total: u64,
    /// Tries that failed.
    pub failed_total: u64,
    /// Whether one that nobody signed is shown meanwhile.
    pub self_signed: bool,
    /// Whether another process of this host orders.
    pub elsewhere: bool,
    /// The balancer that orders for all that share; `None` where nobody shares, or it is not known yet.
    pub owner: Option<String>,
}
