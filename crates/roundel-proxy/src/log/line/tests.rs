use super::*;

fn line(format: LogFormat, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    write(format, record, &mut out);
    assert_eq!(out.pop(), Some(b'\n'));
    String::from_utf8(out).unwrap()
}

#[test]
fn haproxy_format() {
    assert_eq!(
        line(LogFormat::Haproxy, &sample()),
        "192.0.2.7:4711 [13/Feb/2009:23:31:30.655] localnodes nodes/webapp-1 1/0/3/30/44 200 2750 \
         - - --NI 5/5/2/2/0 0/0 \"GET /a?b=c HTTP/1.1\""
    );
    let refused = Record {
        server: "",
        status: 503,
        connect: None,
        first: None,
        term: Term::NoServer,
        phase: Phase::Connect,
        retries: 2,
        redispatched: true,
        ..sample()
    };
    let text = line(LogFormat::Haproxy, &refused);
    assert!(
        text.contains("nodes/<NOSRV> 1/0/-1/-1/44 503 2750 - - SCNI 5/5/2/2/+2 0/0"),
        "{text}"
    );
}

#[test]
fn how_a_call_ended_is_a_field() {
    let call = |code| Record {
        grpc_status: Some(code),
        ..sample()
    };
    let text = line(LogFormat::Json, &call(14));
    assert!(
        text.contains("\"status\":200,\"grpc_status\":14,"),
        "{text}"
    );
    let text = line(LogFormat::Logfmt, &call(0));
    assert!(text.contains(" status=200 grpc_status=0 "), "{text}");
    assert!(!line(LogFormat::Json, &sample()).contains("grpc"));
}

#[test]
fn over_tls_the_haproxy_format_is_that_of_https() {
    let check = |name: &'static [u8], resumed, end: &str| {
        let tls = Encryption {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
            name,
            resumed,
            client: None,
        };
        let secured = Record {
            tls: Some(tls),
            ..sample()
        };
        let text = line(LogFormat::Haproxy, &secured);
        assert!(text.contains("] localnodes~ nodes/webapp-1 1/"), "{text}");
        let (_, told) = text.split_once("HTTP/1.1\" ").unwrap();
        assert_eq!(told, end);
    };
    check(
        b"a.example",
        true,
        "0/0000000000000000/0/0/1 a.example/TLSv1.3/TLS_AES_256_GCM_SHA384",
    );
    // As HAProxy 2.6 writes it for a client that names no host.
    check(
        b"",
        false,
        "0/0000000000000000/0/0/0 -/TLSv1.3/TLS_AES_256_GCM_SHA384",
    );
}

#[test]
fn the_structured_formats_tell_how_a_connection_is_encrypted() {
    let tls = Encryption {
        version: "TLSv1.2",
        cipher: "ECDHE-RSA-AES128-GCM-SHA256",
        name: b"a.example",
        resumed: true,
        client: Some(("CN=\"x\"", "ab12")),
    };
    let secured = Record {
        tls: Some(tls),
        ..sample()
    };
    let json = line(LogFormat::Json, &secured);
    let wanted = "\"set_version\":9,\"tls_version\":\"TLSv1.2\",\
                  \"tls_cipher\":\"ECDHE-RSA-AES128-GCM-SHA256\",\"tls_name\":\"a.example\",\
                  \"tls_resumed\":true,\"client_cert_subject\":\"CN=\\\"x\\\"\",\
                  \"client_cert_sha256\":\"ab12\"}";
    assert!(json.ends_with(wanted), "{json}");
    let logfmt = line(LogFormat::Logfmt, &secured);
    assert!(logfmt.contains(" tls_version=TLSv1.2 "), "{logfmt}");
    assert!(!line(LogFormat::Json, &sample()).contains("tls_"));
}

#[test]
fn no_word_of_the_haproxy_format_is_empty() {
    let redirected = Record {
        backend: "",
        server: "",
        status: 302,
        queue: None,
        connect: None,
        first: None,
        term: Term::Redirected,
        queue_place: (0, 3),
        ..sample()
    };
    let text = line(LogFormat::Haproxy, &redirected);
    let wanted = " localnodes localnodes/<NOSRV> 1/-1/-1/-1/44 302 2750 - - LRNI ";
    assert!(text.contains(wanted), "{text}");
    assert!(text.contains(" 5/5/2/2/0 0/3 "), "{text}");
}

