//! Servers that never passed a check: every channel says so, once, with cause and cure.

use std::fs;
use std::net::SocketAddr;

use roundel_testkit::{Origin, Reply, free_address, free_port, loopback, wait_for};

use crate::balancer::{Balancer, SOON, roundel};
use crate::turns::beside_others;

/// An app that knows no HEAD, as many frameworks make it.
fn without_head() -> Origin {
    Origin::start(|request| Reply {
        status: if request.method == "HEAD" { 405 } else { 200 },
        ..Reply::text("app")
    })
}

fn cell<'a>(csv: &'a str, server: &str, column: &str) -> &'a str {
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let at = header.iter().position(|name| *name == column).unwrap();
    let row = lines.find(|row| row[1] == server).unwrap();
    row[at]
}

#[test]
fn a_server_that_was_never_up_is_down_everywhere_with_its_cure() {
    let _turn = beside_others();
    let app = without_head();
    let closed = free_address();
    let ip = loopback();
    let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let write = |check: &str| {
        let text = format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[access_log]\nformat = \"off\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\n\
             [[backend]]\nname = \"nodes\"\n\
             check = {{ {check}, every = \"200ms\", timeout = \"2s\" }}\n\
             server = [{{ name = \"app\", address = \"{}\" }}, {{ name = \"closed\", address = \"{closed}\" }}]\n",
            app.address()
        );
        fs::write(&path, text).unwrap();
    };
    write("http = \"HEAD /\"");
    let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    wait_for("both to be down", SOON, || {
        let states = balancer.states();
        states
            .iter()
            .all(|(_, state)| state == "down")
            .then_some(())
    });

    let cure =
        "never up: HEAD / gave 405; 2xx and 3xx pass; set check = \"GET /healthz\" or \"tcp\"";
    let nothing =
        "never up: L4CON Connection refused; does the app listen at that address and port?";
    let csv = balancer.page("/;csv");
    for server in ["app", "closed"] {
        assert_eq!(cell(&csv, server, "status"), "DOWN");
        assert_eq!(cell(&csv, server, "chkdown"), "1");
        assert_eq!(cell(&csv, server, "chkfail"), "3");
        assert_eq!(cell(&csv, server, "act"), "1");
    }
    let snapshot = balancer.snapshot();
    let servers = &snapshot["backends"][0]["servers"];
    assert_eq!(servers[0]["reason"], cure);
    assert_eq!(servers[1]["reason"], nothing);
    let metrics = balancer.page("/metrics");
    let line = "roundel_server_state{backend=\"nodes\",server=\"app\",state=\"down\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    let compat = balancer.page("/metrics?compat=haproxy");
    let line = "haproxy_server_status{proxy=\"nodes\",server=\"app\",state=\"DOWN\"} 1";
    assert!(compat.contains(line), "{compat}");
    let page = balancer.page("/");
    assert!(
        page.contains("head v-down") && page.contains("0 of 2 servers serving"),
        "{page}"
    );
    assert!(page.contains("2xx and 3xx pass"), "{page}");
    let told = roundel(&["stat", "--stats", &format!("http://{stats}")])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("down") && told.contains("2xx and 3xx pass"),
        "{told}"
    );

    // Once the check is mended one pass is enough.
    write("http = \"GET /\"");
    balancer.process.signal(roundel_testkit::Signal::HUP);
    balancer.process.wait_line("serving after", SOON);
    let log = balancer.process.stdout() + &balancer.process.stderr();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("HEAD / gave 405"), 1, "{log}");
    assert_eq!(lines("no usable server: 2 down"), 1, "{log}");
}
