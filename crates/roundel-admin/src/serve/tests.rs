use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::Config;
use crate::fixture::{self, Rig, rig};

async fn listen(
    rig: &Rig,
) -> (
    std::net::SocketAddr,
    oneshot::Sender<()>,
    tokio::task::JoinHandle<()>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let admin = rig.admin.clone();
    let served = tokio::spawn(async move {
        let stop = async { stopped.await.unwrap_or_default() };
        super::serve(admin, listener, stop).await.unwrap();
    });
    (address, stop, served)
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
    let (address, stop, served) = listen(&rig).await;
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
    let (address, _stop, _served) = listen(&rig).await;
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

/// The policy lets the script run, the script follows the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_renews_the_page_without_reloading() {
    let Some(chromium) = roundel_testkit::external("chromium", "chromium") else {
        return;
    };
    let rig = rig(Config::default(), fixture::calm(5, 2));
    let (address, _stop, _served) = listen(&rig).await;
    let profile = std::env::temp_dir().join(format!("roundel-admin-{}", std::process::id()));
    let browser = tokio::process::Command::new(chromium)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--timeout=4000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("http://{address}/"))
        .kill_on_drop(true)
        .stderr(Stdio::null())
        .output();
    let feed = async {
        for second in 6.. {
            tokio::time::sleep(Duration::from_millis(200)).await;
            rig.publish(fixture::calm(second, 3)).await;
        }
    };
    let output = tokio::select! {
        output = tokio::time::timeout(Duration::from_secs(60), browser) => output,
        () = feed => unreachable!("the feed never ends"),
    };
    let dom = output.expect("the browser ends").unwrap().stdout;
    let dom = String::from_utf8(dom).unwrap();
    let _ = std::fs::remove_dir_all(&profile);
    let clock = dom
        .split_once("id=\"clock\">")
        .or(dom.split_once("id=\"clock\""))
        .unwrap()
        .1;
    assert!(clock[..60].contains("live"), "{}", &clock[..60]);
    assert!(
        dom.contains("id=\"r-nodes-webapp-3\""),
        "the third server's row is missing"
    );
    assert!(dom.contains("3 of 3 servers serving"));
}
