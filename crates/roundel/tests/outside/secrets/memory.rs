//! What other programs of the same user, and a core, could tell.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;

use roundel_testkit::{Process, Signal, free_address, get, poll, send_signal, wait_for, wait_gone};

use super::started_with;
use crate::balancer::{SOON, roundel};
use crate::turns::beside_others;

/// A user without privileges.
const NOBODY: u32 = 65534;

/// The command as somebody without privileges.
fn unprivileged(mut command: Command) -> Command {
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Whether a program of the same user opens that of a process.
fn opens(pid: u32, what: &str) -> bool {
    let mut command = Command::new("head");
    command.args(["-c", "1"]).arg(format!("/proc/{pid}/{what}"));
    let output = unprivileged(command).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    // Nothing is at the first address of a memory that was opened.
    output.status.success() || !told.contains("Permission denied")
}

/// The program where everybody may run it, started by a shell that allows cores.
fn program(folder: &Path) -> Command {
    let program = folder.join("roundel");
    fs::copy(roundel(&[]).get_program(), &program).unwrap();
    for path in [folder, &program] {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""]);
    command.arg(program).current_dir(folder);
    unprivileged(command)
}

#[test]
fn its_memory_is_closed_to_others_of_its_user_and_it_leaves_no_core() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let mut sleep = Command::new("sleep");
    sleep.arg("600");
    let other = Process::spawn(&mut unprivileged(sleep));
    for what in ["environ", "mem", "maps"] {
        assert!(opens(other.id(), what), "{what} of any program is open");
    }

    let [front, stats, gossip] = [free_address(), free_address(), free_address()];
    let mut command = program(folder.path());
    command.args(["serve", "--cli-listen", "off"]);
    command.args(["--listen", &front.to_string()]);
    command.args(["--stats-listen", &stats.to_string()]);
    command.args(["--gossip-listen", &gossip.to_string()]);
    let mut process = Process::spawn(&mut command);
    process.wait_line("the page is at", SOON);
    let closed = |pid| {
        for what in ["environ", "mem", "maps"] {
            assert!(!opens(pid, what), "{what}\n{process}");
        }
    };
    closed(process.id());
    // What it tells of itself needs no privileges.
    let metrics = get(stats, "/metrics").unwrap().text();
    let of = |name: &str| {
        let mut lines = metrics.lines();
        let line = lines.find(|line| line.starts_with(name))?;
        line.rsplit_once(' ')?.1.parse::<f64>().ok()
    };
    assert!(
        of("process_open_fds ").is_some_and(|n| n > 3.0),
        "{metrics}"
    );
    assert!(of("process_resident_memory_bytes ").is_some_and(|n| n > 1e6));

    process.signal(Signal::USR2);
    let line = process.wait_line("is to take over", SOON);
    let successor = line.split("process ").nth(1).unwrap();
    let successor: u32 = successor.split(' ').next().unwrap().parse().unwrap();
    wait_for("the new process to answer", SOON, || {
        let text = get(stats, "/api/v1/snapshot").ok()?.text();
        text.contains(&format!("\"pid\":{successor}")).then_some(())
    });
    closed(successor);
    assert!(process.wait_exit(SOON).success(), "{process}");
    // Root may look, as a debugger needs to.
    if rustix::process::geteuid().is_root() {
        assert!(!started_with(successor).is_empty());
    }
    send_signal(successor, Signal::ABORT);
    wait_gone(successor, SOON);
    let cores = || {
        let names = fs::read_dir(folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("core"))
    };
    assert_eq!(cores().count(), 0);
}

#[test]
fn what_an_agent_runs_is_as_any_program() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(folder.path());
    command.args(["agent", "--gossip-listen", &free_address().to_string()]);
    command.args(["--port", &free_address().port().to_string()]);
    command.args(["--", "sleep", "600"]);
    let mut agent = Process::spawn(&mut command);
    let app = poll(SOON, || roundel_testkit::descendants(agent.id()).pop());
    let app = app.unwrap_or_else(|| panic!("{agent}"));
    wait_for("the app's own program", SOON, || {
        let name = fs::read_to_string(format!("/proc/{app}/comm")).ok()?;
        (name.trim() == "sleep").then_some(())
    });
    for what in ["environ", "mem"] {
        assert!(!opens(agent.id(), what), "{what}\n{agent}");
        assert!(opens(app, what), "{what}\n{agent}");
    }
    agent.signal(Signal::ABORT);
    let status = agent.wait_exit(SOON);
    assert!(!status.core_dumped(), "{status}\n{agent}");
}
