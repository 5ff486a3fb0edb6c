//! Heads, blocks and edits as a connection uses them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use roundel_http1::{
    Block, ChunkDecoder, Edits, Form, Framing, Known, Limits, Method, Persist, Preface, Progress,
    Reason, Remaining, RequestHead, RequestPlan, ResponseHead, ResponsePlan, Trailers, Version,
    chunk, write_request, write_response,
};

fn request(text: &str) -> RequestHead {
    let mut head = RequestHead::new();
    head.block.put(text.as_bytes());
    assert_eq!(
        head.parse(&Limits::default()),
        Ok(Progress::Complete),
        "{text}"
    );
    head
}

fn written(head: &RequestHead, plan: &RequestPlan<'_>, edits: &Edits) -> String {
    let mut out = Block::new();
    write_request(head, plan, edits, &mut out);
    String::from_utf8(out.filled().to_vec()).unwrap()
}

/// Reads `bytes` into a block as a socket would, in pieces of what room there is.
fn feed(block: &mut Block, mut bytes: &[u8], limit: usize) {
    while !bytes.is_empty() {
        assert!(block.make_room(limit));
        let n = block.spare_mut().len().min(bytes.len());
        block.spare_mut()[..n].copy_from_slice(&bytes[..n]);
        block.advance(n);
        bytes = &bytes[n..];
    }
}

#[test]
fn pipelined_requests_come_out_one_by_one() {
    let mut head = RequestHead::new();
    for number in 0..50 {
        head.block.put(
            format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
                .as_bytes(),
        );
    }
    for number in 0..50 {
        assert_eq!(head.parse(&Limits::default()), Ok(Progress::Complete));
        assert_eq!(head.path(), format!("/{number}").as_bytes());
        assert_eq!(head.framing(), Framing::Length(3));
        assert_eq!(&head.block.filled()[..3], b"abc");
        head.block.consume(3);
        head.reset();
    }
    assert!(head.block.is_empty());
    assert!(!head.has_begun());
}

