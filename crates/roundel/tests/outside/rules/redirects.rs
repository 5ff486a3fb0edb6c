//! Routes that send clients elsewhere.

use roundel_testkit::{Connection, get};

use super::stage::{BOTH, Setting};

const ROUTES: &str = r#"
trusted_proxies = ["127.0.0.0/8"]
response_headers = { set = { X-From = "front" } }
route = [
    { path_prefix = "/old", redirect = { path_prefix = "/new", status = 301 } },
    { path_prefix = "/form", redirect = { path = "/thanks", status = 303 } },
    { host = "shop.example", redirect = { host = "www.shop.example", status = 308 } },
    { path_prefix = "/secure", redirect = { scheme = "https", port = 8443, status = 307 } },
    { redirect = { scheme = "https" } },
]
"#;

#[test]
fn clients_are_sent_on_with_their_query() {
    let setting = Setting::start(ROUTES, "", &[]);
    let check = |path: &str, status: u16, location: &str| {
        for http in BOTH {
            let answer = setting.get(http, path, &[]);
            assert_eq!(answer.status, status, "{http:?} {path}");
            assert_eq!(answer.header("location"), Some(location), "{http:?} {path}");
            assert_eq!(answer.header("x-from"), Some("front"));
            assert!(answer.text().contains("another address"), "{answer:?}");
            let kept = matches!(status, 301 | 308);
            assert_eq!(
                answer.header("cache-control"),
                (!kept).then_some("no-store")
            );
        }
    };
    check("/old/a?b=c&d", 301, "/new/a?b=c&d");
    check("/old//evil.example/", 301, "/new//evil.example/");
    check("/form?x=1", 303, "/thanks?x=1");
    check("/secure/x", 307, "https://a.example:8443/secure/x");
    check(
        "/?q=%0d%0aSet-Cookie:%20a=b",
        302,
        "https://a.example/?q=%0d%0aSet-Cookie:%20a=b",
    );
    assert_eq!(setting.served(), 0);
    assert_eq!(setting.log("redirected", 301)["term_ha"], "LR--");
    let metrics = get(setting.balancer.stats, "/metrics").unwrap().text();
    assert!(metrics.contains("roundel_frontend_requests_denied_total{frontend=\"front\"} 0"));
}

#[test]
fn whoever_is_there_already_is_served() {
    let setting = Setting::start(ROUTES, "", &[]);
    for http in BOTH {
        let answer = setting.get(http, "/", &[("X-Forwarded-Proto", "https")]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "served"));
        let answer = setting.get(http, "/", &[("Forwarded", "for=192.0.2.1;proto=https")]);
        assert_eq!(answer.status, 200);
    }
    let untrusted = Setting::start(&ROUTES.replace("127.0.0.0/8", "10.0.0.0/8"), "", &[]);
    let answer = untrusted.get(BOTH[0], "/", &[("X-Forwarded-Proto", "https")]);
    assert_eq!(
        answer.status, 302,
        "a client cannot say that it came by HTTPS"
    );
}

#[test]
fn methods_hosts_and_connections() {
    let setting = Setting::start(ROUTES, "", &[]);
    let mut connection = Connection::open(setting.balancer.front).unwrap();
    let mut ask = |method: &str, path: &str, host: &str, body: &[u8]| {
        let answer = connection
            .send(method, path, &[("Host", host)], body)
            .unwrap();
        assert!(connection.is_open(), "{method} {path}");
        (answer.status, answer.header("location").unwrap().to_owned())
    };
    let www = "http://www.shop.example/p".to_owned();
    assert_eq!(ask("GET", "/p", "shop.example", b""), (308, www.clone()));
    assert_eq!(
        ask("POST", "/p", "Shop.Example", b"a=b"),
        (308, www.clone())
    );
    assert_eq!(ask("HEAD", "/p", "shop.example", b""), (308, www));
    let evil = "https://evil.example/".to_owned();
    assert_eq!(ask("GET", "/", "evil.example:81", b""), (302, evil));
    // Nothing that could break out of Location is a Host.
    for host in ["a\"b", "a b", "a/b", "a@b", "a\\b"] {
        let mut connection = Connection::open(setting.balancer.front).unwrap();
        let answer = connection.send("GET", "/", &[("Host", host)], b"").unwrap();
        assert_eq!(answer.status, 400, "{host}");
    }
    assert_eq!(setting.served(), 0);
}
