//! What a page and metrics say of a certificate that is ordered.

use std::time::SystemTime;

/// What a page and metrics say of a certificate that is ordered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its names, in small letters, sorted.
    pub names: Vec<String>,
    /// Whether one that nobody signed is served meanwhile.
    pub self_signed: bool,
    /// When the one that is served ends.
    pub not_after: Option<SystemTime>,
    /// When the last order was done.
    pub last_order: Option<SystemTime>,
    /// Why the last try failed, as one line that may be shown; `None` when it did not.
    pub last_error: Option<String>,
    /// When it is ordered anew, or tried again; `None` before the first order.
    pub next_try: Option<SystemTime>,
    /// Tries that have failed since the last that did not.
    pub failures: u32,
    /// Orders done by this process.
    pub orders_total: u64,
    /// Tries of this process that failed.
    pub failures_total: u64,
    /// The balancer that orders, of several that share; `None` where nobody shares, or it is not known yet.
    pub owner: Option<String>,
    /// Whether another process has the state directory's lock for these names, and orders.
    pub elsewhere: bool,
}
