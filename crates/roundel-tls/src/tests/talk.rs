//! A handshake without sockets.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::{ClientConfig, ClientConnection};
use rustls::server::{Acceptor, ServerConnection};
use rustls::{HandshakeKind, RootCertStore};

use super::mint::Authority;
use crate::provider;
use crate::{Answer, Certificate, Front};

/// A client that believes `authority`, and shows `own` if it is asked.
pub(super) fn client(authority: &Authority, own: Option<&Certificate>) -> ClientConfig {
    client_with(authority, own, provider::shared(), rustls::ALL_VERSIONS)
}

pub(super) fn client_with(
    authority: &Authority,
    own: Option<&Certificate>,
    provider: Arc<rustls::crypto::CryptoProvider>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_cert_resolver(Arc::new(
            rustls::sign::SingleCertAndKey::from(Arc::clone(&own.key)),
        )),
    }
}

/// Both ends after a handshake.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) client: ClientConnection,
    pub(super) server: ServerConnection,
    pub(super) answer: Answer,
}

impl Talk {
    pub(super) fn is_resumed(&self) -> bool {
        self.server.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.client.alpn_protocol()
    }
}

/// Shakes hands; a byte goes each way, so that tickets have come. Errors: what either end says.
pub(super) fn talk(front: &Front, client: &Arc<ClientConfig>, name: &str) -> Result<Talk, String> {
    let name = name.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        acceptor.read_tls(&mut &bytes[..]).unwrap();
        let accepted = acceptor.accept().map_err(|(error, _)| error.to_string())?;
        if let Some(accepted) = accepted {
            break accepted;
        }
    };
    let answer = front.answer(&accepted.client_hello());
    let answer = answer.ok_or("unrecognized_name")?;
    let server = accepted.into_connection(Arc::clone(&answer.config));
    let mut server = server.map_err(|(error, _)| error.to_string())?;
    client.writer().write_all(b"?").unwrap();
    server.writer().write_all(b"!").unwrap();
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            let read = client.process_new_packets();
            read.map_err(|error| error.to_string())?;
        }
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            let read = server.process_new_packets();
            read.map_err(|error| error.to_string())?;
        }
    }
    let mut byte = [0];
    client.reader().read_exact(&mut byte).unwrap();
    server.reader().read_exact(&mut byte).unwrap();
    Ok(Talk {
        client,
        server,
        answer,
    })
}
