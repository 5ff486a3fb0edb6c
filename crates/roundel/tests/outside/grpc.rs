//! gRPC, seen by clients and servers of grpcio and of tonic, and by bare HTTP/2.

mod far;
mod health;
mod raw;
mod refusals;
mod secured;
mod streams;
mod tonic;

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use roundel_testkit::{Process, free_address, wait_for};
use serde_json::Value;

use crate::balancer::{Balancer, SOON};
use crate::beside::python_with;

/// A balancer of these servers, whose tables have these further lines.
fn balancer(frontend: &str, backend: &str, servers: &[SocketAddr]) -> Balancer {
    let at = [(); 2].map(|()| free_address());
    let [front, stats] = at;
    let list = servers.iter().enumerate();
    let list = list.map(|(n, address)| format!("{{ name = \"s{n}\", address = \"{address}\" }}"));
    let list = list.collect::<Vec<_>>().join(", ");
    let text = format!(
        "[global]\nthreads = 2\n[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
         [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\ndefault_backend = \"calls\"\n{frontend}\n\
         [[backend]]\nname = \"calls\"\nsticky = \"off\"\nserver = [{list}]\n{backend}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grpc.toml");
    fs::write(&path, text).unwrap();
    Balancer::with_file(path.to_str().unwrap(), at)
}

/// A server of grpcio.
struct Server {
    process: Process,
    address: SocketAddr,
}

/// Starts a server of grpcio, which is `well`, `sick` or `plain`. `None` without grpcio.
fn server(health: &str) -> Option<Server> {
    server_with(&[health])
}

/// The same, with the files of a certificate and its key behind that word for TLS.
fn server_with(words: &[&str]) -> Option<Server> {
    let python = python_with("grpc", "grpcio from PyPI")?;
    let address = free_address();
    let mut command = Command::new(python);
    let script = include_str!("grpc/server.py");
    command
        .args(["-c", script, &address.to_string()])
        .args(words);
    let process = Process::spawn(&mut command);
    process.wait_line("listening", SOON);
    Some(Server { process, address })
}

/// Has grpcio make calls, and gives the lines that tell how they ended. `None` without grpcio.
fn calls(to: &Balancer, calls: &[&str]) -> Option<Vec<String>> {
    calls_over(to, None, calls)
}

/// The same, over TLS where there is the file of an authority.
fn calls_over(to: &Balancer, authority: Option<&str>, calls: &[&str]) -> Option<Vec<String>> {
    let python = python_with("grpc", "grpcio from PyPI")?;
    let mut command = Command::new(python);
    let script = include_str!("grpc/client.py");
    command
        .args(["-c", script, &to.front.to_string()])
        .arg(authority.unwrap_or("clear"))
        .args(calls);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}\n{}", to.process);
    let lines = String::from_utf8(output.stdout).unwrap();
    Some(lines.lines().map(str::to_owned).collect())
}

/// The lines of the access log about calls of this method that say this code, once there is one.
fn logged(balancer: &Balancer, method: &str, code: u64) -> Value {
    wait_for("a line of the log", SOON, || {
        let lines = balancer.process.stdout();
        let mut values = lines
            .lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok());
        let path = format!("/test.Echo/{method}");
        let fits = |line: &Value| line["path"] == *path && line["grpc_status"] == code;
        values.rfind(fits)
    })
}

/// Waits until the metrics say so many calls ended with this code, at the frontend and the backend.
fn wait_counted(balancer: &Balancer, code: &str, count: u64) {
    let lines = [
        format!("roundel_frontend_grpc_calls_total{{frontend=\"front\",code=\"{code}\"}} {count}"),
        format!("roundel_backend_grpc_calls_total{{backend=\"calls\",code=\"{code}\"}} {count}"),
    ];
    wait_for(&lines[0], SOON, || {
        let metrics = balancer.page("/metrics");
        let has = |line: &String| metrics.lines().any(|l| l == line);
        lines.iter().all(has).then_some(())
    });
}
