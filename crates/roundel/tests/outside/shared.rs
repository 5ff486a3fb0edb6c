//! What balancers share under a key of their own: the keys of tickets, certificates.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use roundel_testkit::{
    Origin, Process, Town, Townsman, external, free_port, get, loopback, poll, wait_for,
};
use tempfile::TempDir;

use crate::balancer::{Balancer, SOON, roundel};
use crate::cluster::new_key;
use crate::turns::beside_others;

const NAME: &str = "www.example.org";

/// Files that balancers have in common, and a server.
struct Stage {
    folder: TempDir,
    origin: Origin,
}

impl Stage {
    fn new() -> Self {
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            origin: Origin::named("a"),
        };
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([NAME.to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        fs::write(stage.at("site.pem"), leaf.pem() + &key.serialize_pem()).unwrap();
        stage
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put_key(&self, name: &str, key: &str) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, key).unwrap();
        path
    }

    /// Writes a balancer's configuration; gives its path.
    fn configure(
        &self,
        name: &str,
        at: [SocketAddr; 3],
        seed: SocketAddr,
        cluster: &str,
    ) -> PathBuf {
        let [front, stats, gossip] = at;
        let text = format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[access_log]\nformat = \"off\"\n\
             [gossip]\nlisten = \"{gossip}\"\nnode_name = \"{name}\"\njoin = [\"{seed}\"]\n{cluster}\n\
             [[frontend]]\nname = \"front\"\nlisten = [{{ address = \"{front}\", tls = true }}]\n\
             tls = {{ certificates = [\"site.pem\"] }}\n\
             [[backend]]\nname = \"nodes\"\nserver = [{{ name = \"a\", address = \"{}\" }}]\n",
            self.origin.address()
        );
        let path = self.at(&format!("{name}.toml"));
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts a balancer that shares under the key in this file.
    fn serve(&self, name: &str, seed: Option<&Balancer>, key_file: &Path) -> Balancer {
        let ip = loopback();
        let [front, stats, gossip, cluster] =
            [(); 4].map(|()| SocketAddr::from((ip, free_port(ip))));
        let seed = seed.map_or(gossip, |seed| seed.gossip);
        let cluster = format!("[cluster]\nlisten = \"{cluster}\"\nkey_file = {key_file:?}");
        let path = self.configure(name, [front, stats, gossip], seed, &cluster);
        let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
        Balancer { gossip, ..balancer }
    }
}

/// Whether a session of one balancer, by `openssl s_client`, is resumed by another.
fn resumes(from: &Balancer, to: &Balancer, session: &Path, version: &str) -> bool {
    let ask = |at: SocketAddr, flag: &str| {
        let openssl = external("openssl", "openssl").unwrap();
        let mut command = Command::new("timeout");
        command
            .arg("10")
            .arg(openssl)
            .args(["s_client", "-connect", &at.to_string()]);
        command
            .args(["-servername", NAME, version, flag])
            .arg(session);
        // A ticket of TLS 1.3 comes with the answer.
        command.args(["-ign_eof"]);
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), request.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let first = ask(from.front, "-sess_out");
    assert!(first.contains("New, TLSv1"), "{first}");
    ask(to.front, "-sess_in").contains("Reused, TLSv1")
}

#[test]
fn a_ticket_of_one_balancer_is_good_at_the_others_that_hold_the_key() {
    if external("openssl", "openssl").is_none() {
        return;
    }
    let _turn = beside_others();
    let stage = Stage::new();
    let (key, other) = (
        stage.put_key("key", &new_key()),
        stage.put_key("other", &new_key()),
    );
    let a = stage.serve("a", None, &key);
    let b = stage.serve("b", Some(&a), &key);
    b.process.wait_line("shares with a at", SOON);
    let stranger = stage.serve("stranger", Some(&a), &other);
    stranger.wait_member("a", "alive", SOON);
    let session = stage.at("session.pem");
    for version in ["-tls1_3", "-tls1_2"] {
        // The exchange is under way.
        let shared = poll(SOON, || resumes(&a, &b, &session, version).then_some(()));
        assert!(shared.is_some(), "{version}\n{}\n{}", a.process, b.process);
        assert!(resumes(&b, &a, &session, version), "{version}");
    }
    a.process
        .wait_line("stranger says in the gossip that it shares", SOON);
    for version in ["-tls1_3", "-tls1_2"] {
        assert!(!resumes(&a, &stranger, &session, version), "{version}");
    }
    // Who joins later takes over the keys of the others, whose tickets clients have.
    let first = resumes(&a, &a, &session, "-tls1_3");
    let c = stage.serve("c", Some(&a), &key);
    c.process.wait_line("shares with", SOON);
    let joined = poll(SOON, || resumes(&a, &c, &session, "-tls1_3").then_some(()));
    assert!(first && joined.is_some() && resumes(&a, &b, &session, "-tls1_3"));
    let secrets = [
        fs::read_to_string(&key).unwrap(),
        fs::read_to_string(&other).unwrap(),
    ];
    for process in [&a.process, &b.process, &c.process, &stranger.process] {
        assert!(
            secrets
                .iter()
                .all(|secret| !process.stderr().contains(secret.trim()))
        );
    }
}

