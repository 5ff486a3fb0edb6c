//! How the CA is spoken to: HTTPS by our own TLS, our own roots, within bounds.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// What a CA answers at most, in bytes. Chains have some 10 KB.
const LARGEST: usize = 512 << 10;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection to it may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The largest file of roots.
const LARGEST_ROOTS: u64 = 4 << 20;

/// Why a file of roots cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}", path = .path.display())]
pub struct RootsError {
    path: PathBuf,
    why: String,
}

/// A client of one CA. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Ca {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    /// When the answer before last said to come again.
    told: Arc<Mutex<Option<SystemTime>>>,
}

impl Ca {
    /// Trusts the roots in this file, or those that Mozilla trusts.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, RootsError> {
        let roots = match ca_file {
            Some(path) => read_roots(path).map_err(|why| RootsError {
                path: path.into(),
                why,
            })?,
            None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites of both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self {
            client,
            told: Arc::default(),
        })
    }

    /// One request with its answer, whole.
    ///
    /// Errors: no answer in time, one too long, or a refusal that is not in ACME's words.
    pub(crate) async fn send(
        &self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Result<Response<Bytes>, Error> {
        let agent = concat!("roundel/", env!("CARGO_PKG_VERSION"), " instant-acme");
        let agent = HeaderValue::from_static(agent);
        request.headers_mut().insert(USER_AGENT, agent);
        let whole = async {
            let answer = self.client.request(request).await.map_err(unreachable)?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, LARGEST)
                .collect()
                .await
                .map_err(Error::Other)?;
            Ok::<_, Error>(Response::from_parts(parts, body.to_bytes()))
        };
        let late = |_| Error::Other(format!("the CA has not answered within {PATIENCE:?}").into());
        let answer = tokio::time::timeout(PATIENCE, whole)
            .await
            .map_err(late)??;
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = retry_after(&answer);
        readable(answer)
    }

    /// When the last answer said to come again; told once.
    pub(crate) fn told(&self) -> Option<SystemTime> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl HttpClient for Ca {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let ca = self.clone();
        Box::pin(async move { Ok(ca.send(request).await?.map(Full::new).into()) })
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let text = roundel_files::read(path, LARGEST_ROOTS).map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|_| "it is no well-formed PEM")?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    match roots.is_empty() {
        true => Err("there is no certificate in it".into()),
        false => Ok(roots),
    }
}

/// The last cause says most: what name was not found, what certificate not trusted.
fn unreachable(error: hyper_util::client::legacy::Error) -> Error {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Error::Other(format!("the CA cannot be reached: {cause}").into())
}

/// A refusal in ACME's words is JSON; any other would only be told of as JSON that cannot be read.
fn readable(answer: Response<Bytes>) -> Result<Response<Bytes>, Error> {
    let status = answer.status();
    let kind = answer.headers().get(CONTENT_TYPE);
    let json = kind.is_some_and(|kind| kind.as_bytes().ends_with(b"json"))
        || kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    match status.is_success() || status.is_redirection() || json {
        true => Ok(answer),
        false => Err(Error::Other(format!("the CA answered {status}").into())),
    }
}

/// Source: RFC 9110, section 10.2.3. A date is of the form that the RFC prefers.
fn retry_after(answer: &Response<Bytes>) -> Option<SystemTime> {
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => SystemTime::now().checked_add(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok(),
    }
}
