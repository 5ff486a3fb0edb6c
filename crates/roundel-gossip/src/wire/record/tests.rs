use super::*;

fn record(name: &str, address: &str, meta: usize) -> Result<NodeRecord, BadRecord> {
    let address = address.parse().unwrap();
    NodeRecord::new(name.into(), address, vec![0; meta], 1, Versions::SERF)
}

#[test]
fn versions_must_agree_with_themselves() {
    let check = |bytes: &[u8], expected: Result<(), BadRecord>| {
        assert_eq!(Versions::from_wire(bytes).map(drop), expected, "{bytes:?}");
    };
    let form = Err(BadRecord::VersionForm);
    check(&[1, 5, 2, 2, 5, 5], Ok(()));
    check(&[1, 5, 2, 2, 5, 4], Ok(()));
    check(&[2, 2, 2, 0, 0, 0], Ok(()));
    check(&[1, 5, 6, 2, 5, 5], form);
    check(&[1, 5, 2, 2, 5, 6], form);
    check(&[1, 5, 2, 5, 2, 5], form);
}

#[test]
fn versions_are_named() {
    let versions = Versions::from_wire(&[1, 5, 3, 2, 6, 4]).unwrap();
    assert_eq!(versions.protocol_min(), 1);
    assert_eq!(versions.protocol_max(), 5);
    assert_eq!(versions.protocol_current(), 3);
    assert_eq!(versions.delegate_min(), 2);
    assert_eq!(versions.delegate_max(), 6);
    assert_eq!(versions.delegate_current(), 4);
}

#[test]
fn compatible_means_both_ways() {
    let check = |bytes: [u8; 6], expected: bool| {
        let versions = Versions::from_wire(&bytes).unwrap();
        assert_eq!(
            versions.is_compatible_with(&Versions::SERF),
            expected,
            "{bytes:?}"
        );
        assert_eq!(
            Versions::SERF.is_compatible_with(&versions),
            expected,
            "{bytes:?}"
        );
        let record = NodeRecord::new(
            "n".into(),
            SocketAddr::from(([10, 0, 0, 1], 1)),
            Vec::new(),
            1,
            versions,
        );
        assert_eq!(record.is_ok(), expected);
    };
    check([1, 5, 2, 2, 5, 5], true);
    check([1, 5, 2, 2, 5, 4], true);
    check([1, 9, 5, 0, 9, 5], true);
    check([3, 5, 3, 2, 5, 5], false);
    check([1, 1, 1, 2, 5, 5], false);
    check([1, 5, 2, 2, 6, 6], false);
    check([1, 5, 2, 0, 0, 0], false);
}

#[test]
fn records_of_impossible_nodes_cannot_be_built() {
    assert!(record("a", "10.0.0.1:7946", 512).is_ok());
    assert!(record("a", "[fd00::1]:7946", 0).is_ok());
    assert!(record("a", "127.0.0.1:0", 0).is_ok());
    assert_eq!(record("", "10.0.0.1:1", 0), Err(BadRecord::EmptyName));
    let long = "n".repeat(256);
    assert_eq!(
        record(&long, "10.0.0.1:1", 0),
        Err(BadRecord::NameTooLong(256))
    );
    assert_eq!(
        record("a", "10.0.0.1:1", 513),
        Err(BadRecord::MetaTooLong(513))
    );
    for address in [
        "0.0.0.0:1",
        "224.0.0.1:1",
        "255.255.255.255:1",
        "[::]:1",
        "[ff02::1]:1",
        "[::ffff:224.0.0.1]:1",
    ] {
        let ip = address.parse::<SocketAddr>().unwrap().ip().to_canonical();
        let expected = Err(BadRecord::UnusableAddress(ip));
        assert_eq!(record("a", address, 0), expected, "{address}");
    }
}

#[test]
fn an_address_is_written_in_the_form_in_which_it_came() {
    let mapped = record("a", "[::ffff:10.0.0.1]:7946", 0).unwrap();
    let plain = record("a", "10.0.0.1:7946", 0).unwrap();
    assert_eq!(mapped.address(), plain.address());
    assert_ne!(mapped, plain);
    for (record, length) in [(mapped, 16), (plain, 4)] {
        let mut out = Vec::new();
        record.write_alive(&mut Writer::new(&mut out));
        assert_eq!(out[6], 0xa0 + length, "the length of Addr");
        let read = NodeRecord::read_alive(&mut Reader::new(&out)).unwrap();
        assert_eq!(read, record);
    }
}

/// Reads an alive body of which one field is replaced by bytes.
fn read_with(field: &str, value: &[u8]) -> Result<NodeRecord, Rejected> {
    let raw = |bytes: &[u8]| {
        let mut out = Vec::new();
        Writer::new(&mut out).raw(bytes);
        out
    };
    let fields = [
        ("Addr", raw(&[10, 0, 0, 1])),
        ("Incarnation", vec![7]),
        ("Meta", raw(b"")),
        ("Node", raw(b"web")),
        ("Port", vec![7]),
        ("Vsn", raw(Versions::SERF.as_bytes())),
    ];
    let mut out = vec![0x86];
    for (name, usual) in fields {
        out.extend(raw(name.as_bytes()));
        out.extend(if name == field { raw(value) } else { usual });
    }
    NodeRecord::read_alive(&mut Reader::new(&out))
}

#[test]
fn a_refusal_names_the_node() {
    let check = |field: &str, value: &[u8], name: &str, reason: Reason| {
        let rejected = read_with(field, value).unwrap_err();
        let name = name.to_owned();
        assert_eq!(rejected, Rejected { name, reason }, "{field}");
    };
    assert!(read_with("Meta", b"").is_ok());
    check(
        "Addr",
        &[1, 2, 3],
        "web",
        BadRecord::AddressLength(3).into(),
    );
    check("Node", b"", "", BadRecord::EmptyName.into());
    check("Node", b"w\xff", "w\u{fffd}", ReadError::NotText.into());
    let long = [b'n'; 300];
    let shown = "n".repeat(limits::NAME);
    check("Node", &long, &shown, BadRecord::NameTooLong(300).into());
    check("Meta", &[0; 513], "web", BadRecord::MetaTooLong(513).into());
    let kind = ReadError::Kind {
        expected: "a number",
        found: 0xa1,
    };
    check("Port", b"x", "web", kind.into());
}
