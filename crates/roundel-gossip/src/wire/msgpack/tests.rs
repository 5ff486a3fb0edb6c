use super::*;

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Writer::new(&mut out));
    out
}

#[test]
fn numbers_take_their_shortest_form() {
    let check = |value: u64, expected: &[u8]| {
        let bytes = written(|w| w.uint(value));
        assert_eq!(bytes, expected, "{value}");
        assert_eq!(Reader::new(&bytes).uint(), Ok(value));
    };
    check(0, &[0]);
    check(0x7f, &[0x7f]);
    check(0x80, &[0xcc, 0x80]);
    check(0xff, &[0xcc, 0xff]);
    check(0x100, &[0xcd, 1, 0]);
    check(0xffff, &[0xcd, 0xff, 0xff]);
    check(0x1_0000, &[0xce, 0, 1, 0, 0]);
    check(0xffff_ffff, &[0xce, 0xff, 0xff, 0xff, 0xff]);
    check(0x1_0000_0000, &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]);
    check(u64::MAX, &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255]);
}

#[test]
fn text_never_takes_the_forms_of_the_later_specification() {
    let check = |len: usize, header: &[u8]| {
        let text = vec![b'x'; len];
        let bytes = written(|w| w.raw(&text));
        assert_eq!(&bytes[..header.len()], header, "{len}");
        assert_eq!(bytes.len(), header.len() + len);
        assert_eq!(Reader::new(&bytes).raw(), Ok(Some(text.as_slice())));
        assert!(is_old_spec(&bytes));
    };
    check(0, &[0xa0]);
    check(31, &[0xbf]);
    check(32, &[0xda, 0, 32]);
    check(255, &[0xda, 0, 255]);
    check(65_535, &[0xda, 255, 255]);
    check(65_536, &[0xdb, 0, 1, 0, 0]);
}

#[test]
fn lists_and_maps_count_their_entries() {
    assert_eq!(written(|w| w.array(15)), [0x9f]);
    assert_eq!(written(|w| w.array(512)), [0xdc, 2, 0]);
    assert_eq!(written(|w| w.array(65_536)), [0xdd, 0, 1, 0, 0]);
    assert_eq!(written(|w| w.map(15)), [0x8f]);
    assert_eq!(written(|w| w.map(16)), [0xde, 0, 16]);
    assert_eq!(written(|w| w.map(65_536)), [0xdf, 0, 1, 0, 0]);
}

#[test]
fn numbers_are_read_in_any_form() {
    let check = |bytes: &[u8], expected: Result<u16, ReadError>| {
        assert_eq!(Reader::new(bytes).uint::<u16>(), expected, "{bytes:02x?}");
    };
    check(&[0xc0], Ok(0));
    check(&[0xd1, 0x1f, 0x0a], Ok(7946));
    check(&[0xd3, 0, 0, 0, 0, 0, 0, 0x1f, 0x0a], Ok(7946));
    check(&[0xce, 0, 0, 0x1f, 0x0a], Ok(7946));
    check(&[0xd0, 0x7f], Ok(127));
    check(&[0xff], Err(ReadError::Range));
    check(&[0xd0, 0x80], Err(ReadError::Range));
    check(&[0xce, 0, 1, 0, 0], Err(ReadError::Range));
    check(&[0xcd, 0x1f], Err(ReadError::Truncated));
    check(&[], Err(ReadError::Truncated));
    let kind = ReadError::Kind {
        expected: "a number",
        found: 0xa1,
    };
    check(&[0xa1, b'1'], Err(kind));
}

#[test]
fn text_is_read_in_any_form() {
    for bytes in [
        &b"\xa2hi"[..],
        b"\xd9\x02hi",
        b"\xda\0\x02hi",
        b"\xdb\0\0\0\x02hi",
        b"\xc4\x02hi",
        b"\xc5\0\x02hi",
        b"\xc6\0\0\0\x02hi",
    ] {
        assert_eq!(Reader::new(bytes).text(2), Ok("hi"), "{bytes:02x?}");
        let newer = matches!(bytes[0], 0xd9 | 0xc4..=0xc6);
        assert_eq!(is_old_spec(bytes), !newer, "{bytes:02x?}");
    }
    assert_eq!(Reader::new(&[0xc0]).text(2), Ok(""));
    assert_eq!(Reader::new(b"\xa3abc").text(2), Err(ReadError::TooLong(3)));
    assert_eq!(Reader::new(b"\xa1\xff").text(2), Err(ReadError::NotText));
}

/// A count is compared with what is left before anybody could allocate for it.
#[test]
fn counts_beyond_the_bytes_are_refused() {
    assert_eq!(
        Reader::new(&[0xdd, 255, 255, 255, 255]).array(),
        Err(ReadError::Truncated)
    );
    assert_eq!(
        Reader::new(&[0xdf, 255, 255, 255, 255]).map(),
        Err(ReadError::Truncated)
    );
    assert_eq!(
        Reader::new(&[0xdb, 255, 255, 255, 255]).raw(),
        Err(ReadError::Truncated)
    );
    assert_eq!(
        Reader::new(&[0x82, 0, 0, 0]).map(),
        Err(ReadError::Truncated)
    );
    assert_eq!(Reader::new(&[0x82, 0, 0, 0, 0]).map(), Ok(2));
    let mut few = Reader::with_values(&[0x93, 1, 2, 3], 3);
    assert_eq!(few.skip(), Err(ReadError::Count));
    let mut enough = Reader::with_values(&[0x93, 1, 2, 3], 4);
    assert_eq!(enough.skip(), Ok(()));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| [vec![0x91; depth], vec![1]].concat();
    assert_eq!(Reader::new(&nested(16)).skip(), Ok(()));
    assert_eq!(Reader::new(&nested(17)).skip(), Err(ReadError::Depth));
    assert_eq!(Reader::new(&nested(60_000)).skip(), Err(ReadError::Depth));
    assert!(!is_old_spec(&nested(60_000)));
}

#[test]
fn every_kind_of_value_can_be_skipped() {
    let values: [&[u8]; 14] = [
        &[5],
        &[0xe0],
        &[0xc0],
        &[0xc2],
        &[0xca, 0, 0, 0, 0],
        &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xd2, 0, 0, 0, 0],
        b"\xa1x",
        &[0xc7, 2, 9, 1, 2],
        &[0xc8, 0, 1, 9, 1],
        &[0xd4, 9, 1],
        &[0xd6, 9, 1, 2, 3, 4],
        &[0x92, 0xc3, 0x81, 1, 2],
        &[0xdc, 0, 1, 0x90],
    ];
    for value in values {
        let bytes = [value, &[0x2a]].concat();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.value(), Ok(value));
        assert_eq!(reader.rest(), [0x2a]);
        for cut in 0..value.len() {
            let result = Reader::new(&value[..cut]).skip();
            assert_eq!(result, Err(ReadError::Truncated), "{value:02x?} at {cut}");
        }
    }
    assert!(Reader::new(&[0xc1]).skip().is_err());
}
