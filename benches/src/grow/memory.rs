//! What a connection takes while idle, and what a stream takes that its reader holds up.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

use super::{Options, Table, start};
use crate::compare::Setting;
use crate::compare::peer::Variant;
use crate::machine::private_kib;
use crate::process::{Running, myself};

const PORT: u16 = 18_600;
/// Streams that stand still at a time; the kernel keeps up to 4 MB for each.
const STREAMS: u64 = 50;
/// What fills the buffers between is on its way for less than this.
const SETTLE: Duration = Duration::from_millis(500);

pub(super) fn rows(setting: &Setting<'_>, _: &Options, table: &mut Table) -> Result<()> {
    let connections = 9_900.min((setting.files / 2).saturating_sub(100));
    let idle = held(setting, connections, &["/128"])?;
    table.row(
        &format!("private memory per idle connection, of {connections}"),
        "<= 2 KiB",
        &format!("{idle:.2} KiB"),
    );
    let stalled = held(setting, STREAMS, &["/16m", "--stall"])?;
    table.row(
        &format!("private memory per stream that its reader holds up in 16 MB, of {STREAMS}"),
        "",
        &format!("{stalled:.1} KiB"),
    );
    Ok(())
}

/// KiB for each of so many connections.
fn held(setting: &Setting<'_>, connections: u64, words: &[&str]) -> Result<f64> {
    let how = Variant {
        servers: super::servers(2),
        ..Variant::default()
    };
    let one = start(setting, PORT, how)?;
    let empty = private_kib(one.process.pid())?;
    let mut command = myself(&setting.cores.load)?;
    command
        .args(["load", &one.plain.to_string()])
        .args(words)
        .args(["--hold", &format!("--connections={connections}")])
        .stdout(Stdio::piped());
    let mut holder = Running::start_held(&mut command)?;
    holder.wait_line("holding")?;
    std::thread::sleep(SETTLE);
    let full = private_kib(one.process.pid())?;
    Ok(full.saturating_sub(empty) as f64 / connections as f64)
}
