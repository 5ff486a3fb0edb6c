//! Balancers that share their names, and Pebble, whose questions go to any of them.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::{ClientConfig, ClientConnection};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{HandshakeKind, RootCertStore, StreamOwned};

use crate::{Origin, Pebble, Process, Reply, Signal, free_port, loopback, poll};

/// Enough for anything that should happen at once.
const SOON: Duration = Duration::from_secs(30);

/// How many balancers know each other's addresses beforehand.
const SEEDS: usize = 3;

fn free_port_of(ip: IpAddr) -> u16 {
    match ip {
        IpAddr::V4(ip) => free_port(ip),
        IpAddr::V6(_) => unreachable!("all are of IPv4"),
    }
}

fn free_at() -> SocketAddr {
    let ip = loopback();
    (ip, free_port(ip)).into()
}

/// Balancers that share certificates for the same names, each with a directory of its own.
///
/// Shape: frontend `n` of each has the name `n.town.example`. Of the CA's questions on port 80 each goes to
/// the next balancer that takes connections.
#[derive(Debug)]
pub struct Town {
    program: PathBuf,
    folder: tempfile::TempDir,
    names: usize,
    origin: Origin,
    /// Where balancers answer in clear, in turn.
    doors: Arc<Mutex<Vec<SocketAddr>>>,
    /// Where balancers gossip, those to come too: whoever dies, the others find each other.
    seeds: Vec<SocketAddr>,
    joined: usize,
    /// The CA.
    pub pebble: Pebble,
}

/// One of the balancers.
#[derive(Debug)]
pub struct Townsman {
    /// Its name in the gossip.
    pub name: String,
    /// The program.
    pub process: Process,
    /// When it was started.
    pub started: Instant,
    /// Where each frontend answers over TLS.
    pub fronts: Vec<SocketAddr>,
    /// Where the page answers.
    pub stats: SocketAddr,
    door: SocketAddr,
}

/// What a client over TLS believes and remembers.
pub type Client = Arc<ClientConfig>;

/// What came of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Whether a session was resumed.
    pub resumed: bool,
}

