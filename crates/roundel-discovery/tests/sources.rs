//! Sources of one backend as they run: files on disk, members of a gossip, static lists.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_discovery::{
    AddrTag, Config, Discovery, Gossip, GossipConfig, Permitted, SourceConfig, start,
};
use roundel_gossip_tokio::{Known, Member, Status};
use roundel_model::{BackendSet, Name, Presence, Server, SourceKind, Weight};
use tokio::sync::{mpsc, watch};

type Members = watch::Receiver<Arc<Vec<Member>>>;

fn run(
    sources: Vec<SourceConfig>,
    members: Option<&Members>,
) -> (Discovery, mpsc::Receiver<BackendSet>) {
    let (tx, rx) = mpsc::channel(16);
    let config = Config {
        backend: Name::new("nodes").expect("a name"),
        sources,
        default_port: 3000,
        inherited: None,
    };
    let gossip = members.map(|members| Gossip {
        members: members.clone(),
        listens: watch::channel(Arc::from([])).1,
    });
    (start(config, gossip.as_ref(), tx), rx)
}

/// Waits until a set holds exactly these names.
async fn expect(sets: &mut mpsc::Receiver<BackendSet>, names: &[&str]) -> BackendSet {
    let mut last = Vec::new();
    let wait = async {
        loop {
            let set = sets.recv().await.expect("the sources run");
            last = set.servers.iter().map(|s| s.name.to_string()).collect();
            if last == names {
                return set;
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), wait).await {
        Ok(set) => set,
        Err(_) => panic!("waited for {names:?}, last was {last:?}"),
    }
}

fn member(name: &str, last: u8) -> Member {
    Member {
        name: name.into(),
        address: ([10, 0, 0, last], 7946).into(),
        tags: BTreeMap::from([("role".to_owned(), "backend".to_owned())]),
        status: Status::Alive,
        suspect: false,
        incarnation: 1,
        versions: [1, 5, 2, 2, 5, 4],
        since: Instant::now(),
        known: Known::Asked,
    }
}

fn backend_role() -> SourceConfig {
    SourceConfig::Gossip(GossipConfig {
        role: "backend".into(),
        permitted: Permitted::default(),
        addr: AddrTag::Any,
    })
}

fn fixed(name: &str) -> Server {
    Server {
        name: Name::new(name).expect("a name"),
        address: ([10, 0, 9, 9], 80).into(),
        weight: Weight::ONE,
        backup: false,
        source: SourceKind::Static,
        presence: Presence::Present,
    }
}

#[tokio::test]
async fn a_directory_is_followed_file_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("s1", "s1 172.18.0.2\n");
    let (_discovery, mut sets) = run(vec![SourceConfig::File(dir.path().to_owned())], None);
    expect(&mut sets, &["s1"]).await;
    write("s2", "s2 172.18.0.3:80\n");
    expect(&mut sets, &["s1", "s2"]).await;
    fs::remove_file(dir.path().join("s1")).unwrap();
    expect(&mut sets, &["s2"]).await;
}

#[tokio::test]
async fn a_file_replaced_by_renaming_is_noticed_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("servers");
    fs::write(&path, "a0 10.0.0.1\n").unwrap();
    let (_discovery, mut sets) = run(vec![SourceConfig::File(path.clone())], None);
    expect(&mut sets, &["a0"]).await;
    for round in 1..=3 {
        let name = format!("a{round}");
        replace(&path, &format!("{name} 10.0.0.1\n"));
        expect(&mut sets, &[&name]).await;
    }
}

fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("new");
    fs::write(&draft, text).expect("a draft beside the file");
    fs::rename(draft, path).expect("same directory");
}

#[tokio::test]
async fn a_directory_that_appears_later_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = dir.path().join("nodes");
    let (_discovery, mut sets) = run(vec![SourceConfig::File(nodes.clone())], None);
    fs::create_dir(&nodes).unwrap();
    fs::write(nodes.join("s1"), "s1 10.0.0.1").unwrap();
    expect(&mut sets, &["s1"]).await;
    fs::write(nodes.join("s2"), "s2 10.0.0.2").unwrap();
    expect(&mut sets, &["s1", "s2"]).await;
}

#[tokio::test]
async fn members_are_followed_and_sources_mix() {
    let (tx, members) = watch::channel(Arc::new(vec![member("w10", 10), member("s1", 1)]));
    let sources = vec![SourceConfig::Static(vec![fixed("s1")]), backend_role()];
    let (_discovery, mut sets) = run(sources, Some(&members));
    let set = expect(&mut sets, &["s1", "w10"]).await;
    assert_eq!(set.servers[0].source, SourceKind::Static);
    let mut leaving = member("w2", 2);
    leaving.status = Status::Leaving;
    tx.send_replace(Arc::new(vec![member("w10", 10), leaving]));
    let set = expect(&mut sets, &["s1", "w2", "w10"]).await;
    assert_eq!(set.servers[1].presence, Presence::Leaving);
    tx.send_replace(Arc::new(Vec::new()));
    expect(&mut sets, &["s1"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_update_without_a_difference_sends_nothing() {
    let (tx, members) = watch::channel(Arc::new(vec![member("w1", 1)]));
    let (_discovery, mut sets) = run(vec![backend_role()], Some(&members));
    expect(&mut sets, &["w1"]).await;
    let mut same = member("w1", 1);
    same.incarnation = 9;
    tx.send_replace(Arc::new(vec![same]));
    let quiet = tokio::time::timeout(Duration::from_secs(60), sets.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn dropping_stops_the_sources() {
    let (_tx, members) = watch::channel(Arc::new(vec![member("w1", 1)]));
    let (discovery, mut sets) = run(vec![backend_role()], Some(&members));
    expect(&mut sets, &["w1"]).await;
    drop(discovery);
    let end = tokio::time::timeout(Duration::from_secs(30), sets.recv()).await;
    assert_eq!(end.expect("ends in time"), None);
}
