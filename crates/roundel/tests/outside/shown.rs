//! Words from the network and names of files, wherever a person reads them.

use std::fs;

use roundel_testkit::wait_for;

use crate::balancer::{Balancer, SOON};
use crate::cluster::verb;
use crate::servers::Agent;
use crate::turns::beside_others;

/// A tag that clears the screen, in two notations of the same control, and turns what follows.
const TAG: &str = "evil=\u{1b}[2J\u{9b}2J\u{202e}";

#[test]
fn nobody_forges_a_line() {
    let _turn = beside_others();
    let folder = tempfile::tempdir().unwrap();
    let file = "nodes\n2026-11-30T00:00:00Z  WARN forged of a file";
    fs::write(folder.path().join(file), "no address\n").unwrap();
    let front = roundel_testkit::free_address();
    let stats = roundel_testkit::free_address();
    let gossip = roundel_testkit::free_address();
    let config = format!(
        "stats = {{ listen = \"{stats}\", admin = \"loopback\" }}\ncli = {{ listen = \"off\" }}\n\
         gossip = {{ listen = \"{gossip}\", node_name = \"lb\" }}\n\
         [[frontend]]\nname = \"web\"\nlisten = [\"{front}\"]\n\
         [[backend]]\nname = \"nodes\"\n\
         discover = [{{ gossip = {{ role = \"backend\" }} }}, {{ file = {{ path = {:?} }} }}]\n",
        folder.path()
    );
    let path = folder.path().with_extension("toml");
    fs::write(&path, config).unwrap();
    let mut balancer = Balancer::with_file(path.to_str().unwrap(), [front, stats]);
    balancer.gossip = gossip;
    let answer = "query:load=printf \"0.4\\nAck from 'forged of a query'\"";
    let flags = ["--tag", TAG, "--event-handler", answer];
    let _agent = Agent::with("s1", gossip, &flags, None);
    balancer.wait_member("s1", "alive", SOON);

    let log = wait_for("the file to be complained of", SOON, || {
        let log = balancer.process.stderr();
        log.contains("forged of a file").then_some(log)
    });
    assert!(log.contains("nodes\\n2026"), "{log}");
    let asked = verb(&balancer, &[], &["query", "load", "--timeout", "1s"]);
    assert!(asked.contains("from 's1': 0.4\\nAck"), "{asked}");
    let mut told = vec![log, asked];
    for words in [
        &["members"][..],
        &["members", "--json"],
        &["events"],
        &["events", "--json"],
        &["stat"],
        &["stat", "--json"],
    ] {
        told.push(verb(&balancer, &[], words));
    }
    for path in ["/;csv", "/metrics", "/api/v1/members"] {
        told.push(balancer.page(path));
    }
    for text in &told {
        let is_forged = |line: &str| {
            line.starts_with("2026-11-30T00:00:00Z  WARN forged")
                || line.starts_with("Ack from 'forged")
        };
        assert!(!text.lines().any(is_forged), "{text}");
    }
    // Line ends mean nothing to HTML.
    told.extend(["/", "/?view=classic"].map(|path| balancer.page(path)));
    for text in told {
        let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || c == '\u{202e}';
        assert!(!text.contains(steers), "{text:?}");
    }
    fs::remove_file(path).unwrap();
}
