//! Child processes that end with their test.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use crate::{poll, wait_for};

/// What one of the outputs has brought so far, and whether it has ended.
type Captured = Arc<Mutex<(Vec<u8>, bool)>>;

/// How long the outputs of an ended process may take to end. A grandchild may hold them open.
const OUTPUT_END: Duration = Duration::from_secs(1);

/// A running program with its output captured; it and its descendants are killed on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    stdout: Captured,
    stderr: Captured,
}

impl Process {
    /// Starts `command` with no standard input and both outputs captured.
    ///
    /// Panics if the program cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        Self::spawn_with(command, Stdio::null())
    }

    /// Starts `command` with this standard input and both outputs captured.
    ///
    /// Panics if the program cannot be started.
    pub fn spawn_with(command: &mut Command, stdin: Stdio) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = capture(child.stdout.take().expect("stdout is piped"));
        let stderr = capture(child.stderr.take().expect("stderr is piped"));
        Self {
            child,
            name,
            stdout,
            stderr,
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What was written to standard output so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What was written to standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits until a whole line of either output holds `needle`, and gives the first such line.
    ///
    /// Panics with all output if there is none `within` that time.
    pub fn wait_line(&self, needle: &str, within: Duration) -> String {
        poll(within, || {
            [self.stdout(), self.stderr()].iter().find_map(|text| {
                let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
                whole.lines().find(|l| l.contains(needle)).map(String::from)
            })
        })
        .unwrap_or_else(|| panic!("no line with {needle:?} within {within:?}\n{self}"))
    }

    /// Sends a signal. A process that has ended already is left alone.
    pub fn signal(&self, signal: Signal) {
        send_signal(self.child.id(), signal);
    }

    /// Waits for the end, and until all output is captured; panics with all output if the end
    /// does not come `within` that time.
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let status = poll(within, || self.try_exit())
            .unwrap_or_else(|| panic!("still running after {within:?}\n{self}"));
        poll(OUTPUT_END, || {
            let ended = |captured: &Captured| captured.lock().expect("no panic while held").1;
            (ended(&self.stdout) && ended(&self.stderr)).then_some(())
        });
        status
    }

    /// The exit status, if the process has ended.
    pub fn try_exit(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours")
    }

    /// Kills the process and its descendants and waits for its end.
    pub fn kill(&mut self) {
        if self.try_exit().is_some() {
            return;
        }
        let below = descendants(self.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in below {
            send_signal(pid, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "--- {} (pid {})", self.name, self.child.id())?;
        writeln!(f, "--- stdout\n{}", self.stdout())?;
        writeln!(f, "--- stderr\n{}", self.stderr())
    }
}

/// Sends a signal to one process; one that has ended already is left alone.
pub fn send_signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// Lists the processes below `root`, children before grandchildren.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let pid = entry.file_name().to_string_lossy().parse::<u32>();
        if let Ok(pid) = pid
            && let Some(parent) = parent(pid)
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(&below);
        next.extend(below);
    }
    found
}

/// Reads the parent's id: the second field after the name, which is in parentheses (proc(5)).
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Keeps whatever comes, as it comes: some programs never end a line.
fn capture(mut stream: impl Read + Send + 'static) -> Captured {
    let bytes = Captured::default();
    let sink = Arc::clone(&bytes);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let mut captured = sink.lock().expect("no panic while held");
            captured.0.extend_from_slice(&buffer[..count]);
        }
        sink.lock().expect("no panic while held").1 = true;
    });
    bytes
}

fn text(captured: &Captured) -> String {
    let captured = captured.lock().expect("no panic while held");
    String::from_utf8_lossy(&captured.0).into_owned()
}

/// Waits until no process has this id, or only a zombie is left; panics after `within`.
pub fn wait_gone(pid: u32, within: Duration) {
    wait_for("process to end", within, || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn captures_lines_and_the_exit_code() {
        let mut sh =
            Process::spawn(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 7"]));
        assert_eq!(sh.wait_line("one", SOON), "one");
        assert_eq!(sh.wait_line("two", SOON), "two");
        assert_eq!(sh.wait_exit(SOON).code(), Some(7));
    }

    #[test]
    fn drop_kills_grandchildren_too() {
        let sh = Process::spawn(Command::new("sh").args(["-c", "sleep 600 & echo up; wait"]));
        sh.wait_line("up", SOON);
        let below = wait_for("the sleep", SOON, || descendants(sh.id()).first().copied());
        drop(sh);
        wait_gone(below, SOON);
    }

    #[test]
    fn signals_arrive() {
        let script = "trap 'echo hup; exit 0' HUP; echo up; while :; do sleep 0.01; done";
        let mut sh = Process::spawn(Command::new("sh").args(["-c", script]));
        sh.wait_line("up", SOON);
        sh.signal(Signal::HUP);
        assert!(sh.wait_exit(SOON).success());
    }
}
