//! What is known of a client's connection over TLS.

use std::sync::Arc;

use roundel_http1::proxy_protocol::Tls;
use roundel_tls::{Certificate, Front, Presented};
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion};

use crate::counters::TLS_VERSIONS;
use crate::route::host::without_port;

/// What a handshake came to.
#[derive(Debug)]
pub(crate) struct Secured {
    /// Index in [`TLS_VERSIONS`].
    version: usize,
    /// As OpenSSL and HAProxy spell it.
    pub(crate) cipher: &'static str,
    /// The name that the client asked for.
    pub(crate) server_name: Option<Box<str>>,
    /// A session of an earlier connection goes on.
    pub(crate) resumed: bool,
    /// What the client was shown.
    certificate: Arc<Certificate>,
    /// What the client has shown, and was verified.
    pub(crate) presented: Option<Presented>,
}

impl Secured {
    pub(crate) fn new(
        common: &CommonState,
        server_name: Option<Box<str>>,
        certificate: Arc<Certificate>,
    ) -> Self {
        let presented = common.peer_certificates().and_then(|chain| chain.first());
        let suite = common.negotiated_cipher_suite();
        Self {
            version: usize::from(common.protocol_version() != Some(ProtocolVersion::TLSv1_2)),
            cipher: suite.map_or("", |suite| cipher(suite.suite())),
            server_name,
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            certificate,
            presented: presented.map(Presented::read),
        }
    }

    /// Index in [`TLS_VERSIONS`].
    pub(crate) fn version_index(&self) -> usize {
        self.version
    }

    /// `TLSv1.2` or `TLSv1.3`.
    pub(crate) fn version(&self) -> &'static str {
        TLS_VERSIONS[self.version]
    }

    /// Whether this connection may be asked for `host`, which may have a port.
    pub(crate) fn serves(&self, front: &Front, host: &[u8]) -> bool {
        let host = without_port(host);
        // Mostly it is what the certificate was chosen by.
        let named = self.server_name.as_deref().unwrap_or_default();
        if host.eq_ignore_ascii_case(named.as_bytes()) {
            return true;
        }
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        front.serves(&self.certificate, &host)
    }

    /// What servers are told by the PROXY protocol.
    pub(crate) fn told(&self) -> Tls<'_> {
        Tls {
            version: self.version(),
            cipher: self.cipher,
            verified: self.presented.is_some(),
        }
    }
}

/// The name of a cipher as OpenSSL has it; that of the registry where it has none.
fn cipher(suite: CipherSuite) -> &'static str {
    use CipherSuite as C;
    match suite {
        C::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        C::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        C::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        C::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        other => other.as_str().unwrap_or(""),
    }
}
