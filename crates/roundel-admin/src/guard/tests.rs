use super::*;
use crate::Config;

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in list {
        map.append(*name, value.parse().unwrap());
    }
    map
}

fn ask(acts: Acts, peer: &str, list: &[(&'static str, &str)]) -> Result<Principal, Refusal> {
    let config = Config {
        acts,
        hosts: vec!["lb.example.org".into()],
        ..Config::default()
    };
    let peer = Some(Peer(peer.parse().unwrap()));
    judge(&config, &headers(list), peer, None)
}

const NEAR: &str = "127.0.0.1:5000";
const FAR: &str = "192.0.2.9:5000";
const HOST: (&str, &str) = ("host", "127.0.0.1:1936");

#[test]
fn off_refuses_everyone_with_405() {
    let refusal = ask(Acts::Off, NEAR, &[HOST]).unwrap_err();
    assert_eq!(refusal, Refusal::Off);
    assert_eq!(refusal.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn loopback_lets_only_the_machine_itself_through() {
    assert!(ask(Acts::Loopback, NEAR, &[HOST]).is_ok());
    assert!(ask(Acts::Loopback, "[::ffff:127.0.0.1]:1", &[HOST]).is_ok());
    assert_eq!(ask(Acts::Loopback, FAR, &[HOST]), Err(Refusal::NotLoopback));
}

#[test]
fn a_token_is_needed_and_must_be_right() {
    let token = || Acts::Token("s3cret".into());
    assert_eq!(ask(token(), NEAR, &[HOST]), Err(Refusal::Token));
    let wrong = ("authorization", "Bearer s3creT");
    assert_eq!(ask(token(), NEAR, &[HOST, wrong]), Err(Refusal::Token));
    let right = ("authorization", "bearer s3cret");
    assert!(ask(token(), FAR, &[HOST, right]).is_ok());
    let empty = ("authorization", "Bearer ");
    assert_eq!(
        ask(Acts::Token(String::new()), NEAR, &[HOST, empty]),
        Err(Refusal::Token)
    );
}

#[test]
fn other_sites_pages_are_refused() {
    let refused = [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1937"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ];
    for header in refused {
        let answer = ask(Acts::Loopback, NEAR, &[HOST, header]);
        assert_eq!(answer, Err(Refusal::CrossSite), "{header:?}");
    }
    for header in [
        ("origin", "http://127.0.0.1:1936"),
        ("sec-fetch-site", "same-origin"),
    ] {
        assert!(
            ask(Acts::Loopback, NEAR, &[HOST, header]).is_ok(),
            "{header:?}"
        );
    }
}

#[test]
fn an_unnamed_origin_needs_a_browser_that_vouches_for_it() {
    let null = ("origin", "null");
    for (site, fits) in [
        ("same-origin", true),
        ("none", false),
        ("same-site", false),
        ("cross-site", false),
        ("", false),
    ] {
        let answer = ask(
            Acts::Loopback,
            NEAR,
            &[HOST, null, ("sec-fetch-site", site)],
        );
        assert_eq!(answer.is_ok(), fits, "{site:?}");
    }
    let twice = [
        HOST,
        null,
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert!(ask(Acts::Loopback, NEAR, &twice).is_err());
}

#[test]
fn a_rebound_name_is_refused() {
    for host in [
        "evil.example:1936",
        "evil.example",
        "127.0.0.1.evil.example",
        "",
        "[::1",
    ] {
        let answer = ask(Acts::Loopback, NEAR, &[("host", host)]);
        assert_eq!(answer, Err(Refusal::Host), "{host:?}");
    }
    for host in [
        "localhost:1936",
        "app.localhost",
        "[::1]:1936",
        "lb:1936",
        "LB.example.org",
    ] {
        assert!(
            ask(Acts::Loopback, NEAR, &[("host", host)]).is_ok(),
            "{host:?}"
        );
    }
}
