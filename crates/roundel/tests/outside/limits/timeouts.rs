//! Each time limit by itself, over HTTP/1 and HTTP/2: the status, the word and the letters.

use super::stage::{Client, Does, GET, Http2, Keys, Server, each, wait_log};

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sends {
    /// A request, and reads.
    Get,
    /// A request, and reads nothing.
    GetUnread,
    /// Half of a head.
    PartOfHead,
    /// Half of a body.
    PartOfBody,
    /// A request to switch protocols.
    Upgrade,
}

use Sends::{Get, GetUnread, PartOfBody, PartOfHead, Upgrade};

/// A limit in the file, what server and client do, and what becomes of the request.
#[derive(Debug, Clone, Copy)]
struct Case {
    limit: &'static str,
    does: Does,
    sends: Sends,
    /// 0 where no answer is read.
    status: u16,
    word: &'static str,
    letters: &'static str,
    /// It holds over HTTP/2, too.
    http2: bool,
}

#[rustfmt::skip]
const CASES: [Case; 16] = [
    case("connect", Does::Nothing, Get, 504, "connect_timeout", "sC").both(),
    case("http_request", Does::Answers, PartOfHead, 408, "request_timeout", "cR"),
    case("request_body", Does::Waits, PartOfBody, 408, "body_timeout", "cH").both(),
    case("client", Does::Waits, PartOfBody, 408, "body_timeout", "cH").both(),
    case("request_body", Does::Begins, PartOfBody, 200, "body_timeout", "cD").both(),
    case("queue", Does::Waits, Get, 503, "queue_timeout", "sQ").both(),
    case("first_byte", Does::Waits, Get, 504, "first_byte_timeout", "sH").both(),
    case("first_byte", Does::DripsHead, Get, 504, "first_byte_timeout", "sH").both(),
    case("server", Does::Waits, Get, 504, "first_byte_timeout", "sH").both(),
    case("response_idle", Does::Begins, Get, 200, "response_idle_timeout", "sD").both(),
    case("client", Does::Floods, GetUnread, 200, "client_timeout", "cD").both(),
    case("tunnel", Does::Switches, Upgrade, 101, "tunnel_timeout", "cD"),
    case("total", Does::Nothing, Get, 504, "total_timeout", "sC").both(),
    case("total", Does::Waits, Get, 504, "total_timeout", "sH").both(),
    case("total", Does::Begins, Get, 200, "total_timeout", "sD").both(),
    case("total", Does::Drips, Get, 200, "total_timeout", "sD").both(),
];

const fn case(
    limit: &'static str,
    does: Does,
    sends: Sends,
    status: u16,
    word: &'static str,
    letters: &'static str,
) -> Case {
    Case {
        limit,
        does,
        sends,
        status,
        word,
        letters,
        http2: false,
    }
}

impl Case {
    const fn both(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// The one short limit; all others are a minute.
    fn keys(self) -> String {
        let mut all = String::new();
        for name in [
            "connect",
            "http_request",
            "http_keep_alive",
            "client",
            "request_body",
            "queue",
            "server",
            "first_byte",
            "response_idle",
            "tunnel",
            "total",
        ] {
            let is_set_by = matches!(
                (self.limit, name),
                ("client", "request_body") | ("server", "first_byte" | "response_idle")
            );
            if name == self.limit {
                all += &format!("{name} = \"300ms\", ");
            } else if !is_set_by {
                all += &format!("{name} = \"1m\", ");
            }
        }
        format!("[defaults]\nretries = 0\ntimeouts = {{ {all} }}")
    }
}

#[test]
fn each_limit_has_its_status_word_and_letters() {
    let with_http2 = CASES.iter().filter(|c| c.http2).map(|c| (*c, true));
    let all: Vec<(Case, bool)> = CASES
        .iter()
        .map(|c| (*c, false))
        .chain(with_http2)
        .collect();
    each(&all, |(case, http2)| check(*case, *http2));
}

fn check(case: Case, http2: bool) {
    println!("{case:?} http2: {http2}");
    let server = Server::that(case.does);
    let queues = case.limit == "queue";
    let keys = Keys {
        global: &case.keys(),
        backend: if queues { "maxconn = 1" } else { "" },
        ..Keys::default()
    };
    let balancer = keys.serve(&[server.address]);
    let _first = queues.then(|| {
        let first = Client::asking(balancer.front, GET);
        server.wait_busy(1);
        first
    });
    let mut client = match http2 {
        true => Http2::asking(balancer.front, case.sends == PartOfBody),
        false => Client::asking(balancer.front, head(case.sends)),
    };
    if !http2 && case.sends != GetUnread {
        let answer = client.read_to_end_or_answer();
        let status = format!("HTTP/1.1 {} ", case.status);
        assert!(answer.starts_with(&status), "{case:?}: {answer}");
    }
    let line = wait_log(&balancer, case.word, case.letters);
    assert_eq!(line["status"], case.status, "{line}");
    // Whatever the server was asked for, it is not worked on any longer.
    server.wait_busy(usize::from(queues));
}

fn head(sends: Sends) -> &'static [u8] {
    match sends {
        Get | GetUnread => GET,
        PartOfHead => b"GET /x HTTP/1.1\r\nHost",
        PartOfBody => b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npart",
        Upgrade => b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    }
}

#[test]
fn idle_connections_are_closed_without_a_word() {
    let server = Server::that(Does::Answers);
    for limit in ["http_keep_alive", "http_request"] {
        let keys = format!("timeouts = {{ {limit} = \"300ms\" }}");
        let keys = Keys {
            frontend: &keys,
            ..Keys::default()
        };
        let balancer = keys.serve(&[server.address]);
        let mut client = Client::new(balancer.front);
        if limit == "http_keep_alive" {
            client.send(GET);
            client.read_until("hello");
        }
        assert_eq!(client.read_to_end(), "", "{limit}");
        let lines = balancer.process.stdout();
        assert!(!lines.contains("timeout"), "{lines}");
    }
}

#[test]
fn no_limit_cuts_short_what_still_moves() {
    // Every pause is shorter than the limit, all together are longer.
    let server = Server::that(Does::Drips);
    let keys = Keys {
        backend: "timeouts = { server = \"600ms\" }",
        ..Keys::default()
    };
    let balancer = keys.serve(&[server.address]);
    let mut client = Client::asking(balancer.front, GET);
    for _ in 0..20 {
        client.read_until(".");
    }
}
