//! Balancers on loopback: real streams, real handshakes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roundel_cluster::{Cluster, Effect, Identity, Lead, Neighbours};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Much longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

type Seen = Arc<Mutex<BTreeMap<String, Option<Vec<u8>>>>>;

struct Recorded(Seen);

impl Effect for Recorded {
    fn apply(&self, name: &str, value: Option<&[u8]>) {
        let mut seen = self.0.lock().unwrap();
        seen.insert(name.to_owned(), value.map(<[u8]>::to_vec));
    }
}

/// A balancer at work.
struct One {
    name: String,
    cluster: Cluster,
    seen: Seen,
    address: SocketAddr,
    running: JoinHandle<()>,
}

impl One {
    async fn start(name: &str, key: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Seen::default());
        let cluster = Cluster::new(Identity::new(&[key; 32]), name, Recorded(seen.clone()));
        let running = tokio::spawn(cluster.clone().run(listener));
        Self {
            name: name.to_owned(),
            cluster,
            seen,
            address,
            running,
        }
    }

    fn value(&self, entry: &str) -> Option<Vec<u8>> {
        self.cluster.get(entry).map(|(_, value)| value.to_vec())
    }

    async fn until(&self, what: &str, fine: impl Fn(&Self) -> bool) {
        let mut changes = self.cluster.changes();
        let wait = async {
            while !fine(self) {
                let _ = tokio::time::timeout(Duration::from_millis(50), changes.changed()).await;
            }
        };
        let name = &self.name;
        tokio::time::timeout(LIMIT, wait)
            .await
            .unwrap_or_else(|_| panic!("{name}: {what}"));
    }
}

/// What the gossip would say to all of them.
fn introduce(all: &[&One]) {
    for one in all {
        let others = all.iter().filter(|other| other.name != one.name);
        one.cluster.set_neighbours(&Neighbours {
            me: one.name.clone(),
            others: others
                .map(|other| (other.name.clone(), other.address))
                .collect(),
        });
    }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(LIMIT, work).await;
    done.unwrap_or_else(|_| panic!("{what}"))
}

#[tokio::test]
async fn what_one_puts_is_everybody_s_when_it_is_confirmed() {
    let (a, b, c) = (
        One::start("a", 1).await,
        One::start("b", 1).await,
        One::start("c", 1).await,
    );
    let old = a.cluster.put("old", Some(b"1".to_vec())).unwrap();
    within("nobody to wait for", a.cluster.confirmed(old)).await;
    introduce(&[&a, &b, &c]);
    for one in [&b, &c] {
        one.until("the whole store at the first exchange", |one| {
            one.value("old").is_some()
        })
        .await;
    }
    let large = vec![7; 100_000];
    let revision = b.cluster.put("large", Some(large.clone())).unwrap();
    within("confirmed", b.cluster.confirmed(revision)).await;
    for one in [&a, &c] {
        assert_eq!(
            one.seen.lock().unwrap()["large"].as_ref(),
            Some(&large),
            "{}",
            one.name
        );
    }
    let revision = c.cluster.put("large", None).unwrap();
    within("confirmed", c.cluster.confirmed(revision)).await;
    for one in [&a, &b] {
        assert_eq!(
            (one.value("large"), &one.seen.lock().unwrap()["large"]),
            (None, &None)
        );
    }
}

#[tokio::test]
async fn all_agree_on_the_one_that_stays_when_their_own_is_confirmed() {
    let (a, b) = (One::start("a", 1).await, One::start("b", 1).await);
    introduce(&[&a, &b]);
    a.until("settled", |one| {
        one.cluster.lead("m", None) != Lead::Unknown
    })
    .await;
    for round in 0..200 {
        let entry = format!("claim {round}");
        let claim = async |one: &One| {
            let revision = one
                .cluster
                .put(&entry, Some(one.name.clone().into_bytes()))
                .unwrap();
            one.cluster.confirmed(revision).await;
            one.value(&entry).unwrap()
        };
        let (ours, theirs) = within("both", async { tokio::join!(claim(&a), claim(&b)) }).await;
        assert_eq!(ours, theirs);
    }
}

