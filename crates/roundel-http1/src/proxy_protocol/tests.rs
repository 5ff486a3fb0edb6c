use super::*;

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

/// Parses a header that is whole and alone.
fn read(bytes: &[u8]) -> Result<Option<Addresses>, Invalid> {
    let (header, length) = parse(bytes)?.expect("a whole header");
    assert_eq!(length, bytes.len());
    Ok(header.addresses)
}

#[test]
fn lines_of_version_1() {
    let four = Some(addresses("192.168.0.1:56324", "192.168.0.11:443"));
    let six = Some(addresses("[2001:db8::1]:1", "[::1]:65535"));
    for (line, expected) in [
        ("TCP4 192.168.0.1 192.168.0.11 56324 443", Ok(four)),
        ("TCP6 2001:db8::1 ::1 1 65535", Ok(six)),
        (
            "TCP6 ::ffff:192.168.0.1 ::ffff:192.168.0.11 56324 443",
            Ok(four),
        ),
        ("UNKNOWN", Ok(None)),
        ("UNKNOWN whatever \u{e4} this says", Ok(None)),
        ("UNKNOWNS", Err(Invalid::Line)),
        ("", Err(Invalid::Line)),
        ("TCP4", Err(Invalid::Line)),
        ("TCP4 1.2.3.4 1.2.3.4 1", Err(Invalid::Line)),
        ("TCP4 1.2.3.4 1.2.3.4 1 2 ", Err(Invalid::Line)),
        ("TCP4 1.2.3.4 1.2.3.4 1 2 3", Err(Invalid::Line)),
        ("TCP4  1.2.3.4 1.2.3.4 1 2", Err(Invalid::Line)),
        ("TCP4\t1.2.3.4 1.2.3.4 1 2", Err(Invalid::Line)),
        ("TCP4 1.2.3.04 1.2.3.4 1 2", Err(Invalid::Line)),
        ("TCP4 1.2.3.4 1.2.3.4 +1 2", Err(Invalid::Line)),
        ("TCP4 1.2.3.4 1.2.3.4 01 2", Err(Invalid::Line)),
        ("TCP4 1.2.3.4 1.2.3.4 1 65536", Err(Invalid::Line)),
        ("TCP4 1.2.3.4 1.2.3.4  2", Err(Invalid::Line)),
        ("TCP4 ::1 ::1 1 2", Err(Invalid::Line)),
        ("TCP6 1.2.3.4 1.2.3.4 1 2", Err(Invalid::Line)),
        ("tcp4 1.2.3.4 1.2.3.4 1 2", Err(Invalid::Line)),
        ("UDP4 1.2.3.4 1.2.3.4 1 2", Err(Invalid::Line)),
        ("TCP4 1.2.3.4 1.2.3.4 1 2\n", Err(Invalid::Line)),
    ] {
        assert_eq!(
            read(format!("PROXY {line}\r\n").as_bytes()),
            expected,
            "{line}"
        );
    }
    let not_text = b"PROXY UNKNOWN \xff\r\n";
    assert_eq!(read(not_text), Err(Invalid::Line));
}

#[test]
fn a_line_has_107_bytes_at_most() {
    let line = |padding: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(padding));
    assert_eq!(line(91).len(), 107);
    assert_eq!(read(line(91).as_bytes()), Ok(None));
    assert_eq!(parse(line(92).as_bytes()), Err(Invalid::TooLong));
    assert_eq!(parse(&line(92).as_bytes()[..106]), Ok(None));
}

#[test]
fn anything_else_is_refused_with_its_first_wrong_byte() {
    for other in [
        "GET / HTTP/1.1",
        "P ",
        "PROXY\r",
        "\n",
        "\r\n\r\nX",
        "proxy ",
    ] {
        assert_eq!(
            parse(other.as_bytes()),
            Err(Invalid::NotAHeader),
            "{other:?}"
        );
    }
    for begun in [
        "",
        "P",
        "PROXY",
        "PROXY ",
        "PROXY TCP4 1",
        "\r",
        "\r\n\r\n\0",
    ] {
        assert_eq!(parse(begun.as_bytes()), Ok(None), "{begun:?}");
    }
}

/// A binary header with these two bytes, then `block`.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, family], &length, block].concat()
}

const FOUR: [u8; 12] = [10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80];

