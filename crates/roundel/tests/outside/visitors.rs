//! Other people's TLS, in front and in between.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use roundel_testkit::{Origin, Process, Reply, external, free_port, wait_for};
use tempfile::TempDir;

use crate::balancer::{Balancer, SOON};
use crate::beside::python_with;
use crate::turns::beside_others;

const NAME: &str = "www.example.org";

/// Of a certificate for this name, which is its subject, too: OpenSSL goes by that.
fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A balancer that is visited at `front`, and at `mutual` with certificates.
struct Stage {
    folder: TempDir,
    front: SocketAddr,
    mutual: SocketAddr,
    behind: SocketAddr,
    balancer: Balancer,
}

impl Stage {
    /// With this server.
    fn start(server: SocketAddr, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = params("authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        for (file, name) in [
            ("site", NAME),
            ("client", "client"),
            ("stranger", "stranger"),
        ] {
            let key = KeyPair::generate().unwrap();
            let made = match file {
                "stranger" => params(name).self_signed(&key).unwrap(),
                _ => params(name).signed_by(&key, &authority).unwrap(),
            };
            let path = folder.path().join(format!("{file}.pem"));
            fs::write(path, made.pem() + &key.serialize_pem()).unwrap();
        }
        let loopback = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST)));
        let [front, mutual, behind, stats] = [(); 4].map(|()| loopback());
        let text = format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
             [[frontend]]\nname = \"front\"\ndefault_backend = \"nodes\"\n\
             trusted_proxies = [\"127.0.0.0/8\"]\n\
             listen = [{{ address = \"{front}\", tls = true }},\n\
             {{ address = \"{behind}\", tls = true, proxy_protocol = true }}]\n\
             tls = {{ certificates = [\"site.pem\"] }}\n\
             [[frontend]]\nname = \"mutual\"\ndefault_backend = \"nodes\"\n\
             listen = [{{ address = \"{mutual}\", tls = true }}]\n\
             tls = {{ certificates = [\"site.pem\"], client_auth = \"required\", client_ca = [\"ca.pem\"] }}\n\
             [[backend]]\nname = \"nodes\"\nsticky = \"off\"\n{more}\n\
             server = [{{ name = \"a\", address = \"{server}\" }}]\n"
        );
        let path = folder.path().join("roundel.toml");
        fs::write(&path, text).unwrap();
        let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
        Self {
            folder,
            front,
            mutual,
            behind,
            balancer,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has Python visit, and gives what it prints.
    fn visit(&self, python: PathBuf, script: &str, words: &[String]) -> String {
        let mut command = Command::new(python);
        let output = command.args(["-c", script]).args(words).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}\n{}", self.balancer.process);
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn openssl_visits_resumes_and_is_told_why_it_is_refused() {
    let Some(python) = python_with("ssl", "the Debian package `python3`") else {
        return;
    };
    let _turn = beside_others();
    let origin = Origin::start(|_| Reply::text("hello"));
    let stage = Stage::start(origin.address(), "");
    stage.balancer.wait_up(1, SOON);
    let words = [
        stage.folder.path().display().to_string(),
        stage.front.port().to_string(),
        stage.mutual.port().to_string(),
    ];
    let told = stage.visit(python, include_str!("visitors/openssl.py"), &words);
    let of = |version: &str| {
        format!(
            "{version} hello False hello True\n{version} another name: CERTIFICATE_VERIFY_FAILED\n\
             {version} None TLSV13_ALERT_CERTIFICATE_REQUIRED\n{version} client hello\n\
             {version} stranger TLSV1_ALERT_UNKNOWN_CA\n"
        )
    };
    assert_eq!(told, of("TLSv1_2") + &of("TLSv1_3"));
}

/// Source of the alerts' numbers: RFC 8446 6, and 6.2 for which of them is sent when.
#[test]
fn handshakes_out_of_order_and_cut_ones_end_at_once() {
    let Some(python) = python_with("tlslite", "`tlslite-ng` from PyPI") else {
        return;
    };
    let _turn = beside_others();
    let origin = Origin::start(|_| Reply::text("hello"));
    let stage = Stage::start(origin.address(), "");
    stage.balancer.wait_up(1, SOON);
    let words = [stage.front.port().to_string()];
    let told = stage.visit(python, include_str!("visitors/tlslite.py"), &words);
    let cut = "cut: unanswered None closed\n".repeat(6);
    let expected = format!(
        "no TLS: unanswered None closed\n\
         finished first: unanswered 10 closed\n\
         key exchange first: unanswered 10 closed\n\
         server's hello: unanswered 50 closed\n\
         data first: unanswered None closed\n\
         an alert first: unanswered None closed\n\
         change first: unanswered None closed\n\
         nothing in a record: unanswered 50 closed\n\
         two hellos, 1.2: answered 10 closed\n\
         two hellos, 1.3: answered None closed\n\
         finished too early, 1.2: answered 10 closed\n\
         change too early, 1.2: answered 10 closed\n\
         data too early, 1.2: answered 10 closed\n\
         data too early, 1.3: answered None closed\n\
         a record too long: unanswered 50 closed\n\
         a hello of 16 MB: unanswered 50 closed\n\
         {cut}by bytes: answered None closed\n\
         in records of 7 bytes: answered None closed\n\
         whole: hello\nwhole: hello\n"
    );
    assert_eq!(told, expected, "{}", stage.balancer.process);
}

/// What `curl` gets over TLS at this address.
fn curl(stage: &Stage, at: SocketAddr, words: &[&str]) -> Option<String> {
    let mut command = Command::new(external("curl", "curl")?);
    command
        .args(["-sS", "--max-time", "10", "--cacert"])
        .arg(stage.at("ca.pem"));
    command.args(["--resolve", &format!("{NAME}:{}:{}", at.port(), at.ip())]);
    let url = format!("https://{NAME}:{}/", at.port());
    let output = command.args(words).arg(url).output().unwrap();
    assert!(
        output.status.success(),
        "{output:?}\n{}",
        stage.balancer.process
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn haproxy_passes_tls_on_behind_each_kind_of_header() {
    let (Some(haproxy), Some(_)) = (external("haproxy", "haproxy"), external("curl", "curl"))
    else {
        return;
    };
    let _turn = beside_others();
    let origin = Origin::start(|request| {
        let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
        let told = [header("x-forwarded-for"), header("x-forwarded-proto")];
        Reply::text(told.join(" "))
    });
    let stage = Stage::start(origin.address(), "");
    stage.balancer.wait_up(1, SOON);
    let mut text =
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 9s\n  timeout server 9s\n"
            .to_owned();
    let (behind, site) = (stage.behind, stage.at("site.pem"));
    let passing = ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"];
    let mut at = Vec::new();
    for (i, sends) in passing.iter().enumerate() {
        let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST)));
        text += &format!("listen l{i}\n  bind {bind}\n  server s {behind} {sends}\n");
        at.push(bind);
    }
    // This one ends TLS and begins it anew, and tells of the client's.
    let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST)));
    text += &format!(
        "listen own\n  bind {bind} ssl crt {} ca-file {} verify optional\n  \
         server s {behind} ssl verify none send-proxy-v2-ssl-cn\n",
        site.display(),
        stage.at("ca.pem").display()
    );
    at.push(bind);
    let path = stage.at("haproxy.cfg");
    fs::write(&path, text).unwrap();
    let process = Process::spawn(Command::new(haproxy).args(["-db", "-f"]).arg(&path));
    for at in at {
        wait_for("HAProxy", SOON, || TcpStream::connect(at).ok());
        let client = stage.at("client.pem");
        let words = [
            "--interface",
            "127.0.0.11",
            "--cert",
            client.to_str().unwrap(),
        ];
        let told = curl(&stage, at, &words).unwrap();
        assert_eq!(told, "127.0.0.11 https", "{process}");
    }
}

