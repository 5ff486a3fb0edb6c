//! What a file says about messages: header rules, redirects, pages, rates, sizes.

use std::time::Duration;

use roundel_proxy::{HeaderRule, NewPath, RateLimit, Redirect};

use super::{STATIC, fine, load, shown};
use crate::Target;

const FRONT: &str = "[[frontend]]\nname = \"f\"\nlisten = [\":80\"]\n";

/// Adds a key to a frontend and to a backend; both settings, the frontend's first.
fn with(key: &str) -> super::Settings {
    fine(&format!("{FRONT}{key}\n{STATIC}{key}\n"), &[])
}

/// The one problem of a frontend with this key in its fourth line: where, and what it says.
#[track_caller]
fn wrong(key: &str, column: usize, parts: [&str; 2]) {
    let error = load(Some(&format!("{FRONT}{key}\n{STATIC}")), &[]).expect_err(key);
    let error = shown(&error);
    let place = format!("roundel.toml:4:{column}: ");
    assert!(error.starts_with(&place), "{place} in\n{error}");
    assert!(error.ends_with("\n1 problem found\n"), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part} in\n{error}");
    }
}

#[test]
fn header_rules_are_read_in_the_order_in_which_they_act() {
    let s = with(
        "request_headers = { add = { X-A = \"1\" }, set = { \"X-B\" = \"%{host}\" }, remove = [\"X-C\"] }",
    );
    let shown = |rules: &[HeaderRule]| {
        let value = |rule: &HeaderRule| rule.value().map(ToString::to_string).unwrap_or_default();
        let line = |rule: &HeaderRule| format!("{}={}", rule.name(), value(rule));
        rules.iter().map(line).collect::<Vec<_>>()
    };
    let expected = ["X-C=", "X-B=%{host}", "X-A=1"];
    assert_eq!(shown(&s.frontends[0].request_headers), expected);
    assert_eq!(shown(&s.backends[0].request_headers), expected);
    assert_eq!(s.frontends[0].response_headers, []);
}

#[test]
fn header_rules_that_cannot_be_are_refused_with_place_and_cure() {
    let framing = "written by Roundel";
    wrong(
        "request_headers = { remove = [\"Connection\"] }",
        31,
        [framing, "leave it out"],
    );
    wrong(
        "response_headers = { set = { content-length = \"1\" } }",
        30,
        [framing, "leave it out"],
    );
    wrong(
        "response_headers = { add = { Trailer = \"x\" } }",
        30,
        [framing, "leave it out"],
    );
    let host = "set = { Host = ";
    wrong(
        "request_headers = { remove = [\"Host\"] }",
        31,
        ["exactly one Host", host],
    );
    wrong(
        "request_headers = { add = { host = \"a\" } }",
        29,
        ["exactly one Host", host],
    );
    wrong(
        "response_headers = { set = { Host = \"a\" } }",
        30,
        ["belongs to requests", "request_headers"],
    );
    wrong(
        "request_headers = { set = { Host = \"a b\" } }",
        36,
        ["`a b` is not a host", "app.example.org"],
    );
    wrong(
        "request_headers = { set = { Host = \"%{host}\" } }",
        36,
        ["not a host", "app.example.org"],
    );
    wrong(
        "request_headers = { set = { \"X Y\" = \"1\" } }",
        29,
        ["cannot be the name", "x-user"],
    );
    wrong(
        "request_headers = { set = { X = \"\" } }",
        33,
        ["empty value", "remove = "],
    );
    wrong(
        "request_headers = { set = { X = \"a\\nb\" } }",
        33,
        ["control characters", "one line"],
    );
    wrong(
        "request_headers = { set = { X = \"%{client_op}\" } }",
        33,
        [
            "`client_op` is not a placeholder",
            "did you mean %{client_ip}?",
        ],
    );
    wrong(
        "request_headers = { sett = { X = \"1\" } }",
        21,
        ["unknown key `sett`", "did you mean `set`?"],
    );
    wrong(
        "request_headers = { set = \"X\" }",
        27,
        ["not a table", "X-Env"],
    );
}

