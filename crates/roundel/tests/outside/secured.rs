//! HTTPS: what clients are shown, when that changes, and what is told of it.

mod load;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use roundel_testkit::{Origin, Process, Signal, external, free_port, loopback, request, wait_for};
use roundel_tls::rustls::client::{ClientConfig, ClientConnection};
use roundel_tls::rustls::crypto::aws_lc_rs::default_provider;
use roundel_tls::rustls::{HandshakeKind, RootCertStore, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

use crate::balancer::{Balancer, SOON, roundel};
use crate::renewal::begin_renewal;
use crate::turns::beside_others;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NAME: &str = "www.example.org";

/// A configuration with certificates beside it, who signs them, and a server.
struct Stage {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
    front: SocketAddr,
    stats: SocketAddr,
    origin: Origin,
}

impl Stage {
    fn new() -> Self {
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ip = loopback();
        let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            authority: CertifiedIssuer::self_signed(authority, key).unwrap(),
            front,
            stats,
            origin: Origin::named("a"),
        };
        fs::create_dir(stage.at("certs")).unwrap();
        stage.configure("");
        stage
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration with more keys of `tls`.
    fn configure(&self, more: &str) {
        let text = format!(
            "[stats]\nlisten = \"{}\"\n[cli]\nlisten = \"off\"\n[access_log]\nformat = \"off\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [{{ address = \"{}\", tls = true }}]\n\
             tls = {{ certificates = [\"certs\"]{more} }}\n\
             [[backend]]\nname = \"nodes\"\nserver = [{{ name = \"a\", address = \"{}\" }}]\n",
            self.stats,
            self.front,
            self.origin.address()
        );
        fs::write(self.at("roundel.toml"), text).unwrap();
    }

    /// Puts a new certificate into the folder, in one step.
    fn put(&self, file: &str, from: SystemTime, to: SystemTime) {
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (from.into(), to.into());
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.authority).unwrap();
        fs::write(self.at("new"), leaf.pem() + &key.serialize_pem()).unwrap();
        fs::rename(self.at("new"), self.at("certs").join(file)).unwrap();
    }

    fn put_valid(&self, file: &str) {
        let now = SystemTime::now();
        self.put(file, now - DAY, now + DAY * 90);
    }

    fn serve(&self) -> Balancer {
        let path = self.at("roundel.toml");
        let balancer = Balancer::with_file(path.to_str().unwrap(), [self.front, self.stats]);
        balancer.wait_up(1, SOON);
        balancer
    }

    fn run(&self, verb: &str) -> Process {
        Process::spawn(roundel(&[verb, "-c"]).arg(self.at("roundel.toml")))
    }

    /// What a client believes and remembers.
    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    fn connect(&self, client: &Arc<ClientConfig>) -> Talk {
        let name = NAME.try_into().unwrap();
        let tls = ClientConnection::new(Arc::clone(client), name).unwrap();
        let tcp = TcpStream::connect(self.front).unwrap();
        tcp.set_read_timeout(Some(SOON)).unwrap();
        Talk(BufReader::new(StreamOwned::new(tls, tcp)))
    }

    /// The certificate that new clients are shown.
    fn shown(&self) -> Vec<u8> {
        let mut talk = self.connect(&self.client());
        assert_eq!(talk.get(), "a");
        let tls = &talk.0.get_ref().conn;
        tls.peer_certificates().unwrap()[0].to_vec()
    }
}

