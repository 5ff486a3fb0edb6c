//! Under which conditions a frontend talks to clients.

use crate::clients::Clients;

/// Under which conditions a frontend talks to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Versions and ciphers.
    pub profile: Profile,
    /// What is spoken inside, the best first. Clients that ask for none speak HTTP/1.1.
    pub alpn: Vec<Protocol>,
    /// Who is asked for a certificate; `None`: nobody.
    pub clients: Option<Clients>,
    /// Whether a client that names no host, or one that no certificate stands for, is refused;
    /// else it is shown the default certificate.
    pub strict_sni: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            profile: Profile::Intermediate,
            alpn: vec![Protocol::H2, Protocol::Http1],
            clients: None,
            strict_sni: false,
        }
    }
}

/// Versions and ciphers, as Mozilla recommends them under these names.
///
/// Source: <https://wiki.mozilla.org/Security/Server_Side_TLS>, version 5.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// TLS 1.3 only.
    Modern,
    /// TLS 1.2 and 1.3, forward secrecy and authenticated ciphers only.
    Intermediate,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Intermediate, Self::Modern];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Intermediate => "intermediate",
        }
    }
}

/// What is spoken inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2.
    H2,
    /// HTTP/1.1.
    Http1,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::H2, Self::Http1];

    /// Its name in ALPN.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Http1 => "http/1.1",
        }
    }
}
