//! The shipped binary takes no order to panic.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use roundel_testkit::{Process, free_address, get, wait_for};

/// The variable that names the file with the order, in debug builds.
const VARIABLE: &str = "ROUNDEL_PANIC_FILE";
/// In this many seconds a debug build has read the order more than once.
const SECONDS: f64 = 3.0;
const PATIENCE: Duration = Duration::from_secs(30);

/// Orders `binary` to panic, and sees that the order is not even read.
pub(crate) fn ignored(binary: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let order = folder.path().join("order");
    fs::write(&order, "control")?;
    let [front, stats, gossip] = [(); 3].map(|()| free_address().to_string());
    let mut command = Command::new(binary);
    command
        .args(["serve", "--cli-listen", "off", "--listen", &front])
        .args(["--stats-listen", &stats, "--gossip-listen", &gossip])
        .env(VARIABLE, &order);
    let mut process = Process::spawn(&mut command);
    let uptime = || -> Option<f64> {
        let text = get(stats.parse().ok()?, "/metrics").ok()?.text();
        let mut values = text
            .lines()
            .filter_map(|l| l.strip_prefix("roundel_uptime_seconds "));
        values.next()?.parse().ok()
    };
    wait_for("some seconds of work", PATIENCE, || {
        uptime().filter(|seconds| *seconds > SECONDS)
    });
    ensure!(process.try_exit().is_none(), "it ended: {process}");
    ensure!(order.exists(), "it obeyed {VARIABLE}: {process}");
    Ok(())
}