#[test]
fn a_head_stays_readable_while_its_body_streams_through_the_block() {
    let mut head = RequestHead::new();
    head.block.put(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
    head.block
        .put(b"POST /second HTTP/1.1\r\nHost: b\r\nX: y\r\nContent-Length: 100000\r\n\r\n");
    assert_eq!(head.parse(&Limits::default()), Ok(Progress::Complete));
    head.reset();
    assert_eq!(head.parse(&Limits::default()), Ok(Progress::Complete));
    let body: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    let mut got = Vec::new();
    for piece in body.chunks(3000) {
        feed(&mut head.block, piece, 16 * 1024);
        // A reader that lags: something always stays behind.
        let n = head.block.len() - 7;
        got.extend_from_slice(&head.block.filled()[..n]);
        head.block.consume(n);
        assert_eq!(
            (head.path(), head.host()),
            (&b"/second"[..], Some(&b"b"[..]))
        );
        assert_eq!(head.fields().named(b"x").next().unwrap().value, b"y");
    }
    got.extend_from_slice(head.block.filled());
    assert_eq!(got, body);
    assert!(
        head.block.capacity() <= 16 * 1024,
        "{}",
        head.block.capacity()
    );
}

#[test]
fn a_block_grows_to_its_limit_and_not_beyond() {
    let mut block = Block::new();
    assert_eq!((block.capacity(), block.spare_mut().len()), (0, 0));
    feed(&mut block, &[1; 10_000], 10_000);
    assert!(!block.make_room(10_000));
    block.consume(1);
    assert!(block.make_room(10_000), "what was consumed is room again");
    assert_eq!((block.len(), block.spare_mut().len()), (9_999, 1));
    block.shrink(4096);
    assert_eq!((block.len(), block.capacity()), (0, 4096));
}

#[test]
fn a_large_head_in_single_bytes_costs_linear_work() {
    // Quadratic work would take minutes here.
    let mut text = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    while text.len() < 60_000 {
        text.extend_from_slice(b"X-Long-Field: ");
        text.extend_from_slice(&[b'v'; 1500]);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    let mut head = RequestHead::new();
    for (at, byte) in text.iter().enumerate() {
        feed(&mut head.block, &[*byte], 64 * 1024);
        let expected = if at + 1 == text.len() {
            Progress::Complete
        } else {
            Progress::Partial
        };
        assert_eq!(head.parse(&Limits::default()), Ok(expected));
    }
    assert_eq!(head.size(), text.len());
}

#[test]
fn more_fields_than_a_small_head_has() {
    let mut text = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
    for number in 0..99 {
        text.push_str(&format!("X-{number}: {number}\r\n"));
    }
    let head = request(&format!("{text}\r\n"));
    assert_eq!(head.fields().len(), 100);
    let mut head = RequestHead::new();
    head.block.put(format!("{text}X: 1\r\n\r\n").as_bytes());
    assert_eq!(head.parse(&Limits::default()).unwrap_err().status(), 431);
}

#[test]
fn edits_change_what_is_written() {
    let head = request(
        "GET /a HTTP/1.1\r\nHost: a\r\nCookie: a=1; S=x\r\nX-Forwarded-For: 1\r\nX: 1\r\nx-forwarded-for: 2\r\n\r\n",
    );
    let mut edits = Edits::new();
    assert!(edits.is_empty());
    edits.remove_all(head.fields(), Known::XForwardedFor);
    edits.append_known(Known::XForwardedFor, &[b"1", b", ", b"2"]);
    edits.append_parts(b"x-custom", &[b"a", b"b"]);
    edits.replace_parts(1, &[b"a=", b"1"]);
    let plan = RequestPlan {
        target: Some(b"/b?c"),
        host: Some(b"h:1"),
        ..RequestPlan::new(&head)
    };
    assert_eq!(
        written(&head, &plan, &edits),
        "GET /b?c HTTP/1.1\r\nHost: h:1\r\nCookie: a=1\r\nX: 1\r\nX-Forwarded-For: 1, 2\r\nx-custom: ab\r\n\r\n"
    );
    edits.clear();
    assert!(edits.is_empty());
    edits.replace(1, b"first");
    edits.replace(1, b"second");
    edits.remove_named(head.fields(), b"x");
    assert_eq!(
        written(&head, &RequestPlan::new(&head), &edits),
        "GET /a HTTP/1.1\r\nHost: a\r\nCookie: second\r\nX-Forwarded-For: 1\r\nx-forwarded-for: 2\r\n\r\n"
    );
}

#[test]
fn edits_cannot_split_a_message() {
    let head = request("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\n\r\n");
    let mut edits = Edits::new();
    edits.append(b"A", b"1\r\nB: 2");
    edits.append(b"A\r\nB", b"1");
    edits.append(b"", b"1");
    edits.append(b"A B", b"1");
    edits.append_parts(b"A", &[b"1", b"\n"]);
    edits.append_known(Known::Via, &[b"a\0"]);
    edits.append_known(Known::Other, &[b"a"]);
    edits.replace(1, b"1\rB: 2");
    edits.append(b"Good", b"\xc3\xa4\t ");
    let text = {
        let mut out = Block::new();
        write_request(&head, &RequestPlan::new(&head), &edits, &mut out);
        out.filled().to_vec()
    };
    assert_eq!(
        text,
        b"GET / HTTP/1.1\r\nHost: a\r\nY: 2\r\nGood: \xc3\xa4\t \r\n\r\n"
    );
}

#[test]
fn edits_cannot_bring_framing_back() {
    let head = request(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    );
    let mut edits = Edits::new();
    edits.replace(1, b"6");
    edits.replace(2, b"keep-alive");
    let plan = RequestPlan {
        persist: Persist::Close,
        ..RequestPlan::new(&head)
    };
    assert_eq!(
        written(&head, &plan, &edits),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn heads_built_from_frames_are_written_as_http1() {
    let limits = Limits::default();
    let mut head = RequestHead::new();
    head.begin(b"POST", b"/a?b", Some(b"h:8443"), &limits)
        .unwrap();
    head.push(b"x-a", b"1", &limits).unwrap();
    head.push(b"cookie", b"a=1; b=2", &limits).unwrap();
    head.push(b"te", b"trailers", &limits).unwrap();
    head.finish(true, &limits).unwrap();
    assert_eq!(
        (head.version(), head.form(), head.framing()),
        (Version::Http2, Form::Origin, Framing::Frames)
    );
    let plan = RequestPlan {
        te_trailers: head.takes_trailers(),
        ..RequestPlan::new(&head)
    };
    assert_eq!(
        written(&head, &plan, &Edits::new()),
        "POST /a?b HTTP/1.1\r\nHost: h:8443\r\nx-a: 1\r\ncookie: a=1; b=2\r\nTransfer-Encoding: chunked\r\n\
         TE: trailers\r\nConnection: TE\r\n\r\n"
    );
    head.begin(b"PUT", b"/", Some(b"h"), &limits).unwrap();
    head.push(b"host", b"H:80", &limits).unwrap();
    head.finish(false, &limits).unwrap();
    assert_eq!(
        written(&head, &RequestPlan::new(&head), &Edits::new()),
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn an_extended_connect_is_an_upgrade_to_websocket_and_nothing_else() {
    let limits = Limits::default();
    let mut head = RequestHead::new();
    let begun = head.begin_extended_connect(b"WebSocket", b"/chat?a", Some(b"h"), &limits);
    begun.unwrap();
    head.push(b"sec-websocket-version", b"13", &limits).unwrap();
    head.finish(true, &limits).unwrap();
    assert_eq!(
        (head.method(), head.method_name(), head.framing()),
        (Method::Get, &b"GET"[..], Framing::Empty)
    );
    assert!(head.is_extended_connect() && head.asks_websocket());
    let plan = RequestPlan {
        persist: Persist::Upgrade,
        websocket_key: Some(b"key"),
        ..RequestPlan::new(&head)
    };
    assert_eq!(
        written(&head, &plan, &Edits::new()),
        "GET /chat?a HTTP/1.1\r\nHost: h\r\nsec-websocket-version: 13\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: key\r\nConnection: Upgrade\r\n\r\n"
    );
    for length in [&b"0"[..], b"5"] {
        let begun = head.begin_extended_connect(b"websocket", b"/", Some(b"h"), &limits);
        begun.unwrap();
        head.push(b"content-length", length, &limits).unwrap();
        let refused = head.finish(true, &limits).unwrap_err();
        assert_eq!(refused.reason, Reason::LengthInvalid);
    }
    for protocol in [&b"webtransport"[..], b"h2c", b""] {
        let begun = head.begin_extended_connect(protocol, b"/chat", None, &limits);
        begun.unwrap();
        head.push(b"host", b"h", &limits).unwrap();
        head.finish(true, &limits).unwrap();
        assert_eq!((head.method(), head.upgrade()), (Method::Connect, None));
        assert_eq!((head.target(), head.path()), (&b"/chat"[..], &b"/chat"[..]));
    }
    head.begin(b"GET", b"/", Some(b"h"), &limits).unwrap();
    head.finish(false, &limits).unwrap();
    assert_eq!(head.upgrade(), None);
    for target in [&b"*"[..], b"a:1", b""] {
        let begun = head.begin_extended_connect(b"websocket", target, Some(b"h"), &limits);
        assert!(begun.is_err(), "{target:?}");
    }
}

#[test]
fn frames_that_http1_could_not_carry_are_refused() {
    let limits = Limits {
        head: 100,
        fields: 3,
        ..Limits::default()
    };
    let mut head = RequestHead::new();
    let mut begin = |method: &[u8], path: &[u8], authority: &[u8]| {
        head.begin(method, path, Some(authority), &limits)
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(begin(b"GET", b"/", b"a"), Ok(()));
    assert_eq!(begin(b"G T", b"/", b"a"), Err(Reason::Method));
    assert_eq!(
        begin(b"GET", b"/ HTTP/1.1\r\nX: 1", b"a"),
        Err(Reason::Target)
    );
    assert_eq!(begin(b"GET", b"", b"a"), Err(Reason::Target));
    assert_eq!(begin(b"GET", b"/", b"a,b"), Err(Reason::HostInvalid));
    assert_eq!(begin(b"GET", b"/", b""), Err(Reason::HostInvalid));

    let mut push = |name: &[u8], value: &[u8]| {
        head.begin(b"GET", b"/", Some(b"a"), &limits).unwrap();
        head.push(name, value, &limits)
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(push(b"x", b"y z"), Ok(()));
    assert_eq!(push(b"x", b"a\r\nb: c"), Err(Reason::FieldValue));
    assert_eq!(push(b"x", b" y"), Err(Reason::FieldValue));
    assert_eq!(push(b"x y", b"z"), Err(Reason::FieldName));
    assert_eq!(push(b"", b"z"), Err(Reason::FieldName));
    assert_eq!(push(b"connection", b"close"), Err(Reason::FieldValue));
    assert_eq!(
        push(b"transfer-encoding", b"chunked"),
        Err(Reason::FieldValue)
    );
    assert_eq!(push(b"te", b"gzip"), Err(Reason::FieldValue));
    assert_eq!(push(b"x", &[b'y'; 200]), Err(Reason::HeadTooLarge));

    let mut finish = |fields: &[(&str, &str)], has_body| {
        head.begin(b"POST", b"/", Some(b"a"), &limits).unwrap();
        for (name, value) in fields {
            head.push(name.as_bytes(), value.as_bytes(), &limits)
                .unwrap();
        }
        head.finish(has_body, &limits)
            .map(|()| head.framing())
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(
        finish(&[("content-length", "5")], true),
        Ok(Framing::Length(5))
    );
    assert_eq!(
        finish(&[("content-length", "5")], false),
        Err(Reason::Truncated)
    );
    assert_eq!(
        finish(&[("content-length", "+5")], true),
        Err(Reason::LengthInvalid)
    );
    assert_eq!(finish(&[("host", "b")], false), Err(Reason::HostMismatch));
    assert_eq!(
        finish(&[("host", "a"), ("host", "a")], false),
        Err(Reason::HostRepeated)
    );
}

#[test]
fn answers_built_from_frames_are_written_as_http1() {
    let limits = Limits::default();
    let mut head = ResponseHead::new();
    head.begin(200);
    head.push(b"x-a", b"1", &limits).unwrap();
    head.finish(Method::Get, true).unwrap();
    let plan = ResponsePlan {
        framing: head.framing(),
        persist: Persist::Silent,
    };
    let mut out = Block::new();
    assert_eq!(
        write_response(&head, &plan, &Edits::new(), &mut out),
        Framing::Chunked
    );
    assert_eq!(
        out.filled(),
        b"HTTP/1.1 200 OK\r\nx-a: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    // Without a body HTTP/1 needs a length, where there could have been one.
    for (method, status, framing) in [
        (Method::Get, 200, Framing::Length(0)),
        (Method::Post, 404, Framing::Length(0)),
        (Method::Head, 200, Framing::Empty),
        (Method::Get, 204, Framing::Empty),
        (Method::Get, 304, Framing::Empty),
        (Method::Get, 103, Framing::Empty),
    ] {
        head.begin(status);
        head.finish(method, false).unwrap();
        assert_eq!(head.framing(), framing, "{status}");
        assert_eq!(head.content_length(), None);
    }
    for status in [0, 99, 600, 999] {
        head.begin(status);
        assert_eq!(
            head.finish(Method::Get, false).unwrap_err().reason,
            Reason::StatusLine
        );
    }
    head.begin(200);
    head.push(b"content-length", b"5", &limits).unwrap();
    assert_eq!(
        head.finish(Method::Get, false).unwrap_err().reason,
        Reason::Truncated
    );
}

#[test]
fn interim_answers_come_out_one_by_one() {
    let mut head = ResponseHead::new();
    head.block.put(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let mut seen = Vec::new();
    loop {
        assert_eq!(
            head.parse(&Limits::default(), Method::Get),
            Ok(Progress::Complete)
        );
        seen.push(head.status());
        if !head.is_interim() {
            break;
        }
        head.reset();
    }
    assert_eq!(seen, [100, 103, 200]);
    assert_eq!(head.block.filled(), b"hi");
}

#[test]
fn lengths_are_accounted_for() {
    let mut left = Remaining::new(10);
    assert_eq!((left.clip(4), left.clip(40)), (4, 10));
    left.take(4);
    assert_eq!((left.left(), left.finish()), (6, Err(Reason::Truncated)));
    left.take(6);
    assert_eq!(
        (left.is_done(), left.clip(5), left.finish()),
        (true, 0, Ok(()))
    );
    assert!(
        Framing::Length(0).is_empty() && Framing::Empty.is_empty() && !Framing::Chunked.is_empty()
    );
}

#[test]
fn chunks_are_written() {
    for (length, line) in [
        (1, "1\r\n"),
        (15, "f\r\n"),
        (16, "10\r\n"),
        (0xabcdef, "abcdef\r\n"),
    ] {
        assert_eq!(chunk::size_line(length).as_bytes(), line.as_bytes());
    }
    assert_eq!(
        chunk::size_line(usize::MAX).as_bytes(),
        b"ffffffffffffffff\r\n"
    );
    let mut trailers = Trailers::default();
    trailers.push(b"x-sum", b"1");
    trailers.push(b"content-length", b"5");
    trailers.push(b"x-bad", b"a\r\nb");
    let mut out = Block::new();
    chunk::put_data(b"", &mut out);
    chunk::put_data(b"hello", &mut out);
    chunk::put_end(Some(&trailers), &mut out);
    assert_eq!(out.filled(), b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
}

#[test]
fn the_preface_of_http2_is_told_apart() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut head = RequestHead::new();
    assert_eq!(head.preface(), Preface::Partial);
    for byte in &preface[..preface.len() - 1] {
        head.block.put(&[*byte]);
        assert_eq!(head.preface(), Preface::Partial);
    }
    head.block.put(b"\nmore");
    assert_eq!(head.preface(), Preface::Http2);
    let mut head = RequestHead::new();
    head.block.put(b"PRINT / HTTP/1.1\r\n");
    assert_eq!(head.preface(), Preface::Http1);
}

#[test]
fn a_failed_preface_is_no_request() {
    let check = |bytes: &str, is_failed| {
        let mut head = RequestHead::new();
        head.block.put(bytes.as_bytes());
        assert_eq!(head.is_failed_preface(), is_failed, "{bytes:?}");
    };
    check("PRI * HTTP/2.0\r\n\r\nXX", true);
    check("INVALID CONNECTION PREFACE\r\n\r\n", true);
    for request in [
        "",
        "PRI * HTTP/1.1\r\n",
        "PRI / HTTP/2.0\r\n",
        "GET * HTTP/2.0\r\n",
        "GET / HTP/1.1\r\n",
        "GET a:80 x\r\n",
        "GET  HTTP/1.1\r\n",
        "GET a HTTP/1\r\n",
        "GET a\r\n",
        "a b c d\r\n",
    ] {
        check(request, false);
    }
}

#[test]
fn every_reason_has_its_own_word_and_a_status_of_an_error() {
    let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Reason::ALL.len());
    assert!(
        Reason::ALL
            .iter()
            .all(|reason| (400..600).contains(&reason.status()))
    );
}

#[test]
fn a_broken_chunk_stays_broken() {
    let mut decoder = ChunkDecoder::new(&Limits::default());
    let body = b"0\r\nX: y\n\r\n";
    let first = decoder.decode(body).unwrap_err();
    // What cannot be understood has no end, whatever is looked at next.
    for rest in [&body[..], &b"\r\n"[..], &b""[..]] {
        assert_eq!(decoder.decode(rest), Err(first));
        assert!(!decoder.is_done());
    }
}
