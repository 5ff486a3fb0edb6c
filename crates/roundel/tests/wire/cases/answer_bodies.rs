//! RFC 9110 6.4, 9.3.2, 15; RFC 9112 6.3, 7: where the body of an answer ends.

use roundel_testkit::wire::{Act, Case, Saw, Step, Want};

use super::section;

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD: &str = "GET /x HTTP/1.0\r\nHost: a\r\n\r\n";

fn bodyless() -> Vec<Case> {
    vec![
        Case::new("head-with-length")
            .send(HEAD)
            .reply("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
            .want(Want::status(200).has("content-length", "500"))
            .kept(),
        Case::new("head-without-length")
            .send(HEAD)
            .reply("HTTP/1.1 200 OK\r\nX: y\r\n\r\n")
            .want(Want::status(200).has("x", "y").lacks("content-length"))
            .kept(),
        Case::new("head-with-chunked")
            .send(HEAD)
            .reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .status(&[200])
            .kept(),
        Case::new("head-with-body-never-leaks")
            .send(HEAD)
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL".to_vec()),
                Act::Eof,
            ])
            .steps([Step::Answer, Step::Send(GET.into())])
            .methods(["HEAD", "GET"])
            .status(&[200])
            .want(Want::status(200).free_of("EVIL"))
            .kept(),
        Case::new("head-404")
            .send(HEAD)
            .reply("HTTP/1.1 404 No\r\nContent-Length: 7\r\n\r\n")
            .want(Want::status(404).has("content-length", "7"))
            .kept(),
        Case::new("204")
            .send(GET)
            .reply("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n")
            .want(
                Want::status(204)
                    .has("x", "y")
                    .lacks("content-length")
                    .lacks("transfer-encoding"),
            )
            .kept(),
        Case::new("204-with-length")
            .send(GET)
            .reply("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(204).lacks("content-length"))
            .kept(),
        Case::new("204-with-body-never-leaks")
            .send(GET)
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\nEVIL".to_vec()),
                Act::Eof,
            ])
            .steps([Step::Answer, Step::Send(GET.into())])
            .want(Want::status(204).lacks("content-length"))
            .want(Want::status(200).free_of("EVIL"))
            .kept(),
        Case::new("204-with-chunked")
            .send(GET)
            .acts([
                Act::Body,
                Act::Send(
                    b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
                ),
                Act::Eof,
            ])
            .want(Want::status(204).lacks("transfer-encoding"))
            .kept(),
        Case::new("304-with-length")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"e\"\r\n\r\n")
            .reply("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: \"e\"\r\n\r\n")
            .want(Want::status(304).has("etag", "\"e\""))
            .kept(),
        Case::new("304-plain")
            .send(GET)
            .reply("HTTP/1.1 304 Not Modified\r\n\r\n")
            .status(&[304])
            .kept(),
        Case::new("304-with-body-never-leaks")
            .send(GET)
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 304 NM\r\nContent-Length: 4\r\n\r\nEVIL".to_vec()),
                Act::Eof,
            ])
            .steps([Step::Answer, Step::Send(GET.into())])
            .status(&[304])
            .want(Want::status(200).free_of("EVIL"))
            .kept(),
        Case::new("205-empty")
            .send(GET)
            .reply("HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(205).body(""))
            .kept(),
        Case::new("200-length-0")
            .send(GET)
            .reply("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(200).has("content-length", "0").body(""))
            .kept(),
        Case::new("post-204-kept")
            .send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
            .reply("HTTP/1.1 204 No Content\r\n\r\n")
            .status(&[204])
            .kept(),
    ]
}

