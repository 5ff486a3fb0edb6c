//! The handshake with a server, on a connection that was made a moment ago.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;

use roundel_tls::Back;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::transport::Io;
use crate::transport::tls::Tls;

/// Makes the handshake with the server at `address`, behind `before`, which is sent in clear. It is offered
/// `alpn` alone; what `back` offers where that names none.
///
/// What ends it on this side goes out with the first words.
/// Errors: of kind `InvalidData` with what rustls says, where the server is not to be believed or
/// breaks the protocol; else the connection has ended.
pub(crate) async fn secure(
    mut socket: TcpStream,
    before: &[u8],
    back: &Back,
    alpn: Option<&[u8]>,
    address: IpAddr,
) -> io::Result<Io> {
    socket.write_all(before).await?;
    let broken = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let config = match alpn {
        Some(protocol) => back.config_for(protocol),
        None => back.config().clone(),
    };
    let client = Tls::client(socket, config, back.name(address));
    let mut tls = client.map_err(broken)?;
    loop {
        tls.advance()?;
        if !tls.is_handshaking() {
            return Ok(Io::Tls(tls));
        }
        poll_fn(|cx| tls.poll_more(cx)).await?;
    }
}
