//! The other end of a connection over TLS: rustls by itself, over the API that the transport does not
//! use.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::SystemTime;

use roundel_tls::{Back, Certificate, Demand, Front, Policy, TicketKeys};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A certificate that signed itself, and what believes it.
pub(crate) struct Pair {
    chain: String,
    key: String,
}

impl Pair {
    pub(crate) fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Self {
            chain: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap()
    }

    pub(crate) fn certificate(&self) -> Arc<Certificate> {
        let read = Certificate::read(self.chain.as_bytes(), self.key.as_bytes(), "test");
        Arc::new(read.unwrap())
    }

    pub(crate) fn front(&self, policy: &Policy) -> Arc<Front> {
        let now = SystemTime::now();
        let front = Front::new(&[self.certificate()], policy, &TicketKeys::new(now), now);
        Arc::new(front)
    }

    /// A file with the certificate, as those who believe it have it; and one with the key.
    pub(crate) fn files(&self) -> [tempfile::TempPath; 2] {
        [&self.chain, &self.key].map(|pem| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(pem.as_bytes()).unwrap();
            file.into_temp_path()
        })
    }

    /// How servers that show it are spoken to.
    pub(crate) fn back(&self, change: impl FnOnce(&mut Demand)) -> Back {
        let [ca_file, _] = self.files();
        let mut demand = Demand {
            ca_file: Some(ca_file.to_path_buf()),
            ..Demand::default()
        };
        change(&mut demand);
        Back::read(&demand).unwrap()
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.der()], key);
        Arc::new(config.unwrap())
    }

    /// A server that shows it, and believes `clients` alone.
    pub(crate) fn server_for(&self, clients: &Self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(clients.roots()));
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![self.der()], key);
        Arc::new(config.unwrap())
    }

    /// A client that believes `server`, and shows this one.
    pub(crate) fn shown_to(&self, server: &Self) -> ClientConfig {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        ClientConfig::builder()
            .with_root_certificates(server.roots())
            .with_client_auth_cert(vec![self.der()], key)
            .unwrap()
    }

    /// A client that believes it, and speaks one version.
    pub(crate) fn client_of(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        roots
    }

    /// A client that believes it, and speaks these protocols.
    pub(crate) fn client(&self, alpn: &[&str]) -> ClientConfig {
        let mut config = ClientConfig::builder()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// One end of a connection.
pub(crate) struct Far {
    pub(crate) socket: TcpStream,
    pub(crate) session: rustls::Connection,
    /// Every byte received so far.
    pub(crate) received: Vec<u8>,
    /// Not read yet.
    plain: Vec<u8>,
}

impl Far {
    pub(crate) async fn client(
        socket: TcpStream,
        config: impl Into<Arc<ClientConfig>>,
        name: &str,
    ) -> Result<Self, rustls::Error> {
        let name = name.to_owned().try_into().unwrap();
        let session = ClientConnection::new(config.into(), name).unwrap();
        Self::shake(socket, session.into()).await
    }

    pub(crate) async fn server(
        socket: TcpStream,
        config: Arc<ServerConfig>,
    ) -> Result<Self, rustls::Error> {
        let session = ServerConnection::new(config).unwrap();
        Self::shake(socket, session.into()).await
    }

    /// Goes on with a handshake.
    pub(crate) async fn shake(
        socket: TcpStream,
        session: rustls::Connection,
    ) -> Result<Self, rustls::Error> {
        let mut far = Self {
            socket,
            session,
            received: Vec::new(),
            plain: Vec::new(),
        };
        far.flush().await;
        while far.session.is_handshaking() {
            let heard = far.hear().await;
            far.flush().await;
            heard?;
        }
        Ok(far)
    }

    /// The name that a client has asked for.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.session {
            rustls::Connection::Server(session) => session.server_name(),
            rustls::Connection::Client(_) => None,
        }
    }

    /// Records that wait to be sent.
    pub(crate) fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut records).unwrap();
        }
        records
    }

    pub(crate) async fn flush(&mut self) {
        let records = self.records();
        self.socket.write_all(&records).await.unwrap();
    }

    /// Reads once. Errors: what came breaks the protocol, or is an alert.
    pub(crate) async fn hear(&mut self) -> Result<(), rustls::Error> {
        let mut bytes = vec![0; 16 * 1024];
        let n = self.socket.read(&mut bytes).await.unwrap_or(0);
        let mut bytes = &bytes[..n];
        self.received.extend_from_slice(bytes);
        loop {
            let fed = self.session.read_tls(&mut bytes).unwrap();
            self.session.process_new_packets()?;
            let _ = self.session.reader().read_to_end(&mut self.plain);
            if fed == 0 && self.session.is_handshaking() {
                return Err(rustls::Error::General("cut in the handshake".to_owned()));
            }
            if bytes.is_empty() {
                return Ok(());
            }
        }
    }

    pub(crate) async fn say(&mut self, words: impl AsRef<[u8]>) {
        for piece in words.as_ref().chunks(16 * 1024) {
            self.session.writer().write_all(piece).unwrap();
            self.flush().await;
        }
    }

    /// Reads some plaintext; nothing at the end. Errors: the end was not said.
    pub(crate) async fn read(&mut self) -> Result<Vec<u8>, ErrorKind> {
        loop {
            if !self.plain.is_empty() {
                return Ok(std::mem::take(&mut self.plain));
            }
            match self.session.reader().read(&mut [0]) {
                Ok(_) => return Ok(Vec::new()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.hear().await.unwrap();
                }
                Err(error) => return Err(error.kind()),
            }
        }
    }

    pub(crate) async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < length {
            let more = self.read().await.unwrap();
            assert!(!more.is_empty(), "ended after {} bytes", got.len());
            got.extend_from_slice(&more);
        }
        assert_eq!(got.len(), length);
        got
    }

    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut got = Vec::new();
        while !got.ends_with(end.as_bytes()) {
            let more = self.read().await.unwrap();
            assert!(!more.is_empty(), "ended after {}", got.escape_ascii());
            got.extend_from_slice(&more);
        }
        String::from_utf8(got).unwrap()
    }

    /// Says that nothing follows, and ends the sending side.
    pub(crate) async fn end(&mut self) {
        self.session.send_close_notify();
        self.flush().await;
        self.socket.shutdown().await.unwrap();
    }
}