impl Town {
    /// Starts Pebble with so much `more` in its configuration, and no balancer; `None` where it is not
    /// installed. `key` and `gossip_key` are of 32 bytes, in base64.
    pub fn start(
        program: &Path,
        names: usize,
        [key, gossip_key]: [&str; 2],
        more: &str,
    ) -> Option<Self> {
        let pebble = Pebble::start(more)?;
        let folder = tempfile::tempdir().expect("a fixture of a test can be made");
        for (name, key) in [("key", key), ("gossip", gossip_key)] {
            let path = folder.path().join(name);
            let written = fs::write(&path, key)
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o600)));
            written.expect("a fixture of a test can be made");
        }
        let doors = Arc::default();
        let listener = TcpListener::bind(pebble.http()).expect("the port is free");
        let of_relay = Arc::clone(&doors);
        std::thread::spawn(move || relay(&listener, &of_relay));
        Some(Self {
            program: program.to_owned(),
            folder,
            names,
            origin: Origin::start(|_| Reply::text("hello")),
            doors,
            seeds: (0..SEEDS).map(|_| free_at()).collect(),
            joined: 0,
            pebble,
        })
    }

    /// Starts a balancer; with the cluster's key, unless it is a stranger to it.
    pub fn join(&mut self, name: &str, has_key: bool) -> Townsman {
        let [door, stats] = [(); 2].map(|()| free_at());
        let gossip = self.seeds.get(self.joined).copied().unwrap_or_else(free_at);
        self.joined += 1;
        // Others look for it at the address of its gossip.
        let cluster = SocketAddr::new(gossip.ip(), free_port_of(gossip.ip()));
        let fronts: Vec<_> = (0..self.names).map(|_| free_at()).collect();
        let file = |name: &str| self.folder.path().join(name);
        let mut text = format!(
            "stats = {{ listen = \"{stats}\" }}\ncli = {{ listen = \"off\" }}\naccess_log = {{ format = \"off\" }}\n\
             gossip = {{ listen = \"{gossip}\", node_name = \"{name}\", join = {:?}, key_file = {:?} }}\n\
             [[backend]]\nname = \"nodes\"\nserver = [{{ name = \"s1\", address = \"{}\" }}]\n\
             [[frontend]]\nname = \"http\"\nlisten = [\"{door}\"]\n",
            self.seeds
                .iter()
                .map(SocketAddr::to_string)
                .collect::<Vec<_>>(),
            file("gossip"),
            self.origin.address()
        );
        for (n, front) in fronts.iter().enumerate() {
            let acme = format!(
                "{{ names = [\"{}\"], accept_terms = true, directory = \"{}\", ca_file = {:?}, state = {:?} }}",
                Self::host(n),
                self.pebble.directory(),
                self.pebble.ca_file(),
                file(&format!("{name}-state"))
            );
            text += &format!(
                "[[frontend]]\nname = \"https-{n}\"\nlisten = [{{ address = \"{front}\", tls = true }}]\ntls = {{ acme = {acme} }}\n"
            );
        }
        if has_key {
            text += &format!(
                "[cluster]\nlisten = \"{cluster}\"\nkey_file = {:?}\n",
                file("key")
            );
        }
        let path = file(&format!("{name}.toml"));
        fs::write(&path, text).expect("a fixture of a test can be made");
        let mut command = Command::new(&self.program);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("ROUNDEL_") {
                command.env_remove(variable);
            }
        }
        let started = Instant::now();
        let process = Process::spawn(command.args(["serve", "-c"]).arg(path));
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.push(door);
        drop(doors);
        Townsman {
            name: name.to_owned(),
            process,
            started,
            fronts,
            stats,
            door,
        }
    }

    /// Ends one without a word.
    pub fn kill(&self, mut one: Townsman) -> String {
        one.process.signal(Signal::KILL);
        one.process.wait_exit(SOON);
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.retain(|door| *door != one.door);
        one.process.stderr()
    }

    /// The name of a frontend.
    pub fn host(n: usize) -> String {
        format!("{n}.town.example")
    }

    /// Waits until frontend `n` of each shows a certificate of the CA, and gives it if it is one.
    pub fn wait_shown(
        &self,
        all: &[Townsman],
        n: usize,
        client: &Client,
        within: Duration,
    ) -> Shown {
        let mut last = Vec::new();
        let shown = poll(within, || {
            last = all.iter().map(|one| one.ask(n, client)).collect();
            let first = last.first()?.as_ref().ok()?.clone();
            let same = |shown: &io::Result<Shown>| matches!(shown, Ok(s) if s.certificate == first.certificate);
            last.iter().all(same).then_some(first)
        });
        shown.unwrap_or_else(|| {
            let logs: String = all.iter().map(|one| format!("{}\n", one.process)).collect();
            panic!("{last:?}\n{logs}")
        })
    }

    /// Orders that the CA has taken.
    pub fn orders(&self) -> usize {
        self.pebble.log().matches("Added order").count()
    }

    /// Names that the CA has looked for and not found.
    pub fn failed_validations(&self) -> usize {
        self.pebble.log().matches("set INVALID by").count()
    }

    /// A client that believes the CA alone.
    pub fn client(&self) -> Client {
        let pem = fs::read(self.pebble.root()).expect("Pebble has told its root");
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&pem) {
            let root = root.expect("Pebble's root is PEM");
            roots.add(root).expect("Pebble's root is a certificate");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has suites of both versions");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

impl Townsman {
    /// A handshake with frontend `n` and a request, by a client of [`Town::client`].
    ///
    /// Errors: as the network or TLS says; also when the certificate is not the CA's.
    pub fn ask(&self, n: usize, client: &Client) -> io::Result<Shown> {
        let host = Town::host(n);
        let name = host.clone().try_into().expect("it is a name");
        let tls = ClientConnection::new(Arc::clone(client), name).map_err(io::Error::other)?;
        let tcp = TcpStream::connect(self.fronts[n])?;
        tcp.set_read_timeout(Some(SOON))?;
        let mut stream = StreamOwned::new(tls, tcp);
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            // Whoever closes need not say so at length.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => {}
        }
        if !answer.ends_with(b"hello") {
            return Err(io::Error::other(
                String::from_utf8_lossy(&answer).into_owned(),
            ));
        }
        let shown = stream
            .conn
            .peer_certificates()
            .and_then(|chain| chain.first());
        Ok(Shown {
            certificate: shown.expect("there was a handshake").to_vec(),
            resumed: stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }
}

/// Passes each request to the next door that is open, until the process ends. One that dies without an
/// answer is none that the CA would ask.
fn relay(listener: &TcpListener, doors: &Arc<Mutex<Vec<SocketAddr>>>) {
    for client in listener.incoming().flatten() {
        let doors = Arc::clone(doors);
        std::thread::spawn(move || pass(client, &doors));
    }
}

fn pass(mut client: TcpStream, doors: &Mutex<Vec<SocketAddr>>) -> io::Result<()> {
    client.set_read_timeout(Some(SOON))?;
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && client.read(&mut byte)? > 0 {
        request.extend(byte);
    }
    // Behind it another would have to come.
    let end = request.len().saturating_sub(2);
    request.splice(end.., *b"Connection: close\r\n\r\n");
    let next = || {
        let mut doors = doors.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = usize::from(!doors.is_empty());
        doors.rotate_left(turn);
        doors.first().copied()
    };
    let ask = |door: SocketAddr| -> io::Result<Vec<u8>> {
        let (mut server, mut answer) = (TcpStream::connect(door)?, Vec::new());
        server.set_read_timeout(Some(SOON))?;
        server.write_all(&request)?;
        server.read_to_end(&mut answer)?;
        Ok(answer)
    };
    for _ in 0..2 * SEEDS {
        let answer = next().map(ask).and_then(Result::ok);
        if let Some(answer) = answer.filter(|answer| !answer.is_empty()) {
            return client.write_all(&answer);
        }
    }
    Ok(())
}
