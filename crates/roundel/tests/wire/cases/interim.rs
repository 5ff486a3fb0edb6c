//! RFC 9110 10.1.1, 15.2: Expect and interim answers.

use roundel_testkit::wire::{Act, Case, Saw, Step, Want};

use super::section;

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
const EXPECT: &str =
    "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

fn send(text: &str) -> Act {
    Act::Send(text.as_bytes().to_vec())
}

fn expect() -> Vec<Case> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    vec![
        Case::new("expect-100")
            .steps([Step::Send(EXPECT.into()), Step::Until("100"), Step::Send(b"hello".to_vec())])
            .acts([send("HTTP/1.1 100 Continue\r\n\r\n"), Act::Body, send(ok)])
            .want(Want::status(200).interim(&[100]).body("ok"))
            .saw(Saw::line("POST /x").body("hello"))
            .kept(),
        Case::new("expect-forwarded")
            .steps([Step::Send(EXPECT.into()), Step::Until("100"), Step::Send(b"hello".to_vec())])
            .acts([send("HTTP/1.1 100 Continue\r\n\r\n"), Act::Body, send(ok)])
            .status(&[200])
            .saw(Saw::line("POST /x").has("expect", "100-continue"))
            .or()
            .status(&[200])
            .saw(Saw::line("POST /x").lacks("expect")),
        Case::new("expect-not-waited-for")
            .send(format!("{EXPECT}hello"))
            .acts([Act::Body, send(ok)])
            .want(Want::status(200).body("ok"))
            .saw(Saw::line("POST /x").body("hello"))
            .kept(),
        Case::new("expect-417")
            .steps([Step::Send(EXPECT.into())])
            .acts([send("HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno"), Act::Eof])
            .want(Want::status(417).body("no")),
        Case::new("expect-401-body-never-becomes-a-request")
            .steps([
                Step::Send(EXPECT.replace("5", "36").into()),
                Step::Answer,
                Step::Send(b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n......".to_vec()),
            ])
            .acts([send("HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"), Act::Eof])
            .methods(["POST"])
            .want(Want::status(401).body("no"))
            .saw_nothing(),
        Case::new("expect-final-then-body-anyway")
            .steps([Step::Send(EXPECT.into()), Step::Answer, Step::Send(b"hello".to_vec())])
            .acts([send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), Act::Eof])
            .methods(["POST"])
            .want(Want::status(403).body("no")),
        Case::new("expect-final-connection-not-reused")
            .steps([
                Step::Send(EXPECT.into()),
                Step::Answer,
                Step::Open,
                Step::Send(GET.into()),
                Step::Answer,
            ])
            .acts([send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), Act::Eof])
            .want(Want::status(403).body("no"))
            .want(Want::status(200).free_of("no"))
            .kept(),
        Case::new("expect-chunked")
            .steps([
                Step::Send(b"PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
                Step::Until("100"),
                Step::Send(b"5\r\nhello\r\n0\r\n\r\n".to_vec()),
            ])
            .acts([send("HTTP/1.1 100 Continue\r\n\r\n"), Act::Body, send(ok)])
            .want(Want::status(200).interim(&[100]).body("ok"))
            .saw(Saw::line("PUT /x").body("hello"))
            .kept(),
        Case::new("expect-case")
            .steps([Step::Send(EXPECT.replace("100-continue", "100-Continue").into()), Step::Until("100 "), Step::Send(b"hello".to_vec())])
            .acts([send("HTTP/1.1 100 Continue\r\n\r\n"), Act::Body, send(ok)])
            .want(Want::status(200).body("ok"))
            .kept(),
        Case::new("expect-unknown")
            .send("POST /x HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 5\r\n\r\nhello")
            .acts([Act::Body, send(ok)])
            .status(&[200, 417]),
        Case::new("expect-without-body")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
            .status(&[200])
            .kept(),
        Case::new("expect-1-0-gets-no-100")
            .send("POST /x HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
            .acts([Act::Body, send("HTTP/1.1 100 Continue\r\n\r\n"), send(ok)])
            .want(Want::status(200).interim(&[]).body("ok"))
            .closed(),
        Case::new("expect-repeated-100s")
            .steps([Step::Send(EXPECT.into()), Step::Until("100"), Step::Send(b"hello".to_vec())])
            .acts([send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"), Act::Body, send(ok)])
            .want(Want::status(200).body("ok"))
            .kept(),
    ]
}

fn informational() -> Vec<Case> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let get = |name: &str, interim: &str| {
        Case::new(name)
            .send(GET)
            .acts([Act::Body, send(interim), send(ok)])
    };
    vec![
        get("early-hints", "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
            .want(Want::status(200).interim(&[103]).body("ok"))
            .kept(),
        Case::new("early-hints-at-once")
            .should()
            .send(GET)
            .acts([Act::Body, send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"), Act::Await("seen"), send(ok)])
            .steps([Step::Until("103"), Step::Signal("seen")])
            .want(Want::status(200).interim(&[103]).body("ok"))
            .kept(),
        get("interim-102", "HTTP/1.1 102 Processing\r\n\r\n").want(Want::status(200).interim(&[102]).body("ok")).kept(),
        get("interim-unknown", "HTTP/1.1 142 Odd\r\n\r\n").want(Want::status(200).interim(&[142]).body("ok")).kept(),
        get("interim-several", "HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\nLink: a\r\n\r\nHTTP/1.1 103 E\r\nLink: b\r\n\r\n")
            .want(Want::status(200).interim(&[102, 103, 103]).body("ok"))
            .kept(),
        get("interim-100-unasked", "HTTP/1.1 100 Continue\r\n\r\n").want(Want::status(200).body("ok")).kept(),
        get("interim-with-length", "HTTP/1.1 103 E\r\nContent-Length: 5\r\n\r\n")
            .want(Want::status(200).body("ok"))
            .or()
            .status(&[502]),
        get("interim-with-connection", "HTTP/1.1 103 E\r\nConnection: x-a\r\nX-A: 1\r\n\r\n")
            .want(Want::status(200).body("ok").lacks("x-a"))
            .kept(),
        get("interim-malformed", "HTTP/1.1 103 E\r\nX : y\0\r\n\r\n").status(&[502]),
        Case::new("interim-to-1-0-is-dropped")
            .send("GET /x HTTP/1.0\r\nHost: a\r\n\r\n")
            .acts([Act::Body, send("HTTP/1.1 103 Early\r\n\r\n"), send(ok)])
            .want(Want::status(200).interim(&[]).body("ok"))
            .closed(),
        Case::new("interim-then-nothing")
            .send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            .acts([Act::Body, send("HTTP/1.1 103 Early\r\n\r\n"), Act::Close])
            .status(&[502]),
        Case::new("interim-flood")
            .send(GET)
            .acts([Act::Body, send(&"HTTP/1.1 103 E\r\nX: y\r\n\r\n".repeat(200)), send(ok)])
            .want(Want::status(200).body("ok"))
            .or()
            .status(&[502]),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = section("RFC 9110 10.1.1", expect());
    all.extend(section("RFC 9110 15.2", informational()));
    all
}