#[test]
fn the_key_of_the_cluster_is_asked_for_and_must_be_its_own() {
    let stage = Stage::new();
    let (ip, gossip_key) = (loopback(), new_key());
    let at = [(); 3].map(|()| SocketAddr::from((ip, free_port(ip))));
    let gossip = stage.put_key("gossip", &gossip_key);
    let check = |cluster: &str, expected: &[&str]| {
        let path = stage.configure("lb", at, at[2], cluster);
        let mut process = Process::spawn(roundel(&["check", "-c"]).arg(path));
        let status = process.wait_exit(SOON);
        let text = process.stderr();
        assert_eq!(status.success(), expected.is_empty(), "{cluster}: {text}");
        assert!(
            expected.iter().all(|e| text.contains(e)),
            "{cluster}: {text}"
        );
    };
    let file = |path: &Path| format!("[cluster]\nkey_file = {path:?}");
    check(
        "[cluster]\nlisten = \":7947\"",
        &[
            "only under a key that they alone hold",
            "roundel keygen",
            "--cluster-key-file",
        ],
    );
    check(&file(&stage.at("none")), &["cannot read", "none"]);
    check(
        &file(&stage.put_key("short", "MDEyMzQ1Njc4OWFiY2RlZg==")),
        &["not base64 of 32 bytes", "roundel keygen"],
    );
    let same = format!(
        "key_file = {gossip:?}\n{}",
        file(&stage.put_key("same", &gossip_key))
    );
    check(&same, &["the key of the gossip, which every app has"]);
    check(&file(&stage.put_key("fine", &new_key())), &[]);
}

/// How long an order may take, of which half of the requests are to be made again, and the wait for an
/// owner that has died.
const ISSUED: Duration = Duration::from_secs(60);

fn town(names: usize, more: &str) -> Option<Town> {
    let program = Path::new(env!("CARGO_BIN_EXE_roundel"));
    Town::start(program, names, [&new_key(), &new_key()], more)
}

#[test]
fn one_order_is_for_all_balancers_and_those_that_join() {
    let Some(mut town) = town(1, "") else {
        return;
    };
    let _turn = beside_others();
    let all: Vec<_> = ["a", "b", "c"].map(|name| town.join(name, true)).into();
    let client = town.client();
    let shown = town.wait_shown(&all, 0, &client, ISSUED).certificate;
    assert_eq!(
        (town.orders(), town.failed_validations()),
        (1, 0),
        "{}",
        town.pebble.log()
    );

    // A client's session of one is good at the others.
    let client = town.client();
    for one in &all {
        one.ask(0, &client).unwrap();
        let resumed: Vec<_> = all
            .iter()
            .map(|other| other.ask(0, &client).unwrap().resumed)
            .collect();
        assert_eq!(resumed, [true; 3], "{}", one.process);
    }

    // The first connection that it takes shows the certificate of all.
    let late = town.join("late", true);
    let first = poll(ISSUED, || match late.ask(0, &town.client()) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => None,
        answer => Some(answer),
    });
    let first = first
        .unwrap()
        .unwrap_or_else(|error| panic!("{error}\n{}", late.process));
    assert_eq!((first.certificate, town.orders()), (shown, 1));
    let told = wait_for("the others", SOON, || {
        let snapshot = get(late.stats, "/api/v1/snapshot").ok()?.text();
        let snapshot: serde_json::Value = serde_json::from_str(&snapshot).ok()?;
        let is_told =
            snapshot["gossip"]["sharing"]["balancers"] == serde_json::json!(["a", "b", "c"]);
        is_told.then_some(snapshot)
    });
    assert!(
        told["certificates"][0]["orders"]["owner"].is_string(),
        "{told}"
    );
    let metrics = get(late.stats, "/metrics").unwrap().text();
    assert!(metrics.contains("roundel_cluster_balancers 3"), "{metrics}");

    // Who gossips and has not the key shares nothing, and is none of those that order for all.
    let stranger = town.join("stranger", false);
    stranger.process.wait_line("orders a certificate", ISSUED);
    assert!(!stranger.process.stderr().contains("taken over"));
}

/// What the CA logs when the order has come so far.
const STEPS: [&str; 3] = ["accounts in memory", "Added order", "POST /chalZ"];

#[test]
fn when_the_owner_is_killed_at_a_step_the_next_one_goes_on() {
    for step in STEPS {
        let Some(mut town) = town(1, "") else {
            return;
        };
        let _turn = beside_others();
        let mut all: Vec<_> = ["a", "b", "c"].map(|name| town.join(name, true)).into();
        wait_for(step, ISSUED, || {
            town.pebble.log().contains(step).then_some(())
        });
        let owner = |one: &Townsman| one.process.stderr().contains("orders a certificate");
        let at = wait_for("an owner", SOON, || all.iter().position(owner));
        town.kill(all.remove(at));
        let client = town.client();
        town.wait_shown(&all, 0, &client, ISSUED);
        assert!(town.orders() <= 2, "{step}: {} orders", town.orders());
        assert_eq!(town.failed_validations(), 0, "{step}");
    }
}
