//! RFC 9110 7.6.3, 6.6.1; RFC 7239 and the X- fields: what servers learn of clients.

use roundel_testkit::wire::{Case, Lane, Saw, Want};

use super::section;

const IP: &str = "127.0.0.1";

fn get(fields: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")
}

fn untrusted() -> Vec<Case> {
    let case = |name: &str, fields: &str, saw: Saw| {
        Case::new(name)
            .own()
            .send(get(fields))
            .status(&[200])
            .saw(saw)
    };
    vec![
        case(
            "forwarded-for-set",
            "",
            Saw::default().has("x-forwarded-for", IP),
        ),
        case("forwarded-proto-set", "", Saw::default().proto()),
        case(
            "forwarded-host-set",
            "",
            Saw::default().has("x-forwarded-host", "a.example"),
        ),
        case(
            "forwarded-port-set",
            "",
            Saw::default().any("x-forwarded-port"),
        ),
        case(
            "forwarded-for-spoofed",
            "X-Forwarded-For: 6.6.6.6\r\n",
            Saw::default().has("x-forwarded-for", IP).free_of("6.6.6.6"),
        ),
        case(
            "forwarded-for-spoofed-twice",
            "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\n",
            Saw::default()
                .has("x-forwarded-for", IP)
                .free_of("6.6.6.6")
                .free_of("7.7.7.7"),
        ),
        case(
            "forwarded-for-spoofed-list",
            "X-Forwarded-For: 6.6.6.6, 7.7.7.7\r\n",
            Saw::default().has("x-forwarded-for", IP).free_of("6.6.6.6"),
        ),
        case(
            "forwarded-proto-spoofed",
            "X-Forwarded-Proto: https\r\n",
            Saw::default().proto().free_of("https"),
        )
        .clear_only("over TLS it is the truth"),
        case(
            "forwarded-proto-unknown",
            "X-Forwarded-Proto: gopher\r\n",
            Saw::default().proto().free_of("gopher"),
        ),
        case(
            "forwarded-host-spoofed",
            "X-Forwarded-Host: evil.example\r\n",
            Saw::default()
                .has("x-forwarded-host", "a.example")
                .free_of("evil"),
        ),
        case(
            "forwarded-port-spoofed",
            "X-Forwarded-Port: 6666\r\n",
            Saw::default().free_of("6666"),
        ),
        case(
            "real-ip-spoofed",
            "X-Real-IP: 6.6.6.6\r\n",
            Saw::default().free_of("6.6.6.6"),
        ),
        case(
            "forwarded-spoofed",
            "Forwarded: for=6.6.6.6;proto=https\r\n",
            Saw::default().free_of("6.6.6.6"),
        ),
        case(
            "forwarded-for-dropped-by-connection",
            "Connection: x-forwarded-for\r\nX-Forwarded-For: 6.6.6.6\r\n",
            Saw::default().has("x-forwarded-for", IP).free_of("6.6.6.6"),
        ),
    ]
}

fn trusted() -> Vec<Case> {
    let case = |name: &str, fields: &str, saw: Saw| {
        Case::new(name)
            .own()
            .lane(Lane::Trusted)
            .send(get(fields))
            .status(&[200])
            .saw(saw)
    };
    vec![
        case(
            "trusted-for-set",
            "",
            Saw::default().has("x-forwarded-for", IP),
        ),
        case(
            "trusted-for-appended",
            "X-Forwarded-For: 6.6.6.6\r\n",
            Saw::default().has("x-forwarded-for", "6.6.6.6, 127.0.0.1"),
        ),
        case(
            "trusted-for-empty",
            "X-Forwarded-For:\r\n",
            Saw::default().has("x-forwarded-for", IP),
        ),
        case(
            "trusted-for-two-lines",
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n",
            Saw::default()
                .has("x-forwarded-for", "6.6.6.6")
                .has("x-forwarded-for", "7.7.7.7, 127.0.0.1"),
        ),
        case(
            "trusted-proto-kept",
            "X-Forwarded-Proto: https\r\n",
            Saw::default().has("x-forwarded-proto", "https"),
        ),
        case(
            "trusted-host-kept",
            "X-Forwarded-Host: b.example\r\n",
            Saw::default().has("x-forwarded-host", "b.example"),
        ),
        case(
            "trusted-port-kept",
            "X-Forwarded-Port: 443\r\n",
            Saw::default().has("x-forwarded-port", "443"),
        ),
        case("trusted-proto-filled", "", Saw::default().proto()),
        case(
            "trusted-forwarded-kept",
            "Forwarded: for=6.6.6.6;proto=https\r\n",
            Saw::default().any("forwarded"),
        ),
        case(
            "trusted-connection-cannot-name",
            "Connection: x-forwarded-for\r\nX-Forwarded-For: 6.6.6.6\r\n",
            Saw::default().has("x-forwarded-for", "6.6.6.6, 127.0.0.1"),
        ),
    ]
}