/// A connection over TLS.
struct Talk(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Talk {
    /// Asks for something and gives the body of the answer.
    fn get(&mut self) -> String {
        self.answer().1
    }

    /// The same with the head of the answer, in small letters.
    fn answer(&mut self) -> (String, String) {
        let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "it was closed");
            line.make_ascii_lowercase();
            head.push_str(&line);
            let line = line.trim_end();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    fn is_resumed(&self) -> bool {
        self.0.get_ref().conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

fn snapshot(balancer: &Balancer) -> Value {
    serde_json::from_str(&balancer.page("/api/v1/snapshot")).unwrap()
}

#[test]
fn a_change_of_the_files_is_taken_over_and_no_connection_ends() {
    let _turn = beside_others();
    let stage = Stage::new();
    stage.put_valid("site.pem");
    let balancer = stage.serve();
    let first = stage.shown();
    let mut old = stage.connect(&stage.client());
    assert_eq!(old.get(), "a");

    stage.put_valid("site.pem");
    wait_for("another certificate", SOON, || {
        (stage.shown() != first).then_some(())
    });
    let second = stage.shown();
    assert_eq!(old.get(), "a");

    // A file that is no good changes nothing, and is told with its reason.
    fs::write(stage.at("certs/broken.pem"), "no PEM").unwrap();
    let error = wait_for("the refusal", SOON, || {
        let error = snapshot(&balancer)["config"]["last_error"].clone();
        error.as_str().map(ToOwned::to_owned)
    });
    assert!(
        error.contains("certs/broken.pem: it holds no certificate"),
        "{error}"
    );
    assert_eq!(stage.shown(), second);
    assert_eq!(old.get(), "a");

    fs::remove_file(stage.at("certs/broken.pem")).unwrap();
    wait_for("a reload", SOON, || {
        snapshot(&balancer)["config"]["last_error"]
            .is_null()
            .then_some(())
    });
    assert_eq!(stage.shown(), second);
    assert_eq!(old.get(), "a");
}

/// As in the example of config/tls.toml.
#[test]
fn files_towards_servers_are_read_again_when_they_change() {
    let _turn = beside_others();
    let stage = Stage::new();
    stage.put_valid("site.pem");
    let path = stage.at("roundel.toml");
    let text = fs::read_to_string(&path).unwrap() + "tls = { ca_file = \"ca.pem\" }\n";
    fs::write(&path, text).unwrap();
    fs::write(stage.at("ca.pem"), stage.authority.pem()).unwrap();
    let balancer = Balancer::with_file(path.to_str().unwrap(), [stage.front, stage.stats]);
    let other = Stage::new();
    fs::write(stage.at("ca.pem"), other.authority.pem()).unwrap();
    wait_for("a reload", SOON, || {
        let events = snapshot(&balancer)["events"].to_string();
        let line = "reloaded, 1 change, asked by a change of the certificates";
        events.contains(line).then_some(())
    });
}

#[test]
fn who_comes_in_clear_is_sent_to_https_and_told_to_stay() {
    let _turn = beside_others();
    let stage = Stage::new();
    stage.put_valid("site.pem");
    let ip = loopback();
    let clear = SocketAddr::from((ip, free_port(ip)));
    let path = stage.at("roundel.toml");
    let text = fs::read_to_string(&path).unwrap().replace(
        "[[backend]]",
        &format!(
            "response_headers = {{ set = {{ Strict-Transport-Security = \"max-age=31536000\" }} }}\n\
             [[frontend]]\nname = \"http\"\nlisten = [\"{clear}\"]\n\
             route = [{{ redirect = {{ scheme = \"https\", status = 301 }} }}]\n[[backend]]"
        ),
    );
    fs::write(&path, text).unwrap();
    let _balancer = stage.serve();
    let answer = request(clear, "GET", "/a?b", &[("Host", NAME)], b"").unwrap();
    assert_eq!(answer.status, 301);
    let expected = format!("https://{NAME}/a?b");
    assert_eq!(answer.header("location"), Some(&*expected));
    assert_eq!(answer.header("strict-transport-security"), None);
    let (head, body) = stage.connect(&stage.client()).answer();
    assert!(
        head.contains("strict-transport-security: max-age=31536000\r\n"),
        "{head}"
    );
    assert_eq!(body, "a");
}

#[test]
fn check_and_start_tell_of_what_is_no_good() {
    let stage = Stage::new();
    for (verb, code) in [("check", 1), ("serve", 3)] {
        let mut process = stage.run(verb);
        assert_eq!(process.wait_exit(SOON).code(), Some(code), "{process}");
        let told = process.stderr();
        for part in [
            "toml:10:",
            "there is no certificate in it",
            "hint: put name.pem",
        ] {
            assert!(told.contains(part), "{part}\n{process}");
        }
    }
    let now = SystemTime::now();
    stage.put("ended.pem", now - DAY * 9, now - DAY * 2);
    let mut process = stage.run("check");
    assert_eq!(process.wait_exit(SOON).code(), Some(0), "{process}");
    let told = process.stderr();
    assert!(
        told.contains("warning: the certificate www.example.org ("),
        "{process}"
    );
    assert!(told.contains("ended.pem) ended 2 days ago"), "{process}");
}

#[test]
fn one_that_has_ended_is_shown_all_the_same_and_told_of() {
    let _turn = beside_others();
    let stage = Stage::new();
    let now = SystemTime::now();
    stage.put("ended.pem", now - DAY * 9, now - DAY * 2);
    let balancer = stage.serve();
    let line = balancer
        .process
        .wait_line("ended 2 days ago: clients refuse it", SOON);
    assert!(
        line.contains("WARN") && line.contains("certificate"),
        "{line}"
    );
    let page = balancer.page("/");
    assert!(
        page.contains("ended 2 days ago: clients refuse it."),
        "{page}"
    );
    let certificate = &snapshot(&balancer)["certificates"][0];
    assert_eq!(certificate["names"][0], NAME);
    assert_eq!(certificate["frontends"][0], "front");
    assert_eq!(certificate["stage"], "ended");
    let metric = "roundel_certificate_not_after_seconds{name=\"www.example.org\",key=\"ECDSA\"";
    assert!(balancer.page("/metrics").contains(metric));
    // The handshake fails at the client only.
    let mut talk = stage.connect(&stage.client());
    let error = talk.0.get_mut().write_all(b"GET").unwrap_err().to_string();
    assert!(error.contains("certificate expired"), "{error}");
}

#[test]
fn sessions_go_on_after_a_reload_and_in_the_process_that_takes_over() {
    let _turn = beside_others();
    let stage = Stage::new();
    stage.put_valid("site.pem");
    let mut balancer = stage.serve();
    let client = stage.client();
    let visit = || {
        let mut talk = stage.connect(&client);
        assert_eq!(talk.get(), "a");
        talk.is_resumed()
    };
    assert_eq!([visit(), visit()], [false, true]);
    balancer.process.signal(Signal::HUP);
    wait_for("a reload", SOON, || {
        let reloads = &snapshot(&balancer)["config"]["reloads_ok_total"];
        (*reloads == 1).then_some(())
    });
    assert!(visit());
    let _successor = begin_renewal(&balancer);
    assert!(balancer.process.wait_exit(SOON).success());
    assert!(visit());
}

/// What sslscan finds that a server speaks: versions, and ciphers with their version.
fn spoken(stage: &Stage) -> Option<BTreeSet<String>> {
    let sslscan = external("sslscan", "sslscan")?;
    let found = Command::new(sslscan)
        .args(["--no-colour", "--sni-name", NAME, &stage.front.to_string()])
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [version, "enabled"] => Some(version.to_owned()),
            ["Preferred" | "Accepted", version, _, "bits", cipher, ..] => {
                Some(format!("{version} {cipher}"))
            }
            _ => None,
        }
    };
    let spoken: BTreeSet<_> = found.lines().filter_map(line).collect();
    assert!(!spoken.is_empty(), "{found}");
    Some(spoken)
}

/// Source: Mozilla's configurations, version 5.7, for a key of an elliptic curve.
#[test]
fn a_scanner_finds_what_the_profile_says_and_nothing_else() {
    let _turn = beside_others();
    let stage = Stage::new();
    stage.put_valid("site.pem");
    let modern = [
        "TLSv1.3",
        "TLSv1.3 TLS_AES_128_GCM_SHA256",
        "TLSv1.3 TLS_AES_256_GCM_SHA384",
        "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256",
    ];
    let old = [
        "TLSv1.2",
        "TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305",
    ];
    for (more, expected) in [
        (", profile = \"modern\"", modern.to_vec()),
        ("", [modern, old].concat()),
    ] {
        stage.configure(more);
        let _balancer = stage.serve();
        let Some(spoken) = spoken(&stage) else { return };
        let expected: BTreeSet<_> = expected.into_iter().map(String::from).collect();
        assert_eq!(spoken, expected);
    }
}

#[test]
fn the_demo_over_https_is_believed_by_the_line_that_it_prints() {
    let _turn = beside_others();
    if external("curl", "curl").is_none() {
        return;
    }
    let mut demo = Balancer::demo(1, &["--tls"]);
    let told = demo.process.wait_line("curl --cacert", SOON);
    let line = told.lines().find(|line| line.contains("curl --cacert"));
    let words: Vec<_> = line.unwrap().split_whitespace().take(4).collect();
    assert_eq!(words[3], format!("https://{}", demo.front), "{told}");
    let file = PathBuf::from(words[2]);
    let mut curl = Command::new(words[0]);
    let answer = curl.args(["-sS"]).args(&words[1..]).output().unwrap();
    let told = String::from_utf8_lossy(&answer.stdout);
    assert!(told.contains("webapp-1"), "{told} {answer:?}");
    demo.process.signal(Signal::INT);
    assert!(demo.process.wait_exit(SOON).success());
    assert!(!file.exists());
}
