//! Full load for a long while: nothing fails, memory stays.

use std::time::Duration;

use anyhow::Result;

use super::{Options, Table, failed, load, start};
use crate::compare::Setting;
use crate::compare::peer::Variant;
use crate::machine::private_kib;

const PORT: u16 = 18_800;

pub(super) fn row(setting: &Setting<'_>, options: &Options, table: &mut Table) -> Result<()> {
    let how = Variant {
        servers: super::servers(2),
        ..Variant::default()
    };
    let one = start(setting, PORT, how)?;
    load(setting, &one, setting.warm)?;
    let before = private_kib(one.process.pid())?;
    let sample = load(setting, &one, Duration::from_secs(options.sustained))?;
    let after = private_kib(one.process.pid())?;
    table.row(
        &format!("{} s of full load on one core", options.sustained),
        "no request failed, no growth",
        &format!(
            "{:.0} requests/s, p99 {:.1} ms; {}; private memory {before} KiB before, {after} KiB after",
            sample.requests_per_second,
            sample.latency_us.p99 / 1e3,
            failed(sample.failed())
        ),
    );
    Ok(())
}
