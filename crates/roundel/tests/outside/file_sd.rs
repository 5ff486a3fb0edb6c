//! Servers out of a file as others write it for Prometheus, rewritten under traffic.

use std::fs;
use std::path::PathBuf;

use roundel_testkit::{Load, Origin, Reuse, free_address, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::balancer::{Balancer, SOON};
use crate::turns::beside_others;

/// A balancer whose servers stand in such a file.
struct Stage {
    _folder: TempDir,
    targets: PathBuf,
    balancer: Balancer,
}

impl Stage {
    fn start(groups: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let targets = folder.path().join("web.json");
        fs::write(&targets, groups.to_string()).unwrap();
        let file = folder.path().join("roundel.toml");
        let [front, stats] = [free_address(), free_address()];
        let text = format!(
            "[stats]\nlisten = \"{stats}\"\n[cli]\nlisten = \"off\"\n[access_log]\nformat = \"off\"\n\
             [[frontend]]\nname = \"front\"\nlisten = [\"{front}\"]\ndefault_backend = \"web\"\n\
             [[backend]]\nname = \"web\"\nsticky = \"off\"\n\
             discover = [{{ file = {{ path = \"web.json\" }} }}]\n"
        );
        fs::write(&file, text).unwrap();
        let file = file.to_str().expect("a path of ours is text");
        Self {
            targets,
            balancer: Balancer::with_file(file, [front, stats]),
            _folder: folder,
        }
    }

    fn write(&self, text: &str) {
        fs::write(&self.targets, text).unwrap();
    }

    /// Waits until these servers are up, and no other is there but those that left.
    fn wait_up(&self, mut names: Vec<String>) {
        names.sort();
        wait_for(&format!("{names:?} up"), SOON, || {
            let mut states = self.balancer.states();
            states.retain(|(_, state)| state != "left");
            states.sort();
            let is_up = |((name, state), right): (&(String, String), &String)| {
                name == right && state == "up"
            };
            let all = states.len() == names.len();
            (all && states.iter().zip(&names).all(is_up)).then_some(())
        });
    }
}

fn at(origin: &Origin) -> String {
    origin.address().to_string()
}

#[test]
fn groups_of_targets_are_followed_while_they_are_rewritten() {
    let _turn = beside_others();
    let origins = ["a", "b", "c", "d"].map(Origin::named);
    let [a, b, c, d] = origins.each_ref().map(at);
    let named = json!({
        "targets": [c],
        "labels": {"roundel_name": "c", "roundel_weight": "7", "job": "web"},
    });
    let groups = json!([{"targets": [a, b], "labels": {"job": "web"}}, named]);
    let stage = Stage::start(&groups);
    stage.wait_up(vec![a.clone(), b, "c".into()]);
    let snapshot = stage.balancer.snapshot();
    let servers = snapshot["backends"][0]["servers"].as_array().unwrap();
    let server = servers.iter().find(|s| s["name"] == "c").unwrap();
    assert_eq!(server["weight"], 7, "{server}");
    let load = Load::start(stage.balancer.front, 2, Reuse::KeepAlive);
    load.wait_more(50, SOON);

    // A writer that does it in place: the first half of the next set is on the disk.
    let next = json!([{"targets": [a, d]}]).to_string();
    let half = next.len() / 2;
    stage.write(&next[..half]);
    let line = stage
        .balancer
        .process
        .wait_line("not a list of targets", SOON);
    assert!(line.contains("web.json"), "{line}");
    assert!(line.contains("stays in force"), "{line}");
    assert_eq!(stage.balancer.states().len(), 3);
    load.wait_more(50, SOON);
    stage.write(&next);
    stage.wait_up(vec![a.clone(), d.clone()]);

    // One that is no address costs no other.
    stage.write(&json!([{"targets": ["web.example.org:80", d]}]).to_string());
    stage.wait_up(vec![d.clone()]);
    let line = stage.balancer.process.wait_line("target ignored", SOON);
    let words = ["group 1", "web.example.org:80", "write ip, ip:port"];
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
    load.wait_more(50, SOON);
    load.stop().assert_clean();

    // An empty list is a statement, and so is what comes after it.
    stage.write("[]");
    stage.wait_up(Vec::new());
    assert_eq!(stage.balancer.get("/").status, 503);
    stage.write(&json!([{"targets": [a]}]).to_string());
    stage.wait_up(vec![a]);
    assert_eq!(stage.balancer.get("/").text(), "a");
}

#[test]
fn a_file_that_is_wrong_at_the_start_is_told_and_heals() {
    let _turn = beside_others();
    let origin = Origin::named("a");
    let stage = Stage::start(&json!({"targets": [at(&origin)]}));
    let line = stage
        .balancer
        .process
        .wait_line("not a list of targets", SOON);
    assert!(line.contains("line 1, column 1"), "{line}");
    stage.write(&json!([{"targets": [at(&origin)]}]).to_string());
    stage.wait_up(vec![at(&origin)]);
}
