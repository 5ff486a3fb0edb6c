//! A certificate for the time in which there is none.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use time::OffsetDateTime;

use crate::issued::Issued;

/// How far before `now` it begins, for clients whose clock is behind.
const BEFORE: Duration = Duration::from_hours(24);
/// How long it is valid: longer than any balancer waits for its CA without somebody looking.
const LIFE: Duration = Duration::from_hours(24 * 365);

/// Makes a certificate that its own key has signed, for `names`, valid for a year.
///
/// Errors: in words, when the system gives no random numbers, or a name is none.
pub(crate) fn self_signed(names: &[String], now: SystemTime) -> Result<Issued, String> {
    let made = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        // Without a common name, which has room for 64 letters only.
        params.distinguished_name = DistinguishedName::new();
        params.not_before = OffsetDateTime::from(now - BEFORE);
        params.not_after = OffsetDateTime::from(now + LIFE);
        Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
    };
    let (chain, key) = made().map_err(|error: rcgen::Error| error.to_string())?;
    Ok(Issued {
        self_signed: true,
        ..Issued::read(&chain, &key, names, "self-signed")?
    })
}
