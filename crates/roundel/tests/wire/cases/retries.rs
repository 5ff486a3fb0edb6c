//! RFC 9110 9.2.2: which failures a client never sees, and what is never done twice.

use roundel_testkit::wire::{Act, Case, Lane, Saw, Step, Want};

use super::section;

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
const PUT: &str = "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";

fn twice(text: &str) -> [Step; 4] {
    let send = || Step::Send(text.as_bytes().to_vec());
    [send(), Step::Answer, send(), Step::Answer]
}

fn refused() -> Vec<Case> {
    let case = |name: &str, text: &str, method: &'static str| {
        Case::new(name)
            .lane(Lane::Dead)
            .steps(twice(text))
            .methods([method, method])
            .status(&[200])
            .status(&[200])
            .saw(Saw::default())
            .saw(Saw::default())
            .kept()
    };
    vec![
        case("refused-get-goes-elsewhere", GET, "GET"),
        case("refused-post-goes-elsewhere", POST, "POST"),
        case("refused-chunked-post-goes-elsewhere",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "POST"),
        case("refused-unknown-method-goes-elsewhere", "BREW /x HTTP/1.1\r\nHost: a\r\n\r\n", "BREW"),
        Case::new("refused-by-all")
            .lane(Lane::None)
            .send(GET)
            .status(&[502, 503])
            .saw_nothing(),
        Case::new("refused-by-all-503-retry-after")
            .own()
            .lane(Lane::None)
            .send(GET)
            .want(Want::status(503).has("retry-after", "1")),
        Case::new("refused-by-all-head-has-no-body")
            .lane(Lane::None)
            .send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[502, 503])
            .steps([Step::Answer, Step::Send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n".into())])
            .methods(["HEAD", "HEAD"])
            .status(&[502, 503]),
        Case::new("refused-by-all-post-body-never-a-request")
            .lane(Lane::None)
            .send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[502, 503]),
        Case::new("refused-by-all-large-body")
            .lane(Lane::None)
            .send(format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n{}", "y".repeat(500_000)))
            .status(&[502, 503]),
    ]
}

/// Two servers; the one asked first fails before it answers.
fn fails_first() -> Vec<Case> {
    let fails = |name: &str, text: &str, acts: Vec<Act>| {
        Case::new(name).lane(Lane::Pair).send(text).acts(acts)
    };
    let close = || vec![Act::Body, Act::Close];
    let reset = || vec![Act::Body, Act::Reset];
    let once = |case: Case| case.status(&[502]).saw(Saw::line("POST /x"));
    vec![
        fails("closed-get-goes-elsewhere", GET, close())
            .own()
            .status(&[200])
            .spread(true)
            .kept(),
        fails("reset-get-goes-elsewhere", GET, reset())
            .own()
            .status(&[200])
            .spread(true)
            .kept(),
        fails(
            "closed-head-goes-elsewhere",
            "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n",
            close(),
        )
        .own()
        .status(&[200])
        .spread(true)
        .kept(),
        fails("closed-put-goes-elsewhere", PUT, close())
            .own()
            .status(&[200])
            .saw(Saw::line("PUT /x").body("ab"))
            .saw(Saw::line("PUT /x").body("ab"))
            .spread(true)
            .kept(),
        fails(
            "closed-delete-goes-elsewhere",
            "DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n",
            close(),
        )
        .own()
        .status(&[200])
        .spread(true)
        .kept(),
        once(fails("closed-post-never-twice", POST, close())),
        once(fails("reset-post-never-twice", POST, reset())),
        fails(
            "closed-patch-never-twice",
            "PATCH /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
            close(),
        )
        .status(&[502])
        .saw(Saw::line("PATCH /x")),
        fails(
            "closed-unknown-method-never-twice",
            "BREW /x HTTP/1.1\r\nHost: a\r\n\r\n",
            close(),
        )
        .status(&[502])
        .saw(Saw::line("BREW /x")),
        fails(
            "post-without-body-never-twice",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            close(),
        )
        .status(&[502])
        .saw(Saw::line("POST /x")),
        fails(
            "get-not-after-a-byte-of-an-answer",
            GET,
            vec![Act::Body, Act::Send(b"HTTP/1.1 2".to_vec()), Act::Close],
        )
        .status(&[502])
        .saw(Saw::line("GET /x")),
        fails(
            "get-not-after-an-answer-began",
            GET,
            vec![
                Act::Body,
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell".to_vec()),
                Act::Close,
            ],
        )
        .want(Want::status(200).broken())
        .saw(Saw::line("GET /x")),
        fails(
            "put-with-a-large-body-not-replayed-in-part",
            &format!(
                "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}",
                "y".repeat(100_000)
            ),
            close(),
        )
        .status(&[502])
        .or()
        .status(&[200])
        .saw(Saw::line("PUT /x").body("y".repeat(100_000)))
        .saw(Saw::line("PUT /x").body("y".repeat(100_000))),
        Case::new("both-close")
            .own()
            .lane(Lane::Pair)
            .send(GET)
            .acts(close())
            .acts(close())
            .acts(close())
            .acts(close())
            .status(&[502]),
        Case::new("one-server-closing-fresh")
            .send(GET)
            .acts(close())
            .acts(close())
            .acts(close())
            .acts(close())
            .status(&[502]),
    ]
}

/// A reused connection that dies before the first byte of an answer.
fn reused() -> Vec<Case> {
    let ok = || Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec());
    let second = |name: &str, text: &str, method: &'static str, act: Act| {
        Case::new(name)
            .steps([
                Step::Send(GET.into()),
                Step::Answer,
                Step::Send(text.into()),
                Step::Answer,
            ])
            .methods(["GET", method])
            .acts([Act::Body, ok()])
            .acts([Act::Body, act])
            .want(Want::status(200).body("hello"))
    };
    vec![
        second("reused-dies-get-again", GET, "GET", Act::Close)
            .own()
            .status(&[200])
            .kept(),
        second("reused-reset-get-again", GET, "GET", Act::Reset)
            .own()
            .status(&[200])
            .kept(),
        second("reused-dies-put-again", PUT, "PUT", Act::Close)
            .own()
            .status(&[200])
            .saw(Saw::line("GET /x"))
            .saw(Saw::line("PUT /x").body("ab"))
            .saw(Saw::line("PUT /x").body("ab")),
        second("reused-dies-post-never-twice", POST, "POST", Act::Close)
            .status(&[502])
            .saw(Saw::line("GET /x"))
            .saw(Saw::line("POST /x")),
        second("reused-reset-post-never-twice", POST, "POST", Act::Reset)
            .status(&[502])
            .saw(Saw::line("GET /x"))
            .saw(Saw::line("POST /x")),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = section("RFC 9110 9.2.2", refused());
    all.extend(section("RFC 9110 9.2.2", fails_first()));
    all.extend(section("RFC 9112 9.3.1", reused()));
    all
}
