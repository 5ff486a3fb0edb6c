//! One client connection.
use crate::accept::Open;
use std::net::SocketAddr;
use tokio::net::TcpStream;
pub(crate) struct Connection {
    open: Open,
    stream: TcpStream,
    peer: SocketAddr,
    h2c: bool,
}
impl Connection {
    pub(crate) fn new(open: Open, stream: TcpStream, peer: SocketAddr, h2c: bool) -> Self {
        Self {
            open,
            stream,
            peer,
            h2c,
        }
    }
}
pub(crate) async fn run(connection: Connection) {
    let _ = (
        &connection.open,
        &connection.stream,
        connection.peer,
        connection.h2c,
    );
}
