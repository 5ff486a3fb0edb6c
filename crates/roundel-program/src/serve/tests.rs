//! The parts joined in this process: sources, checks, proxy, control task, reload.

use std::path::Path;

use hyper::{Method, StatusCode};
use roundel_admin::status::Snapshot;
use roundel_config::Given;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::*;
use crate::cli::ServeArgs;
use crate::client;
use crate::toy::{self, Toy};

const SOON: Duration = Duration::from_secs(10);

/// A toy in this process.
async fn toy(name: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let toy = Toy::new(name.to_owned(), "test".to_owned());
    tokio::spawn(toy::serve(toy, listener, std::future::pending()));
    address
}

fn write(path: &Path, extra: &str, servers: &[(&str, SocketAddr)]) {
    let server = |(name, address): &(&str, SocketAddr)| {
        format!("[[backend.server]]\nname = \"{name}\"\naddress = \"{address}\"\n")
    };
    let servers: String = servers.iter().map(server).collect();
    let text = format!(
        "[global]\n{extra}\n[stats]\nlisten = \"127.0.0.1:0\"\n[cli]\nlisten = \"off\"\n\
         [access_log]\nformat = \"off\"\n[[frontend]]\nname = \"f\"\nlisten = [\"127.0.0.1:0\"]\n\
         [[backend]]\nname = \"nodes\"\nsticky = \"off\"\n{servers}"
    );
    std::fs::write(path, text).unwrap();
}

async fn start(path: &Path) -> Serving {
    let mut args = ServeArgs::default();
    args.flags.config = Some(path.to_owned());
    let loader = Loader::new(args, Given::default());
    let Ok(settings) = loader.load() else {
        panic!("the file is right");
    };
    Serving::start(loader, settings).await.unwrap()
}

async fn get(address: SocketAddr, path: &str) -> (StatusCode, String) {
    let base = format!("http://{address}");
    let page = client::Page {
        base: &base,
        ca_file: None,
        credentials: None,
    };
    let answer = client::send(Method::GET, &page, path, None).await.unwrap();
    (
        answer.status,
        String::from_utf8_lossy(&answer.body).into_owned(),
    )
}

async fn snapshot(serving: &Serving) -> Snapshot {
    let (_, text) = get(serving.stats(), "/api/v1/snapshot").await;
    serde_json::from_str(&text).unwrap()
}

/// Waits until the snapshot satisfies `done`.
async fn until(serving: &Serving, done: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let deadline = Instant::now() + SOON;
    loop {
        let now = snapshot(serving).await;
        if done(&now) {
            return now;
        }
        assert!(Instant::now() < deadline, "never came: {now:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_reload_swaps_servers_and_keeps_counters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    let (a, b) = (toy("a").await, toy("b").await);
    write(&path, "threads = 1", &[("a", a)]);
    let serving = start(&path).await;
    let front = serving.front().unwrap();
    until(&serving, |s| s.backends[0].serving() == 1).await;
    let (status, body) = get(front, "/").await;
    assert!(
        status.is_success() && body.contains("\"host\":\"a\""),
        "{body}"
    );

    write(&path, "threads = 2", &[("b", b)]);
    serving.asks.send(Ask::Reload("a test")).await.unwrap();
    let after = until(&serving, |s| {
        s.config.reloads_ok_total > 0 && &*s.backends[0].servers[0].name == "b"
    })
    .await;
    assert!(
        after
            .events
            .iter()
            .any(|e| e.text.contains("needs a restart: global.threads"))
    );
    until(&serving, |s| s.backends[0].serving() == 1).await;
    assert_eq!(serving.front(), Some(front), "the listener stays");
    let (_, body) = get(front, "/").await;
    assert!(body.contains("\"host\":\"b\""), "{body}");
    let after = until(&serving, |s| s.frontends[0].requests_total == 2).await;
    assert_eq!(after.backends[0].requests_total, 2, "what a counted stays");

    std::fs::write(&path, "[[backend]]\nname = 1\n").unwrap();
    serving.asks.send(Ask::Reload("a test")).await.unwrap();
    let after = until(&serving, |s| s.config.reloads_failed_total > 0).await;
    assert!(
        after
            .config
            .last_error
            .is_some_and(|e| e.contains("roundel.toml:2:8"))
    );
    assert!(get(front, "/").await.0.is_success());
    serving.stop().await;
}

#[tokio::test]
async fn without_a_server_the_answer_is_503_and_ready_stays_true() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    // A port that was free a moment ago: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    write(&path, "threads = 1", &[("gone", address)]);
    let serving = start(&path).await;
    let (status, _) = get(serving.front().unwrap(), "/").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(serving.stats(), "/readyz").await.0, StatusCode::OK);
    serving.admin.set_draining();
    let (status, _) = get(serving.stats(), "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    serving.stop().await;
}

/// The thread of everything but pages and requests is the one that waits for the answer here.
#[tokio::test]
async fn health_is_answered_while_control_has_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    write(&path, "threads = 1", &[("a", toy("a").await)]);
    let serving = start(&path).await;
    let answer = roundel_testkit::get(serving.stats(), "/livez");
    assert_eq!(answer.unwrap().status, 200);
    serving.stop().await;
}
