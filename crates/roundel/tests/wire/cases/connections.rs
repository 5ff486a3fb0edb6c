//! RFC 9112 9: keeping, closing and reusing connections; pipelining; HTTP/1.0.

use roundel_testkit::wire::{Act, Case, Lane, Saw, Step, Want};

use super::section;

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

fn clients() -> Vec<Case> {
    vec![
        Case::new("keep-1-1").send(GET).status(&[200]).kept(),
        Case::new("close-1-1")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .want(Want::status(200).has("connection", "close"))
            .closed(),
        Case::new("close-1-1-case")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: CLOSE\r\n\r\n")
            .status(&[200])
            .closed(),
        Case::new("close-1-1-in-a-list")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: x-a, close\r\n\r\n")
            .status(&[200])
            .closed(),
        Case::new("close-1-1-second-line")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n")
            .status(&[200])
            .closed(),
        Case::new("close-hides-nothing-behind")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x"))
            .closed(),
        Case::new("close-of-a-post")
            .send("POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab")
            .status(&[200])
            .saw(Saw::line("POST /x").body("ab"))
            .closed(),
        Case::new("keep-alive-word-1-1")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .status(&[200])
            .kept(),
        Case::new("close-1-0").send("GET /x HTTP/1.0\r\nHost: a\r\n\r\n").status(&[200]).closed(),
        Case::new("keep-alive-1-0")
            .should()
            .send("GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .want(Want::status(200).has("connection", "keep-alive"))
            .kept(),
        Case::new("keep-alive-1-0-until-close")
            .send("GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .reply_close("HTTP/1.1 200 OK\r\n\r\nhello")
            .want(Want::status(200).body("hello"))
            .closed(),
        Case::new("post-1-0")
            .send("POST /x HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
            .status(&[200])
            .saw(Saw::line("POST /x").body("hello"))
            .closed(),
        Case::new("fin-after-the-request")
            .send(GET)
            .steps([Step::HalfClose])
            .status(&[200])
            .saw(Saw::line("GET /x"))
            .closed(),
        Case::new("fin-before-a-slow-answer")
            .send(GET)
            .steps([Step::HalfClose, Step::Await("asked"), Step::Signal("go")])
            .acts([
                Act::Body,
                Act::Signal("asked"),
                Act::Await("go"),
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec()),
            ])
            .want(Want::status(200).body("hello"))
            .closed(),
        Case::new("fin-at-once").steps([Step::HalfClose]).no_answer().saw_nothing().closed(),
        Case::new("fin-in-the-head")
            .steps([Step::Send(b"GET /x HTTP/1.1\r\nHo".to_vec()), Step::HalfClose])
            .saw_nothing()
            .closed(),
        Case::new("100-on-one-connection")
            .steps((0..100).flat_map(|_| [Step::Send(GET.into()), Step::Answer]))
            .kept(),
    ]
}

fn pipelines() -> Vec<Case> {
    let three = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    let starts = |line: &'static str| Want::status(200).body(format!("{line} 0 cbf29ce484222325"));
    let many: String = (0..50)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    let many = Case::new("pipeline-50").send(many);
    let many = (0..50).fold(many, |case, n| {
        case.want(Want::status(200).body(format!("GET /{n} 0 cbf29ce484222325")))
    });
    vec![
        Case::new("pipeline-3")
            .send(three)
            .want(starts("GET /1"))
            .want(starts("GET /2"))
            .want(starts("GET /3"))
            .saw(Saw::line("GET /1"))
            .saw(Saw::line("GET /2"))
            .saw(Saw::line("GET /3"))
            .kept(),
        Case::new("pipeline-3-over-two-servers")
            .lane(Lane::Pair)
            .send(three)
            .want(starts("GET /1"))
            .want(starts("GET /2"))
            .want(starts("GET /3"))
            .kept(),
        many.kept(),
        Case::new("pipeline-first-is-slow")
            .lane(Lane::Pair)
            .send(three)
            .acts([Act::Body, Act::Signal("asked"), Act::Await("go"), Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none".to_vec())])
            .steps([Step::Await("asked"), Step::Signal("go")])
            .want(Want::status(200).body("one"))
            .want(starts("GET /2"))
            .want(starts("GET /3"))
            .kept(),
        Case::new("pipeline-with-bodies")
            .send("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabPOST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ncd\r\n0\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
            .methods(["POST", "POST", "GET"])
            .status(&[200])
            .status(&[200])
            .status(&[200])
            .saw(Saw::line("POST /1").body("ab"))
            .saw(Saw::line("POST /2").body("cd"))
            .saw(Saw::line("GET /3"))
            .kept(),
        Case::new("pipeline-with-head")
            .send("HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n")
            .methods(["HEAD", "GET", "HEAD"])
            .status(&[200])
            .want(starts("GET /2"))
            .status(&[200])
            .kept(),
        Case::new("pipeline-ends-at-a-bad-request")
            .send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[200])
            .status(&[400])
            .saw(Saw::line("GET /1"))
            .closed(),
        Case::new("pipeline-ends-at-close")
            .send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[200])
            .status(&[200])
            .saw(Saw::line("GET /1"))
            .saw(Saw::line("GET /2"))
            .closed(),
        Case::new("pipeline-goes-on-after-a-refused-method")
            .own()
            .send("TRACE /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
            .methods(["TRACE", "GET"])
            .status(&[405])
            .status(&[200])
            .saw(Saw::line("GET /2"))
            .kept(),
        Case::new("pipeline-then-fin")
            .send(three)
            .steps([Step::HalfClose])
            .status(&[200])
            .status(&[200])
            .status(&[200])
            .closed(),
        Case::new("pipeline-cut-inside-heads")
            .steps([
                Step::Cut(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HT".to_vec()),
                Step::Answer,
                Step::Cut(b"TP/1.1\r\nHost: a\r\n\r".to_vec()),
                Step::Send(b"\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            ])
            .want(starts("GET /1"))
            .want(starts("GET /2"))
            .want(starts("GET /3"))
            .kept(),
        Case::new("pipeline-after-broken-answer-is-not-answered")
            .send(three)
            .acts([Act::Body, Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello".to_vec()), Act::Close])
            .want(Want::status(200).broken())
            .closed(),
    ]
}

/// Connections to servers: what may be reused and what must not.
fn pools() -> Vec<Case> {
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec();
    let again = |name: &str, acts: Vec<Act>| {
        // The next request comes when the server's end of the connection is over for sure.
        let over = match &acts[..] {
            [.., Act::Close | Act::Reset] => Some(Step::OriginClosed),
            [.., Act::Signal(word), Act::Eof] => Some(Step::Await(word)),
            _ => None,
        };
        Case::new(name)
            .send(GET)
            .acts(acts)
            .steps([Step::Answer])
            .steps(over)
            .steps([Step::Send(
                b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab".to_vec(),
            )])
            .methods(["GET", "POST"])
            .want(Want::status(200).body("hello"))
            .status(&[200])
            .saw(Saw::line("GET /x"))
            .saw(Saw::line("POST /2").body("ab"))
            .kept()
    };
    vec![
        again("pool-server-keeps", vec![Act::Body, Act::Send(ok.clone())]),
        again(
            "pool-server-closes-silently",
            vec![Act::Body, Act::Send(ok.clone()), Act::Close],
        ),
        again(
            "pool-server-resets-silently",
            vec![Act::Body, Act::Send(ok.clone()), Act::Reset],
        ),
        again(
            "pool-server-says-close-and-stays",
            vec![
                Act::Body,
                Act::Send(
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
                        .to_vec(),
                ),
                Act::Eof,
            ],
        ),
        again(
            "pool-server-1-0-stays",
            vec![
                Act::Body,
                Act::Send(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec()),
                Act::Eof,
            ],
        ),
        again(
            "pool-server-half-closes",
            vec![
                Act::Body,
                Act::Send(ok.clone()),
                Act::HalfClose,
                Act::Signal("over"),
                Act::Eof,
            ],
        ),
        again(
            "pool-server-promises-one-second",
            vec![
                Act::Body,
                Act::Send(
                    b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 5\r\n\r\nhello"
                        .to_vec(),
                ),
                Act::Eof,
            ],
        ),
        Case::new("pool-is-used")
            .own()
            .send(GET)
            .acts([Act::Body, Act::Send(ok.clone()), Act::Signal("same")])
            .steps([Step::Answer, Step::Send(GET.into())])
            .acts([Act::Body, Act::Send(ok)])
            .want(Want::status(200).body("hello"))
            .want(Want::status(200).body("hello"))
            .kept(),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = section("RFC 9112 9.3, 9.6", clients());
    all.extend(section("RFC 9112 9.3.2", pipelines()));
    all.extend(section("RFC 9112 9.3", pools()));
    all
}
