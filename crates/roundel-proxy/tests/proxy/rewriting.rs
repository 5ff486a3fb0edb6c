//! Header rules and the sticky cookie, as servers and clients see them.

use roundel_model::ServerState;
use roundel_proxy::Sticky;

use crate::stage::*;

fn sticky_stage(servers: &[&Server]) -> Stage {
    let addresses: Vec<_> = servers.iter().map(|s| s.address).collect();
    Stage::with(
        &addresses,
        |b| b.sticky = Some(Sticky::new("SERVERID")),
        |_| {},
    )
}

fn get_with(cookie: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n")
}

#[test]
fn forwarding_fields_tell_the_connection_not_the_client() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    stage.once(
        "GET /x?y HTTP/1.1\r\nHost: example.org:81\r\nX-Forwarded-For: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 9.9.9.9\r\n\
         Forwarded: for=1.2.3.4\r\nConnection: close, X-Secret, Host, X-Forwarded-For\r\nX-Secret: 1\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nX-Kept: 1\r\n\r\n",
    );
    let head = server.head();
    assert!(
        head.starts_with("GET /x?y HTTP/1.1\r\nHost: example.org:81\r\n"),
        "{head}"
    );
    let all = |name: &str| {
        let lines = head.lines().filter_map(|l| l.split_once(": "));
        let mine = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        mine.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(all("x-forwarded-proto"), ["http"]);
    assert_eq!(all("x-forwarded-host"), ["example.org:81"]);
    assert_eq!(all("x-forwarded-port"), [stage.address.port().to_string()]);
    assert_eq!(all("x-real-ip"), ["127.0.0.1"]);
    let via = all("via");
    assert!(
        via.len() == 1 && via[0].starts_with("1.1 roundel-"),
        "{via:?}"
    );
    assert_eq!(all("x-kept"), ["1"]);
    for gone in [
        "forwarded",
        "x-secret",
        "keep-alive",
        "proxy-connection",
        "connection",
    ] {
        assert!(all(gone).is_empty(), "{gone}: {head}");
    }
}

#[test]
fn a_trusted_proxys_words_are_kept_and_extended() {
    let server = Server::always(HELLO);
    let stage = Stage::with(
        &[server.address],
        |_| {},
        |f| f.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()],
    );
    stage.once(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
         Via: 2.0 edge\r\nConnection: close\r\n\r\n",
    );
    let head = server.head();
    assert_eq!(field(&head, "x-forwarded-for"), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!(field(&head, "x-forwarded-proto"), Some("https"));
    assert_eq!(field(&head, "x-forwarded-host"), Some("a"));
    assert!(
        head.contains("Via: 2.0 edge\r\n") && head.contains("Via: 1.1 roundel-"),
        "{head}"
    );
}

#[test]
fn absolute_targets_become_origin_form() {
    let server = Server::always(HELLO);
    let stage = Stage::new(&[server.address]);
    stage.once(
        "GET http://example.org/p?q HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n",
    );
    assert!(
        server
            .head()
            .starts_with("GET /p?q HTTP/1.1\r\nHost: example.org\r\n")
    );
    stage.once("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\nConnection: close\r\n\r\n");
    let head = server.head();
    assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "max-forwards"), Some("2"));
}

#[test]
fn a_cookie_keeps_the_client_on_its_server() {
    let (one, two) = (Server::always(HELLO), Server::always(HELLO));
    let stage = sticky_stage(&[&one, &two]);
    let mut client = stage.client();
    client.send(GET);
    let (head, _) = client.read_answer();
    let set = field(&head, "set-cookie").unwrap();
    let (pair, rest) = set.split_once("; ").unwrap();
    assert_eq!(rest, "path=/; HttpOnly; SameSite=Lax");
    assert_eq!(field(&head, "cache-control"), Some("private"));
    one.head();
    for _ in 0..4 {
        client.send(get_with(&format!("a=1; {pair}; b=2")));
        let (head, _) = client.read_answer();
        assert!(!has_field(&head, "set-cookie"), "{head}");
        assert!(!has_field(&head, "cache-control"), "{head}");
        assert_eq!(field(&one.head(), "cookie"), Some("a=1; b=2"));
    }
    // The cookie is the only pair, and stands in a second line.
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: c=3\r\nCookie: {pair}; {pair}\r\n\r\n"
    ));
    client.read_answer();
    let seen = one.head();
    assert_eq!(seen.matches("ookie").count(), 1, "{seen}");
    assert!(two.heads.try_recv().is_err());
    assert!(stage.log_line(0).contains("\"term_ha\":\"--NI\""));
    assert!(stage.log_line(1).contains("\"sticky\":\"valid\""));
}

