use http::Request as HttpRequest;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::Config;
use crate::fixture::{self, Rig, rig};

/// bcrypt of "correct horse", argon2id of "battery staple".
const USERS: &str = "\
    # ops\nada:$2b$04$x5ooiZc16R7btg9MGFnPLuE4VOMjpkdQsYUy64Z31hZ7NENWAmueK\n\ngrace:$argon2id$v=19$m=64,t=1,p=1$tdh5bjrQLlW7zdFgfJHaNg$gaorOSdVPzpYCuByo7Mc+6P5/Jgrs585TGl1tC6soyQ\n";

const TOKEN: &str = "a-token-of-some-length";

fn token() -> Rig {
    let config = Config {
        read: Read::Token(TOKEN.to_owned()),
        acts: Acts::Token("the-token-for-all-acts".to_owned()),
        ..Config::default()
    };
    rig(config, fixture::calm(2, 2))
}

fn basic() -> Rig {
    let config = Config {
        read: Read::Basic(Users::parse(USERS).unwrap()),
        open_metrics: true,
        ..Config::default()
    };
    rig(config, fixture::calm(2, 2))
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

async fn send(rig: &Rig, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let mut request = HttpRequest::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::from(body.to_owned())).unwrap();
    let headers = request.headers_mut();
    headers.insert("host", HeaderValue::from_static("127.0.0.1:1936"));
    let peer = Peer("127.0.0.1:4000".parse().unwrap());
    request.extensions_mut().insert(peer);
    let (parts, body) = rig
        .admin
        .router()
        .oneshot(request)
        .await
        .unwrap()
        .into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.into()).unwrap(),
    }
}

