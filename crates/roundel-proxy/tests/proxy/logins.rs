//! Logins that belong to a connection (NTLM, Negotiate): never another client's, never torn apart.

use std::net::SocketAddr;

use http::Request;
use roundel_model::ServerState;
use roundel_proxy::{ProxyVersion, Reuse, SendProxy, Sticky};

use crate::stage::*;

/// A server that knows who logged each connection in, in two steps, and tells with every answer:
/// `name connection user`. A connection that ends is told to the test as `END`.
fn server(name: &'static str) -> Server {
    scripted(name, |_| true)
}

/// As [`server`]; ends the connection instead of answering a head for which `answers` says no.
fn scripted(name: &'static str, answers: impl Fn(&str) -> bool + Send + Sync + 'static) -> Server {
    Server::new(move |number, peer| {
        let (mut asked, mut user) = (false, None::<String>);
        while let Some((head, _)) = peer.request() {
            if !answers(&head) {
                return;
            }
            let (scheme, step) = field(&head, "authorization")
                .or(field(&head, "proxy-authorization"))
                .and_then(|value| value.split_once(' '))
                .unwrap_or_default();
            let is_login = ["ntlm", "negotiate"].contains(&&*scheme.to_lowercase());
            let mut challenge = "NTLM";
            match step.split_once('-') {
                _ if !is_login => {}
                None if step == "one" => (asked, challenge) = (true, "NTLM go-on"),
                Some(("two", who)) if asked => user = Some(who.to_owned()),
                _ => {}
            }
            let who = user.as_deref().unwrap_or("nobody");
            let body = format!("{name} {number} {who}");
            let length = body.len();
            let start = match user {
                Some(_) => "HTTP/1.1 200 OK".to_owned(),
                None => format!(
                    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\", {challenge}"
                ),
            };
            let answer = format!("{start}\r\nContent-Length: {length}\r\n\r\n{body}");
            peer.client.send(answer);
        }
        peer.told("END");
    })
}

fn get(credentials: &str) -> String {
    match credentials {
        "" => GET.to_owned(),
        _ => format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials}\r\n\r\n"),
    }
}

fn ask(client: &mut Client, credentials: &str) -> String {
    client.send(get(credentials));
    let (head, body) = client.read_answer();
    format!("{} {body}", &head[9..12])
}

/// Logs in and gives the server's name and the number of the connection to it.
fn log_in(client: &mut Client, who: &str) -> String {
    let asked = ask(client, "NTLM one");
    let place = asked
        .strip_prefix("401 ")
        .and_then(|rest| rest.strip_suffix(" nobody"));
    let place = place.unwrap_or_else(|| panic!("{asked}")).to_owned();
    let told = ask(client, &format!("NTLM two-{who}"));
    assert_eq!(told, format!("200 {place} {who}"));
    place
}

fn servers() -> ([Server; 3], Vec<SocketAddr>) {
    let servers = ["a", "b", "c"].map(server);
    let addresses = servers.iter().map(|s| s.address).collect();
    (servers, addresses)
}

#[test]
fn a_login_serves_the_client_that_made_it_and_nobody_else() {
    let (_servers, addresses) = servers();
    let stage = Stage::with_threads(4, &addresses, |_| {}, |_| {});
    let mut clients: Vec<_> = (0..12).map(|_| stage.client()).collect();
    // Connections that nobody has logged in are anybody's, until somebody does.
    for client in &mut clients {
        assert!(ask(client, "").starts_with("401 "));
    }
    let mut places = Vec::new();
    for (n, client) in clients.iter_mut().enumerate() {
        places.push(log_in(client, &format!("user{n}")));
    }
    let mut distinct = places.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), places.len(), "{places:?}");
    for _ in 0..3 {
        let strangers = stage.once(GET_CLOSE);
        assert!(strangers.starts_with("HTTP/1.1 401 "), "{strangers}");
        for (n, client) in clients.iter_mut().enumerate() {
            let told = ask(client, "");
            assert_eq!(told, format!("200 {} user{n}", places[n]));
        }
    }
    // What was logged in ends with its client; a stranger finds nothing of it.
    clients.clear();
    for _ in 0..20 {
        let stranger = stage.once(GET_CLOSE);
        assert!(stranger.starts_with("HTTP/1.1 401 "), "{stranger}");
    }
}

