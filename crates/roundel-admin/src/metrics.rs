//! The Prometheus text of one moment.
//!
//! Families are built from the snapshot at each scrape: nothing is registered, so a departed
//! server's series end with its LEFT row. Names follow `roundel_<area>_<thing>_<unit>`, in
//! base units; a family whose numbers are not known is left out rather than shown as zero.

mod backends;
mod certificates;
mod compat;
mod families;
mod frontends;
mod gossip;
mod process;

use crate::moment::Moment;
use families::Families;

/// Numbers of the admin plane itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnNumbers {
    /// Viewers of `/events`.
    pub(crate) viewers: usize,
    /// Whether the process is ending.
    pub(crate) draining: bool,
    /// Acts asked for with a wrong token, or none.
    pub(crate) wrong_tokens: u64,
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
        certificates::write(&moment.snapshot, &mut out);
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
    out.finish()
}

/// Writes the same numbers under HAProxy's names.
pub(crate) fn render_compat(moment: &Moment, own: &OwnNumbers, scope: Scope) -> String {
    let mut out = Families::default();
    compat::write(moment, own, scope, &mut out);
    out.finish()
}

#[cfg(test)]
mod tests;
