//! RFC 9110 7.6.2, 9.3: OPTIONS, TRACE, CONNECT and Max-Forwards.

use roundel_testkit::wire::{Case, Saw, Want};

use super::section;

pub(crate) fn cases() -> Vec<Case> {
    let all = vec![
        Case::new("options-star")
            .send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("OPTIONS *").has("host", "a"))
            .kept(),
        Case::new("options-path")
            .send("OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("OPTIONS /x"))
            .kept(),
        Case::new("options-max-forwards-0")
            .send("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
            .want(Want::status(200).lacks("x-origin"))
            .saw_nothing()
            .kept()
            .or()
            .status(&[204])
            .saw_nothing(),
        Case::new("options-star-max-forwards-0")
            .send("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
            .status(&[200, 204])
            .saw_nothing()
            .kept(),
        Case::new("options-max-forwards-1")
            .send("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("OPTIONS /x").has("max-forwards", "0"))
            .kept(),
        Case::new("options-max-forwards-10")
            .send("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("OPTIONS /x").has("max-forwards", "9")),
        Case::new("options-max-forwards-0-body")
            .send("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nContent-Length: 5\r\n\r\nhello")
            .status(&[200, 204])
            .saw_nothing()
            .kept(),
        Case::new("get-max-forwards-untouched")
            .should()
            .send("GET /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
            .status(&[200])
            .saw(Saw::line("GET /x").has("max-forwards", "0")),
        Case::new("options-max-forwards-bad")
            .send("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n")
            .status(&[200, 400]),
        Case::new("trace-refused")
            .own()
            .send("TRACE /x HTTP/1.1\r\nHost: a\r\nCookie: secret=1\r\n\r\n")
            .want(Want::status(405).any("allow").free_of("secret"))
            .saw_nothing(),
        Case::new("trace-max-forwards-0")
            .send("TRACE /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
            .status(&[200, 405, 501])
            .saw_nothing(),
        Case::new("trace-with-body")
            .send("TRACE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .status(&[400, 405, 501])
            .saw_nothing(),
        Case::new("connect-refused")
            .send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n")
            .status(&[400, 403, 405, 501])
            .saw_nothing(),
        Case::new("connect-bad-target")
            .send("CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .status(&[400, 405, 501])
            .saw_nothing(),
        Case::new("connect-no-port")
            .send("CONNECT a.example HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(&[400, 405, 501])
            .saw_nothing(),
        Case::new("connect-absolute")
            .send("CONNECT http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .status(&[400, 405, 501])
            .saw_nothing(),
        Case::new("connect-hides-a-request")
            .send("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 36\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n......")
            .saw_nothing(),
        Case::new("propfind-with-body")
            .send("PROPFIND /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nDepth: 1\r\n\r\nabc")
            .status(&[200])
            .saw(Saw::line("PROPFIND /x").body("abc").has("depth", "1"))
            .kept(),
        Case::new("head-is-forwarded-as-head")
            .send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .want(Want::status(200).body(""))
            .saw(Saw::line("HEAD /x"))
            .kept(),
    ];
    section("RFC 9110 9.3, 7.6.2", all)
}
