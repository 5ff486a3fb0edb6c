//! The end of a server's service: leave first, then hold the app until it is quiet.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::connections::inbound;
use crate::membership::Membership;

/// Time between two looks at the app's connections.
const STEP: Duration = Duration::from_millis(50);

/// How long the app must stay without a connection: a balancer that has just picked it may
/// still be connecting, and the word of the leave takes some milliseconds to every balancer.
const QUIET: Duration = Duration::from_millis(300);

/// How long the app is held where the kernel does not tell about connections.
const GRACE: Duration = Duration::from_secs(1);

/// Announces the leave, then waits until the app has had no connection for a moment, at most
/// `limit` in all. The node answers until the end and is then shut down.
pub(crate) async fn drain(member: Membership, port: u16, limit: Duration) {
    let ip = member.ip();
    let started = Instant::now();
    tracing::info!("leaving");
    let in_order = async {
        member.leave().await;
        quiet(ip, port).await
    };
    match timeout(limit, in_order).await {
        Ok(()) => tracing::info!(took = ?started.elapsed(), "drained"),
        Err(_) => tracing::warn!(?limit, "not drained in time: connections are still open"),
    }
    member.shutdown().await;
}

async fn quiet(ip: Option<IpAddr>, port: u16) {
    let mut since = Instant::now();
    loop {
        match inbound(ip, port) {
            Ok(0) if since.elapsed() >= QUIET => return,
            Ok(0) => {}
            Ok(_) => since = Instant::now(),
            Err(error) => {
                tracing::debug!(%error, "no table of connections: holding for a fixed time");
                return sleep(GRACE).await;
            }
        }
        sleep(STEP).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn waits_for_the_last_connection() {
        let address = roundel_testkit::free_address();
        let listener = TcpListener::bind(address).await.unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let accepted = listener.accept().await.unwrap();
        let hold = tokio::spawn(quiet(Some(address.ip()), address.port()));
        sleep(QUIET * 2).await;
        assert!(!hold.is_finished());
        drop((client, accepted));
        timeout(Duration::from_secs(5), hold)
            .await
            .unwrap()
            .unwrap();
    }
}
