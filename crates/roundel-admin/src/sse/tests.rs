use axum::body::BodyDataStream;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

use super::*;
use crate::Config;
use crate::fixture::{self, Rig, rig};

struct Stream {
    body: BodyDataStream,
    text: String,
}

/// One event: name, id, data.
#[derive(Debug)]
struct Got {
    name: String,
    id: Option<u64>,
    data: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl Stream {
    async fn next(&mut self) -> Got {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let prefix = format!("{name}: ");
                    event
                        .lines()
                        .find_map(|l| l.strip_prefix(&prefix))
                        .map(str::to_owned)
                };
                let got = Got {
                    name: field("event").unwrap_or_default(),
                    id: field("id").map(|id| id.parse().unwrap()),
                    data: field("data").unwrap_or_default(),
                };
                self.text = rest.to_owned();
                return got;
            }
            let chunk = timeout(Duration::from_secs(60), self.body.next())
                .await
                .unwrap();
            self.text += std::str::from_utf8(&chunk.expect("open").unwrap()).unwrap();
        }
    }
}

async fn watch_page(rig: &Rig) -> Response {
    let admin = State(rig.admin.clone());
    events(admin, Query(BTreeMap::new()), Extensions::new()).await
}

async fn open(rig: &Rig) -> Stream {
    let response = watch_page(rig).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Stream {
        body: response.into_body().into_data_stream(),
        text: String::new(),
    }
}

fn calm_rig() -> Rig {
    rig(Config::default(), fixture::calm(10, 2))
}

#[tokio::test]
async fn a_snapshot_first_then_deltas_with_what_changed() {
    let rig = calm_rig();
    let mut stream = open(&rig).await;
    let first = stream.next().await;
    assert_eq!((first.name.as_str(), first.id), ("snapshot", Some(11)));
    let json = first.json();
    assert_eq!(json["seq"], 11);
    assert_eq!(json["backends"][0]["servers"][1]["name"], "webapp-2");
    assert!(
        json["parts"]["servers"]
            .as_str()
            .unwrap()
            .contains("<caption")
    );
    assert_eq!(json["title"], "● 2/2 · roundel");
    rig.publish(fixture::calm(11, 2)).await;
    let delta = stream.next().await;
    assert_eq!((delta.name.as_str(), delta.id), ("delta", Some(12)));
    let json = delta.json();
    let parts = json["parts"].as_object().unwrap();
    assert!(parts.contains_key("tiles") && parts.contains_key("r-nodes-webapp-1"));
    assert!(!parts.contains_key("servers") && !parts.contains_key("events"));
    assert!(json["total"]["requests_per_second"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn one_who_missed_a_frame_gets_a_whole_one() {
    let rig = calm_rig();
    let (mut slow, mut quick) = (open(&rig).await, open(&rig).await);
    slow.next().await;
    quick.next().await;
    for second in [11, 12] {
        rig.publish(fixture::calm(second, 2)).await;
        assert_eq!(quick.next().await.id, Some(second + 1));
    }
    let late = slow.next().await;
    assert_eq!(late.id, Some(13));
    assert!(late.json()["parts"]["servers"].is_string());
}

#[tokio::test]
async fn viewers_share_the_bytes_of_a_frame() {
    let rig = calm_rig();
    let moment = rig.admin.moment();
    let key = Key::default();
    let a = rig.admin.frame(&moment, &key).await.unwrap();
    let b = rig.admin.frame(&moment, &key).await.unwrap();
    assert_eq!(a.tail.as_ptr(), b.tail.as_ptr());
    let json = rig.admin.json(moment.clone()).await.unwrap();
    let again = rig.admin.json(moment).await.unwrap();
    assert_eq!(json.as_ptr(), again.as_ptr());
}

#[tokio::test]
async fn timeline_events_come_at_once_and_escaped() {
    let rig = calm_rig();
    let mut stream = open(&rig).await;
    stream.next().await;
    let event = Event {
        seq: 77,
        text: fixture::HOSTILE.into(),
        ..Event::default()
    };
    rig.events.send(Arc::new(event)).unwrap();
    let log = stream.next().await;
    assert_eq!(log.name, "log");
    let json = log.json();
    assert_eq!(json["id"], "e77");
    assert!(json["html"].as_str().unwrap().contains("&lt;img"));
    assert_eq!(json["event"]["seq"], 77);
}

#[tokio::test]
async fn hostile_text_cannot_end_an_event() {
    let rig = rig(Config::default(), fixture::hostile());
    let mut stream = open(&rig).await;
    let first = stream.next().await;
    assert_eq!(first.json()["members"][1]["name"], fixture::HOSTILE);
    assert!(
        !first.json()["parts"]["cluster"]
            .as_str()
            .unwrap()
            .contains("<img")
    );
}

#[tokio::test]
async fn seats_are_limited_and_freed() {
    let limits = crate::Limits {
        viewers: 1,
        ..crate::Limits::default()
    };
    let config = Config {
        bounds: crate::Bounds::new(limits),
        ..Config::default()
    };
    let rig = rig(config, fixture::calm(1, 1));
    let first = open(&rig).await;
    let full = watch_page(&rig).await;
    assert_eq!(full.status(), 503);
    assert_eq!(rig.admin.own_numbers().viewers, 1);
    drop(first);
    open(&rig).await;
    assert_eq!(rig.admin.own_numbers().viewers, 0);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_gets_a_comment_every_fifteen_seconds() {
    let rig = calm_rig();
    let mut stream = open(&rig).await;
    stream.next().await;
    let began = Instant::now();
    let comment = stream.next().await;
    assert_eq!(comment.name, "");
    assert_eq!(began.elapsed().as_secs(), 15);
}
