//! The account with the CA: made once, by a key that is on disk before.
//!
//! instant-acme 0.8.5 tells a CA of contacts and of another account of ours only together with a key
//! that it makes itself and hands out when the CA knows it: a kill between the two would lose the
//! account, and with some CAs the binding, which is good for one. So this one request is our own.
//!
//! Source: RFC 8555, section 6.2 (JWS) and 7.3 (accounts).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{Method, Request, Response};
use instant_acme::{BodyWrapper, Error, Problem};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ca::Ca;
use crate::config::{Config, ExternalAccount};
use crate::store::Account as Kept;
use crate::words::is_bad_nonce;

/// How often a nonce may be refused in a row. Source: RFC 8555, section 6.5 asks for another try.
pub(crate) const NONCE_TRIES: usize = 5;

/// How often the library itself asks again.
const EACH: usize = 3;

/// Makes a key for an account that is not known to the CA yet.
///
/// Errors: when the system gives no random numbers.
pub(crate) fn new_key() -> Result<Kept, Error> {
    let key = rcgen::KeyPair::generate().map_err(|error| Error::Other(error.into()))?;
    Ok(Kept {
        key: key.serialize_pem(),
        url: None,
    })
}

/// The account of a key that the CA knows.
pub(crate) async fn open(
    ca: &Ca,
    config: &Config,
    kept: &Kept,
) -> Result<instant_acme::Account, Error> {
    let url = kept.url.clone().ok_or("the address of the account")?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(kept.key.as_bytes());
    let key = key.map_err(|_| Error::KeyRejected)?;
    let builder = instant_acme::Account::builder_with_http(Box::new(ca.clone()));
    builder.from_parts(url, key, config.directory.clone()).await
}

/// Tells the CA of a key, and gives the address of its account: the same one each time.
pub(crate) async fn register(ca: &Ca, config: &Config, kept: &Kept) -> Result<String, Error> {
    let key = Key::read(&kept.key)?;
    let directory = ca.send(get(&config.directory)?).await?;
    let directory: Directory = serde_json::from_slice(&checked(directory)?.into_body())?;
    let mut payload = json!({ "termsOfServiceAgreed": config.accept_terms });
    if let Some(email) = &config.email {
        payload["contact"] = json!([format!("mailto:{email}")]);
    }
    if let Some(eab) = &config.eab {
        payload["externalAccountBinding"] = binding(eab, &key, &directory.new_account)?;
    }
    for _ in 0..NONCE_TRIES * EACH {
        let nonce = nonce(ca, &directory).await?;
        let protected = json!({ "alg": "ES256", "jwk": key.jwk(), "nonce": nonce, "url": directory.new_account });
        let body = signed(&protected, &payload, |text| key.sign(text))?;
        let answer = ca.send(post(&directory.new_account, &body)?).await?;
        match checked(answer) {
            Err(error) if is_bad_nonce(&error) => continue,
            answer => return location(&answer?),
        }
    }
    Err(Error::Str("a nonce that the CA takes"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_nonce: String,
    new_account: String,
}

struct Key(EcdsaKeyPair);

impl Key {
    fn read(pem: &str) -> Result<Self, Error> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes());
        // The library's words show what it could not read.
        let der = der.map_err(|_| Error::KeyRejected)?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der());
        Ok(Self(pair.map_err(|_| Error::KeyRejected)?))
    }

    /// Source: RFC 7518, section 6.2. The public key is a byte that says "not compressed", X and Y.
    fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": BASE64URL.encode(x), "y": BASE64URL.encode(y) })
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, Error> {
        let random: &dyn rand::SecureRandom = &SystemRandom::new();
        let signature = self.0.sign(random, text).map_err(|_| Error::Crypto)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// Source: RFC 8555, section 7.3.4.
fn binding(eab: &ExternalAccount, key: &Key, url: &str) -> Result<Value, Error> {
    let path = eab.hmac_file.display();
    let failed = |why: String| Error::Other(format!("{path}: {why}").into());
    let text = roundel_files::read_secret(&eab.hmac_file, 4096);
    let text = text.map_err(|error| failed(error.to_string()))?;
    let secret = BASE64URL
        .decode(text.trim().trim_end_matches('='))
        .map_err(|_| failed("it is no base64url, as which CAs give the key".into()))?;
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let protected = json!({ "alg": "HS256", "kid": eab.kid, "url": url });
    signed(&protected, &key.jwk(), |text| {
        Ok(hmac::sign(&secret, text).as_ref().to_vec())
    })
}

/// A JWS in its flattened form. Source: RFC 7515, section 7.2.2.
fn signed(
    protected: &Value,
    payload: &Value,
    sign: impl Fn(&[u8]) -> Result<Vec<u8>, Error>,
) -> Result<Value, Error> {
    let [protected, payload] = [protected, payload].map(|part| BASE64URL.encode(part.to_string()));
    let signature = sign(format!("{protected}.{payload}").as_bytes())?;
    Ok(
        json!({ "protected": protected, "payload": payload, "signature": BASE64URL.encode(signature) }),
    )
}

async fn nonce(ca: &Ca, directory: &Directory) -> Result<String, Error> {
    let mut request = get(&directory.new_nonce)?;
    *request.method_mut() = Method::HEAD;
    let answer = ca.send(request).await?;
    if !answer.status().is_success() {
        let line = format!("the CA answered {} when asked for a nonce", answer.status());
        return Err(Error::Other(line.into()));
    }
    text_of(&answer, "replay-nonce").ok_or(Error::Str("a nonce"))
}

fn location(answer: &Response<Bytes>) -> Result<String, Error> {
    text_of(answer, LOCATION.as_str()).ok_or(Error::Str("the address of the account"))
}

fn text_of(answer: &Response<Bytes>, field: &str) -> Option<String> {
    let value = answer.headers().get(field)?;
    value.to_str().ok().map(String::from)
}

fn get(url: &str) -> Result<Request<BodyWrapper<Bytes>>, Error> {
    Ok(Request::get(url).body(BodyWrapper::default())?)
}

fn post(url: &str, body: &Value) -> Result<Request<BodyWrapper<Bytes>>, Error> {
    let body = BodyWrapper::from(body.to_string().into_bytes());
    Ok(Request::post(url)
        .header(CONTENT_TYPE, "application/jose+json")
        .body(body)?)
}

fn checked(answer: Response<Bytes>) -> Result<Response<Bytes>, Error> {
    match answer.status().is_success() {
        true => Ok(answer),
        false => Err(Error::Api(serde_json::from_slice::<Problem>(
            answer.body(),
        )?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_key() {
        let key = Key::read(&new_key().unwrap().key).unwrap();
        let jws = signed(&json!({"alg": "ES256"}), &json!({}), |text| key.sign(text)).unwrap();
        let text = format!(
            "{}.{}",
            jws["protected"].as_str().unwrap(),
            jws["payload"].as_str().unwrap()
        );
        let public = aws_lc_rs::signature::UnparsedPublicKey::new(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED,
            key.0.public_key().as_ref(),
        );
        let signature = BASE64URL
            .decode(jws["signature"].as_str().unwrap())
            .unwrap();
        public.verify(text.as_bytes(), &signature).unwrap();
        assert!(public.verify(b"other", &signature).is_err());
    }
}
