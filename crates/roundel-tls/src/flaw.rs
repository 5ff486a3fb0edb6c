//! Why something can not be shown to clients, or not be believed of them.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem;
use thiserror::Error;

/// What is wrong with a certificate, a key, or a list of either.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Flaw {
    /// The system could not read it.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// A folder in which nothing looks like a certificate.
    #[error("there is no certificate in it")]
    Empty,
    /// The text is cut or broken.
    #[error("it is no well-formed PEM: {0}")]
    Pem(&'static str),
    /// PEM without a certificate.
    #[error("it holds no certificate")]
    NoCertificate,
    /// PEM without a private key.
    #[error("it holds no private key")]
    NoKey,
    /// A key behind a password.
    #[error("its private key is encrypted")]
    SealedKey,
    /// A key of an unknown kind, or too small.
    #[error("its private key cannot be used: {0}")]
    Key(String),
    /// A certificate that cannot be understood.
    #[error("its certificate cannot be read: {0}")]
    Certificate(String),
    /// A certificate of the form before 1996.
    #[error("its certificate is of version 1, which can name no host (subjectAltName)")]
    Version,
    /// The key belongs to another certificate.
    #[error("its private key belongs to another certificate")]
    OtherKey,
    /// The certificate signs others and stands for no server.
    #[error("its first certificate is that of an authority (CA:TRUE), not of a server")]
    Authority,
    /// Nobody would believe it.
    #[error("its certificate names no host (subjectAltName)")]
    NoName,
    /// PEM without a list of revoked certificates.
    #[error("it holds no list of revoked certificates")]
    NoList,
    /// A list that cannot be understood.
    #[error("its list of revoked certificates cannot be read: {0}")]
    List(String),
}

impl Flaw {
    /// What to do about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => {
                "name a PEM file or a folder of them, readable by Roundel's user"
            }
            Self::Empty => {
                "put name.pem (chain and key), or name.crt with name.key, or a folder with \
                 fullchain.pem and privkey.pem into it"
            }
            Self::Pem(_) => "copy the file again, whole and as text",
            Self::NoCertificate => {
                "the file begins with -----BEGIN CERTIFICATE-----, the leaf first"
            }
            Self::NoKey => "append the key to the chain, or put it beside it as name.key",
            Self::SealedKey => "take the password off: openssl pkey -in KEY -out PLAIN-KEY",
            Self::Key(_) => "use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits and more",
            Self::Certificate(_) => "see what openssl x509 -text -in FILE says",
            Self::Version => {
                "have it issued as version 3: openssl x509 -req takes -extfile FILE with the line \
                 subjectAltName = DNS:www.example.org"
            }
            Self::OtherKey => {
                "the leaf comes first, then what signed it; the key is the one that the leaf was \
                 requested with"
            }
            Self::Authority => {
                "use a server's certificate, first in the file; openssl req -x509 makes one with \
                 -addext basicConstraints=critical,CA:FALSE"
            }
            Self::NoName => "have it issued with subjectAltName = DNS:www.example.org",
            Self::NoList => "the file begins with -----BEGIN X509 CRL-----",
            Self::List(_) => "see what openssl crl -text -in FILE says",
        }
    }
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<pem::Error> for Flaw {
    /// The library's own words show the line that it could not read, which may be a whole key.
    fn from(error: pem::Error) -> Self {
        Self::Pem(match error {
            pem::Error::MissingSectionEnd { .. } => "a line -----BEGIN has no -----END behind it",
            pem::Error::IllegalSectionStart { .. } => "a line -----BEGIN does not end in -----",
            pem::Error::Base64Decode(_) => "between its -----BEGIN and -----END is no base64",
            pem::Error::SectionTooLarge => "it is too large",
            _ => "nothing in it could be read",
        })
    }
}

/// A file or folder that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {flaw}", path.display())]
pub struct Refused {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub flaw: Flaw,
}

impl Refused {
    pub(crate) fn new(path: &Path, flaw: impl Into<Flaw>) -> Self {
        Self {
            path: path.to_owned(),
            flaw: flaw.into(),
        }
    }
}
