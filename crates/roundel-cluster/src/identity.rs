//! The proof that an end holds the cluster's key.
//!
//! Both ends show the same key pair, which is derived from the cluster's key, as a raw public key
//! within a handshake of TLS 1.3, and take no other. So nobody else can speak, listen or play back what
//! was said, also not who learns the key later.
//!
//! Source: RFC 5869 (HKDF), RFC 8032 (Ed25519), RFC 8410 (its forms), RFC 7250 (raw public keys).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureScheme,
};
use zeroize::Zeroizing;

/// The bytes of a cluster's key.
pub const KEY: usize = 32;

const SEED: usize = 32;
/// What the key is used for: nothing else is derived by these words.
const LABEL: &[u8] = b"roundel cluster stream v1";
/// What stands before the seed in PKCS#8. Source: RFC 8410, section 7.
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];

/// How this end proves itself, and by what it knows the other.
#[derive(Clone)]
pub struct Identity {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// Derives it from the cluster's key.
    pub fn new(key: &[u8; KEY]) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let shown = Arc::new(certified(key, &provider));
        let pinned = Arc::new(Pinned {
            key: shown.cert[0].clone(),
            algorithms: provider.signature_verification_algorithms,
        });
        let fits = "the provider has suites of TLS 1.3";
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .expect(fits)
            .with_client_cert_verifier(pinned.clone())
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
                shown.clone(),
            )));
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect(fits)
            .dangerous()
            .with_custom_certificate_verifier(pinned)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(shown)));
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
        }
    }
}

/// What HKDF is to give.
struct Seed;

impl KeyType for Seed {
    fn len(&self) -> usize {
        SEED
    }
}

fn certified(key: &[u8; KEY], provider: &CryptoProvider) -> CertifiedKey {
    let mut pkcs8 = Zeroizing::new([0; PKCS8.len() + SEED]);
    pkcs8[..PKCS8.len()].copy_from_slice(&PKCS8);
    let derived = Salt::new(HKDF_SHA256, &[]).extract(key);
    let filled = derived
        .expand(&[LABEL], Seed)
        .and_then(|seed| seed.fill(&mut pkcs8[PKCS8.len()..]));
    filled.expect("HKDF gives up to 8 KiB");
    let pair = PrivatePkcs8KeyDer::from(pkcs8.to_vec());
    let pair = provider.key_provider.load_private_key(pair.into());
    let pair = pair.expect("any 32 bytes are a key of Ed25519");
    let public = pair.public_key().expect("the provider tells public keys");
    let shown = CertificateDer::from(public.as_ref().to_vec());
    CertifiedKey::new(vec![shown], pair)
}

/// Takes one key only, whichever end shows it.
#[derive(Debug)]
struct Pinned {
    /// As RFC 5280 writes public keys down.
    key: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        // Public on both sides: no need to hide how long this takes.
        match *shown == self.key {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check(shown)?;
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    fn old() -> Error {
        Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(shown).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(shown).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: [u8; KEY]) -> CertificateDer<'static> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        certified(&key, &provider).cert[0].clone()
    }

    /// Computed by Python's `hmac` and by openssl: HKDF-SHA256 of 32 bytes of 7, and the key of that seed.
    #[test]
    fn the_key_pair_is_that_of_the_cluster_s_key_alone() {
        let text: String = shown([7; KEY]).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            text,
            "302a300506032b65700321006f31a0d172c276879a81893778b134af2117fa03f1ab85b5985b9c5c85425de6"
        );
        assert_ne!(shown([7; KEY]), shown([8; KEY]));
    }
}
