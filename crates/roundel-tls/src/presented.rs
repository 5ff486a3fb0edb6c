//! What a client's certificate says of it, as text that is safe wherever it is shown.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::certificate::address;

/// A client's certificate, which was verified.
///
/// Shape: visible ASCII and spaces only. Whatever else is in the certificate, and what would divide
/// its parts, is written as a backslash with two hexadecimal digits for each byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Its subject, the most particular part first, as in RFC 4514: `CN=ann,O=Example`.
    pub subject: String,
    /// Its alternative names: `DNS:a.example,email:ann@a.example,URI:spiffe://a/b,IP:10.0.0.1`.
    pub names: String,
    /// SHA-256 of it in 64 small hexadecimal digits.
    pub fingerprint: String,
}

impl Presented {
    /// Reads a certificate. What cannot be read of it is left empty.
    pub fn read(certificate: &CertificateDer<'_>) -> Self {
        let mut fingerprint = String::with_capacity(64);
        for byte in digest(&SHA256, certificate).as_ref() {
            let _ = write!(fingerprint, "{byte:02x}");
        }
        let (subject, names) = match X509Certificate::from_der(certificate) {
            Ok((_, parsed)) => (subject(parsed.subject()), names(&parsed)),
            Err(_) => (String::new(), String::new()),
        };
        Self {
            subject,
            names,
            fingerprint,
        }
    }
}

fn subject(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter().collect();
    for part in parts.into_iter().rev() {
        for (at, attribute) in part.iter().enumerate() {
            match (text.is_empty(), at) {
                (true, _) => {}
                (false, 0) => text.push(','),
                // RFC 4514 2.2.
                (false, _) => text.push('+'),
            }
            put_attribute(attribute, &mut text);
        }
    }
    text
}

fn put_attribute(attribute: &AttributeTypeAndValue<'_>, text: &mut String) {
    let id = attribute.attr_type().to_id_string();
    // RFC 4514 section 3, and what else is met often.
    let word = match &*id {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        other => other,
    };
    text.push_str(word);
    text.push('=');
    match attribute.as_str() {
        Ok(value) => put_safe(value.as_bytes(), text),
        Err(_) => put_safe(attribute.as_slice(), text),
    }
}

fn names(certificate: &X509Certificate<'_>) -> String {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return String::new();
    };
    let mut text = String::new();
    for name in &extension.value.general_names {
        let (kind, value) = match name {
            GeneralName::DNSName(name) => ("DNS", (*name).to_owned()),
            GeneralName::RFC822Name(name) => ("email", (*name).to_owned()),
            GeneralName::URI(name) => ("URI", (*name).to_owned()),
            GeneralName::IPAddress(bytes) => match address(bytes) {
                Some(ip) => ("IP", ip.to_string()),
                None => continue,
            },
            _ => continue,
        };
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(kind);
        text.push(':');
        put_safe(value.as_bytes(), &mut text);
    }
    text
}

/// Appends bytes from outside so that they neither end the part in which they stand nor the text.
fn put_safe(bytes: &[u8], text: &mut String) {
    let last = bytes.len().saturating_sub(1);
    for (at, byte) in bytes.iter().enumerate() {
        let is_plain = match byte {
            b' ' => at != 0 && at != last,
            b'#' => at != 0,
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => false,
            byte => byte.is_ascii_graphic(),
        };
        match is_plain {
            true => text.push(char::from(*byte)),
            false => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn presented(make: impl FnOnce(&mut CertificateParams)) -> Presented {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        make(&mut params);
        let key = KeyPair::generate().unwrap();
        Presented::read(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn the_most_particular_part_comes_first() {
        let found = presented(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::CountryName, "AT");
            name.push(DnType::OrganizationName, "Example Ltd.");
            name.push(DnType::CommonName, "ann");
        });
        assert_eq!(found.subject, "CN=ann,O=Example Ltd.,C=AT");
        assert_eq!(found.names, "");
        assert!(found.fingerprint.len() == 64);
    }

    #[test]
    fn names_of_every_kind_are_told() {
        let found = presented(|params| {
            let text = |text: &str| text.try_into().unwrap();
            params.subject_alt_names = vec![
                SanType::DnsName(text("a.example")),
                SanType::Rfc822Name(text("ann@a.example")),
                SanType::URI(text("spiffe://a/b")),
                SanType::IpAddress("::1".parse().unwrap()),
            ];
        });
        let expected = "DNS:a.example,email:ann@a.example,URI:spiffe://a/b,IP:::1";
        assert_eq!(found.names, expected);
    }

    #[test]
    fn no_text_of_a_certificate_can_be_taken_for_another_part_or_line() {
        let found = presented(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::CommonName, " ann,O=root\r\nX-Admin: yes\0é#");
            let uri = "u:a,DNS:b\r\n".try_into().unwrap();
            params.subject_alt_names = vec![SanType::URI(uri)];
        });
        let expected = "CN=\\20ann\\2CO\\3Droot\\0D\\0AX-Admin: yes\\00\\C3\\A9#";
        assert_eq!(found.subject, expected);
        assert_eq!(found.names, "URI:u:a\\2CDNS:b\\0D\\0A");
    }
}
