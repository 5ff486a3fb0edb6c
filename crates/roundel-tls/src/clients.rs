//! Which certificates of clients are believed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::flaw::{Flaw, Refused};
use crate::provider;

/// The largest file of authorities or of revoked certificates, in bytes.
const LARGEST: u64 = 16 << 20;

/// Which certificates of clients are believed, and whether a client needs one.
///
/// Two are equal if they believe the same.
#[derive(Debug, Clone)]
pub struct Clients {
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
    required: bool,
    digest: [u8; 32],
}

impl Clients {
    /// Reads the authorities that sign clients' certificates, and lists of those that were revoked.
    ///
    /// With lists, each certificate of a client's chain needs one of its issuer that has not ended,
    /// as with OpenSSL. Errors: every file that is no good.
    pub fn read(
        required: bool,
        authorities: &[PathBuf],
        lists: &[PathBuf],
    ) -> Result<Self, Vec<Refused>> {
        let mut refused = Vec::new();
        let mut context = Context::new(&SHA256);
        context.update(&[u8::from(required)]);
        let mut roots = RootCertStore::empty();
        for path in authorities {
            match read_authorities(path, &mut roots) {
                Ok(bytes) => context.update(&bytes),
                Err(flaw) => refused.push(Refused::new(path, flaw)),
            }
        }
        context.update(&[0]);
        let mut revoked = Vec::new();
        for path in lists {
            match read_lists(path, &mut revoked) {
                Ok(bytes) => context.update(&bytes),
                Err(flaw) => refused.push(Refused::new(path, flaw)),
            }
        }
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider::shared())
                .with_crls(revoked)
                .enforce_revocation_expiration();
        if !required {
            builder = builder.allow_unauthenticated();
        }
        let verifier = match builder.build() {
            Ok(verifier) if refused.is_empty() => verifier,
            Ok(_) => return Err(refused),
            Err(_) if !refused.is_empty() => return Err(refused),
            Err(error) => {
                let path = lists.first().or(authorities.first());
                let path = path.cloned().unwrap_or_default();
                return Err(vec![Refused::new(&path, Flaw::List(error.to_string()))]);
            }
        };
        let digest = context.finish();
        Ok(Self {
            verifier,
            required,
            digest: digest.as_ref().try_into().expect("SHA-256 has 32 bytes"),
        })
    }

    /// Whether who shows none is refused.
    pub fn required(&self) -> bool {
        self.required
    }
}

impl PartialEq for Clients {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Clients {}

pub(crate) fn read_authorities(path: &Path, roots: &mut RootCertStore) -> Result<Vec<u8>, Flaw> {
    let bytes = roundel_files::read(path, LARGEST)?;
    let mut any = false;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(Flaw::from)?;
        let added = roots.add(certificate);
        added.map_err(|error| Flaw::Certificate(error.to_string()))?;
        any = true;
    }
    match any {
        true => Ok(bytes),
        false => Err(Flaw::NoCertificate),
    }
}

fn read_lists(
    path: &Path,
    all: &mut Vec<CertificateRevocationListDer<'static>>,
) -> Result<Vec<u8>, Flaw> {
    let bytes = roundel_files::read(path, LARGEST)?;
    let before = all.len();
    for list in CertificateRevocationListDer::pem_slice_iter(&bytes) {
        let list = list.map_err(Flaw::from)?;
        let parsed = x509_parser::parse_x509_crl(&list);
        parsed.map_err(|error| Flaw::List(error.to_string()))?;
        all.push(list);
    }
    match all.len() > before {
        true => Ok(bytes),
        false => Err(Flaw::NoList),
    }
}
