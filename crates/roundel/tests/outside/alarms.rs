//! Outages as clients feel them: headline, title, event, log, metrics and `stat` say the same sentence.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use roundel_testkit::{Load, Origin, Reply, Reuse, free_port, get, loopback, wait_for};

use crate::balancer::{Balancer, SOON, roundel};
use crate::turns::beside_others;

/// An app whose status can be changed, and that can be hung.
struct App {
    origin: Origin,
    status: Arc<AtomicU16>,
    hangs: Arc<AtomicBool>,
}

impl App {
    fn start() -> Self {
        let (status, hangs) = (
            Arc::new(AtomicU16::new(200)),
            Arc::new(AtomicBool::new(false)),
        );
        let (told, hung) = (Arc::clone(&status), Arc::clone(&hangs));
        let origin = Origin::start(move |_| {
            while hung.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            Reply {
                status: told.load(Ordering::SeqCst),
                ..Reply::text("app")
            }
        });
        Self {
            origin,
            status,
            hangs,
        }
    }
}

/// A balancer before these apps, whose checks see nothing but the port.
fn balancer(apps: &[App], keys: &str) -> Balancer {
    let ip = loopback();
    let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
    let list = apps.iter().enumerate();
    let list = list.map(|(n, app)| {
        format!(
            "{{ name = \"w{n}\", address = \"{}\" }}",
            app.origin.address()
        )
    });
    let list = list.collect::<Vec<_>>().join(", ");
    let text = format!(
        "[stats]\nlisten = \"{stats}\"\nalarm = {{ min_requests = 5 }}\n[cli]\nlisten = \"off\"\n\
         [access_log]\nformat = \"off\"\n\
         [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\n\
         [[backend]]\nname = \"nodes\"\ncheck = \"tcp\"\nsticky = \"off\"\nserver = [{list}]\n{keys}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roundel.toml");
    fs::write(&path, text).unwrap();
    let balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer.wait_up(apps.len(), SOON);
    balancer
}

/// Waits until every view has a sentence with these words, of this kind and weight; event and log have it
/// since it began.
fn said_everywhere(balancer: &Balancer, kind: &str, critical: bool, words: &str) {
    said(balancer, kind, critical, words);
    let events = balancer.page("/api/v1/events");
    assert!(
        events.contains("\"alarm\"") && events.contains(words),
        "{events}"
    );
    let log = balancer.process.stderr();
    let told = |line: &str| line.contains("WARN alarm nodes: ") && line.contains(words);
    assert!(log.lines().any(told), "{log}");
}

/// The same of the views that show the present.
fn said(balancer: &Balancer, kind: &str, critical: bool, words: &str) {
    let begun = std::time::Instant::now();
    wait_for(words, SOON, || {
        let snapshot = balancer.snapshot();
        let alarms = snapshot["alarms"].as_array()?;
        let alarm = alarms.iter().find(|a| a["kind"] == kind)?;
        let fits = alarm["critical"] == critical && alarm["text"].as_str()?.contains(words);
        (fits && snapshot["headline"].as_str()?.contains(words)).then_some(())
    });
    println!("{words}: after {:.1} s", begun.elapsed().as_secs_f64());
    let page = balancer.page("/");
    let (_, title) = page.split_once("<title>").unwrap();
    let title = title.split("</title>").next().unwrap();
    assert!(title.contains(words), "{title}");
    let (_, heading) = page.split_once("<h1>").unwrap();
    assert!(
        heading.split("</h1>").next().unwrap().contains(words),
        "{heading}"
    );
    let class = if critical {
        "head v-down"
    } else {
        "head v-doubt"
    };
    assert!(page.contains(class), "{page}");
    let metrics = balancer.page("/metrics");
    let value = if critical { 2 } else { 1 };
    let line = format!("roundel_alarm{{backend=\"nodes\",kind=\"{kind}\"}} {value}");
    assert!(metrics.contains(&line), "{metrics}");
    let stats = format!("http://{}", balancer.stats);
    let told = roundel(&["stat", "--stats", &stats]).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    // It may be wrapped.
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains(words), "{told}");
}

