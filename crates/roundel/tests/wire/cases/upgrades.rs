//! RFC 9110 7.8, 15.2.2: Upgrade and what follows 101.

use roundel_testkit::wire::{Act, Case, Saw, Step, Want};

use super::section;

const WS: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

fn send(text: &str) -> Act {
    Act::Send(text.as_bytes().to_vec())
}

fn switched() -> Vec<Case> {
    vec![
        Case::new("upgrade-both-ways")
            .steps([
                Step::Send(WS.into()),
                Step::Until("\r\n\r\n"),
                Step::Send(b"ping".to_vec()),
                Step::Until("pong"),
                Step::HalfClose,
                Step::End,
            ])
            .acts([send(SWITCH), Act::Until("ping"), send("pong"), Act::Eof])
            .want(
                Want::status(101)
                    .has("upgrade", "websocket")
                    .any("sec-websocket-accept")
                    .has("connection", "Upgrade"),
            )
            .or()
            .want(
                Want::status(101)
                    .has("upgrade", "websocket")
                    .any("sec-websocket-accept")
                    .has("connection", "upgrade"),
            ),
        Case::new("upgrade-forwarded-as-such")
            .steps([
                Step::Send(WS.into()),
                Step::Until("\r\n\r\n"),
                Step::HalfClose,
                Step::End,
            ])
            .acts([Act::Body, send(SWITCH), Act::Eof])
            .status(&[101])
            .saw(
                Saw::line("GET /ws")
                    .has("upgrade", "websocket")
                    .any("connection")
                    .any("sec-websocket-key"),
            ),
        Case::new("upgrade-server-speaks-first-in-one-write")
            .steps([
                Step::Send(WS.into()),
                Step::Until("hello"),
                Step::HalfClose,
                Step::End,
            ])
            .acts([send(&format!("{SWITCH}hello")), Act::Eof])
            .status(&[101]),
        Case::new("upgrade-client-bytes-wait-for-101")
            .steps([
                Step::Send(format!("{WS}early").into()),
                Step::Await("looked"),
                Step::Until("\r\n\r\n"),
                Step::Until("late"),
            ])
            .acts([
                Act::Body,
                Act::Signal("looked"),
                send(SWITCH),
                Act::Until("early"),
                send("late"),
            ])
            .status(&[101]),
        Case::new("upgrade-server-closes")
            .steps([Step::Send(WS.into()), Step::Until("bye"), Step::End])
            .acts([send(SWITCH), send("bye"), Act::Close])
            .status(&[101])
            .closed(),
        Case::new("upgrade-server-half-closes-client-goes-on")
            .steps([
                Step::Send(WS.into()),
                Step::Until("bye"),
                Step::End,
                Step::Send(b"last".to_vec()),
                Step::Await("got"),
            ])
            .acts([
                send(SWITCH),
                send("bye"),
                Act::HalfClose,
                Act::Until("last"),
                Act::Signal("got"),
            ])
            .status(&[101]),
        Case::new("upgrade-client-resets")
            .steps([Step::Send(WS.into()), Step::Until("\r\n\r\n"), Step::Reset])
            .acts([send(SWITCH), Act::Eof])
            .cancelled(),
        Case::new("upgrade-large-both-ways")
            .steps([
                Step::Send(WS.into()),
                Step::Until("\r\n\r\n"),
                Step::Send(vec![b'c'; 300_000]),
                Step::Send(b"END".to_vec()),
                Step::Until("DONE"),
            ])
            .acts([
                send(SWITCH),
                Act::Flood(300_000),
                Act::Until("END"),
                send("DONE"),
            ])
            .status(&[101]),
    ]
}

fn not_switched() -> Vec<Case> {
    vec![
        Case::new("upgrade-declined-200")
            .send(WS)
            .reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .want(Want::status(200).body("ok"))
            .kept(),
        Case::new("upgrade-declined-200-bytes-behind-are-a-request")
            .send(format!("{WS}GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"))
            .reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .want(Want::status(200).body("ok"))
            .status(&[200])
            .saw(Saw::line("GET /ws"))
            .saw(Saw::line("GET /2"))
            .kept(),
        Case::new("upgrade-declined-bytes-behind-are-refused")
            .send(format!("{WS}\x01\x02raw frames\r\n\r\n"))
            .reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .want(Want::status(200).body("ok"))
            .status(&[400])
            .saw(Saw::line("GET /ws"))
            .closed(),
        Case::new("upgrade-declined-426")
            .send(WS)
            .reply("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n")
            .status(&[426])
            .kept(),
        Case::new("upgrade-declined-204").send(WS).reply("HTTP/1.1 204 No\r\n\r\n").status(&[204]).kept(),
        Case::new("upgrade-malformed-answer").send(WS).reply_close("HTTP/1.1 1x1 S\r\n\r\n").status(&[502]),
        Case::new("101-unasked")
            .send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .acts([Act::Body, send(SWITCH), Act::Eof])
            .status(&[502]),
        Case::new("101-to-1-0")
            .send("GET /x HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .acts([Act::Body, send(SWITCH), Act::Eof])
            .status(&[400, 502])
            .saw(Saw::line("GET /x").lacks("upgrade")),
        Case::new("upgrade-h2c-not-forwarded")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").lacks("upgrade").lacks("http2-settings"))
            .kept(),
        Case::new("upgrade-h2c-among-others-not-forwarded")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").free_of("h2c")),
        Case::new("upgrade-without-connection-option")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").lacks("upgrade"))
            .kept(),
        Case::new("upgrade-with-body-is-a-request")
            .send("POST /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\nContent-Length: 5\r\n\r\nhello")
            .status(&[200])
            .saw(Saw::line("POST /x").body("hello"))
            .kept(),
        Case::new("upgrade-refused-then-next-request")
            .send(WS)
            .reply("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
            .steps([Step::Answer, Step::Send(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec())])
            .want(Want::status(403).body("no"))
            .status(&[200])
            .saw(Saw::line("GET /ws"))
            .saw(Saw::line("GET /2"))
            .kept(),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = section("RFC 9110 15.2.2", switched());
    all.extend(section("RFC 9110 7.8", not_switched()));
    let why = "HTTP/2 has no upgrades; tunnels by extended CONNECT have tests of their own";
    all.into_iter().map(|case| case.http1_only(why)).collect()
}
