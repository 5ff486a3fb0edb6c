//! RFC 6265 and the rows of HAProxy's `cookie SERVERID insert indirect nocache`, where they apply.

use roundel_testkit::wire::{Act, Case, Lane, Saw, Step, Want};

use super::section;

fn get(fields: &str) -> Vec<u8> {
    format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

fn sticky(name: &str) -> Case {
    Case::new(name).lane(Lane::Sticky)
}

fn no_cookie_or_unknown() -> Vec<Case> {
    let fresh = |name: &str, fields: &str| {
        sticky(name)
            .send(get(fields))
            .want(Want::status(200).any("set-cookie"))
            .saw(Saw::line("GET /x").free_of("SERVERID"))
    };
    vec![
        fresh("cookie-none", ""),
        fresh("cookie-unknown", "Cookie: SERVERID=zzz\r\n"),
        fresh("cookie-empty", "Cookie: SERVERID=\r\n"),
        fresh("cookie-quoted", "Cookie: SERVERID=\"s1\"\r\n"),
        fresh("cookie-twice-unknown", "Cookie: SERVERID=a; SERVERID=b\r\n"),
        fresh(
            "cookie-long",
            &format!("Cookie: SERVERID={}\r\n", "x".repeat(5000)),
        ),
        fresh("cookie-odd-bytes", "Cookie: SERVERID=a,b\\c\r\n"),
        sticky("cookie-name-is-case-sensitive")
            .send(get("Cookie: serverid=s1\r\n"))
            .want(Want::status(200).any("set-cookie"))
            .saw(Saw::line("GET /x").has("cookie", "serverid=s1")),
        sticky("cookie-other-names-pass")
            .send(get("Cookie: XSERVERID=1; SERVERIDX=2\r\n"))
            .want(Want::status(200).any("set-cookie"))
            .saw(Saw::line("GET /x").has("cookie", "XSERVERID=1; SERVERIDX=2")),
    ]
}

/// What is left of a Cookie field when the pair is cut out.
const CUT: &[(&str, &str, Option<&str>)] = &[
    (
        "cookie-cut-middle",
        "a=1; SERVERID=zz; b=2",
        Some("a=1; b=2"),
    ),
    ("cookie-cut-first", "SERVERID=zz; b=2", Some("b=2")),
    ("cookie-cut-last", "a=1; SERVERID=zz", Some("a=1")),
    ("cookie-cut-only", "SERVERID=zz", None),
    ("cookie-cut-all", "SERVERID=a; b=2; SERVERID=c", Some("b=2")),
    (
        "cookie-cut-value-with-equals",
        "a=x=y; SERVERID=zz",
        Some("a=x=y"),
    ),
];

fn cut() -> Vec<Case> {
    let case = |(name, sent, left): &(&str, &str, Option<&'static str>)| {
        let saw = match left {
            Some(left) => Saw::line("GET /x").has("cookie", left),
            None => Saw::line("GET /x").lacks("cookie"),
        };
        sticky(name)
            .send(get(&format!("Cookie: {sent}\r\n")))
            .status(&[200])
            .saw(saw)
    };
    CUT.iter().map(case).collect()
}

fn answers() -> Vec<Case> {
    let reply = |name: &str, fields: &str| {
        sticky(name).send(get("")).reply(format!(
            "HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n"
        ))
    };
    vec![
        reply(
            "cookie-makes-cacheable-private",
            "Cache-Control: public, max-age=60\r\n",
        )
        .want(
            Want::status(200)
                .any("set-cookie")
                .any("cache-control")
                .free_of("public"),
        ),
        reply("cookie-keeps-no-store", "Cache-Control: no-store\r\n").want(
            Want::status(200)
                .any("set-cookie")
                .has("cache-control", "no-store"),
        ),
        reply("cookie-adds-private", "").want(Want::status(200).has("cache-control", "private")),
        reply(
            "cookie-of-the-server-removed",
            "Set-Cookie: SERVERID=bogus\r\n",
        )
        .want(Want::status(200).any("set-cookie").free_of("bogus")),
        reply(
            "cookie-of-the-app-kept",
            "Set-Cookie: session=1; Path=/\r\n",
        )
        .want(Want::status(200).has("set-cookie", "session=1; Path=/")),
        sticky("cookie-on-304")
            .send(get(""))
            .reply("HTTP/1.1 304 Not Modified\r\n\r\n")
            .want(Want::status(304).any("set-cookie"))
            .kept(),
        sticky("cookie-not-on-interim")
            .send(get(""))
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n".to_vec()),
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
            ])
            .want(Want::status(200).interim(&[103]).any("set-cookie"))
            .kept(),
        sticky("cookie-not-on-own-answers")
            .send("TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .want(Want::status(405).lacks("set-cookie")),
        sticky("cookie-on-101")
            .steps([
                Step::Send(get("Connection: upgrade\r\nUpgrade: foo\r\n")),
                Step::Until("\r\n\r\n"),
                Step::HalfClose,
                Step::End,
            ])
            .acts([
                Act::Send(
                    b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n".to_vec(),
                ),
                Act::Eof,
            ])
            .want(Want::status(101).any("set-cookie")),
        Case::new("no-cookie-without-stickiness")
            .send(get("Cookie: SERVERID=zz\r\n"))
            .want(Want::status(200).lacks("set-cookie"))
            .saw(Saw::line("GET /x").has("cookie", "SERVERID=zz")),
    ]
}

