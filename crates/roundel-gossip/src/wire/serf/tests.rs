use std::time::Duration;

use super::*;

fn query_with(key: &str, value: impl FnOnce(&mut Writer<'_>)) -> Result<Query, SerfError> {
    let mut bytes = vec![QUERY];
    let mut w = Writer::new(&mut bytes);
    w.map(2);
    w.key("Addr");
    w.raw(&[10, 0, 0, 1]);
    w.key(key);
    value(&mut w);
    match SerfMessage::decode(&bytes)? {
        SerfMessage::Query(query) => Ok(query),
        other => panic!("{other:?} is no query"),
    }
}

/// Newer agents write durations as signed numbers.
#[test]
fn timeouts_are_never_negative() {
    let check = |bytes: &[u8], expected: Duration| {
        let mut raw = vec![QUERY];
        let mut w = Writer::new(&mut raw);
        w.map(2);
        w.key("Addr");
        w.raw(&[10, 0, 0, 1]);
        w.key("Timeout");
        raw.extend_from_slice(bytes);
        let Ok(SerfMessage::Query(query)) = SerfMessage::decode(&raw) else {
            panic!("no query: {bytes:?}");
        };
        assert_eq!(query.timeout, expected);
        let again = SerfMessage::Query(query.clone()).encode();
        assert_eq!(SerfMessage::decode(&again), Ok(SerfMessage::Query(query)));
    };
    check(
        &[0xd3, 0, 0, 0, 0, 0xbe, 0xbc, 0x20, 0],
        Duration::from_millis(3_200),
    );
    check(&[0xce, 0xbe, 0xbc, 0x20, 0], Duration::from_millis(3_200));
    check(&[0xff], Duration::ZERO);
    check(
        &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255],
        Duration::from_nanos(i64::MAX as u64),
    );
}

#[test]
fn too_many_values_are_refused() {
    let filters = |count: usize| {
        query_with("Filters", |w| {
            w.array(count);
            (0..count).for_each(|_| w.raw(b""));
        })
    };
    let most = limits::SERF_VALUES - 5;
    assert_eq!(filters(most).map(|query| query.filters.len()), Ok(most));
    assert_eq!(filters(most + 1), Err(ReadError::Count.into()));
}

#[test]
fn an_answer_needs_an_address() {
    let bytes = [QUERY, 0x80];
    assert_eq!(
        SerfMessage::decode(&bytes),
        Err(SerfError::AddressLength(0))
    );
    let bytes = [RELAY, 0x80];
    assert_eq!(
        SerfMessage::decode(&bytes),
        Err(SerfError::AddressLength(0))
    );
}

#[test]
fn unknown_kinds_are_told() {
    assert_eq!(SerfMessage::decode(&[]), Err(SerfError::Empty));
    assert_eq!(
        SerfMessage::decode(&[10, 0x80]),
        Err(SerfError::UnknownType(10))
    );
    let cut = SerfError::Malformed(ReadError::Truncated);
    assert_eq!(SerfMessage::decode(&[JOIN, 0x81]), Err(cut));
    assert_eq!(Filter::decode(&[]), Err(SerfError::Empty));
    assert_eq!(Filter::decode(&[7, 1, 2]), Ok(Filter::Unknown(7)));
    assert!(Filter::decode(&[0, 0x81]).is_err());
}

#[test]
fn nobody_known_is_a_vote_too() {
    let message = SerfMessage::ConflictResponse(None);
    assert_eq!(message.encode(), [CONFLICT_RESPONSE, 0xc0]);
    assert_eq!(SerfMessage::decode(&[6, 0xc0]), Ok(message));
}

#[test]
fn keys_do_not_show() {
    let request = KeyRequest {
        key: vec![0x5a; 32],
    };
    assert_eq!(format!("{request:?}"), "KeyRequest(32 secret bytes)");
    let response = KeyResponse {
        keys: Some(vec!["c2VjcmV0".into()]),
        primary_key: "c2VjcmV0".into(),
        ..KeyResponse::default()
    };
    assert!(!format!("{response:?}").contains("c2Vj"));
}
