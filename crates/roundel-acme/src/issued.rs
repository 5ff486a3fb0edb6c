//! A certificate as it was issued.

use std::sync::Arc;

use instant_acme::CertificateIdentifier;
use roundel_tls::Certificate;
use rustls::pki_types::Der;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::schedule::Life;

/// What is to be served.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate with its chain and key.
    pub certificate: Arc<Certificate>,
    /// Whether nobody signed it but its own key: served until the CA has issued one.
    pub self_signed: bool,
}

impl Issued {
    /// Reads a chain and a key in PEM, for `names` in small letters. `source` says where they come from.
    ///
    /// Errors: in words, when they are none, do not fit each other, or do not stand for every name.
    pub(crate) fn read(
        chain: &str,
        key: &str,
        names: &[String],
        source: &str,
    ) -> Result<Self, String> {
        let certificate = Certificate::read(chain.as_bytes(), key.as_bytes(), source);
        let certificate = certificate.map_err(|flaw| flaw.to_string())?;
        match names.iter().find(|name| !certificate.covers(name)) {
            Some(name) => Err(format!("the certificate does not stand for {name}")),
            None => Ok(Self {
                certificate: Arc::new(certificate),
                self_signed: false,
            }),
        }
    }

    /// When it is valid.
    pub(crate) fn life(&self) -> Life {
        Life {
            not_before: self.certificate.not_before(),
            not_after: self.certificate.not_after(),
        }
    }

    /// By what a CA knows it. Source: RFC 9773, section 4.1.
    pub(crate) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        let (_, leaf) = X509Certificate::from_der(self.certificate.chain().first()?).ok()?;
        let authority =
            leaf.iter_extensions()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::AuthorityKeyIdentifier(found) => found.key_identifier.as_ref(),
                    _ => None,
                })?;
        let (authority, serial) = (
            Der::from_slice(authority.0),
            Der::from_slice(leaf.raw_serial()),
        );
        Some(CertificateIdentifier::new(authority, serial).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, KeyPair, SerialNumber};

    use super::*;

    fn made(names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|n| n.to_string()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (chain, key) = made(&["a.example", "B.example"]);
        let (_, other) = made(&["a.example"]);
        let check = |chain: &str, key: &str, name: &str, expected: &str| {
            let error = Issued::read(chain, key, &[name.into()], "").unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        assert!(Issued::read(&chain, &key, &["b.example".into()], "").is_ok());
        check(&chain, &key, "c.example", "does not stand for c.example");
        check(&chain, &other, "a.example", "belongs to another");
        check("", &key, "a.example", "no certificate");
        check(&chain, "", "a.example", "no private key");
        check(&key, &key, "a.example", "no certificate");
    }

    /// The example of RFC 9773, section 4.1: its key identifier and serial number.
    #[test]
    fn a_ca_knows_a_certificate_by_its_authority_and_serial() {
        let authority = [
            0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0,
            0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4,
        ];
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example".into()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&[0x87, 0x65, 0x43, 0x21]));
        let value = [&[0x30, 22, 0x80, 20][..], &authority].concat();
        let extension = CustomExtension::from_oid_content(&[2, 5, 29, 35], value);
        params.custom_extensions = vec![extension];
        let certificate = params.self_signed(&key).unwrap();
        let issued = Issued::read(&certificate.pem(), &key.serialize_pem(), &[], "").unwrap();
        let identifier = issued.identifier().unwrap().to_string();
        assert_eq!(identifier, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    }
}