#[test]
fn every_way_of_asking_and_answering_makes_a_connection_private() {
    // The server answers whatever comes with these lines; the next client must not meet the same
    // connection.
    let check = |request: &'static str, answer: &'static str, private: bool| {
        let server = Server::new(move |number, peer| {
            while peer.request().is_some() {
                let body = number.to_string();
                let length = body.len();
                let text = format!("HTTP/1.1 {answer}\r\nContent-Length: {length}\r\n\r\n{body}");
                peer.client.send(text);
            }
        });
        let stage = Stage::with(
            &[server.address],
            |backend| backend.reuse = Reuse::Always,
            |_| {},
        );
        let (mut one, mut other) = (stage.client(), stage.client());
        one.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{request}\r\n"));
        assert_eq!(one.read_answer().1, "0");
        other.send(GET);
        let expected = if private { "1" } else { "0" };
        assert_eq!(other.read_answer().1, expected, "{request}{answer}");
        // The one that caused it stays with its connection.
        one.send(GET);
        assert_eq!(one.read_answer().1, "0", "{request}{answer}");
    };
    check("", "401 No\r\nWWW-Authenticate: NTLM", true);
    check("", "401 No\r\nwww-authenticate: nEGOTIATE YII=", true);
    check("", "407 No\r\nProxy-Authenticate: Basic, Negotiate", true);
    let two = "401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: NTLM";
    check("", two, true);
    check("Authorization: NTLM x\r\n", "200 OK", true);
    check("aUTHORIZATION: negotiate x\r\n", "200 OK", true);
    check("Proxy-Authorization: Negotiate x\r\n", "200 OK", true);
    check("Authorization: Basic x\r\n", "200 OK", false);
    check(
        "",
        "401 No\r\nWWW-Authenticate: Basic realm=\"NTLM\"",
        false,
    );
    check("", "200 OK\r\nWWW-Authenticate: NTLM", false);
}

#[test]
fn pipelined_steps_meet_one_connection() {
    let (_servers, addresses) = servers();
    let stage = Stage::new(&addresses);
    let mut client = stage.client();
    let all = [get("NTLM one"), get("NTLM two-eve"), get(""), get("")].concat();
    client.send(all);
    let bodies: Vec<String> = (0..4).map(|_| client.read_answer().1).collect();
    assert_eq!(bodies, ["a 0 nobody", "a 0 eve", "a 0 eve", "a 0 eve"]);
}

#[test]
fn it_ends_with_its_client() {
    let server = server("a");
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    log_in(&mut client, "eve");
    drop(client);
    while server.head() != "END" {}
}

