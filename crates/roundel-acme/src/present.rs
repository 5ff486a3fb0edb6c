//! Proofs, and who shows them to the CA.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use roundel_tls::{ACME_TLS, Challenges};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde::{Deserialize, Serialize};

use crate::shared::{PROOFS, Shared};

/// What a CA is to find where it looks. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// Source: RFC 8555, section 8.3.
    Http01 {
        /// What the CA asks for.
        token: String,
        /// What it is to be answered.
        key_authorization: String,
    },
    /// Source: RFC 8737, section 3.
    TlsAlpn01 {
        /// The name that the CA asks for, in small letters.
        name: String,
        /// SHA-256 of the key authorization.
        digest: [u8; 32],
    },
}

/// Who sees to it that proofs are shown.
///
/// Where several balancers share a name the CA may ask any of them, so this is the place to wait for
/// all. [`Challenges`] is one: the process itself answers, at once.
pub trait Presenter: Send + Sync {
    /// Returns when whoever the CA may ask answers with these proofs.
    ///
    /// Errors: in words; the CA is not told to look, and the order goes on at the next try.
    fn present<'a>(
        &'a self,
        proofs: &'a [Proof],
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

    /// They need to be shown no more. Waits for nobody.
    fn withdraw(&self, proofs: &[Proof]);
}

impl Presenter for Challenges {
    fn present<'a>(
        &'a self,
        proofs: &'a [Proof],
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        let shown = proofs.iter().try_for_each(|proof| show(self, proof));
        Box::pin(std::future::ready(shown))
    }

    fn withdraw(&self, proofs: &[Proof]) {
        for proof in proofs {
            match proof {
                Proof::Http01 { token, .. } => self.withdraw_http(token),
                Proof::TlsAlpn01 { name, .. } => self.withdraw_tls(name),
            }
        }
    }
}

fn show(challenges: &Challenges, proof: &Proof) -> Result<(), String> {
    match proof {
        Proof::Http01 {
            token,
            key_authorization,
        } => challenges.present_http(token, key_authorization),
        Proof::TlsAlpn01 { name, digest } => challenges.present_tls(name, handshake(name, digest)?),
    }
    Ok(())
}

/// What a handshake goes on with that asks for the proof: a certificate for the name alone, with the
/// digest in an extension. No common name: it has room for 64 letters only.
fn handshake(name: &str, digest: &[u8; 32]) -> Result<Arc<ServerConfig>, String> {
    let made = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = params.self_signed(&key)?;
        Ok((certificate.der().clone(), PrivateKeyDer::from(key)))
    };
    let (certificate, key) = made().map_err(|error: rcgen::Error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| error.to_string())?;
    // Not as any other certificate: rustls takes none with a critical extension that it does not know.
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites of both versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// All balancers that share show the proofs. Each, this one too, does so by [`Proofs`].
impl Presenter for Shared {
    fn present<'a>(
        &'a self,
        proofs: &'a [Proof],
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        let text = serde_json::to_vec(proofs).expect("a list can be written");
        let put = self.cluster.put(&self.entry(PROOFS), Some(text));
        Box::pin(async move {
            self.cluster
                .confirmed(put.map_err(|error| error.to_string())?)
                .await;
            Ok(())
        })
    }

    /// Also those of a balancer that died at it.
    fn withdraw(&self, _: &[Proof]) {
        let entry = self.entry(PROOFS);
        if self.cluster.get(&entry).is_some() {
            // It makes the store smaller.
            let _ = self.cluster.put(&entry, None);
        }
    }
}

/// The proofs that balancers share, as this one shows them.
#[derive(Debug, Default)]
pub struct Proofs {
    challenges: Challenges,
    /// Those of each entry.
    shown: Mutex<BTreeMap<String, Vec<Proof>>>,
}

impl Proofs {
    /// They are shown where these challenges are.
    pub fn new(challenges: Challenges) -> Self {
        let shown = Mutex::default();
        Self { challenges, shown }
    }

    /// Takes the value of an entry of the cluster; any other than proofs means nothing here.
    pub fn apply(&self, entry: &str, value: Option<&[u8]>) {
        if entry
            .rsplit_once('/')
            .is_none_or(|(_, kind)| kind != PROOFS)
        {
            return;
        }
        let proofs: Vec<Proof> = match value.map(serde_json::from_slice) {
            Some(Ok(proofs)) => proofs,
            Some(Err(error)) => {
                tracing::warn!("acme: {entry} of another balancer: {error}");
                Vec::new()
            }
            None => Vec::new(),
        };
        for proof in &proofs {
            if let Err(error) = show(&self.challenges, proof) {
                tracing::warn!("acme: {entry} of another balancer: {error}");
            }
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = match proofs.is_empty() {
            true => shown.remove(entry),
            false => shown.insert(entry.to_owned(), proofs.clone()),
        }
        .unwrap_or_default();
        before.retain(|old| !proofs.iter().any(|new| new.is_asked_as(old)));
        self.challenges.withdraw(&before);
    }
}

impl Proof {
    /// Whether a CA that asks for one finds the other.
    fn is_asked_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http01 { token: a, .. }, Self::Http01 { token: b, .. }) => a == b,
            (Self::TlsAlpn01 { name: a, .. }, Self::TlsAlpn01 { name: b, .. }) => a == b,
            _ => false,
        }
    }
}

/// Proofs that are shown as long as this is.
pub(crate) struct Shown<'a> {
    presenter: &'a dyn Presenter,
    proofs: Vec<Proof>,
}

impl<'a> Shown<'a> {
    /// Returns when all are shown.
    pub(crate) async fn present(
        presenter: &'a dyn Presenter,
        proofs: Vec<Proof>,
    ) -> Result<Self, String> {
        let shown = Self { presenter, proofs };
        presenter.present(&shown.proofs).await?;
        Ok(shown)
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.presenter.withdraw(&self.proofs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_of_another_balancer_are_shown_until_it_takes_them_away() {
        let challenges = Challenges::default();
        let proofs = Proofs::new(challenges.clone());
        let one = |token: &str| Proof::Http01 {
            token: token.into(),
            key_authorization: format!("{token}.thumb"),
        };
        let put = |list: &[Proof]| {
            let text = serde_json::to_vec(list).unwrap();
            proofs.apply("acme/ca/a.example/proofs", Some(&text));
        };
        let shown = |token: &str| {
            let path = format!("/.well-known/acme-challenge/{token}");
            challenges.http(&path).is_some()
        };
        put(&[one("a"), one("b")]);
        assert!(shown("a") && shown("b"));
        put(&[one("b"), one("c")]);
        assert!(!shown("a") && shown("b") && shown("c"));
        proofs.apply("acme/ca/a.example/progress", None);
        assert!(shown("b"));
        proofs.apply("acme/ca/a.example/proofs", Some(b"["));
        assert!(!shown("b") && !shown("c"));
    }

    #[test]
    fn a_proof_within_a_handshake_fits_the_longest_names() {
        let name = format!("{}.{}.example", "a".repeat(63), "b".repeat(63));
        let challenges = Challenges::default();
        let digest = [7; 32];
        let proof = Proof::TlsAlpn01 {
            name: name.clone(),
            digest,
        };
        show(&challenges, &proof).unwrap();
        assert_eq!(challenges.tls(&name).unwrap().alpn_protocols, [ACME_TLS]);
        assert!(challenges.tls("a.example").is_none());
        challenges.withdraw(&[proof]);
        assert!(challenges.tls(&name).is_none());
    }
}