#[test]
fn unknown_cookies_are_renewed() {
    let server = Server::always(HELLO);
    let stage = sticky_stage(&[&server]);
    let mut client = stage.client();
    for value in ["zzz", "", "\"s1\"", "s1"] {
        client.send(get_with(&format!("SERVERID={value}")));
        let (head, _) = client.read_answer();
        assert!(has_field(&head, "set-cookie"), "{value}: {head}");
        assert!(!has_field(&server.head(), "cookie"));
    }
    client.send(get_with("serverid=x"));
    client.read_answer();
    assert_eq!(field(&server.head(), "cookie"), Some("serverid=x"));
}

#[test]
fn a_cookie_of_a_server_that_is_gone_leads_elsewhere_and_is_renewed() {
    let (one, two) = (Server::always(HELLO), Server::always(HELLO));
    let stage = sticky_stage(&[&one, &two]);
    let cookie = stage.balancer.load().cookie_value(0).to_owned();
    let other = stage.balancer.load().cookie_value(1).to_owned();
    let mut client = stage.client();
    let mut ask = || {
        client.send(get_with(&format!("SERVERID={cookie}")));
        client.read_answer().0
    };
    assert!(!has_field(&ask(), "set-cookie"));
    publish_states(
        &stage,
        &[&one, &two],
        [ServerState::Draining, ServerState::Up],
    );
    assert!(!has_field(&ask(), "set-cookie"));
    for state in [ServerState::Down, ServerState::Leaving, ServerState::Maint] {
        publish_states(&stage, &[&one, &two], [state, ServerState::Up]);
        let head = ask();
        let set = field(&head, "set-cookie").unwrap();
        assert!(set.starts_with(&format!("SERVERID={other};")), "{set}");
    }
    assert_eq!(one.heads.try_iter().count(), 2);
}

fn publish_states(stage: &Stage, servers: &[&Server; 2], states: [ServerState; 2]) {
    let placements = (0..2).map(|i| roundel_balance::Placement {
        live: stage.balancer.live(&name(&format!("s{}", i + 1))),
        address: servers[i].address,
        weight: roundel_balance::Placement::WEIGHT_UNIT,
        backup: false,
        state: states[i],
    });
    stage.balancer.publish(placements.collect());
}

#[test]
fn a_refused_sticky_server_is_left_at_once_and_the_cookie_renewed() {
    let two = Server::always(HELLO);
    let stage = Stage::with(
        &[refusing(), two.address],
        |b| b.sticky = Some(Sticky::new("SERVERID")),
        |_| {},
    );
    let cookie = stage.balancer.load().cookie_value(0).to_owned();
    let mut client = stage.client();
    client.send(get_with(&format!("SERVERID={cookie}")));
    let (head, body) = client.read_answer();
    assert_eq!(body, "hello");
    assert!(has_field(&head, "set-cookie"), "{head}");
    let line = stage.log_line(0);
    assert!(line.contains("\"redispatched\":true"), "{line}");
    assert!(line.contains("\"server\":\"s2\""), "{line}");
}

#[test]
fn a_servers_own_cookie_of_that_name_is_removed_and_caching_made_private() {
    let check = |cache: &str, expected: &str| {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: SERVERID=bogus; path=/\r\nSet-Cookie: app=1\r\n{cache}\
             Content-Length: 0\r\n\r\n"
        );
        let server = Server::always(answer.leak());
        let stage = sticky_stage(&[&server]);
        let mut client = stage.client();
        client.send(GET);
        let head = client.read_head();
        assert!(
            !head.contains("bogus") && head.contains("Set-Cookie: app=1"),
            "{head}"
        );
        let all: Vec<_> = head
            .lines()
            .filter(|l| l.starts_with("Cache-Control"))
            .collect();
        assert_eq!(all, [format!("Cache-Control: {expected}")], "{cache}");
    };
    check("", "private");
    check(
        "Cache-Control: public, max-age=60\r\n",
        "private, max-age=60",
    );
    check(
        "Cache-Control: max-age=60, s-maxage=9\r\n",
        "private, max-age=60",
    );
    check("Cache-Control: no-store\r\n", "no-store");
    check(
        "Cache-Control: private, max-age=1\r\n",
        "private, max-age=1",
    );
    check("Cache-Control: public, no-store\r\n", "no-store");
}

#[test]
fn a_request_that_comes_back_is_answered_with_508() {
    let stage = Stage::new(&[]);
    publish(&stage.balancer, &[stage.address], ServerState::Up);
    let answer = stage.once("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 508 Loop Detected\r\n"),
        "{answer}"
    );
    let lines = [stage.log_line(0), stage.log_line(1)];
    let looped = |line: &&String| line.contains("\"loop\"");
    assert_eq!(lines.iter().filter(looped).count(), 1, "{lines:?}");
    // Another balancer's name is none of ours.
    let server = Server::always(HELLO);
    publish(&stage.balancer, &[server.address], ServerState::Up);
    let via = "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 roundel-0\r\nConnection: close\r\n\r\n";
    assert!(stage.once(via).starts_with("HTTP/1.1 200 "));
}
