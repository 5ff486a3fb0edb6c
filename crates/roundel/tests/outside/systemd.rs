//! Under a service manager: sockets that it opened, and what it is told.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use roundel_testkit::{Origin, Signal, free_port, get, loopback, send_signal, wait_for};

use crate::balancer::{SOON, roundel};
use crate::turns::beside_others;

struct Service {
    child: Child,
    front: SocketAddr,
    stats: SocketAddr,
    told: UnixDatagram,
    _folder: tempfile::TempDir,
}

impl Service {
    /// Starts the program as systemd.exec(5) does: the socket as descriptor 3, its own id in
    /// `LISTEN_PID`.
    fn start(listener: TcpListener, origin: &Origin) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let told = UnixDatagram::bind(&path).unwrap();
        told.set_read_timeout(Some(SOON)).unwrap();
        let front = listener.local_addr().unwrap();
        let ip = loopback();
        let [stats, gossip] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
        let program = roundel(&[]);
        let script = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http exec \"$0\" \"$@\" 3<&0";
        let child = Command::new("sh")
            .args(["-c", script])
            .arg(program.get_program())
            .args(["serve", "--cli-listen", "off", "--access-log", "off"])
            .args(["--listen", &front.to_string()])
            .args(["--stats-listen", &stats.to_string()])
            .args(["--gossip-listen", &gossip.to_string()])
            .args(["--static", &format!("s1={}", origin.address())])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "200000")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            front,
            stats,
            told,
            _folder: folder,
        }
    }

    /// Waits until the manager is told this line, and gives the whole message.
    fn wait_told(&self, line: &str) -> String {
        let until = Instant::now() + SOON;
        let mut bytes = [0; 4096];
        while Instant::now() < until {
            let length = self.told.recv(&mut bytes).expect("something is told");
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.lines().any(|l| l == line) {
                return text;
            }
        }
        panic!("never told {line}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_connection_made_before_the_start_is_answered_and_the_manager_is_told() {
    let _turn = beside_others();
    let origin = Origin::named("a");
    let listener = TcpListener::bind((loopback(), 0)).unwrap();
    // It waits in the queue of the socket while nobody accepts.
    let early = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut service = Service::start(listener, &origin);

    let ready = service.wait_told("READY=1");
    let pid = format!("MAINPID={}", service.child.id());
    assert!(ready.lines().any(|l| l == pid), "{ready}");
    service.wait_told("WATCHDOG=1");
    wait_for("the server to serve", SOON, || {
        let answer = get(service.front, "/").ok()?;
        (answer.text() == "a").then_some(())
    });
    assert_eq!(get(service.stats, "/readyz").unwrap().status, 200);
    answers(early);

    send_signal(service.child.id(), Signal::HUP);
    let reloading = service.wait_told("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    service.wait_told("READY=1");
    send_signal(service.child.id(), Signal::TERM);
    service.wait_told("STOPPING=1");
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}

fn answers(mut stream: TcpStream) {
    use std::io::{Read, Write};
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
