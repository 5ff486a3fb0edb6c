//! A changed configuration under traffic.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use roundel_testkit::{Connection, Load, Origin, Reuse, Signal, free_port, loopback, wait_for};
use tempfile::TempDir;

use crate::balancer::{Balancer, SOON};
use crate::turns::beside_others;

/// A configuration file that can be written anew.
struct File {
    _folder: TempDir,
    path: PathBuf,
    front: SocketAddr,
    stats: SocketAddr,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roundel.toml");
        let ip = loopback();
        let [front, stats] = [(); 2].map(|()| SocketAddr::from((ip, free_port(ip))));
        Self {
            _folder: folder,
            path,
            front,
            stats,
        }
    }

    fn write(&self, servers: &[(&str, SocketAddr)]) {
        let server = |(name, at): &(&str, SocketAddr)| {
            format!("[[backend.server]]\nname = \"{name}\"\naddress = \"{at}\"\n")
        };
        let servers: String = servers.iter().map(server).collect();
        let text = format!(
            "[stats]\nlisten = \"{}\"\n[cli]\nlisten = \"off\"\n[access_log]\nformat = \"off\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [\"{}\"]\ndefault_backend = \"nodes\"\n\
             [[backend]]\nname = \"nodes\"\nsticky = \"off\"\n{servers}",
            self.stats, self.front
        );
        fs::write(&self.path, text).unwrap();
    }

    fn start(&self) -> Balancer {
        let path = self.path.to_str().expect("a path of ours is text");
        Balancer::with_file(path, [self.front, self.stats])
    }
}

fn reloads(balancer: &Balancer, successful: u8) -> bool {
    let line = format!("roundel_config_last_reload_successful {successful}");
    balancer.page("/metrics").lines().any(|l| l == line)
}

#[test]
fn hup_swaps_the_servers_and_keeps_every_connection() {
    let _turn = beside_others();
    let [a, b] = ["a", "b"].map(Origin::named);
    let file = File::new();
    file.write(&[("a", a.address()), ("b", b.address())]);
    let mut balancer = file.start();
    balancer.wait_up(2, SOON);
    let mut connection = Connection::open(balancer.front).unwrap();
    let mut ask = || connection.send("GET", "/", &[], b"").unwrap().text();
    let both = BTreeSet::from([ask(), ask()]);
    assert_eq!(both, BTreeSet::from(["a".into(), "b".into()]));
    let load = Load::start(balancer.front, 2, Reuse::KeepAlive);
    load.wait_more(50, SOON);

    file.write(&[("b", b.address())]);
    balancer.process.signal(Signal::HUP);
    wait_for("the other server to answer", SOON, || {
        (ask() == "b").then_some(())
    });
    load.wait_more(50, SOON);
    load.stop().assert_clean();
    assert!(balancer.process.try_exit().is_none());
}

#[test]
fn a_bad_file_changes_nothing_and_is_shown() {
    let _turn = beside_others();
    let a = Origin::named("a");
    let file = File::new();
    file.write(&[("a", a.address())]);
    let mut balancer = file.start();
    balancer.wait_up(1, SOON);
    let good = fs::read_to_string(&file.path).unwrap();
    fs::write(
        &file.path,
        good.replace("roundrobin", "") + "balanse = \"x\"\n",
    )
    .unwrap();
    balancer.process.signal(Signal::HUP);
    wait_for("the failed reload in the metrics", SOON, || {
        reloads(&balancer, 0).then_some(())
    });
    assert_eq!(balancer.get("/").text(), "a");
    let page = balancer.page("/");
    assert!(
        page.contains("balanse"),
        "the page does not tell of the mistake: {page}"
    );

    fs::write(&file.path, good).unwrap();
    balancer.process.signal(Signal::HUP);
    wait_for("the good reload in the metrics", SOON, || {
        reloads(&balancer, 1).then_some(())
    });
    assert!(balancer.process.try_exit().is_none());
}

#[test]
fn a_changed_file_is_noticed_without_a_signal() {
    let _turn = beside_others();
    let [a, b] = ["a", "b"].map(Origin::named);
    let file = File::new();
    file.write(&[("a", a.address())]);
    let balancer = file.start();
    balancer.wait_up(1, SOON);
    file.write(&[("a", a.address()), ("b", b.address())]);
    balancer.wait_up(2, SOON);
}