fn framed() -> Vec<Case> {
    let hello = || Want::status(200).body("hello");
    vec![
        Case::new("body-length").send(GET).reply("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").want(hello()).kept(),
        Case::new("body-chunked")
            .send(GET)
            .reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
            .want(hello())
            .kept(),
        Case::new("body-until-close-1-1")
            .send(GET)
            .reply_close("HTTP/1.1 200 OK\r\n\r\nhello")
            .want(hello()),
        Case::new("body-until-close-kept")
            .should()
            .send(GET)
            .reply_close("HTTP/1.1 200 OK\r\n\r\nhello")
            .want(hello().lacks("content-length"))
            .kept(),
        Case::new("body-until-close-connection-close")
            .send(GET)
            .reply_close("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
            .want(hello()),
        Case::new("body-until-close-1-0")
            .send(GET)
            .reply_close("HTTP/1.0 200 OK\r\n\r\nhello")
            .want(hello()),
        Case::new("body-until-close-empty")
            .send(GET)
            .reply_close("HTTP/1.1 200 OK\r\n\r\n")
            .want(Want::status(200).body("")),
        Case::new("body-until-close-reset")
            .send(GET)
            .acts([Act::Body, Act::Send(b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec()), Act::Await("read"), Act::Reset])
            .steps([Step::Until("hello"), Step::Signal("read")])
            .want(Want::status(200).broken())
            .closed(),
        Case::new("body-short")
            .send(GET)
            .reply_close("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
            .want(hello().broken())
            .closed(),
        Case::new("body-short-reset")
            .send(GET)
            .acts([Act::Body, Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello".to_vec()), Act::Reset])
            .want(Want::default().broken())
            .closed()
            .or()
            .status(&[502]),
        Case::new("body-short-to-1-0")
            .send(OLD)
            .acts([Act::Body, Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello".to_vec()), Act::Close])
            .want(Want::default().broken())
            .closed(),
        Case::new("chunked-short-to-1-0")
            .send(OLD)
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec()),
                Act::Await("read"),
                Act::Close,
            ])
            .steps([Step::Until("hello"), Step::Signal("read")])
            .want(Want::status(200).broken())
            .closed(),
        Case::new("chunked-to-1-0")
            .send(OLD)
            .reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
            .want(hello().lacks("transfer-encoding"))
            .closed(),
        Case::new("chunked-to-1-0-keep-alive")
            .send("GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .want(hello().lacks("transfer-encoding"))
            .closed(),
        Case::new("trailers-to-1-0-are-dropped")
            .send(OLD)
            .reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: y\r\n\r\n")
            .want(hello())
            .closed(),
        Case::new("trailers")
            .should()
            .send("GET /x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
            .reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: y\r\n\r\n")
            .want(hello().trailer("x-t", "y"))
            .kept(),
        Case::new("trailers-never-framing")
            .send(GET)
            .reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 99\r\n\r\n")
            .want(hello())
            .kept()
            .or()
            .want(Want::status(200).broken())
            .or()
            .status(&[502]),
        Case::new("chunked-with-length-zero-chunks")
            .send(GET)
            .reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            .want(Want::status(200).body(""))
            .kept(),
        Case::new("answer-1-0-keep-alive")
            .send(GET)
            .reply("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello")
            .want(hello())
            .kept(),
        Case::new("answer-is-1-1-whatever-the-server")
            .send(GET)
            .reply_close("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .want(hello())
            .kept(),
        Case::new("body-1m")
            .send(GET)
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_vec()),
                Act::Flood(1_000_000),
            ])
            .want(Want::status(200).body("x".repeat(1_000_000)))
            .kept(),
        Case::new("body-1m-until-close")
            .send(GET)
            .acts([Act::Body, Act::Send(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), Act::Flood(1_000_000), Act::Close])
            .want(Want::status(200).body("x".repeat(1_000_000))),
        Case::new("body-streams")
            .send(GET)
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".to_vec()),
                Act::Await("first"),
                Act::Send(b"other".to_vec()),
            ])
            .steps([Step::Until("first"), Step::Signal("first"), Step::Answer])
            .want(Want::status(200).body("firstother"))
            .kept(),
        Case::new("chunks-stream")
            .send(GET)
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n".to_vec()),
                Act::Await("first"),
                Act::Send(b"5\r\nother\r\n0\r\n\r\n".to_vec()),
            ])
            .steps([Step::Until("first"), Step::Signal("first"), Step::Answer])
            .want(Want::status(200).body("firstother"))
            .kept(),
        Case::new("head-alone-streams")
            .send(GET)
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec()),
                Act::Await("head"),
                Act::Send(b"hello".to_vec()),
            ])
            .steps([Step::Until("\r\n\r\n"), Step::Signal("head"), Step::Answer])
            .want(hello())
            .kept(),
        Case::new("answer-bytewise")
            .send(GET)
            .acts(
                std::iter::once(Act::Body).chain(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                        .bytes()
                        .map(|b| Act::Send(vec![b])),
                ),
            )
            .want(hello())
            .kept(),
        Case::new("connection-close-of-the-server-is-its-own")
            .send(GET)
            .reply_close("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
            .want(hello())
            .kept(),
    ]
}

/// RFC 9112 9.5, 9110 15.5: answers while the request is still coming.
fn early() -> Vec<Case> {
    let part = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\npart";
    vec![
        Case::new("early-answer")
            .steps([Step::Send(part.into()), Step::Answer])
            .acts([
                Act::Until("part"),
                Act::Send(b"HTTP/1.1 413 Large\r\nContent-Length: 5\r\n\r\nhello".to_vec()),
                Act::Eof,
            ])
            .want(Want::status(413).body("hello"))
            .closed(),
        Case::new("early-answer-and-close")
            .steps([Step::Send(part.into()), Step::Answer])
            .acts([
                Act::Until("part"),
                Act::Send(
                    b"HTTP/1.1 413 Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
                        .to_vec(),
                ),
                Act::Close,
            ])
            .want(Want::status(413).body("hello"))
            .closed(),
        Case::new("early-answer-never-mixes-with-the-next")
            .steps([
                Step::Send(part.into()),
                Step::Answer,
                Step::Open,
                Step::Send(GET.into()),
                Step::Answer,
            ])
            .acts([
                Act::Until("part"),
                Act::Send(b"HTTP/1.1 413 Large\r\nContent-Length: 5\r\n\r\nhello".to_vec()),
                Act::Eof,
            ])
            .methods(["POST", "GET"])
            .want(Want::status(413).body("hello"))
            .want(Want::status(200).free_of("hello"))
            .saw(Saw::default().partial())
            .saw(Saw::line("GET /x"))
            .kept()
            .or()
            .want(Want::status(413).body("hello"))
            .want(Want::status(200).free_of("hello"))
            .kept(),
        Case::new("early-answer-then-rest-of-the-body")
            .steps([
                Step::Send(
                    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\npart".to_vec(),
                ),
                Step::Until("\r\n\r\n"),
                Step::Send(b"rest".to_vec()),
            ])
            .acts([
                Act::Until("part"),
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_vec()),
                Act::Body,
                Act::Send(b"world".to_vec()),
            ])
            .want(Want::status(200).body("helloworld")),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = section("RFC 9110 6.4.1", bodyless());
    all.extend(section("RFC 9112 6.3", framed()));
    all.extend(section("RFC 9112 9.5", early()));
    all
}
