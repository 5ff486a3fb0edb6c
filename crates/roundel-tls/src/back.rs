//! How servers are spoken to over TLS.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::certificate::{broken, private_key, unfit};
use crate::clients::read_authorities;
use crate::files::trace;
use crate::flaw::{Flaw, Refused};
use crate::policy::Protocol;
use crate::provider;

/// The largest file of a certificate or key, in bytes.
const LARGEST: u64 = 1 << 20;

/// What is asked of servers, and shown to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// PEM of the authorities that sign servers' certificates; `None` for those that browsers trust.
    pub ca_file: Option<PathBuf>,
    /// The name that a server's certificate has to stand for, which the server is told too; `None`
    /// for the address of the server.
    pub server_name: Option<ServerName<'static>>,
    /// PEM of a chain to show and of its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether certificates are looked at. Without that anybody on the way can read and change all.
    pub verify: bool,
    /// What servers are offered to speak inside, the best first.
    pub alpn: Vec<Protocol>,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            ca_file: None,
            server_name: None,
            certificate: None,
            verify: true,
            alpn: vec![Protocol::Http1],
        }
    }
}

/// How the servers of a backend are spoken to over TLS. Immutable; what has changed is built anew.
///
/// Two are equal if they believe and show the same.
#[derive(Debug)]
pub struct Back {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    verifies: bool,
    mark: u64,
    paths: Vec<PathBuf>,
    trace: Vec<String>,
}

impl Back {
    /// Reads the files that are named. Errors: every one that is no good.
    pub fn read(demand: &Demand) -> Result<Self, Vec<Refused>> {
        let mut paths: Vec<PathBuf> = demand.ca_file.iter().cloned().collect();
        let shown = demand.certificate.iter();
        paths.extend(shown.flat_map(|(chain, key)| [chain.clone(), key.clone()]));
        // Before they are read: what changes while they are is told of afterwards.
        let trace = trace(&paths);
        let mut refused = Vec::new();
        let mut context = Context::new(&SHA256);
        let (name, alpn) = (&demand.server_name, &demand.alpn);
        context.update(format!("{name:?} {} {alpn:?}", demand.verify).as_bytes());
        let mut roots = RootCertStore::empty();
        match &demand.ca_file {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => match read_authorities(path, &mut roots) {
                Ok(bytes) => context.update(&bytes),
                Err(flaw) => refused.push(Refused::new(path, flaw)),
            },
        }
        let shown = match &demand.certificate {
            None => None,
            Some((chain, key)) => match read_shown(chain, key, &mut context) {
                Ok(shown) => Some(shown),
                Err(flaw) => {
                    refused.push(flaw);
                    None
                }
            },
        };
        if !refused.is_empty() {
            return Err(refused);
        }
        let verifier: Arc<dyn ServerCertVerifier> = match demand.verify {
            false => Arc::new(Anybody(provider::shared())),
            true => {
                let roots = Arc::new(roots);
                let built =
                    WebPkiServerVerifier::builder_with_provider(roots, provider::shared()).build();
                built.expect("there are roots, and no lists of revoked certificates")
            }
        };
        let builder = ClientConfig::builder_with_provider(provider::shared())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider knows both versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let leaf = chain[0].clone();
                let built = builder.with_client_auth_cert(chain, key);
                built.map_err(|error| vec![refuse_shown(demand, &leaf, error)])?
            }
        };
        config.alpn_protocols = alpn.iter().map(|p| p.as_str().into()).collect();
        let digest = context.finish();
        let (mark, _) = digest.as_ref().split_first_chunk().expect("32 bytes");
        Ok(Self {
            config: Arc::new(config),
            name: demand.server_name.clone(),
            verifies: demand.verify,
            mark: u64::from_ne_bytes(*mark),
            paths,
            trace,
        })
    }

    /// What a handshake begins with.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// As [`Self::config`], for a handshake that offers this protocol alone.
    pub fn config_for(&self, protocol: &[u8]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }

    /// The name that the certificate of the server at this address has to stand for.
    pub fn name(&self, address: IpAddr) -> ServerName<'static> {
        self.name
            .clone()
            .unwrap_or_else(|| ServerName::IpAddress(address.to_canonical().into()))
    }

    /// Whether certificates are looked at.
    pub fn verifies(&self) -> bool {
        self.verifies
    }

    /// The files of which it was made, and what [`trace`] told of them before.
    pub fn files(&self) -> (&[PathBuf], &[String]) {
        (&self.paths, &self.trace)
    }

    /// Tells it from one under which other servers would be believed.
    pub fn mark(&self) -> u64 {
        self.mark
    }
}

impl PartialEq for Back {
    fn eq(&self, other: &Self) -> bool {
        self.mark == other.mark
    }
}

impl Eq for Back {}

type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_shown(chain: &Path, key: &Path, context: &mut Context) -> Result<Shown, Refused> {
    let read =
        |path: &Path| roundel_files::read(path, LARGEST).map_err(|error| Refused::new(path, error));
    let (pem, key_pem) = (read(chain)?, read(key)?);
    context.update(&pem);
    context.update(&key_pem);
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| Refused::new(chain, broken(&pem, error)))?;
    if certificates.is_empty() {
        return Err(Refused::new(chain, Flaw::NoCertificate));
    }
    let private = private_key(&key_pem).map_err(|flaw| Refused::new(key, flaw))?;
    Ok((certificates, private))
}

/// What is wrong with a certificate to show, of whose key nothing is known but that it is one.
fn refuse_shown(demand: &Demand, leaf: &CertificateDer<'_>, error: Error) -> Refused {
    let named = demand.certificate.as_ref().map(|(c, k)| (&**c, &**k));
    let (chain, key) = named.unwrap_or((Path::new(""), Path::new("")));
    let flaw = match error {
        Error::General(text) => Flaw::Key(text),
        error => unfit(leaf, error),
    };
    match flaw {
        Flaw::Key(_) | Flaw::OtherKey => Refused::new(key, flaw),
        flaw => Refused::new(chain, flaw),
    }
}

/// Believes every certificate; that the server has the key to it is still asked for.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
