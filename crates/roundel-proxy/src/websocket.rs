//! The opening handshake of WebSocket as HTTP/1 has it, for clients that speak HTTP/2 and have none.
//!
//! Over HTTP/2 there is neither key nor proof: whoever asks a server of HTTP/1 makes the one and checks
//! the other. Source: RFC 6455 4.1 and 4.2.2; RFC 8441 5.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roundel_http1::{Known, ResponseHead};

/// What every server joins to the key. Source: RFC 6455 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a key: 16 in base64.
const KEY: usize = 24;

/// A key that was made for one request.
#[derive(Debug)]
pub(crate) struct Key([u8; KEY]);

impl Key {
    /// Makes one of so many random bits.
    pub(crate) fn new(random: u128) -> Self {
        let mut text = [0; KEY];
        let written = STANDARD.encode_slice(random.to_be_bytes(), &mut text);
        debug_assert_eq!(written, Ok(KEY));
        Self(text)
    }

    /// The value of Sec-WebSocket-Key.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this 101 comes from a server that has read the key and goes on with WebSocket.
    pub(crate) fn is_proven_by(&self, head: &ResponseHead) -> bool {
        let fields = head.fields();
        let mut proofs = fields.all(Known::SecWebSocketAccept);
        let proof = accept(self.as_bytes());
        proofs
            .next()
            .is_some_and(|line| line.value == proof.as_bytes())
            && proofs.next().is_none()
            && head.connection().upgrade
            && fields.has_token(Known::Upgrade, b"websocket")
    }
}

/// The value of Sec-WebSocket-Accept that proves that a key was read.
pub(crate) fn accept(key: &[u8]) -> String {
    let joined = [key, GUID].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &joined))
}

#[cfg(test)]
mod tests {
    use roundel_http1::{Limits, Method};

    use super::*;

    /// The example of RFC 6455 1.3.
    const RFC: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    #[test]
    fn a_key_is_proven_by_its_digest_alone() {
        assert_eq!(accept(RFC.as_bytes()), PROOF);
        let key = Key::new(u128::from_be_bytes(*b"the sample nonce"));
        assert_eq!(key.as_bytes(), RFC.as_bytes());
        let judged = |lines: &str| {
            let mut head = ResponseHead::new();
            let text = format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n");
            head.block.put(text.as_bytes());
            head.parse(&Limits::default(), Method::Get).unwrap();
            key.is_proven_by(&head)
        };
        let upgrade = "Upgrade: WebSocket\r\nConnection: upgrade\r\n";
        let proof = format!("Sec-WebSocket-Accept: {PROOF}\r\n");
        assert!(judged(&format!("{upgrade}{proof}")));
        for lines in [
            upgrade.to_owned(),
            proof.clone(),
            format!("{upgrade}{proof}{proof}"),
            format!(
                "{upgrade}Sec-WebSocket-Accept: {}\r\n",
                PROOF.to_lowercase()
            ),
            format!("Upgrade: h2c\r\nConnection: upgrade\r\n{proof}"),
            format!("Upgrade: websocket\r\n{proof}"),
        ] {
            assert!(!judged(&lines), "{lines}");
        }
    }
}
