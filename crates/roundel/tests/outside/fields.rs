//! What servers and clients see of the fields that Roundel writes.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use roundel_testkit::{Connection, Origin, Received, Reply, free_port, loopback, wait_for};

use crate::balancer::{Balancer, SOON};

/// A balancer with these keys before one server that keeps the requests it gets.
struct Setting {
    balancer: Balancer,
    seen: Arc<Mutex<Vec<Received>>>,
    _origin: Origin,
}

impl Setting {
    fn start(frontend: &str, backend: &str) -> Self {
        let seen: Arc<Mutex<Vec<Received>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let origin = Origin::start(move |request| {
            if request.method != "HEAD" {
                kept.lock().unwrap().push(request.clone());
            }
            let mut reply = Reply::text("served");
            reply.headers.push(("X-Powered-By".into(), "origin".into()));
            reply
                .headers
                .push(("X-Request-ID".into(), "the-server's".into()));
            reply
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fields.toml");
        let ip = loopback();
        let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
        let address = origin.address();
        let text = format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\ndefault_backend = \"nodes\"\n{frontend}\n\
             [[backend]]\nname = \"nodes\"\nsticky = \"off\"\n\
             server = [{{ name = \"s1\", address = \"{address}\" }}]\n{backend}\n"
        );
        fs::write(&path, text).unwrap();
        let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
        balancer.wait_up(1, SOON);
        Self {
            balancer,
            seen,
            _origin: origin,
        }
    }

    /// Sends one GET; the answer, and the request as the server saw it if it did.
    fn get(&self, fields: &[(&str, &str)]) -> (roundel_testkit::Response, Option<Received>) {
        let mut connection = Connection::open(self.balancer.front).unwrap();
        let answer = connection.send("GET", "/a?b=c", fields, b"").unwrap();
        let seen = self.seen.lock().unwrap().pop();
        (answer, seen)
    }
}

const ON: &str =
    "fields = { forwarded = true, real_ip = true, request_id = true, traceparent = true }";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn an_untrusted_client_gets_fields_of_our_own() {
    let setting = Setting::start(ON, "");
    let (answer, seen) = setting.get(&[
        ("Forwarded", "for=6.6.6.6"),
        ("X-Real-IP", "6.6.6.6"),
        ("X-Request-ID", "spoofed"),
        ("traceparent", "00-nonsense"),
        ("tracestate", "a=b"),
    ]);
    let seen = seen.unwrap();
    let forwarded = seen.header("forwarded").unwrap();
    assert!(forwarded.starts_with("for=127."), "{forwarded}");
    assert!(forwarded.contains(";proto=http;host=\""), "{forwarded}");
    assert!(seen.header("x-real-ip").unwrap().starts_with("127."));
    let id = seen.header("x-request-id").unwrap();
    assert_eq!((id.len(), id.as_bytes()[14]), (36, b'7'), "{id}");
    let echoed: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-request-id"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(echoed, [id]);
    let parent = seen.header("traceparent").unwrap();
    assert_eq!(parent.len(), 55, "{parent}");
    assert_eq!(seen.header("tracestate"), None);
    let line = wait_for("the log line", SOON, || {
        let log = setting.balancer.process.stdout();
        let line = log.lines().find(|line| line.contains(id));
        line.map(str::to_owned)
    });
    assert!(line.contains(&parent[3..35]), "{line}");
    let (_, next) = setting.get(&[]);
    assert_ne!(next.unwrap().header("x-request-id"), Some(id));
}

#[test]
fn a_trusted_proxy_is_believed_and_extended() {
    let keys = format!("{ON}\ntrusted_proxies = [\"127.0.0.0/8\"]");
    let setting = Setting::start(&keys, "");
    let (answer, seen) = setting.get(&[
        (
            "Forwarded",
            "for=\"[2001:db8::1]:1\";proto=https;host=a.example",
        ),
        ("X-Request-ID", "id-of-the-edge"),
        ("traceparent", TRACE),
        ("tracestate", "a=b"),
    ]);
    let seen = seen.unwrap();
    let forwarded = seen.header("forwarded").unwrap();
    let kept = "for=\"[2001:db8::1]:1\";proto=https;host=a.example, for=127.";
    assert!(forwarded.starts_with(kept), "{forwarded}");
    let list = seen.header("x-forwarded-for").unwrap();
    assert!(list.starts_with("2001:db8::1, 127."), "{list}");
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some("a.example"));
    assert_eq!(seen.header("x-real-ip"), Some("2001:db8::1"));
    assert_eq!(seen.header("x-request-id"), Some("id-of-the-edge"));
    assert_eq!(answer.header("x-request-id"), Some("id-of-the-edge"));
    assert_eq!(seen.header("traceparent"), Some(TRACE));
    assert_eq!(seen.header("tracestate"), Some("a=b"));
}

#[test]
fn nothing_is_added_that_was_not_asked_for() {
    let setting = Setting::start("", "");
    let (answer, seen) = setting.get(&[("X-Request-ID", "mine"), ("traceparent", "00-nonsense")]);
    let seen = seen.unwrap();
    for name in ["forwarded", "x-real-ip"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x-request-id"), Some("mine"));
    assert_eq!(seen.header("traceparent"), Some("00-nonsense"));
    assert_eq!(answer.header("x-request-id"), Some("the-server's"));
}
