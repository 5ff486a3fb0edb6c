//! Python's httpx in front: one configuration for both versions, in clear and over TLS.

use std::fs;
use std::process::{Command, Stdio};

use roundel_testkit::{Origin, Received, Reply, free_address};

use super::{count, folder};
use crate::balancer::{Balancer, SOON};
use crate::beside::python_with;

fn answer(asked: &Received) -> Reply {
    let path = asked.target.split('?').next().unwrap();
    let mut reply = Reply::text(format!(
        "{} {} {} {}",
        asked.method,
        asked.target,
        asked.header("host").unwrap_or("none"),
        asked.body.len()
    ));
    match path.strip_prefix("/status/") {
        Some(status) => {
            reply.status = status.parse().unwrap();
            reply.headers = ["a", "b"].map(|v| ("X-Two".into(), v.into())).into();
            if matches!(reply.status, 204 | 304) {
                reply.body.clear();
            }
        }
        None if path == "/echo" => reply.body.clone_from(&asked.body),
        None if path == "/large" => reply.body = vec![b'x'; 1_004_000],
        None => {}
    }
    reply
}

#[test]
fn httpx_has_the_same_from_both_versions() {
    const FROM: &str = "httpx[http2] from PyPI";
    let both = python_with("httpx", FROM).zip(python_with("h2", FROM));
    let Some((python, _)) = both else {
        return;
    };
    let (folder, origin) = (folder(), Origin::start(answer));
    let [clear, secure, stats] = [(); 3].map(|()| free_address());
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
         [[frontend]]\nname = \"front\"\nlisten = [\"{clear}\", {{ address = \"{secure}\", tls = true }}]\n\
         tls = {{ certificates = [\"both.pem\"] }}\n\
         [[backend]]\nname = \"nodes\"\nsticky = \"off\"\n\
         server = [{{ name = \"s1\", address = \"{}\" }}]\n",
        origin.address()
    );
    let path = folder.path().join("roundel.toml");
    fs::write(&path, text).unwrap();
    let balancer = Balancer::with_file(path.to_str().unwrap(), [clear, stats]);
    balancer.wait_up(1, SOON);
    let mut command = Command::new(python);
    command
        .args(["-c", include_str!("httpx.py")])
        .args([clear, secure].map(|at| at.to_string()))
        .arg(folder.path().join("ca.pem"))
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", balancer.process);
    let spoken = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        spoken,
        "clear HTTP/1.1\nclear HTTP/2\ntls HTTP/1.1\ntls HTTP/2\n"
    );
    assert_eq!(count(&balancer, "roundel_frontend_request_errors_total"), 0);
}
