//! TLS 1.3 on the load's side: one cipher and one key exchange, so that all peers do the same sums.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::Failure;

/// The name that is asked for.
pub(crate) const NAME: &str = "localhost";

#[derive(clap::Args)]
pub(super) struct SecureOptions {
    /// Speaks TLS 1.3 (TLS_AES_128_GCM_SHA256, X25519) and trusts the certificate in this file.
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// Each connection after a client's first resumes its session; otherwise none does.
    #[arg(long, requires = "tls")]
    resume: bool,
    /// The key exchange is X25519MLKEM768.
    #[arg(long, requires = "tls")]
    hybrid: bool,
}

/// How connections are secured.
pub(super) struct Secure {
    config: ClientConfig,
    resume: bool,
}

impl Secure {
    /// `None` for plain connections.
    pub(super) fn new(options: &SecureOptions) -> Result<Option<Self>> {
        let Some(file) = &options.tls else {
            return Ok(None);
        };
        Ok(Some(Self {
            config: config(file, options.hybrid)?,
            resume: options.resume,
        }))
    }

    /// One client, which has no session yet.
    pub(super) fn client(&self) -> Session {
        let mut config = self.config.clone();
        if self.resume {
            config.resumption = Resumption::in_memory_sessions(4);
        }
        Session {
            connector: Arc::new(config).into(),
            resume: self.resume,
            expected: HandshakeKind::Full,
        }
    }
}

fn config(trusted: &Path, hybrid: bool) -> Result<ClientConfig> {
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![match hybrid {
        true => kx_group::X25519MLKEM768,
        false => kx_group::X25519,
    }];
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(trusted);
    roots.add(certificate.with_context(|| format!("{}", trusted.display()))?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The sessions of one client.
pub(super) struct Session {
    connector: TlsConnector,
    resume: bool,
    /// What the next handshake has to be.
    expected: HandshakeKind,
}

impl Session {
    pub(super) async fn connect(
        &mut self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let name = ServerName::try_from(NAME).expect("it is a name");
        let stream = self.connector.connect(name, stream).await;
        let stream = stream.map_err(|_| Failure::Handshake)?;
        if stream.get_ref().1.handshake_kind() != Some(self.expected) {
            return Err(Failure::HandshakeKind);
        }
        if self.resume {
            self.expected = HandshakeKind::Resumed;
        }
        Ok(stream)
    }
}
