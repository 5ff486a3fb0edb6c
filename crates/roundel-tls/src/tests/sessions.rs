//! Which sessions go on, and which do not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::version::{TLS12, TLS13};

use super::mint::{Authority, ECDSA, RSA};
use super::talk::{client_with, talk};
use crate::*;

fn now() -> SystemTime {
    SystemTime::now()
}

fn build(certificates: &[&Arc<Certificate>], policy: &Policy, keys: &Arc<TicketKeys>) -> Front {
    let certificates: Vec<_> = certificates.iter().copied().cloned().collect();
    Front::new(&certificates, policy, keys, now())
}

#[test]
fn a_session_goes_on_in_both_versions_after_a_renewal_and_in_another_process() {
    let authority = Authority::new("test");
    let [old, new] = [ECDSA, ECDSA].map(|kind| authority.certificate(&["a.example"], kind));
    let keys = TicketKeys::new(now());
    let policy = Policy::default();
    for version in [&TLS12, &TLS13] {
        let provider = crate::provider::shared();
        let client = Arc::new(client_with(&authority, None, provider, &[version]));
        let front = build(&[&old], &policy, &keys);
        for expected in [false, true, true] {
            let talked = talk(&front, &client, "a.example").unwrap();
            assert_eq!(talked.is_resumed(), expected, "{version:?}");
        }
        let renewed = build(&[&new], &policy, &keys);
        assert!(talk(&renewed, &client, "a.example").unwrap().is_resumed());
        let heirs = TicketKeys::new(now());
        assert!(heirs.inherit(&keys.export()));
        let heir = build(&[&new], &policy, &heirs);
        assert!(talk(&heir, &client, "a.example").unwrap().is_resumed());
        let stranger = build(&[&new], &policy, &TicketKeys::new(now()));
        assert!(!talk(&stranger, &client, "a.example").unwrap().is_resumed());
    }
}

#[test]
fn a_session_goes_on_under_no_other_certificate_or_policy() {
    let authority = Authority::new("test");
    let one = authority.certificate(&["a.example"], ECDSA);
    let both = authority.certificate(&["a.example", "b.example"], ECDSA);
    let keys = TicketKeys::new(now());
    let lax = Policy::default();
    let modern = Policy {
        profile: Profile::Modern,
        ..Policy::default()
    };
    let base = build(&[&one], &lax, &keys);
    for (other, resumed) in [
        (build(&[&one], &lax, &keys), true),
        (build(&[&both], &lax, &keys), false),
        (build(&[&one], &modern, &keys), false),
    ] {
        let provider = crate::provider::shared();
        let client = Arc::new(client_with(&authority, None, provider, &[&TLS13]));
        assert!(!talk(&base, &client, "a.example").unwrap().is_resumed());
        assert_eq!(
            talk(&other, &client, "a.example").unwrap().is_resumed(),
            resumed
        );
    }
}

#[test]
fn one_ticket_comes_with_a_handshake() {
    let authority = Authority::new("test");
    let certificate = authority.certificate(&["a.example"], RSA);
    let front = build(&[&certificate], &Policy::default(), &TicketKeys::new(now()));
    let provider = crate::provider::shared();
    let client = Arc::new(client_with(&authority, None, provider, &[&TLS13]));
    let talked = talk(&front, &client, "a.example").unwrap();
    assert_eq!(talked.client.tls13_tickets_received(), 1);
}

#[test]
fn a_ticket_lives_for_a_day_at_most() {
    let authority = Authority::new("test");
    let certificate = authority.certificate(&["a.example"], ECDSA);
    let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
    // What a key sealed at the start of its turn lives longer than what it sealed at the end.
    for (given, asked, resumed) in [
        (0, 7, true),
        (0, 15, true),
        (0, 16, false),
        (7, 15, true),
        (7, 16, false),
        (8, 23, true),
        (0, 24, false),
        (0, 1000, false),
    ] {
        let keys = TicketKeys::new(now());
        let start = now();
        let front = build(&[&certificate], &Policy::default(), &keys);
        let provider = crate::provider::shared();
        let client = Arc::new(client_with(&authority, None, provider, &[&TLS13]));
        keys.advance(start + hours(given));
        assert!(!talk(&front, &client, "a.example").unwrap().is_resumed());
        for hour in given..=asked {
            keys.advance(start + hours(hour));
        }
        let talked = talk(&front, &client, "a.example").unwrap();
        assert_eq!(
            talked.is_resumed(),
            resumed,
            "given at {given}, asked at {asked}"
        );
    }
}
