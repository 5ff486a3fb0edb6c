//! One certificate with its key.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureAlgorithm};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use crate::flaw::Flaw;

/// A chain of certificates with the key of its first.
///
/// Shape: the key fits the first certificate, which is no authority's and stands for at least one
/// name. Two are equal if they are the same certificate.
#[derive(Debug)]
pub struct Certificate {
    pub(crate) names: Vec<String>,
    pub(crate) key: Arc<CertifiedKey>,
    kind: KeyKind,
    issuer: String,
    not_before: SystemTime,
    not_after: SystemTime,
    fingerprint: [u8; 32],
    source: String,
}

/// What a certificate's key is; in the order in which they are preferred, the quicker ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// An elliptic curve of NIST.
    Ecdsa,
    /// Ed25519, which few clients take.
    Ed25519,
    /// RSA: its handshake costs three times as much.
    Rsa,
}

impl KeyKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ecdsa => "ECDSA",
            Self::Ed25519 => "Ed25519",
            Self::Rsa => "RSA",
        }
    }

    pub(crate) fn algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::Ecdsa => SignatureAlgorithm::ECDSA,
            Self::Ed25519 => SignatureAlgorithm::ED25519,
            Self::Rsa => SignatureAlgorithm::RSA,
        }
    }
}

/// Where a time stands towards the time for which a certificate was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// Within it.
    Valid,
    /// Before it.
    NotYet,
    /// After it.
    Ended,
}

impl Certificate {
    /// Reads PEM: a chain with the leaf first, and the key of the leaf; the same bytes may hold both.
    ///
    /// `source` names where it comes from, for people. Errors: why it can not be shown to clients.
    pub fn read(pem: &[u8], key: &[u8], source: impl Into<String>) -> Result<Self, Flaw> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| broken(pem, error))?;
        let leaf = chain.first().ok_or(Flaw::NoCertificate)?.clone();
        let key = private_key(key)?;
        let key = any_supported_type(&key).map_err(|error| Flaw::Key(text(error)))?;
        let kind = match key.algorithm() {
            SignatureAlgorithm::ECDSA => KeyKind::Ecdsa,
            SignatureAlgorithm::ED25519 => KeyKind::Ed25519,
            SignatureAlgorithm::RSA => KeyKind::Rsa,
            other => return Err(Flaw::Key(format!("{other:?} is not known"))),
        };
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|error| unfit(&leaf, error))?;
        let unreadable = |error: &dyn std::fmt::Display| Flaw::Certificate(error.to_string());
        let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|e| unreadable(&e))?;
        if parsed.is_ca() {
            return Err(Flaw::Authority);
        }
        let names = names(&parsed)?;
        let digest = digest(&SHA256, &leaf);
        Ok(Self {
            names,
            key: Arc::new(key),
            kind,
            issuer: issuer(&parsed),
            not_before: time(parsed.validity().not_before.timestamp()),
            not_after: time(parsed.validity().not_after.timestamp()),
            fingerprint: digest.as_ref().try_into().expect("SHA-256 has 32 bytes"),
            source: source.into(),
        })
    }

    /// The DNS names and addresses for which it stands, as it lists them, in small letters and in
    /// ASCII; a first label may be `*`. At least one.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it stands for this host: without a port, in small letters.
    pub fn covers(&self, host: &str) -> bool {
        let host = bare(host);
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(wild) => parent == Some(wild),
            None => name == host,
        })
    }

    /// It, and those that sign it, in DER.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// Who signed it: a name for people.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What its key is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// From when on it counts.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Until when it counts.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether it counts at a time.
    pub fn validity(&self, now: SystemTime) -> Validity {
        match now {
            _ if now < self.not_before => Validity::NotYet,
            _ if now > self.not_after => Validity::Ended,
            _ => Validity::Valid,
        }
    }

    /// SHA-256 of the leaf.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The fingerprint as people write it: 64 small hexadecimal digits.
    pub fn fingerprint_text(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.fingerprint {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Where it comes from, for people: the file of the chain.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.key.cert == other.key.cert
    }
}

impl Eq for Certificate {}

/// A host as certificates name it: an IPv6 address without brackets, a name without a final dot.
pub(crate) fn bare(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = inner.unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

pub(crate) fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Flaw> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if !is_sealed(bytes) => Flaw::NoKey,
        error => broken(bytes, error),
    })
}

/// What is wrong with PEM in which nothing is found, or no end.
pub(crate) fn broken(bytes: &[u8], error: pem::Error) -> Flaw {
    match is_sealed(bytes) {
        true => Flaw::SealedKey,
        false => error.into(),
    }
}

/// Whether there is a key behind a password, in PKCS #8 or in the older form, whose fields before the
/// text make it no PEM to most readers. Source: RFC 1421, section 4.6.1.1.
fn is_sealed(bytes: &[u8]) -> bool {
    let holds = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    holds(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(b"Proc-Type: 4,ENCRYPTED")
}

/// Why a leaf and its key do not go together.
pub(crate) fn unfit(leaf: &CertificateDer<'_>, error: Error) -> Flaw {
    if error == Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
        return Flaw::OtherKey;
    }
    match X509Certificate::from_der(leaf) {
        Ok((_, parsed)) if parsed.version() != X509Version::V3 => Flaw::Version,
        _ => Flaw::Certificate(text(error)),
    }
}

fn names(leaf: &X509Certificate<'_>) -> Result<Vec<String>, Flaw> {
    let extension = leaf.subject_alternative_name();
    let extension = extension.map_err(|error| Flaw::Certificate(error.to_string()))?;
    let listed = extension.map_or(&[][..], |extension| &extension.value.general_names);
    let names: Vec<_> = listed
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
            _ => None,
        })
        .collect();
    match names.is_empty() {
        true => Err(Flaw::NoName),
        false => Ok(names),
    }
}

pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn issuer(leaf: &X509Certificate<'_>) -> String {
    let issuer = leaf.issuer();
    let own = issuer.iter_common_name().chain(issuer.iter_organization());
    let mut own = own.filter_map(|attribute| attribute.as_str().ok());
    own.next()
        .map_or_else(|| issuer.to_string(), ToOwned::to_owned)
}

/// What lies before 1970 counts as 1970.
fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The inner words of an error of the library.
fn text(error: Error) -> String {
    match error {
        Error::General(text) => text,
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