#[test]
fn a_key_to_pick_by_needs_a_policy_that_picks_by_one() {
    let text = format!("{STATIC}balance = \"leastconn\"\nhash_on = \"path\"\n");
    assert_eq!(
        shown(&load(Some(&text), &[]).expect_err("no key is asked for")),
        "roundel.toml:5:11: error: balance = \"leastconn\" does not pick by a key, so hash_on does nothing\n\
         \x20  5 | hash_on = \"path\"\n\
         \x20    |           ^^^^^^\n\
         \x20    hint: set balance to \"hash\" or \"maglev\", or leave hash_on out\n\
         1 problem found\n"
    );
}

#[test]
fn redirects_rates_and_sizes_are_read() {
    let s = fine(
        &format!(
            "{FRONT}{STATIC_ROUTES}\nrate_limit = {{ requests = 5 }}\nlimits = {{ max_body = \"1MiB\" }}\n{STATIC}"
        ),
        &[],
    );
    let f = &s.frontends[0];
    let redirect = |at: usize| match &f.routes[at].target {
        Target::Redirect(redirect) => redirect.clone(),
        Target::Backend(name) => panic!("{name}"),
    };
    let expected = Redirect {
        scheme: Some("https"),
        host: None,
        port: Some(8443),
        path: Some(NewPath::Prefix("/b".to_owned())),
        status: 302,
    };
    assert_eq!(redirect(0), expected);
    assert_eq!(redirect(1).path, Some(NewPath::Whole("/c".to_owned())));
    assert_eq!(
        (redirect(1).host.as_deref(), redirect(1).status),
        (Some("h"), 308)
    );
    let limit = |requests, seconds, burst| {
        let per = Duration::from_secs(seconds);
        Some(RateLimit {
            requests,
            per,
            burst,
        })
    };
    assert_eq!(f.routes[1].rate_limit, limit(9, 60, 20));
    assert_eq!(f.rate_limit, limit(5, 1, 5));
    assert_eq!(f.limits.max_body, 1 << 20);
    assert_eq!(fine(STATIC, &[]).frontends[0].limits.max_body, 0);
    let again = fine(&s.to_string(), &[]);
    assert_eq!(again.frontends, s.frontends);
}

const STATIC_ROUTES: &str = "route = [\n\
    { path_prefix = \"/a\", redirect = { scheme = \"https\", port = 8443, path_prefix = \"/b\" } },\n\
    { redirect = { host = \"H\", path = \"/c\", status = 308 }, rate_limit = { requests = 9, per = \"60s\", burst = 20 } },\n\
]";

#[test]
fn redirects_that_cannot_be_are_refused_with_place_and_cure() {
    let route = |redirect: &str, column: usize, parts: [&str; 2]| {
        let key = format!("route = [{{ path_prefix = \"/a\", redirect = {redirect} }}]");
        wrong(&key, column, parts);
    };
    route("{}", 43, ["does not say what changes", "write scheme"]);
    route(
        "{ status = 301 }",
        43,
        ["does not say what changes", "write scheme"],
    );
    route(
        "{ scheme = \"htps\" }",
        54,
        ["`htps` is not known", "did you mean \"https\"?"],
    );
    route(
        "{ host = \"a:81\" }",
        52,
        ["not a host to send clients to", "port = 8443"],
    );
    route(
        "{ host = \"*.a\" }",
        52,
        ["not a host to send clients to", "www.example.org"],
    );
    route("{ path = \"b\" }", 52, ["is not a path", "write \"/v1\""]);
    route(
        "{ path = \"/b\", path_prefix = \"/c\" }",
        43,
        ["either a path or a path_prefix", "as needed"],
    );
    route(
        "{ path = \"/b\", status = 304 }",
        67,
        ["304 is not the status of a redirect", "301 or 308"],
    );
    let lone = "route = [{ redirect = { path_prefix = \"/b\" } }]";
    wrong(
        lone,
        39,
        ["no path_prefix that could be replaced", "give the route"],
    );
    let both = "route = [{ backend = \"nodes\", redirect = { path = \"/b\" } }]";
    wrong(both, 10, ["either a backend or a redirect", "add backend"]);
    wrong(
        "route = [{ host = \"a\" }]",
        10,
        ["either a backend or a redirect", "add backend"],
    );
}