/// Waits until the sentence is gone, and said to be.
fn quiet_again(balancer: &Balancer, words: &str) {
    balancer
        .process
        .wait_line("quiet nodes: quiet again: ", SOON);
    let log = balancer.process.stderr();
    assert!(log.contains(words), "{log}");
    wait_for("a calm headline", SOON, || {
        let snapshot = balancer.snapshot();
        let calm = snapshot["alarms"].as_array()?.is_empty();
        (calm && !snapshot["headline"].as_str()?.contains("but")).then_some(())
    });
}

#[test]
fn errors_of_one_server_and_then_of_all_are_said_and_end() {
    let _turn = beside_others();
    let apps = [App::start(), App::start(), App::start()];
    let balancer = balancer(&apps, "");
    let load = Load::start(balancer.front, 4, Reuse::KeepAlive);
    apps[1].status.store(500, Ordering::SeqCst);
    said_everywhere(
        &balancer,
        "errors",
        true,
        "of answers are errors, from w1 (",
    );
    for app in &apps {
        app.status.store(503, Ordering::SeqCst);
    }
    said(&balancer, "errors", true, "of answers are errors (");
    said(&balancer, "errors", true, "100 % of answers are errors (");
    let page = balancer.page("/");
    assert!(page.contains("3 of 3 servers serving, but 100 % of answers are errors"));
    for app in &apps {
        app.status.store(200, Ordering::SeqCst);
    }
    quiet_again(&balancer, "of answers are errors");
    load.stop();
}

#[test]
fn a_full_queue_is_said() {
    let _turn = beside_others();
    let apps = [App::start()];
    let keys = "maxconn = 2\ntimeouts = { queue = \"1s\", server = \"60s\" }\noutlier = \"off\"";
    let balancer = balancer(&apps, keys);
    let load = Load::start(balancer.front, 12, Reuse::KeepAlive);
    load.wait_more(100, SOON);
    apps[0].hangs.store(true, Ordering::SeqCst);
    said_everywhere(&balancer, "queue", true, "for a server that has room (");
    said_everywhere(&balancer, "errors", true, "of answers are errors");
    apps[0].hangs.store(false, Ordering::SeqCst);
    quiet_again(&balancer, "for a server that has room");
    load.stop();
}

#[test]
fn a_hung_server_is_named() {
    let _turn = beside_others();
    let apps = [App::start(), App::start()];
    let balancer = balancer(&apps, "outlier = \"off\"");
    let front = balancer.front;
    let ends = Arc::new(AtomicBool::new(false));
    // Clients that come at their own pace, whether others are answered or not.
    let comes = thread::spawn({
        let ends = Arc::clone(&ends);
        move || {
            let mut asked = Vec::new();
            while !ends.load(Ordering::SeqCst) {
                asked.push(thread::spawn(move || get(front, "/").map(drop)));
                thread::sleep(Duration::from_millis(40));
            }
            asked.into_iter().for_each(|one| drop(one.join()));
        }
    });
    wait_for("both to answer", SOON, || {
        let all = balancer.requests();
        all.iter().all(|(_, n)| *n > 20).then_some(())
    });
    apps[1].hangs.store(true, Ordering::SeqCst);
    said_everywhere(&balancer, "stalled", false, "w1 answers nothing (");
    apps[1].hangs.store(false, Ordering::SeqCst);
    quiet_again(&balancer, "w1 answers nothing");
    ends.store(true, Ordering::SeqCst);
    comes.join().unwrap();
}

#[test]
fn an_empty_backend_that_is_asked_is_said() {
    let _turn = beside_others();
    let apps = [App::start()];
    let balancer = balancer(&apps, "timeouts = { queue = \"0s\" }");
    let load = Load::start(balancer.front, 4, Reuse::KeepAlive);
    drop(apps);
    said_everywhere(
        &balancer,
        "no_server",
        true,
        "no server serves, and clients get 503 (",
    );
    load.stop();
}