#[test]
fn headers_of_version_2() {
    let four = Some(addresses("10.0.0.1:4660", "10.0.0.2:80"));
    assert_eq!(read(&binary(0x21, 0x11, &FOUR)), Ok(four));
    let mut six = [0; 36];
    six[15] = 1;
    six[16..32].copy_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    six[33] = 7;
    let expected = Some(addresses("[::1]:7", "[2001:db8::9]:0"));
    assert_eq!(read(&binary(0x21, 0x21, &six)), Ok(expected));
    // Checks of the proxy itself; families without addresses that count here.
    for (command, family, block) in [
        (0x20, 0x00, &b""[..]),
        (0x20, 0x11, b"short"),
        (0x20, 0xff, b"anything"),
        (0x21, 0x00, b""),
        (0x21, 0x12, &FOUR),
        (0x21, 0x31, &[0; 216]),
    ] {
        assert_eq!(
            read(&binary(command, family, block)),
            Ok(None),
            "{family:x}"
        );
    }
    for (command, family, block, expected) in [
        (0x11, 0x11, &FOUR[..], Invalid::Unassigned),
        (0x22, 0x11, &FOUR, Invalid::Unassigned),
        (0x21, 0x41, &FOUR, Invalid::Unassigned),
        (0x21, 0x13, &FOUR, Invalid::Unassigned),
        (0x21, 0x11, &FOUR[..11], Invalid::Length),
        (0x21, 0x21, &FOUR, Invalid::Length),
        (0x21, 0x31, &FOUR, Invalid::Length),
    ] {
        let bytes = binary(command, family, block);
        assert_eq!(parse(&bytes), Err(expected), "{command:x} {family:x}");
    }
    let long = binary(0x21, 0x11, &vec![0; MAX_LENGTH - 15]);
    assert_eq!(parse(&long[..16]), Err(Invalid::TooLong));
}

fn with_values(values: &[u8]) -> Vec<u8> {
    binary(0x21, 0x11, &[&FOUR, values].concat())
}

#[test]
fn values_are_walked_over() {
    let tls = |values: &[u8]| parse(&with_values(values)).map(|found| found.unwrap().0.tls);
    let authority = b"\x02\0\x04host";
    assert_eq!(tls(authority), Ok(false));
    assert_eq!(
        tls(&[&authority[..], b"\x04\0\0\xe0\0\x01z"].concat()),
        Ok(false)
    );
    assert_eq!(tls(b"\x20\0\x05\x01\0\0\0\0"), Ok(true));
    assert_eq!(tls(b"\x20\0\x05\x06\0\0\0\0"), Ok(false));
    for broken in [&b"\x02"[..], b"\x02\0", b"\x02\0\x05host", b"\x04\0\0\0"] {
        assert_eq!(tls(broken), Err(Invalid::Length), "{broken:?}");
    }
}

#[test]
fn the_checksum_is_verified() {
    let mut bytes = with_values(b"\x03\0\x04\0\0\0\0\x02\0\x01h");
    let sum = crc32c::crc32c(&[&bytes]);
    let at = bytes.len() - 8;
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    assert!(read(&bytes).is_ok());
    // Without its type the sum is not one.
    for i in (12..bytes.len()).filter(|i| *i != 28) {
        let mut flipped = bytes.clone();
        flipped[i] ^= 0x40;
        assert!(
            !matches!(parse(&flipped), Ok(Some((h, _))) if h.addresses.is_some()),
            "{i}"
        );
    }
    assert_eq!(parse(&with_values(b"\x03\0\x03abc")), Err(Invalid::Length));
}

#[test]
fn what_is_written_is_read_back() {
    for (source, destination) in [
        ("10.0.0.1:1", "10.0.0.2:2"),
        ("[2001:db8::1]:1", "[::1]:2"),
        ("10.0.0.1:1", "[::1]:2"),
        ("[::1]:1", "10.0.0.2:2"),
    ] {
        for version in [Version::V1, Version::V2] {
            let told = addresses(source, destination);
            let mut out = b"kept".to_vec();
            write(version, Some(told), None, &mut out);
            assert_eq!(read(&out[4..]), Ok(Some(told)), "{source} {destination}");
            out.truncate(4);
            write(version, None, None, &mut out);
            assert_eq!(read(&out[4..]), Ok(None));
        }
    }
}

#[test]
fn what_is_said_of_tls_is_read_by_its_kinds() {
    let told = addresses("10.0.0.1:1", "10.0.0.2:2");
    for (verified, first) in [(true, [7, 0, 0, 0, 0]), (false, [1, 0, 0, 0, 1])] {
        let tls = Tls {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            verified,
        };
        let mut out = Vec::new();
        write(Version::V2, Some(told), Some(tls), &mut out);
        let (header, length) = parse(&out).unwrap().unwrap();
        assert_eq!((header.addresses, header.tls), (Some(told), true));
        assert_eq!(length, out.len());
        let mut expected = vec![0x20, 0, 40];
        expected.extend_from_slice(&first);
        expected.extend_from_slice(b"\x21\0\x07TLSv1.3\x23\0\x16TLS_AES_128_GCM_SHA256");
        assert_eq!(&out[28..], expected);
    }
}
