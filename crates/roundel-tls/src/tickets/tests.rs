use super::*;

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// The keys of another process that was left these.
fn heir(keys: &TicketKeys) -> Arc<TicketKeys> {
    let heir = TicketKeys::new(start());
    assert!(heir.inherit(&keys.export()));
    heir
}

fn ticketer(keys: &Arc<TicketKeys>, context: &str) -> Ticketer {
    Ticketer::new(Arc::clone(keys), context.into())
}

#[test]
fn a_ticket_opens_under_its_context_only_and_only_whole() {
    let keys = TicketKeys::new(start());
    let [a, b] = ["a", "b"].map(|context| ticketer(&keys, context));
    let ticket = a.encrypt(b"session").unwrap();
    assert_eq!(a.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    assert_eq!(b.decrypt(&ticket), None);
    assert_ne!(a.encrypt(b"session").unwrap(), ticket);
    for length in 0..ticket.len() {
        assert_eq!(a.decrypt(&ticket[..length]), None);
        let mut changed = ticket.clone();
        changed[length] ^= 1;
        assert_eq!(a.decrypt(&changed), None);
    }
}

#[test]
fn who_turns_a_little_earlier_is_understood() {
    let keys = TicketKeys::new(start());
    let other = heir(&keys);
    other.advance(start() + TURN);
    let [early, late] = [&other, &keys].map(|keys| ticketer(keys, ""));
    for (from, to) in [(&early, &late), (&late, &early)] {
        let ticket = from.encrypt(b"session").unwrap();
        assert!(to.decrypt(&ticket).is_some());
    }
}

#[test]
fn the_clock_may_go_back_a_little_or_far() {
    let keys = TicketKeys::new(start());
    let own = ticketer(&keys, "");
    let ticket = own.encrypt(b"session").unwrap();
    keys.advance(start() - TURN);
    assert!(own.decrypt(&ticket).is_some());
    keys.advance(start() - TURN * 2);
    assert!(own.decrypt(&ticket).is_none());
    let ticket = own.encrypt(b"session").unwrap();
    keys.advance(start() - TURN);
    assert!(own.decrypt(&ticket).is_some());
}

#[test]
fn what_is_handed_over_is_exact_and_shown_nowhere_else() {
    let keys = TicketKeys::new(start());
    let bytes = keys.export();
    let again = heir(&keys);
    assert_eq!(again.export(), bytes);
    for wrong in [
        &bytes[1..],
        &bytes[..bytes.len() - 1],
        b"",
        &[&bytes[..], b"."].concat(),
    ] {
        assert!(!again.inherit(wrong));
    }
    assert_eq!(
        format!("{keys:?} {:?}", ticketer(&keys, "")),
        "TicketKeys Ticketer"
    );
}
