//! Servers that die and come back under a constant load; the long form is `cargo xtask chaos`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use roundel_testkit::chaos::{self, Fleet, Plan};

use crate::turns::alone;

/// Tells this program by its environment to be a server: `ADDRESS FILE`.
const SERVER: &str = "CHAOS_SERVER";

/// Requests per second.
const RATE: u32 = 250;

#[test]
#[ignore = "a server of the other tests, which start it as a process of its own"]
fn server() {
    let told = std::env::var(SERVER).unwrap();
    let (address, log) = told.split_once(' ').unwrap();
    chaos::serve(address.parse().unwrap(), Path::new(log)).unwrap();
}

fn server_command(address: SocketAddr, log: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "chaos::server", "--ignored", "--nocapture"])
        .env(SERVER, format!("{address} {}", log.display()));
    command
}

#[test]
fn servers_die_and_come_back_and_nothing_is_lost_that_could_be_saved() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_roundel"));
    let start = |_: &[chaos::Member]| chaos::roundel(program, folder.path());
    let mut fleet = Fleet::new(folder.path(), server_command, start);
    // This seed has one of everything: a start, a pause, a restart, a kill, an orderly end.
    let mixed = Plan::random(28, Duration::from_secs(15));
    for plan in [mixed, Plan::outage()] {
        fleet.run(&plan, RATE, 1).assert_clean();
    }
}
