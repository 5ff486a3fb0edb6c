use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::Config;
use crate::fixture::{self, Rig, rig};

/// A listener that serves in the background; dropping or using `stop` ends it.
struct Listening {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

async fn listen(rig: &Rig) -> Listening {
    listen_on(rig, ([127, 0, 0, 1], 0).into()).await
}

async fn listen_on(rig: &Rig, address: std::net::SocketAddr) -> Listening {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let admin = rig.admin.clone();
    let served = tokio::spawn(async move {
        let stop = async { stopped.await.unwrap_or_default() };
        super::serve(admin, listener, stop).await.unwrap();
    });
    Listening {
        address,
        stop,
        served,
    }
}

async fn exchange(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_real_listener_answers_and_stops_with_viewers_attached() {
    let rig = rig(Config::default(), fixture::calm(3, 2));
    let Listening {
        address,
        stop,
        served,
    } = listen(&rig).await;
    let ask = "GET /readyz HTTP/1.1\r\nhost: any.example\r\nconnection: close\r\n\r\n";
    assert!(exchange(address, ask).await.starts_with("HTTP/1.1 200"));
    let mut viewer = TcpStream::connect(address).await.unwrap();
    let ask = "GET /events HTTP/1.1\r\nhost: x\r\n\r\n";
    viewer.write_all(ask.as_bytes()).await.unwrap();
    viewer.read_u8().await.unwrap();
    stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), served).await;
    ended.expect("viewers do not hold the end up").unwrap();
}

