//! The Prometheus text of one moment.
//!
//! Families are built from the snapshot at each scrape: nothing is registered, so a departed
//! server's series end with its LEFT row. Names follow `roundel_<area>_<thing>_<unit>`, in
//! base units; a family whose numbers are not known is left out rather than shown as zero.

mod backends;
mod compat;
mod families;
mod frontends;
mod gossip;
mod process;

use prometheus::TextEncoder;

use crate::moment::Moment;
use families::Families;

/// Numbers of the admin plane itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnNumbers {
    /// Viewers of `/events`.
    pub(crate) viewers: usize,
    /// Whether the process is ending.
    pub(crate) draining: bool,
    /// Acts by word and result (`ok`, `refused`).
    pub(crate) acts: Vec<((&'static str, &'static str), u64)>,
}

/// Which families to leave out; `?scope=` and `?no_server`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    /// The process, the configuration, the gossip node.
    pub(crate) global: bool,
    /// Frontends.
    pub(crate) frontends: bool,
    /// Backends.
    pub(crate) backends: bool,
    /// Servers.
    pub(crate) servers: bool,
}

impl Scope {
    /// Everything.
    pub(crate) const ALL: Self = Self {
        global: true,
        frontends: true,
        backends: true,
        servers: true,
    };
}

/// Writes the text format 0.0.4.
pub(crate) fn render(moment: &Moment, own: &OwnNumbers, scope: Scope) -> String {
    let mut out = Families::default();
    if scope.global {
        process::write(&moment.snapshot, own, &mut out);
        gossip::write(&moment.snapshot, &mut out);
    }
    if scope.frontends {
        frontends::write(&moment.snapshot.frontends, &mut out);
    }
    if scope.backends {
        backends::write(&moment.snapshot.backends, &mut out);
    }
    if scope.servers {
        backends::write_servers(&moment.snapshot.backends, &mut out);
    }
    encode(out)
}

/// Writes the same numbers under HAProxy's names.
pub(crate) fn render_compat(moment: &Moment, own: &OwnNumbers, scope: Scope) -> String {
    let mut out = Families::default();
    compat::write(moment, own, scope, &mut out);
    encode(out)
}

fn encode(out: Families) -> String {
    let families = out.finish();
    TextEncoder::new()
        .encode_to_string(&families)
        .expect("every family has a name and a series")
}

#[cfg(test)]
mod tests;
