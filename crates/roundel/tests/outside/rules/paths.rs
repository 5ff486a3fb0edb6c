//! Routes meet what is meant, in whatever spelling a client asks for it.

use roundel_testkit::{Connection, Response};

use super::stage::{BOTH, Http, Setting, ask2};

/// One request, then none for the length of a test.
const ONCE: &str = "rate_limit = { requests = 1, per = \"1h\", burst = 1 }";

#[test]
fn a_limit_meets_every_spelling_of_its_path() {
    let spellings = [
        "/login",
        "/%6cogin",
        "/%6Cog%69n?a=b",
        "/./login",
        "/%2e/login/",
        "/x/../login/y",
        "/x/%2E%2e/login",
        "/../login",
    ];
    for http in BOTH {
        let route =
            format!("route = [{{ path_prefix = \"/login\", backend = \"nodes\", {ONCE} }}]");
        let setting = Setting::start(&route, "", &[]);
        // The server gets the bytes as they came.
        assert_eq!(setting.get(http, "/x/../%6cogin?%61", &[]).status, 200);
        assert_eq!(setting.last().unwrap().target, "/x/../%6cogin?%61");
        for path in spellings {
            assert_eq!(setting.get(http, path, &[]).status, 429, "{http:?} {path}");
        }
        for path in [
            "/login2",
            "/%256cogin",
            "/login/../x",
            "/x%2Flogin",
            "//login",
            "/login;x",
        ] {
            assert_eq!(setting.get(http, path, &[]).status, 200, "{http:?} {path}");
        }
    }
}

#[test]
fn strict_paths_are_read_alike_by_every_server() {
    let setting = Setting::start("strict_paths = true", "", &[]);
    let check = |http: Http, path: &str, status: u16, word: &str| {
        let answer = setting.get(http, path, &[]);
        assert_eq!(answer.status, status, "{http:?} {path}");
        assert!(answer.text().contains(word), "{http:?} {path} {answer:?}");
    };
    for http in BOTH {
        check(http, "//login", 400, "empty segment");
        check(http, "/login;x", 400, "semicolon");
        check(http, "/x%2flogin", 400, "slash");
        check(http, "/x%5Clogin", 400, "backslash");
        check(http, "/x/../login", 400, "dots");
        check(http, "/%252flogin", 400, "twice");
        check(http, "/caf%C3%A9/a.b?c=//;..%2f", 200, "served");
    }
    let line = setting.log("bad_request", 400);
    assert_eq!(line["term_ha"], "PR--", "{line}");
}

#[test]
fn hosts_are_compared_in_one_form() {
    let route =
        |host: &str, n: u32| format!("{{ host = \"{host}\", redirect = {{ path = \"/{n}\" }} }}");
    let hosts = [
        "api.test.",
        "[0:0::1]",
        "*.Bücher.example",
        "[::ffff:10.0.0.5]",
    ];
    let routes: Vec<String> = (1..).zip(hosts).map(|(n, host)| route(host, n)).collect();
    let paths = "{ path_prefix = \"/é\", redirect = { path = \"/5\" } }";
    let key = format!("route = [{}, {paths}]", routes.join(", "));
    let setting = Setting::start(&key, "", &[]);
    let told = |answer: &Response| answer.header("location").unwrap_or("none").to_owned();
    let check = |host: &str, expected: &str| {
        let mut connection = Connection::open(setting.balancer.front).unwrap();
        let answer = connection.send("GET", "/", &[("Host", host)], b"").unwrap();
        assert_eq!(told(&answer), expected, "{host}");
    };
    check("API.test:8080", "/1");
    check("api.test.", "/1");
    check("%61pi.test", "/1");
    check("[::1]:21250", "/2");
    check("a.xn--BCHER-kva.example", "/3");
    check("xn--bcher-kva.example", "none");
    check("10.0.0.5:80", "/4");
    check("[::ffff:a00:5]", "/4");
    for path in ["/%c3%A9/x", "/%C3%A9"] {
        for http in BOTH {
            assert_eq!(told(&setting.get(http, path, &[])), "/5", "{http:?} {path}");
        }
    }
    // HTTP/2's :authority is a.example, a Host that says the same in other letters is fine.
    let answer = ask2(
        setting.balancer.front,
        "GET",
        "/",
        &[("host", "A.example")],
        b"",
    )
    .unwrap();
    assert_eq!(told(&answer), "none");
}