#[test]
fn the_common_format_has_a_status_for_those_who_got_none() {
    for (term, status) in [(Term::ClientAbort, "499"), (Term::RequestTimeout, "408")] {
        let aborted = Record {
            status: 0,
            response_bytes: 0,
            term,
            ..sample()
        };
        for format in [LogFormat::Common, LogFormat::Combined] {
            let text = line(format, &aborted);
            assert!(text.contains(&format!("HTTP/1.1\" {status} 0")), "{text}");
        }
    }
}

#[test]
fn the_structured_formats_have_no_status_where_there_was_none() {
    let aborted = Record {
        status: 0,
        ..sample()
    };
    let json = line(LogFormat::Json, &aborted);
    assert!(json.contains("\"HTTP/1.1\",\"req_bytes\":"), "{json}");
    let logfmt = line(LogFormat::Logfmt, &aborted);
    assert!(logfmt.contains("=HTTP/1.1 req_bytes="), "{logfmt}");
}

#[test]
fn json_format() {
    assert_eq!(
        line(LogFormat::Json, &sample()),
        "{\"ts\":\"2009-02-13T23:31:30.655123Z\",\"frontend\":\"localnodes\",\"backend\":\"nodes\",\
         \"server\":\"webapp-1\",\"client\":\"192.0.2.7:4711\",\"method\":\"GET\",\"host\":\"example.org\",\
         \"path\":\"/a\",\"query\":\"b=c\",\"proto\":\"HTTP/1.1\",\"status\":200,\"req_bytes\":80,\
         \"resp_bytes\":2750,\"t_total\":0.044000,\"t_wait\":0.001000,\"t_queue\":0.000000,\
         \"t_connect\":0.003000,\"t_first\":0.030000,\"t_data\":0.010000,\"retries\":0,\
         \"redispatched\":false,\"sticky\":\"none\",\"term\":\"ok\",\"term_ha\":\"--NI\",\"conns\":5,\
         \"ua\":\"curl/8\",\"referer\":\"\",\"set_version\":9}"
    );
}

#[test]
fn the_client_that_proxies_name_comes_before_the_peer() {
    let behind = Record {
        named: Some("2001:db8::1".parse().unwrap()),
        ..sample()
    };
    let check = |format, part: &str| {
        let line = line(format, &behind);
        assert!(line.contains(part), "{line}");
        assert_eq!(line.contains("192.0.2.7"), part.contains("peer"), "{line}");
    };
    check(
        LogFormat::Json,
        "\"client\":\"2001:db8::1\",\"peer\":\"192.0.2.7:4711\",\"method\"",
    );
    check(
        LogFormat::Logfmt,
        " client=2001:db8::1 peer=192.0.2.7:4711 ",
    );
    check(LogFormat::Haproxy, "2001:db8::1:0 [");
    check(LogFormat::Common, "2001:db8::1 - - [");
    check(LogFormat::Combined, "2001:db8::1 - - [");
}

#[test]
fn identifiers_are_told_if_there_are_any() {
    let known = Record {
        request_id: b"r-1",
        trace_id: b"0af7",
        ..sample()
    };
    let json = line(LogFormat::Json, &known);
    assert!(
        json.contains(
            "\"referer\":\"\",\"request_id\":\"r-1\",\"trace_id\":\"0af7\",\"set_version\":9}"
        ),
        "{json}"
    );
    let logfmt = line(LogFormat::Logfmt, &known);
    assert!(
        logfmt.contains(" request_id=\"r-1\" trace_id=\"0af7\" "),
        "{logfmt}"
    );
    assert!(!line(LogFormat::Json, &sample()).contains("request_id"));
}

#[test]
fn foreign_bytes_cannot_break_a_line() {
    let nasty = Record {
        target: b"/\"\\\x1b[2J\n\xe9",
        user_agent: b"a\"b\x00",
        ..sample()
    };
    for format in [
        LogFormat::Json,
        LogFormat::Haproxy,
        LogFormat::Common,
        LogFormat::Combined,
        LogFormat::Logfmt,
    ] {
        let text = line(format, &nasty);
        assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)), "{text}");
        assert!(text.contains("\\u001b[2J\\u000a\\u00e9"), "{text}");
    }
}

#[test]
fn combined_format() {
    assert_eq!(
        line(LogFormat::Combined, &sample()),
        "192.0.2.7 - - [13/Feb/2009:23:31:30 +0000] \"GET /a?b=c HTTP/1.1\" 200 2750 \"-\" \"curl/8\""
    );
}
