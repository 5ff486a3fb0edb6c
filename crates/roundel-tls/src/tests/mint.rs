//! Certificates for tests.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
};

use crate::Certificate;

pub(crate) const ECDSA: &SignatureAlgorithm = &PKCS_ECDSA_P256_SHA256;
pub(crate) const ED25519: &SignatureAlgorithm = &PKCS_ED25519;
pub(crate) const RSA: &SignatureAlgorithm = &PKCS_RSA_SHA256;

/// An authority.
pub(crate) struct Authority(pub(crate) CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![
            rcgen::KeyUsagePurpose::KeyCertSign,
            rcgen::KeyUsagePurpose::CrlSign,
        ];
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Chain and key as PEM, valid for a day around now.
    pub(crate) fn issue(
        &self,
        names: &[&str],
        kind: &'static SignatureAlgorithm,
    ) -> (String, String) {
        let now = SystemTime::now();
        let day = Duration::from_secs(86_400);
        self.issue_for(names, kind, now - day, now + day)
    }

    pub(crate) fn issue_for(
        &self,
        names: &[&str],
        kind: &'static SignatureAlgorithm,
        from: SystemTime,
        to: SystemTime,
    ) -> (String, String) {
        let names: Vec<_> = names.iter().copied().map(String::from).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = from.into();
        params.not_after = to.into();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate_for(kind).unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        (leaf.pem() + &self.0.pem(), key.serialize_pem())
    }

    pub(crate) fn certificate(
        &self,
        names: &[&str],
        kind: &'static SignatureAlgorithm,
    ) -> Arc<Certificate> {
        let (chain, key) = self.issue(names, kind);
        Arc::new(Certificate::read(chain.as_bytes(), key.as_bytes(), names[0]).unwrap())
    }
}