#[tokio::test]
async fn prometheus_haproxy_exporter_reads_the_csv() {
    let Some(exporter) =
        roundel_testkit::external("prometheus-haproxy-exporter", "prometheus-haproxy-exporter")
    else {
        return;
    };
    let rig = rig(Config::default(), fixture::every_state(9));
    let listening = listen(&rig).await;
    let address = listening.address;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let own = free.local_addr().unwrap();
    drop(free);
    let mut child = tokio::process::Command::new(exporter)
        .arg(format!("--haproxy.scrape-uri=http://{address}/;csv"))
        .arg(format!("--web.listen-address={own}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let text = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if TcpStream::connect(own).await.is_ok() {
                let ask = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
                break exchange(own, ask).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let text = text.await.expect("the exporter listens");
    child.kill().await.unwrap();
    let has = |line: &str| assert!(text.contains(line), "{line}\n{text}");
    has("\nhaproxy_up 1");
    has("haproxy_server_up{backend=\"nodes\",server=\"webapp-2\"} 1");
    has("haproxy_server_up{backend=\"nodes\",server=\"webapp-8\"} 0");
    has("haproxy_exporter_csv_parse_failures_total 0");
    let sessions = fixture::every_state(9).backends[0].servers[1].requests_total;
    has(&format!(
        "haproxy_server_sessions_total{{backend=\"nodes\",server=\"webapp-2\"}} {sessions}"
    ));
}

/// A browser steered over the WebDriver protocol (W3C), on a port of its own.
struct Browser {
    driver: std::net::SocketAddr,
    session: String,
    _process: tokio::process::Child,
}

impl Browser {
    async fn start() -> Option<Self> {
        let chromedriver = roundel_testkit::external("chromedriver", "chromium-driver")?;
        roundel_testkit::external("chromium", "chromium")?;
        let mut process = tokio::process::Command::new(chromedriver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port: u16 = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("chromedriver names its port");
            if let Some((_, port)) = line.rsplit_once("successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        let mut browser = Self {
            driver: ([127, 0, 0, 1], port).into(),
            session: String::new(),
            _process: process,
        };
        let options = json!({"args": ["--headless=new", "--no-sandbox", "--disable-gpu"]});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let session = browser.call("POST", "/session", wanted).await;
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        Some(browser)
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let body = body.to_string();
        let ask = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len(),
        );
        let mut stream = BufReader::new(TcpStream::connect(self.driver).await.unwrap());
        stream.write_all(ask.as_bytes()).await.unwrap();
        // The driver may keep the connection open: the length says where the answer ends.
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
        }
        let mut json = vec![0; length];
        stream.read_exact(&mut json).await.unwrap();
        serde_json::from_slice::<Value>(&json).unwrap()["value"].take()
    }

    async fn run(&self, script: &str) -> Value {
        let path = format!("{}/execute/sync", self.session);
        self.call("POST", &path, json!({"script": script, "args": []}))
            .await
    }

    /// Waits until a script's value is true.
    async fn until(&self, script: &str) {
        let done = async {
            while self.run(&format!("return {script}")).await != true {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(20), done).await;
        assert!(done.is_ok(), "never true: {script}");
    }
}

/// The policy lets the script run, the script follows the stream, and says when it ends.
#[tokio::test]
async fn a_browser_renews_the_page_without_reloading() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let rig = rig(Config::default(), fixture::calm(5, 2));
    let Listening {
        address,
        stop,
        served,
    } = listen(&rig).await;
    let path = format!("{}/url", browser.session);
    browser
        .call("POST", &path, json!({"url": format!("http://{address}/")}))
        .await;
    browser
        .until("document.getElementById('clock').textContent.startsWith('live')")
        .await;
    browser
        .run("window.same = 1; document.querySelector('details').open = true")
        .await;
    rig.publish(fixture::calm(6, 2)).await;
    browser
        .until("document.documentElement.dataset.seq == 7")
        .await;
    rig.publish(fixture::every_state(7)).await;
    browser
        .until("document.querySelectorAll('tr.row').length == 21")
        .await;
    browser.until("document.title == '▲ 3/9 · roundel'").await;
    browser
        .until("document.querySelector('h1').textContent.startsWith('3 of 9 servers')")
        .await;
    browser
        .until("document.querySelector('details').open && window.same == 1")
        .await;
    let open = "document.querySelector('#r-nodes-webapp-5 details').open";
    browser.run(&format!("{open} = true")).await;
    let mut fewer = fixture::every_state(8);
    fewer.backends[0].servers.drain(1..3);
    rig.publish(fewer).await;
    browser
        .until("document.querySelectorAll('tr.row').length == 19")
        .await;
    browser.until(open).await;
    let icon = "document.querySelector('link[rel=icon]').href";
    browser.until(&format!("{icon}.includes('E69F00')")).await;
    stop.send(()).unwrap();
    browser
        .until("document.documentElement.classList.contains('stale')")
        .await;
    served.await.unwrap();
    let _again = listen_on(&rig, address).await;
    browser
        .until("!document.documentElement.classList.contains('stale')")
        .await;
    browser
        .until("document.getElementById('clock').textContent.startsWith('live')")
        .await;
    let path = browser.session.clone();
    browser.call("DELETE", &path, json!({})).await;
}

/// A certificate for `lb.example.org`, as what is shown and as who trusts it.
fn shown() -> (roundel_tls::Front, roundel_tls::rustls::ClientConfig) {
    use roundel_tls::rustls;
    let made = rcgen::generate_simple_self_signed(["lb.example.org".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let certificate = roundel_tls::Certificate::read(chain.as_bytes(), key.as_bytes(), "test");
    let now = std::time::SystemTime::now();
    let front = roundel_tls::Front::new(
        &[Arc::new(certificate.unwrap())],
        &roundel_tls::Policy {
            alpn: vec![roundel_tls::Protocol::Http1],
            strict_sni: true,
            ..roundel_tls::Policy::default()
        },
        &roundel_tls::TicketKeys::new(now),
        now,
    );
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (front, client)
}

#[tokio::test]
async fn over_tls_it_answers_who_names_its_host_and_tells_who_comes_in_clear() {
    let (front, client) = shown();
    let config = Config {
        tls: Arc::new(arc_swap::ArcSwapOption::from_pointee(front)),
        ..Config::default()
    };
    let rig = rig(config, fixture::calm(3, 2));
    let listening = listen(&rig).await;
    let address = listening.address;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let shake = async |name: &'static str| {
        let stream = TcpStream::connect(address).await.unwrap();
        connector.connect(name.try_into().unwrap(), stream).await
    };
    let mut stream = shake("lb.example.org").await.unwrap();
    let ask = "GET /;csv HTTP/1.1\r\nhost: lb.example.org\r\nconnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(shake("other.example.org").await.is_err());

    // The connection ends, although it is not asked to, and nothing but the cure is told.
    for (host, cure) in [
        (
            "lb.example.org:1936",
            "use https://lb.example.org:1936/ instead.",
        ),
        ("<b>", "use https:// instead of http://."),
    ] {
        let ask = format!("GET /;csv HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let answer = exchange(address, &ask).await;
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains(cure),
            "{answer}"
        );
        assert!(
            !answer.contains("pxname") && !answer.contains("<b>"),
            "{answer}"
        );
    }
}
