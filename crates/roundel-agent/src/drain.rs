//! The end of a server's service: nothing new comes, what is under way ends, only then the app.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::time::Duration;

use roundel_gossip_tokio::{Member, Status};
use tokio::time::{Instant, sleep, timeout_at};

use crate::connections::inbound;
use crate::handshake;
use crate::membership::Membership;

/// Time between two looks at the app's connections.
const STEP: Duration = Duration::from_millis(50);

/// How long the app must stay without a connection: a balancer that has just picked it may
/// still be connecting, and the word of the leave takes some milliseconds to every balancer.
const QUIET: Duration = Duration::from_millis(300);

/// How long the app is held where the kernel does not tell about connections.
const GRACE: Duration = Duration::from_secs(1);

/// Waits until the app may end, at most `limit`: no balancer has anything left to do here, nor
/// will have. The node goes on answering; a leave is still to be announced, if it was not.
pub(crate) async fn drain(member: &Membership, role: &str, port: u16, limit: Duration) {
    let started = Instant::now();
    let deadline = started + limit;
    tracing::info!("draining");
    let asked = OnceCell::new();
    match timeout_at(deadline, in_order(member, role, port, deadline, &asked)).await {
        Ok(()) => tracing::info!(took = ?started.elapsed(), "drained"),
        Err(_) => {
            let open = inbound(member.ip(), port).ok();
            let why = why_not(asked.get(), open, port);
            tracing::warn!(?limit, "not drained in time: {why}");
        }
    }
}

/// Asks those balancers that can tell. Where others may send requests too, they hear of the leave,
/// and the kernel says when no connection is left.
async fn in_order(
    member: &Membership,
    role: &str,
    port: u16,
    deadline: Instant,
    outcome: &OnceCell<handshake::Outcome>,
) {
    let asked = match member.announce_drain().await {
        Some(incarnation) => handshake::ask_all(member.handle(), incarnation, deadline).await,
        None => handshake::Outcome::default(),
    };
    let asked = outcome.get_or_init(|| asked);
    let others = others_may_send(&member.members(), role);
    if others || asked.drained.is_empty() || !asked.silent.is_empty() {
        member.leave().await;
        quiet(member.ip(), port).await;
    }
}

/// Whether a member that does not answer us may be, or may feed, a balancer: one that says so, or
/// one of which we do not know that it is a server like us.
fn others_may_send(members: &[Member], role: &str) -> bool {
    let living = members.iter().filter(|m| m.status == Status::Alive);
    let mut silent = living.filter(|m| !handshake::answers(m));
    silent.any(|m| m.tags.get("role").is_none_or(|theirs| theirs != role))
}

/// What the app was held for to the end, as far as it is known; `open` connections to its port.
fn why_not(asked: Option<&handshake::Outcome>, open: Option<usize>, port: u16) -> String {
    let Some(outcome) = asked else {
        return "requests are still under way".to_owned();
    };
    let open = match open {
        None | Some(0) => "the leave was not spread in time".to_owned(),
        Some(1) => format!("1 connection to port {port} is open"),
        Some(n) => format!("{n} connections to port {port} are open"),
    };
    if outcome.silent.is_empty() {
        return open;
    }
    let silent: Vec<&str> = outcome.silent.iter().map(String::as_str).collect();
    format!(
        "{open}, and {} did not answer and may go on sending requests; is its gossip port open for \
         UDP, too?",
        silent.join(", ")
    )
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
    use std::collections::BTreeSet;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    #[test]
    fn what_is_said_at_the_deadline_is_what_was_waited_for() {
        let requests = "requests are still under way";
        assert_eq!(why_not(None, Some(3), 80), requests);
        let outcome = |names: &[&str]| handshake::Outcome {
            silent: names
                .iter()
                .map(|n| (*n).to_owned())
                .collect::<BTreeSet<_>>(),
            ..handshake::Outcome::default()
        };
        let told = why_not(Some(&outcome(&[])), Some(1), 80);
        assert_eq!(told, "1 connection to port 80 is open");
        let told = why_not(Some(&outcome(&["lb-1", "lb-2"])), Some(2), 80);
        assert!(told.starts_with("2 connections to port 80 are open, and lb-1, lb-2 did not"));
        assert!(told.contains("UDP"), "{told}");
        let told = why_not(Some(&outcome(&["lb-1"])), Some(0), 80);
        assert!(
            told.starts_with("the leave was not spread in time"),
            "{told}"
        );
    }

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