#[test]
fn rates_and_pages_that_cannot_be_are_refused_with_place_and_cure() {
    wrong(
        "rate_limit = { per = \"1s\" }",
        14,
        ["needs a `requests`", "add requests"],
    );
    wrong(
        "rate_limit = { requests = 0 }",
        27,
        ["out of range", "use 1 to"],
    );
    wrong(
        "rate_limit = { requests = 1, per = \"0s\" }",
        36,
        ["out of range", "1ms to 1d"],
    );
    wrong(
        "rate_limit = { requests = 1, brust = 2 }",
        30,
        ["unknown key `brust`", "`burst`"],
    );
    wrong(
        "limits = { max_body = 10 }",
        23,
        ["bare number", "say the unit"],
    );
    wrong(
        "error_pages = { 200 = \"a.html\" }",
        17,
        ["`200` is not the status of an error", "5xx"],
    );
    wrong(
        "error_pages = { 503 = \"a.html\" }",
        23,
        ["cannot read a.html", "beside the configuration"],
    );
    wrong(
        "error_pages = { 503 = \"a.exe\" }",
        23,
        ["no ending that says what it is", ".html"],
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.txt");
    std::fs::write(&path, vec![b'x'; 256 * 1024 + 1]).unwrap();
    let key = format!("error_pages = {{ 5xx = {path:?} }}");
    wrong(
        &key,
        23,
        ["large.txt is larger than 256KiB", "keep the page small"],
    );
}

#[test]
fn cookies_that_browsers_drop_are_refused_with_place_and_cure() {
    let text = |sticky: &str| {
        format!(
            "[[backend]]\nname = \"b\"\nserver = [{{ name = \"s\", address = \"10.0.0.1:80\" }}]\n\
             sticky = {{ {sticky} }}\n"
        )
    };
    let wrong = |sticky: &str, column: usize, parts: [&str; 2]| {
        let error = load(Some(&text(sticky)), &[]).expect_err(sticky);
        let error = shown(&error);
        let place = format!("roundel.toml:4:{column}: ");
        assert!(error.starts_with(&place), "{place} in\n{error}");
        for part in parts {
            assert!(error.contains(part), "{part} in\n{error}");
        }
    };
    let secure = "add secure = true";
    let none = "cookie = \"S\", same_site = \"none\"";
    wrong(none, 38, ["SameSite=None", secure]);
    wrong("cookie = \"__Host-s\"", 21, ["named __Host-…", secure]);
    wrong("cookie = \"__SECURE-s\"", 21, ["named __Secure-…", secure]);
    wrong("cookie = \"__http-s\"", 21, ["named __Http-…", secure]);
    let host = "cookie = \"__host-s\", secure = true, domain = \"a.example\"";
    wrong(host, 21, ["with a Domain", "leave domain out"]);
    wrong("cookie = \"S\", max_age = \"0s\"", 36, ["at once", "1d"]);
    for domain in [
        "a..b",
        "",
        "a.example.",
        "a.example:80",
        "[::1]",
        "*.b",
        "a b",
    ] {
        let sticky = format!("cookie = \"S\", domain = \"{domain}\"");
        wrong(&sticky, 35, ["cannot be the domain", "example.org"]);
    }
    let domain = |sticky: &str| {
        let s = fine(&text(sticky), &[]);
        s.backends[0].sticky.clone().unwrap().domain
    };
    let secure = "secure = true, same_site = \"none\", max_age = \"1s\"";
    let named = |name: &str| format!("cookie = \"{name}\", {secure}");
    assert_eq!(domain(&named("__Host-s")), None);
    let domains = format!("{}, domain = \".Bücher.example\"", named("__Secure-s"));
    assert_eq!(domain(&domains).as_deref(), Some("xn--bcher-kva.example"));
}
