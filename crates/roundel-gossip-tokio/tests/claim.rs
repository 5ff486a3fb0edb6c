//! Our own name, claimed by others.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{alive, node, until};
use roundel_gossip::wire::{Ack, Envelope, Message, NodeRecord, Packet, Versions, decode_packet};
use tokio::net::UdpSocket;

const SOON: Duration = Duration::from_secs(30);

/// Says that `name` is at `at`.
async fn claim(by: &UdpSocket, name: &str, at: SocketAddr, to: SocketAddr) {
    let record = NodeRecord::new(name.to_owned(), at, vec![0xff, 0x80], 9, Versions::SERF);
    let message = Message::Alive(record.unwrap());
    by.send_to(&message.encode(), to).await.unwrap();
}

/// Answers the first ping to `name`.
async fn answer(by: &UdpSocket, name: &str) {
    let mut buffer = [0; 2048];
    loop {
        let (len, from) = by.recv_from(&mut buffer).await.unwrap();
        let mut packet = Packet::default();
        decode_packet(&buffer[..len], &Envelope::default(), &mut packet).unwrap();
        for message in packet.messages {
            if let Message::Ping(ping) = message
                && ping.node == name
            {
                let ack = Ack {
                    seq: ping.seq,
                    payload: None,
                };
                by.send_to(&Message::Ack(ack).encode(), from).await.unwrap();
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_name_is_lost_only_to_somebody_who_answers_to_it_and_costs_no_member() {
    let a = node("a", None).await;
    let _b = node("b", Some(&a)).await;
    let _c = node("c", Some(&a)).await;
    until(&a, "all meet", SOON, |m| alive(m) == 3).await;
    let claimant = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = claimant.local_addr().unwrap();

    // Nobody answers there. When the next claim is looked at, this one is over.
    let nobody = silent.local_addr().unwrap();
    claim(&claimant, "a", nobody, a.local_addr()).await;
    let found = async {
        loop {
            claim(&claimant, "a", at, a.local_addr()).await;
            let asked = tokio::time::timeout(Duration::from_millis(200), answer(&claimant, "a"));
            assert_eq!(&*a.name(), "a");
            if asked.await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, found).await.unwrap();
    until(&a, "another name", SOON, |members| {
        // Never does it know nobody, whatever becomes of its name.
        let others = members.iter().filter(|m| ["b", "c"].contains(&&*m.name));
        assert_eq!(others.count(), 2, "{members:?}");
        members.iter().any(|m| m.name.starts_with("a-"))
    })
    .await;
    assert!(a.name().starts_with("a-"), "{}", a.name());
}
