//! RFC 9112 8, 9.6: clients and servers that go away in the middle.

use roundel_testkit::wire::{Act, Case, Lane, Saw, Step, Want};

use super::section;

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart";

fn send(text: &str) -> Act {
    Act::Send(text.as_bytes().to_vec())
}

fn clients() -> Vec<Case> {
    vec![
        Case::new("client-resets-while-waiting")
            .steps([Step::Send(GET.into()), Step::Await("asked"), Step::Reset])
            .acts([Act::Body, Act::Signal("asked"), Act::Eof])
            .cancelled(),
        Case::new("client-resets-in-its-body")
            .steps([Step::Send(POST.into()), Step::Await("asked"), Step::Reset])
            .acts([Act::Until("part"), Act::Signal("asked"), Act::Eof])
            .saw(Saw::default().partial())
            .cancelled(),
        Case::new("client-closes-in-its-body")
            .steps([Step::Send(POST.into()), Step::Await("asked"), Step::HalfClose, Step::End])
            .acts([Act::Until("part"), Act::Signal("asked"), Act::Eof])
            .saw(Saw::default().partial())
            .cancelled(),
        Case::new("client-closes-in-its-chunks")
            .steps([
                Step::Send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n".to_vec()),
                Step::Await("asked"),
                Step::HalfClose,
                Step::End,
            ])
            .acts([Act::Until("part"), Act::Signal("asked"), Act::Eof])
            .saw(Saw::default().partial())
            .cancelled(),
        Case::new("client-resets-in-the-answer")
            .steps([Step::Send(GET.into()), Step::Until("hello"), Step::Reset])
            .acts([Act::Body, send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello"), Act::Eof])
            .cancelled(),
        Case::new("client-resets-in-a-large-answer")
            .steps([Step::Send(GET.into()), Step::Until("xxxx"), Step::Reset])
            .acts([Act::Body, send("HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n"), Act::Flood(9_999_999_999)])
            .cancelled(),
        Case::new("client-resets-in-an-endless-answer")
            .steps([Step::Send(GET.into()), Step::Until("xxxx"), Step::Reset])
            .acts([Act::Body, send("HTTP/1.1 200 OK\r\n\r\n"), Act::Flood(9_999_999_999)])
            .cancelled(),
        Case::new("client-reset-does-not-retry")
            .lane(Lane::Pair)
            .steps([Step::Send(GET.into()), Step::Await("asked"), Step::Reset])
            .acts([Act::Body, Act::Signal("asked"), Act::Eof])
            .saw(Saw::line("GET /x"))
            .cancelled(),
        Case::new("client-fin-only-ends-the-request")
            .own()
            .steps([Step::Send(GET.into()), Step::HalfClose, Step::Await("asked"), Step::Signal("go")])
            .acts([Act::Body, Act::Signal("asked"), Act::Await("go"), send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")])
            .want(Want::status(200).body("hello"))
            .closed(),
        Case::new("client-resets-then-others-are-served")
            .steps([
                Step::Send(GET.into()),
                Step::Await("asked"),
                Step::Reset,
                Step::Open,
                Step::Send(GET.into()),
                Step::Answer,
            ])
            // Whoever was quick enough to take the whole answer may use its connection again.
            .acts([Act::Body, Act::Signal("asked"), send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")])
            .want(Want::status(200).free_of("EVIL"))
            .kept(),
    ]
}

fn servers() -> Vec<Case> {
    let hello = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello";
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let breaks = |name: &str, text: &str, act: Act| {
        Case::new(name)
            .send(GET)
            .acts([Act::Body, send(text), Act::Await("read"), act])
            .steps([Step::Until("hello"), Step::Signal("read")])
            .want(Want::status(200).broken())
            .closed()
    };
    vec![
        breaks("server-closes-in-length", hello, Act::Close),
        breaks("server-resets-in-length", hello, Act::Reset),
        breaks("server-half-closes-in-length", hello, Act::HalfClose),
        breaks("server-closes-in-chunks", chunks, Act::Close),
        breaks("server-resets-in-chunks", chunks, Act::Reset),
        breaks("server-breaks-the-coding", chunks, send("junk\r\n")),
        breaks(
            "server-breaks-the-last-chunk",
            chunks,
            send("0\r\nno trailer\r\n\r\n"),
        ),
        Case::new("server-dies-and-the-next-client-is-served")
            .send(GET)
            .acts([Act::Body, send(hello), Act::Await("read"), Act::Reset])
            .steps([
                Step::Until("hello"),
                Step::Signal("read"),
                Step::End,
                Step::Open,
                Step::Send(GET.into()),
                Step::Answer,
            ])
            .want(Want::status(200).broken())
            .status(&[200])
            .kept(),
        Case::new("server-closes-while-the-body-comes")
            .steps([Step::Send(POST.into()), Step::Answer])
            .acts([Act::Until("part"), Act::Close])
            .methods(["POST"])
            .status(&[502]),
        Case::new("server-resets-while-the-body-comes")
            .steps([Step::Send(POST.into()), Step::Answer])
            .acts([Act::Until("part"), Act::Reset])
            .methods(["POST"])
            .status(&[502]),
        Case::new("server-answers-whole-and-resets-later")
            .send(GET)
            .acts([
                Act::Body,
                send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
                Act::Await("read"),
                Act::Reset,
            ])
            .steps([
                Step::Answer,
                Step::Signal("read"),
                Step::OriginClosed,
                Step::Send(GET.into()),
            ])
            .want(Want::status(200).body("hello"))
            .status(&[200])
            .kept(),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = section("RFC 9112 9.6", clients());
    all.extend(section("RFC 9112 8", servers()));
    all
}