/// The client's cookie is that of its last answer: see `Step::SendCookie`.
fn kept() -> Vec<Case> {
    let again = |fields: &str| Step::SendCookie("SERVERID", get(fields));
    vec![
        sticky("cookie-sticks")
            .send(get(""))
            .steps([Step::Answer])
            .steps((0..5).flat_map(|_| [again("Cookie: {}\r\n"), Step::Answer]))
            .want(Want::status(200).any("set-cookie"))
            .want(Want::status(200).lacks("set-cookie"))
            .want(Want::status(200).lacks("set-cookie"))
            .want(Want::status(200).lacks("set-cookie"))
            .want(Want::status(200).lacks("set-cookie"))
            .want(Want::status(200).lacks("set-cookie"))
            .spread(false),
        sticky("cookie-sticks-and-is-hidden")
            .send(get(""))
            .steps([Step::Answer, again("Cookie: a=1; {}; b=2\r\n")])
            .status(&[200])
            .want(Want::status(200).lacks("set-cookie"))
            .saw(Saw::line("GET /x"))
            .saw(Saw::line("GET /x").has("cookie", "a=1; b=2"))
            .spread(false),
        sticky("cookie-in-second-line-sticks")
            .send(get(""))
            .steps([Step::Answer])
            .steps((0..3).flat_map(|_| [again("Cookie: a=1\r\nCookie: {}\r\n"), Step::Answer]))
            .status(&[200])
            .status(&[200])
            .status(&[200])
            .status(&[200])
            .spread(false),
        sticky("cookie-after-an-unknown-one-sticks")
            .send(get(""))
            .steps([Step::Answer])
            .steps((0..3).flat_map(|_| [again("Cookie: SERVERID=zz; {}\r\n"), Step::Answer]))
            .status(&[200])
            .status(&[200])
            .status(&[200])
            .status(&[200])
            .spread(false),
        sticky("cookie-valid-leaves-caching-alone")
            .send(get(""))
            .steps([Step::Answer, again("Cookie: {}\r\n")])
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
            ])
            .acts([
                Act::Body,
                Act::Send(
                    b"HTTP/1.1 200 OK\r\nCache-Control: public\r\nContent-Length: 0\r\n\r\n"
                        .to_vec(),
                ),
            ])
            .status(&[200])
            .want(
                Want::status(200)
                    .has("cache-control", "public")
                    .lacks("set-cookie"),
            ),
        sticky("cookie-valid-and-server-sets-it")
            .send(get(""))
            .steps([Step::Answer, again("Cookie: {}\r\n")])
            .acts([
                Act::Body,
                Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
            ])
            .acts([
                Act::Body,
                Act::Send(
                    b"HTTP/1.1 200 OK\r\nSet-Cookie: SERVERID=bogus\r\nContent-Length: 0\r\n\r\n"
                        .to_vec(),
                ),
            ])
            .status(&[200])
            .want(Want::status(200).lacks("set-cookie")),
        sticky("without-cookies-both-servers")
            .steps((0..4).flat_map(|_| [Step::Send(get("")), Step::Answer]))
            .spread(true),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let own = |list: Vec<Case>| list.into_iter().map(Case::own).collect::<Vec<_>>();
    let mut all = section(
        "cookie insert indirect nocache",
        own(no_cookie_or_unknown()),
    );
    all.extend(section("cookie insert indirect nocache", own(cut())));
    all.extend(section("cookie insert indirect nocache", own(answers())));
    all.extend(section("cookie insert indirect nocache", own(kept())));
    all
}
