//! Packets that are dropped by the kernel's filter.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;

/// While this lives, no packet goes to or from an address.
pub(super) struct Drops(Ipv4Addr);

impl Drops {
    /// Why nothing can be dropped here, if so.
    pub(super) fn missing() -> Option<&'static str> {
        if !geteuid().is_root() {
            return Some("needs root");
        }
        let runs = Command::new("iptables").arg("--version").output().is_ok();
        (!runs).then_some("needs Debian's iptables")
    }

    /// Begins; gives when.
    pub(super) fn begin(ip: Ipv4Addr) -> Result<(Self, SystemTime)> {
        // Made before the rules, so that half of them is taken back too.
        let drops = Self(ip);
        let at = SystemTime::now();
        drops.rules("-I")?;
        Ok((drops, at))
    }

    fn rules(&self, verb: &str) -> Result<()> {
        for end in ["-d", "-s"] {
            let ip = self.0.to_string();
            let status = Command::new("iptables")
                .args(["-w", verb, "INPUT", end, &ip, "-j", "DROP"])
                .status()
                .context("cannot run iptables")?;
            ensure!(status.success(), "iptables refuses a rule");
        }
        Ok(())
    }
}

impl Drop for Drops {
    fn drop(&mut self) {
        let _ = self.rules("-D");
    }
}