#[tokio::test]
async fn whoever_does_not_hold_the_key_gets_nothing_and_holds_nobody_up() {
    let (a, b, liar) = (
        One::start("a", 1).await,
        One::start("b", 1).await,
        One::start("liar", 2).await,
    );
    introduce(&[&a, &b, &liar]);
    liar.cluster
        .put("from the liar", Some(b"x".to_vec()))
        .unwrap();
    a.until("settled", |one| {
        one.cluster.lead("m", None) != Lead::Unknown
    })
    .await;
    let revision = a.cluster.put("secret", Some(b"1".to_vec())).unwrap();
    within("confirmed", a.cluster.confirmed(revision)).await;
    assert_eq!(b.value("secret"), Some(b"1".to_vec()));
    liar.until("refused", |one| one.cluster.sharing().refused_total > 0)
        .await;
    assert!(
        liar.seen
            .lock()
            .unwrap()
            .keys()
            .all(|name| name == "from the liar")
    );
    assert!(a.value("from the liar").is_none() && b.value("from the liar").is_none());
    let names: Vec<_> = a
        .cluster
        .sharing()
        .balancers
        .into_iter()
        .map(|b| b.name)
        .collect();
    assert_eq!(names, ["b"]);
    for matter in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        assert_ne!(
            a.cluster.lead(matter, Some("liar"),),
            Lead::Other("liar".into())
        );
    }
}

#[tokio::test]
async fn a_stranger_is_ended_counted_and_told_nothing() {
    let a = One::start("a", 1).await;
    a.cluster.put("secret", Some(b"hush".to_vec())).unwrap();
    let mut stranger = TcpStream::connect(a.address).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut told = Vec::new();
    let _ = within("ended", stranger.read_to_end(&mut told)).await;
    // An alert of TLS at most.
    assert!(told.len() <= 7, "{told:?}");
    a.until("counted", |one| one.cluster.sharing().refused_total == 1)
        .await;
}

#[tokio::test]
async fn half_open_handshakes_of_one_address_keep_no_other_out() {
    let (a, b) = (One::start("a", 1).await, One::start("b", 1).await);
    let socket = || tokio::net::TcpSocket::new_v4().unwrap();
    let mut open = Vec::new();
    for _ in 0..40 {
        let socket = socket();
        socket.bind(([127, 0, 0, 77], 0).into()).unwrap();
        open.push(socket.connect(b.address).await.unwrap());
    }
    introduce(&[&a, &b]);
    a.until("there", |one| one.cluster.sharing().balancers.len() == 1)
        .await;
    b.until("the others are refused", |one| {
        one.cluster.sharing().refused_total >= 36
    })
    .await;
}

#[tokio::test]
async fn a_name_at_the_address_of_another_ends_no_stream() {
    let (a, b) = (One::start("a", 1).await, One::start("b", 1).await);
    introduce(&[&a, &b]);
    b.until("there", |one| one.cluster.sharing().balancers.len() == 1)
        .await;
    let before = b.cluster.sharing().balancers[0].address;
    let others = [("b", b.address), ("liar", b.address)];
    a.cluster.set_neighbours(&Neighbours {
        me: "a".to_owned(),
        others: others.map(|(name, at)| (name.to_owned(), at)).into(),
    });
    b.until("who looks for another is refused", |one| {
        one.cluster.sharing().refused_total >= 2
    })
    .await;
    let after = b.cluster.sharing().balancers;
    assert_eq!((after.len(), after[0].address), (1, before));
}

#[tokio::test]
async fn who_is_gone_is_waited_for_a_moment_and_comes_back_with_what_it_missed() {
    let (a, b) = (One::start("a", 1).await, One::start("b", 1).await);
    introduce(&[&a, &b]);
    a.until("there", |one| one.cluster.sharing().balancers.len() == 1)
        .await;
    b.running.abort();
    a.until("gone", |one| one.cluster.sharing().balancers.is_empty())
        .await;
    let revision = a.cluster.put("meanwhile", Some(b"1".to_vec())).unwrap();
    within("not waited for", a.cluster.confirmed(revision)).await;
    assert!(b.value("meanwhile").is_none());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let b = One {
        address: listener.local_addr().unwrap(),
        ..b
    };
    let _again = tokio::spawn(b.cluster.clone().run(listener));
    introduce(&[&a, &b]);
    b.until("told", |one| one.value("meanwhile").is_some())
        .await;
}

#[tokio::test]
async fn who_is_held_shares_with_nobody_until_it_is_let_go() {
    let (a, b) = (One::start("a", 1).await, One::start("b", 1).await);
    introduce(&[&a, &b]);
    let shares = |one: &One| one.cluster.sharing().balancers.len() == 1;
    a.until("there", shares).await;
    for held in [&a, &b] {
        held.cluster.hold(true);
        for one in [&a, &b] {
            one.until("gone", |one| !shares(one)).await;
        }
        held.cluster.hold(false);
        for one in [&a, &b] {
            one.until("back", shares).await;
        }
    }
}
