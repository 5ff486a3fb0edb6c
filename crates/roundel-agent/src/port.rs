//! Waiting until the app's port accepts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Time between two tries: short beside an app's start, long beside the cost of a connect.
const STEP: Duration = Duration::from_millis(50);

/// How long one try may hang, as it does when a firewall drops the packets.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often the wait is told to the operator.
const REMIND: Duration = Duration::from_secs(10);

/// Waits until one of the addresses accepts a connection on `port`.
///
/// Shape: with `specific` only that address counts, else the two loopback ones, which an app
/// on a wildcard address accepts on. The connection is closed at once without a byte.
pub(crate) async fn accepts(specific: Option<IpAddr>, port: u16) {
    let both = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let one = specific.map(|ip| [ip]);
    let addresses = one.as_ref().map_or(&both[..], |ip| &ip[..]);
    let mut remind = Instant::now() + REMIND;
    loop {
        for ip in addresses {
            let connect = TcpStream::connect(SocketAddr::new(*ip, port));
            if matches!(timeout(PATIENCE, connect).await, Ok(Ok(_))) {
                return;
            }
        }
        if Instant::now() >= remind {
            tracing::warn!(port, "still waiting for the app's port to accept");
            remind += REMIND;
        }
        sleep(STEP).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test]
    async fn waits_for_the_listener() {
        let address = roundel_testkit::free_address();
        let wait = tokio::spawn(accepts(Some(address.ip()), address.port()));
        sleep(STEP * 3).await;
        assert!(!wait.is_finished());
        let _listener = TcpListener::bind(address).unwrap();
        timeout(Duration::from_secs(10), wait)
            .await
            .unwrap()
            .unwrap();
    }
}
