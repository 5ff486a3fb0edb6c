//! Roundel and Debian's HAProxy side by side: the same servers, the same requests, the same words.

mod all_states;
mod cuts;
mod https;
mod metrics;
mod states;
mod third;
mod times;

pub(crate) use third::python_with;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use roundel_testkit::{Process, external, free_address, wait_for};
use tempfile::TempDir;

use crate::balancer::{Balancer, SOON};

/// Both balancers in front of the same servers.
struct Pair {
    ours: Balancer,
    theirs: Process,
    /// Where HAProxy answers.
    front: SocketAddr,
    /// Where HAProxy's statistics are.
    stats: SocketAddr,
    folder: TempDir,
}

impl Pair {
    /// Starts both, or says loudly that HAProxy is missing. `ours` and `theirs` are what stands in
    /// the files below the listeners; HAProxy's frontend comes last, so that `theirs` may begin with
    /// its rules.
    fn start(ours: &str, theirs: &str) -> Option<Self> {
        let program = external("haproxy", "haproxy")?;
        let folder = tempfile::tempdir().unwrap();
        let [front, stats, our_front, our_stats] = [(); 4].map(|()| free_address());
        let file = folder.path().join("haproxy.cfg");
        let text = format!(
            "global\n  stats socket {} level admin\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n  \
             timeout queue 30s\n  timeout check 5s\n  option httplog\n  log stdout format raw local0\n\
             frontend page\n  bind {stats}\n  no log\n  stats enable\n  stats uri /\n  \
             http-request use-service prometheus-exporter if {{ path /metrics }}\n\
             frontend f\n  bind {front}\n{theirs}",
            folder.path().join("haproxy.sock").display(),
        );
        fs::write(&file, text).unwrap();
        let theirs = Process::spawn(Command::new(program).arg("-db").arg("-f").arg(&file));
        let file = folder.path().join("roundel.toml");
        let text = format!(
            "[stats]\nlisten = \"{our_stats}\"\n\
             [cli]\nlisten = \"off\"\nsocket = \"{}\"\n[access_log]\nformat = \"haproxy\"\n\
             [[frontend]]\nname = \"f\"\nlisten = [\"{our_front}\"]\n{ours}",
            folder.path().join("roundel.sock").display()
        );
        fs::write(&file, text).unwrap();
        let ours = Balancer::with_file(file.to_str().unwrap(), [our_front, our_stats]);
        wait_for("HAProxy's page", SOON, || {
            roundel_testkit::get(stats, "/;csv").ok()
        });
        Some(Self {
            ours,
            theirs,
            front,
            stats,
            folder,
        })
    }
}

/// The lines of an access log that tell about this path, once there are so many.
fn wait_lines(process: &Process, path: &str, count: usize) -> Vec<String> {
    let wanted = format!(" {path}");
    wait_for("lines of the access log", SOON, || {
        let text = process.stdout();
        let lines = text.lines().filter(|line| line.contains(&wanted));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        (lines.len() == count).then_some(lines)
    })
}

fn output(program: &Path, arguments: &[&str], input: &str) -> String {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