fn via() -> Vec<Case> {
    vec![
        Case::new("via-added")
            .send(get(""))
            .status(&[200])
            .saw(Saw::default().any("via")),
        Case::new("via-after-others")
            .send(get("Via: 1.0 other\r\n"))
            .status(&[200])
            .saw(
                Saw::default()
                    .has("via", "1.0 other")
                    .begins("via", "1.1 roundel-"),
            )
            .or()
            .status(&[200])
            .saw(Saw::default().begins("via", "1.0 other, 1.1 roundel-"))
            .own(),
        Case::new("via-names-the-version-received")
            .send("GET /x HTTP/1.0\r\nHost: a\r\n\r\n")
            .own()
            .status(&[200])
            .saw(Saw::default().begins("via", "1.0 roundel-")),
        Case::new("request-to-server-is-1-1")
            .send("GET /x HTTP/1.0\r\nHost: a\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").version("HTTP/1.1")),
        Case::new("answer-to-1-0-is-1-1-or-1-0")
            .send("GET /x HTTP/1.0\r\nHost: a\r\n\r\n")
            .status(&[200])
            .closed(),
    ]
}

fn date() -> Vec<Case> {
    let get = get("");
    vec![
        Case::new("date-added")
            .send(&get)
            .reply("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(200).any("date")),
        Case::new("date-kept")
            .send(&get)
            .reply("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(200).has("date", "Thu, 01 Jan 1970 00:00:00 GMT")),
        Case::new("server-kept")
            .send(&get)
            .reply("HTTP/1.1 200 OK\r\nServer: app/1\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(200).has("server", "app/1")),
        Case::new("server-not-invented")
            .own()
            .send(&get)
            .reply("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(200).lacks("server")),
        Case::new("unknown-fields-pass")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nX-Odd_Name.9: v\r\n\r\n")
            .reply("HTTP/1.1 200 OK\r\nX-Odd_Name.9: w\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(200).has("x-odd_name.9", "w"))
            .saw(Saw::default().has("x-odd_name.9", "v")),
        Case::new("set-cookies-stay-apart")
            .send(&get)
            .reply("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n")
            .want(Want::status(200).has("set-cookie", "a=1").has("set-cookie", "b=2")),
        Case::new("encoding-untouched")
            .send("GET /x HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nRange: bytes=0-1\r\nIf-Range: \"e\"\r\n\r\n")
            .reply("HTTP/1.1 206 P\r\nContent-Encoding: gzip\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\n\r\nhe")
            .want(Want::status(206).has("content-encoding", "gzip").has("content-range", "bytes 0-1/5").body("he"))
            .saw(Saw::default().has("range", "bytes=0-1").has("if-range", "\"e\"")),
        Case::new("traceparent-untouched")
            .send("GET /x HTTP/1.1\r\nHost: a\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n")
            .status(&[200])
            .saw(Saw::default().has("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = section("X-Forwarded, RFC 7239", untrusted());
    all.extend(section("X-Forwarded, RFC 7239", trusted()));
    all.extend(section("RFC 9110 7.6.3", via()));
    all.extend(section("RFC 9110 6.6.1", date()));
    all
}
