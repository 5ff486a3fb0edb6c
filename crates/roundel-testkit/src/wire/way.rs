//! How a raw client gets to the proxy: in clear or over TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::ClientConnection;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore, StreamOwned};

use super::origin::reset;

/// Time for a connection and its handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// An address of the proxy under test, and how it is spoken to there.
#[derive(Debug, Clone)]
pub struct Way {
    /// Where it listens.
    pub address: SocketAddr,
    /// What a client believes, if it is TLS that is spoken.
    pub tls: Option<Arc<ClientConfig>>,
}

/// What a proxy shows over TLS, in a file, and a client that believes it. The client remembers
/// its sessions, so that most of them are resumed.
#[derive(Debug, Clone)]
pub struct Shown {
    /// A PEM file of a certificate and its key.
    pub file: PathBuf,
    pub(super) client: Arc<ClientConfig>,
}

/// One connection.
#[derive(Debug)]
pub enum Wire {
    /// In clear.
    Clear(TcpStream),
    /// Over TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Shown {
    /// Makes a certificate and writes it into `folder`.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn make(folder: &Path) -> Self {
        let made =
            rcgen::generate_simple_self_signed([Way::NAME.to_owned()]).expect("a valid name");
        let file = folder.join("shown.pem");
        let text = made.cert.pem() + &made.signing_key.serialize_pem();
        std::fs::write(&file, text).expect("a folder of our own");
        let mut roots = RootCertStore::empty();
        let added = roots.add(made.cert.der().clone());
        added.expect("a certificate made a moment ago");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.expect("the provider knows both versions");
        let client = builder.with_root_certificates(roots).with_no_client_auth();
        Self {
            file,
            client: Arc::new(client),
        }
    }
}

impl Way {
    /// The name that clients ask for over TLS, and that the certificate has.
    pub const NAME: &str = "a.example";

    /// Connects, over TLS with the handshake; offers these protocols by ALPN.
    ///
    /// Errors: nobody listens, or the handshake fails.
    pub fn open(&self, alpn: &[&str]) -> io::Result<Wire> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let Some(config) = &self.tls else {
            return Ok(Wire::Clear(stream));
        };
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        let name = Self::NAME.try_into().expect("a name");
        let tls = ClientConnection::new(Arc::new(config), name);
        let mut tls = tls.map_err(io::Error::other)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(Wire::Tls(Box::new(StreamOwned::new(tls, stream))))
    }
}

impl Wire {
    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Clear(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Reads wait so long at most.
    pub fn set_read_timeout(&self, patience: Duration) {
        let patience = patience.max(Duration::from_millis(1));
        let _ = self.socket().set_read_timeout(Some(patience));
    }

    /// Ends the sending side: over TLS with a word, too.
    pub fn half_close(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Breaks the connection.
    pub fn reset(self) {
        reset(self.socket());
    }
}

impl Read for Wire {
    /// Errors: as of a socket; over TLS also `UnexpectedEof` where it ends without the word.
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(room),
            Self::Tls(stream) => stream.read(room),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
