//! Who the client is, behind proxies that are trusted.

use super::stage::{BOTH, Setting, all};

#[test]
fn the_client_that_trusted_proxies_name_is_the_client_everywhere() {
    // Networks and hops of IPv4 may be written as IPv6 maps them.
    let keys = "trusted_proxies = [\"127.0.0.0/8\", \"::ffff:10.0.0.0/104\"]\n\
                request_headers = { set = { X-Client = \"%{client_ip}\" } }\n\
                rate_limit = { requests = 1, per = \"1h\", burst = 1 }";
    let setting = Setting::start(keys, "", &[]);
    let ask = |list: &str, status: u16| {
        let answer = setting.get(BOTH[0], "/", &[("X-Forwarded-For", list)]);
        assert_eq!(answer.status, status, "{list}");
        let request = (status == 200).then(|| setting.last().unwrap())?;
        Some(all(&request.headers, "x-client").join("|"))
    };
    let first = ask("198.51.100.7:4711, \"[::ffff:10.0.0.5]:80\"", 200);
    assert_eq!(first.as_deref(), Some("198.51.100.7"));
    assert_eq!(ask("6.6.6.6, ::ffff:198.51.100.7, 10.0.0.9", 429), None);
    assert_eq!(
        ask("unknown, 198.51.100.8", 200).as_deref(),
        Some("198.51.100.8")
    );
    let line = setting.log("rate_limited", 429);
    assert_eq!(line["client"], "198.51.100.7", "{line}");
    let peer = line["peer"].as_str().unwrap();
    assert!(peer.starts_with("127."), "{line}");
    // Who names nobody is the client itself.
    assert!(ask("garbage", 200).unwrap().starts_with("127."));
    let own = setting.balancer.process.stdout();
    let own = own
        .lines()
        .filter(|line| !line.contains("\"peer\""))
        .count();
    assert!(own <= 1, "{own}");
}