#[test]
fn the_client_ends_with_it() {
    // The server ends a connection at rest.
    let server = Server::new(|_, peer| {
        peer.request();
        peer.client
            .send("HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n");
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    assert_eq!(ask(&mut client, ""), "401 ");
    assert_eq!(client.read_to_end(), "");
    // It says that it will.
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let server = Server::always(closing);
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    client.send(get("NTLM one"));
    let head = client.read_head();
    assert_eq!(field(&head, "connection"), Some("close"), "{head}");
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn a_step_is_never_repeated_on_another_connection() {
    // The server ends the connection at the second step: a repetition would be refused, and the
    // client take that for a wrong password.
    let fails = |head: &str| !head.contains("two-");
    let all = ["a", "b"].map(|name| scripted(name, fails));
    let stage = Stage::new(&[all[0].address, all[1].address]);
    let mut client = stage.client();
    assert_eq!(ask(&mut client, "NTLM one"), "401 a 0 nobody");
    client.send(get("NTLM two-eve"));
    assert_eq!(client.read_to_end(), "");
    assert_eq!(all[0].heads.try_iter().count(), 2);
    assert_eq!(all[1].heads.try_iter().count(), 0);
    let line = stage.log_line(1);
    assert!(line.contains("\"term\":\"server_abort\""), "{line}");
}

#[test]
fn a_first_step_on_a_stale_connection_is_repeated() {
    // The first connection is closed by the server right after its first answer.
    let server = Server::new(|number, peer| {
        while peer.request().is_some() {
            let body = number.to_string();
            peer.client.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{body}"
            ));
            if number == 0 {
                peer.request();
                return;
            }
        }
    });
    let stage = Stage::new(&[server.address]);
    let mut client = stage.client();
    assert_eq!(ask(&mut client, ""), "200 0");
    assert_eq!(ask(&mut client, "NTLM one"), "200 1");
}

#[test]
fn weights_cookies_and_proxy_headers_do_not_part_a_login() {
    let (_servers, addresses) = servers();
    let sticky = |backend: &mut roundel_proxy::Backend| backend.sticky = Some(Sticky::new("SRV"));
    let proxied = |backend: &mut roundel_proxy::Backend| {
        backend.send_proxy = SendProxy {
            all: Some(ProxyVersion::V1),
            ..SendProxy::default()
        };
    };
    for stage in [
        Stage::with(&addresses, sticky, |_| {}),
        Stage::with(&addresses, |_| {}, |_| {}),
    ] {
        let (mut one, mut two) = (stage.client(), stage.client());
        let places = [log_in(&mut one, "eve"), log_in(&mut two, "joe")];
        // The policy's turn goes on meanwhile.
        for _ in 0..5 {
            stage.once(GET_CLOSE);
            assert_eq!(ask(&mut one, ""), format!("200 {} eve", places[0]));
            assert_eq!(ask(&mut two, ""), format!("200 {} joe", places[1]));
        }
    }
    let header = Server::new(|_, peer| {
        let line = peer.client.read_until("\r\n");
        assert!(line.starts_with("PROXY TCP4 "), "{line}");
        while peer.request().is_some() {
            peer.client.send(HELLO);
        }
    });
    let stage = Stage::with(&[header.address], proxied, |_| {});
    let mut client = stage.client();
    for credentials in ["NTLM one", "NTLM two-eve", ""] {
        assert_eq!(ask(&mut client, credentials), "200 hello");
    }
}

#[test]
fn a_server_that_drains_keeps_its_logins_and_one_in_maintenance_ends_them() {
    let (_servers, addresses) = servers();
    let mut stage = Stage::new(&addresses);
    let mut client = stage.client();
    assert_eq!(ask(&mut client, "NTLM one"), "401 a 0 nobody");
    let states = |stage: &Stage, first| {
        let mut states = vec![ServerState::Up; 3];
        states[0] = first;
        publish_each(&stage.balancer, &addresses, &states);
    };
    states(&stage, ServerState::Draining);
    assert_eq!(ask(&mut client, "NTLM two-eve"), "200 a 0 eve");
    assert_eq!(ask(&mut client, ""), "200 a 0 eve");
    assert!(!stage.once(GET_CLOSE).contains("\r\n\r\na "));
    states(&stage, ServerState::Maint);
    assert_eq!(client.read_to_end(), "");
    assert!(stage.evidence.try_recv().is_err());
    // In the middle of a login: the client begins again, elsewhere.
    states(&stage, ServerState::Up);
    let mut client = stage.client();
    while !ask(&mut client, "NTLM one").starts_with("401 a ") {
        client = stage.client();
    }
    states(&stage, ServerState::Maint);
    client.send(get("NTLM two-eve"));
    let (told, _) = client.read_to_any_end();
    assert_eq!(told, "");
}

#[test]
fn over_http2_such_a_login_is_sent_to_http1() {
    let server = Server::new(|number, peer| {
        while peer.request().is_some() {
            peer.client.send(format!(
                "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic, Negotiate\r\nContent-Length: 1\r\n\r\n{number}"
            ));
        }
    });
    let stage = Stage::new(&[server.address]);
    crate::http2::talk(&stage, |mut client| async move {
        // The offer passes, for the client may choose another scheme; each on a connection of
        // its own.
        for expected in ["0", "1"] {
            let request = Request::get("http://a/").body(()).unwrap();
            let (response, _) = client.send_request(request, true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), 401);
            assert_eq!(crate::http2::collect(response).await.unwrap().0, expected);
        }
        let request = Request::get("http://a/")
            .header("authorization", "Negotiate YII=")
            .body(())
            .unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let error = response.await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::HTTP_1_1_REQUIRED));
        // The connection goes on.
        let request = Request::get("http://a/").body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        assert_eq!(response.await.unwrap().status(), 401);
    });
    let line = stage.log_line_of("http_1_1_required");
    assert!(line.contains("\"method\":\"GET\""), "{line}");
    assert_eq!(server.heads.try_iter().count(), 3);
}
