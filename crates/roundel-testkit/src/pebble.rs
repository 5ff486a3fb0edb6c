//! Pebble, Let's Encrypt's CA for tests, with names that all point to loopback.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Process, Signal, external, free_port};

/// Pebble in a directory of its own, as Debian's package `pebble` brings it.
///
/// Shape: it looks at `127.0.0.1` for every name, on ports of its own; half of all nonces are refused;
/// it forgets everything when it ends.
#[derive(Debug)]
pub struct Pebble {
    folder: tempfile::TempDir,
    ports: [u16; 5],
    _names: Process,
    server: Process,
}

impl Pebble {
    /// Starts both; `None` where they are not installed. `more` is added to its configuration.
    pub fn start(more: &str) -> Option<Self> {
        let (pebble, names) = (
            external("pebble", "pebble")?,
            external("pebble-challtestsrv", "pebble")?,
        );
        let folder = tempfile::tempdir().expect("a fixture of a test can be made");
        let ports = std::array::from_fn(|_| free_port(Ipv4Addr::LOCALHOST));
        let [api, management, http, tls, dns] = ports;
        let key = rcgen::KeyPair::generate().expect("a fixture of a test can be made");
        let own = rcgen::CertificateParams::new(vec!["127.0.0.1".into()])
            .expect("a fixture of a test can be made");
        let own = own
            .self_signed(&key)
            .expect("a fixture of a test can be made");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("cert.pem"), own.pem()).expect("a fixture of a test can be made");
        fs::write(at("key.pem"), key.serialize_pem()).expect("a fixture of a test can be made");
        let config = format!(
            r#"{{"pebble": {{"listenAddress": "127.0.0.1:{api}", "managementListenAddress": "127.0.0.1:{management}",
                "certificate": "cert.pem", "privateKey": "key.pem", "httpPort": {http}, "tlsPort": {tls} {more}}}}}"#
        );
        fs::write(at("config.json"), config).expect("a fixture of a test can be made");
        let dns = format!("127.0.0.1:{dns}");
        let names = Process::spawn(
            Command::new(names).args(
                [
                    ["-http01", ""],
                    ["-https01", ""],
                    ["-tlsalpn01", ""],
                    ["-defaultIPv6", ""],
                    ["-dns01", &dns],
                    [
                        "-management",
                        &format!("127.0.0.1:{}", free_port(Ipv4Addr::LOCALHOST)),
                    ],
                ]
                .concat(),
            ),
        );
        let server = Self::server(&pebble, folder.path(), &dns);
        Some(Self {
            folder,
            ports,
            _names: names,
            server,
        })
    }

    fn server(pebble: &Path, folder: &Path, dns: &str) -> Process {
        let server = Process::spawn(
            Command::new(pebble)
                .args(["-config", "config.json", "-dnsserver", dns])
                .current_dir(folder)
                .env("PEBBLE_VA_NOSLEEP", "1")
                .env("PEBBLE_WFE_NONCEREJECT", "50"),
        );
        server.wait_line("ACME directory available", Duration::from_secs(30));
        server
    }

    /// What it has logged: each request, each name that it looked for, each certificate.
    pub fn log(&self) -> String {
        self.server.stdout() + &self.server.stderr()
    }

    /// Ends it; what it looks up names with goes on.
    pub fn stop(&mut self) {
        self.server.signal(Signal::KILL);
        self.server.wait_exit(Duration::from_secs(30));
    }

    /// Ends it, and starts it with nothing of what it knew.
    pub fn forget(&mut self) {
        self.stop();
        let pebble = external("pebble", "pebble").expect("a fixture of a test can be made");
        let dns = format!("127.0.0.1:{}", self.ports[4]);
        self.server = Self::server(&pebble, self.folder.path(), &dns);
    }

    /// The address of its directory.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.ports[0])
    }

    /// A file with the root by which its own address is verified.
    pub fn ca_file(&self) -> PathBuf {
        self.at("cert.pem")
    }

    /// A path in its directory, which goes with it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where it looks for http-01.
    pub fn http(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[2]).into()
    }

    /// Where it looks for tls-alpn-01.
    pub fn tls(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[3]).into()
    }

    /// A file with the root of what it issues, in PEM. Needs curl.
    pub fn root(&self) -> PathBuf {
        let path = self.at("root.pem");
        let curl = external("curl", "curl").expect("curl is needed beside Pebble");
        let url = format!("https://127.0.0.1:{}/roots/0", self.ports[1]);
        let mut command = Command::new(curl);
        command
            .args(["-sS", "--fail", "--cacert"])
            .arg(self.ca_file());
        let done = command.arg("-o").arg(&path).arg(url).status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "Pebble tells its root"
        );
        path
    }
}
