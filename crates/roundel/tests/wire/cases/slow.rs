//! RFC 9110 15.5.9, 15.6.5; RFC 9112 9.5: peers that are slow, on the lane with short timeouts.

use roundel_testkit::wire::{Act, Case, Lane, Saw, Step, Want};

use super::section;

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

fn send(text: &str) -> Act {
    Act::Send(text.as_bytes().to_vec())
}

fn quick(name: &str) -> Case {
    Case::new(name).lane(Lane::Quick)
}

pub(crate) fn cases() -> Vec<Case> {
    let all = vec![
        quick("slow-silent-client-is-closed").no_answer().saw_nothing().closed(),
        quick("slow-head-408")
            .steps([Step::Send(b"GET /x HTTP/1.1\r\nHost: a\r\n".to_vec())])
            .status(&[408])
            .saw_nothing()
            .closed(),
        quick("slow-head-by-drops-408")
            .steps([Step::Drip("GET /x HTTP/1.1\r\nHost: a\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".into(), 50)])
            .status(&[408])
            .saw_nothing()
            .closed(),
        quick("slow-keep-alive-is-closed-without-a-word").send(GET).status(&[200]).closed(),
        quick("slow-body-408")
            .steps([Step::Send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\npart".to_vec())])
            .methods(["POST"])
            .status(&[408])
            .saw(Saw::default().partial())
            .closed()
            .or()
            .status(&[408])
            .saw_nothing()
            .closed(),
        quick("slow-server-504")
            .send(GET)
            .acts([Act::Body, Act::Eof])
            .status(&[504])
            .kept()
            .cancelled(),
        quick("slow-server-post-never-twice")
            .send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
            .acts([Act::Body, Act::Eof])
            .status(&[504])
            .saw(Saw::line("POST /x")),
        quick("slow-server-get-once")
            .own()
            .send(GET)
            .acts([Act::Body, Act::Eof])
            .status(&[504])
            .saw(Saw::line("GET /x")),
        quick("slow-server-in-its-head-504")
            .send(GET)
            .acts([Act::Body, send("HTTP/1.1 200 OK\r\nX:"), Act::Eof])
            .status(&[502, 504]),
        quick("slow-server-in-its-body-breaks")
            .send(GET)
            .acts([Act::Body, send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"), Act::Eof])
            .want(Want::status(200).broken())
            .closed(),
        quick("slow-server-in-its-chunks-breaks")
            .send(GET)
            .acts([Act::Body, send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), Act::Eof])
            .want(Want::status(200).broken())
            .closed(),
        quick("slow-server-until-close-breaks")
            .send(GET)
            .acts([Act::Body, send("HTTP/1.1 200 OK\r\n\r\nhello"), Act::Eof])
            .want(Want::status(200).broken())
            .closed(),
        quick("slow-504-head-has-no-body")
            .send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .acts([Act::Body, Act::Eof])
            .want(Want::status(504).body(""))
            .kept(),
        quick("slow-server-late-answer-never-leaks")
            .send(GET)
            .acts([Act::Body, Act::Await("late"), send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"), Act::Eof])
            .steps([Step::Answer, Step::Signal("late"), Step::Send(GET.into())])
            .status(&[504])
            .want(Want::status(200).free_of("EVIL"))
            .kept(),
    ];
    section("timeouts", all)
}