async fn get(rig: &Rig, path: &str, fields: &[(&str, &str)]) -> Answer {
    send(rig, "GET", path, fields, "").await
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const HTML: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn password(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

#[tokio::test(start_paused = true)]
async fn every_view_is_behind_the_door_and_health_is_not() {
    let rig = token();
    for path in [
        "/",
        "/metrics",
        "/;csv",
        "/stats",
        "/events",
        "/api/v1/snapshot",
        "/nowhere",
        "/sd/prometheus",
    ] {
        let answer = get(&rig, path, &[]).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer realm=\"roundel\""
        );
        assert!(!answer.body.contains("pxname"), "{path}");
    }
    for path in ["/livez", "/readyz", "/healthz", "/ping"] {
        assert_ne!(get(&rig, path, &[]).await.status, 401, "{path}");
    }
    let act = send(&rig, "POST", "/", &[FORM], "s=a&b=b&action=drain").await;
    assert_eq!(act.status, 401);
    for secret in [TOKEN, "the-token-for-all-acts"] {
        let field = bearer(secret);
        let answer = get(&rig, "/metrics", &[("authorization", &field)]).await;
        assert_eq!(answer.status, 200, "{secret}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_browser_signs_in_and_out() {
    let rig = token();
    let page = get(&rig, "/?view=table", &[HTML]).await;
    assert_eq!(page.status, 401);
    assert_eq!(
        page.header("www-authenticate"),
        "",
        "browsers would ask themselves"
    );
    assert!(page.body.contains("name=\"token\""));
    assert!(page.body.contains("value=\"/?view=table\""));

    let wrong = send(&rig, "POST", "/login", &[FORM], "token=wrong&next=/").await;
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.header("set-cookie"), "");
    assert!(wrong.body.contains("That is not right."));

    let body = format!("token={TOKEN}&next=%2F%3Fview%3Dtable");
    let right = send(&rig, "POST", "/login", &[FORM], &body).await;
    assert_eq!(
        (right.status, right.header("location")),
        (303, "/?view=table")
    );
    let cookie = right.header("set-cookie");
    let (pair, rest) = cookie.split_once(';').unwrap();
    assert_eq!(rest, " Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
    let page = get(&rig, "/", &[HTML, ("cookie", pair)]).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Sign out"));
    assert_eq!(get(&rig, "/metrics", &[("cookie", pair)]).await.status, 200);

    let other = ("origin", "http://other.example");
    let out = send(&rig, "POST", "/logout", &[("cookie", pair), other], "").await;
    assert_ne!(out.status, 303, "another site ends no session");
    let out = send(&rig, "POST", "/logout", &[("cookie", pair)], "").await;
    assert_eq!(out.status, 303);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(get(&rig, "/", &[HTML, ("cookie", pair)]).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn the_form_leads_nowhere_else() {
    let rig = token();
    for next in [
        "//other.example",
        "https://other.example",
        "/\\other",
        "/%0d%0a",
        "",
        "/login",
    ] {
        let body = format!("token={TOKEN}&next={next}");
        let answer = send(&rig, "POST", "/login", &[FORM], &body).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/"),
            "{next}"
        );
    }
    let other = ("origin", "http://other.example");
    let body = format!("token={TOKEN}");
    let answer = send(&rig, "POST", "/login", &[FORM, other], &body).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (403, ""));
    let tls = ("x-forwarded-proto", "https");
    let answer = send(&rig, "POST", "/login", &[FORM, tls], &body).await;
    assert!(answer.header("set-cookie").ends_with("; Secure"));
}

#[tokio::test]
async fn names_and_passwords_open_it_too() {
    let rig = basic();
    assert_eq!(get(&rig, "/metrics", &[]).await.status, 200, "by an option");
    let answer = get(&rig, "/;csv", &[]).await;
    assert!(answer.header("www-authenticate").starts_with("Basic "));
    for (pair, status) in [
        ("ada:correct horse", 200),
        ("grace:battery staple", 200),
        ("ada:correct horse", 200),
        ("ada:battery staple", 401),
        ("nobody:correct horse", 401),
        ("ada:", 401),
    ] {
        let field = password(pair);
        let answer = get(&rig, "/;csv", &[("authorization", &field)]).await;
        assert_eq!(answer.status, status, "{pair}");
    }
    let page = get(&rig, "/", &[HTML]).await;
    assert!(page.body.contains("name=\"user\"") && page.body.contains("name=\"password\""));
    let body = "user=grace&password=battery+staple";
    assert_eq!(
        send(&rig, "POST", "/login", &[FORM], body).await.status,
        303
    );
}

#[tokio::test(start_paused = true)]
async fn who_guesses_on_is_not_listened_to() {
    let rig = token();
    let ask = async |token: &str| {
        let field = bearer(token);
        get(&rig, "/metrics", &[("authorization", &field)]).await
    };
    for _ in 0..10 {
        assert_eq!(ask("wrong").await.status, 401);
    }
    let right = ask(TOKEN).await;
    assert_eq!((right.status, right.header("retry-after")), (429, "60"));
    let form = send(&rig, "POST", "/login", &[FORM], &format!("token={TOKEN}")).await;
    assert_eq!(form.status, 429);
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    assert_eq!(ask(TOKEN).await.status, 200);
}

#[test]
fn a_file_of_users_is_read_or_its_line_is_named() {
    assert_eq!(Users::parse(USERS).unwrap().len(), 2);
    let hash = USERS.lines().nth(1).unwrap();
    let twice = format!("{hash}\n{hash}\n");
    for (text, error) in [
        ("", "it names nobody"),
        ("# only words\n", "it names nobody"),
        ("ada", "line 1 is not NAME:HASH"),
        (":x", "line 1 is not NAME:HASH"),
        (&twice, "line 2 names somebody who is named before"),
        (
            "\nada:secret",
            "line 2: neither bcrypt nor argon2; make one by `htpasswd -nB NAME`",
        ),
        ("ada:$2y$05$short", "line 1: not a bcrypt hash"),
        ("ada:$argon2id$x", "line 1: not an argon2 hash"),
    ] {
        let found = Users::parse(text).map(|users| users.len()).unwrap_err();
        assert_eq!(found.to_string(), error, "{text:?}");
    }
}