/// The parts of a header's extension about TLS: its flags, whether a certificate was verified (0), and
/// the texts of version and cipher. Source: the PROXY protocol's specification, 2.2.6.
fn told_of_tls(mut parts: &[u8]) -> Option<(u8, u32, String, String)> {
    while let [kind, high, low, rest @ ..] = parts {
        let (value, more) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        parts = more;
        let (0x20, [flags, a, b, c, d, below @ ..]) = (kind, value) else {
            continue;
        };
        let text = |wanted: u8| {
            let mut below = below;
            while let [kind, high, low, rest @ ..] = below {
                let (value, more) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                if *kind == wanted {
                    return String::from_utf8_lossy(value).into_owned();
                }
                below = more;
            }
            String::new()
        };
        let verified = u32::from_be_bytes([*a, *b, *c, *d]);
        return Some((*flags, verified, text(0x21), text(0x23)));
    }
    None
}

#[test]
fn servers_are_told_of_the_clients_tls() {
    if external("curl", "curl").is_none() {
        return;
    }
    let _turn = beside_others();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let server = listener.local_addr().unwrap();
    let stage = Stage::start(server, "check = \"off\"\nsend_proxy = \"v2\"");
    let serve = || {
        let (mut stream, _) = wait_for("a request", SOON, || listener.accept().ok());
        let mut head = [0; 16];
        stream.read_exact(&mut head).unwrap();
        assert!(head.starts_with(b"\r\n\r\n\0\r\nQUIT\n"), "{head:?}");
        let mut rest = vec![0; usize::from(u16::from_be_bytes([head[14], head[15]]))];
        stream.read_exact(&mut rest).unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        stream.write_all(answer.as_bytes()).unwrap();
        // Two addresses of IPv4 and two ports come first.
        told_of_tls(&rest[12..])
    };
    let visit = |at: SocketAddr, words: &[&str]| {
        std::thread::scope(|scope| {
            let served = scope.spawn(serve);
            assert_eq!(curl(&stage, at, words).unwrap(), "ok");
            served.join().unwrap().unwrap()
        })
    };
    let client = stage.at("client.pem");
    let shown = ["--tlsv1.3", "--cert", client.to_str().unwrap()];
    let old = visit(stage.front, &["--tls-max", "1.2"]);
    let cipher = "ECDHE-ECDSA-AES256-GCM-SHA384";
    assert_eq!(old, (1, 1, "TLSv1.2".into(), cipher.into()));
    let (flags, verified, version, cipher) = visit(stage.mutual, &shown);
    // Over TLS, with a certificate on this connection and in this session.
    assert_eq!((flags, verified, &*version), (7, 0, "TLSv1.3"));
    assert!(cipher.starts_with("TLS_"), "{cipher}");
}
