//! Replies, byte for byte.

use super::servers::App;
use super::stage::Stage;
use crate::turns::beside_others;

/// Lines whose whole reply is HAProxy's, in an order in which each makes sense.
const SAME: &str = "\
disable server b/s1 x
enable server b/s1
disable server b
disable server
disable server b/x
disable server x/s1
get weight
get weight b/s1
get weight b/x
get weight x
get weight b/s1 y
set server
set server b/x state
set server b/s1 state
set server b/s1 state fly
set server b/s1 state drain x
set server b/s1 state ready
set server b/s1 weight
set server b/s1 weight -1
set server b/s1 weight 257
set server b/s1 weight 150%
get weight b/s1
set server b/s1 weight -5%
set server b/s1 weight 5x
set server b/s1 weight 99999%
get weight b/s1
set weight b/s1 0
get weight b/s1
set weight b/s1 100%
get weight b/s1
set server b/s1 state maint
set weight b/s1 0
get weight b/s1
set server b/s1 state ready
set weight b/s1 100%
set weight
set weight b/s1
set weight b
set weight b/s1 x
set maxconn server b/s1 7
set maxconn server b/s1
set maxconn server b/s1 x
set maxconn server b/s1 -1
set maxconn frontend f 100
set maxconn frontend x 100
set maxconn frontend f
shutdown sessions server b/x
shutdown sessions server b/s1
shutdown sessions server b
shutdown sessions server x/s1
shutdown sessions server
show servers conn x
show servers state x
show sess 0x123
disable frontend f
disable frontend f
enable frontend f
enable frontend f
disable frontend x
disable frontend
disable health b/s1
enable health b/s1
enable health
set server b/s1 addr
set server b/s1 addr foo
set server b/s1 addr 127.0.0.1
set server b/s1 health
set server b/s1 health up
set server b/s1 health fly
set server b/s1 check-port
set server b/s1 check-port x
set server b/s1 check-port 99999
set server b/s1 check-port 0
set server b/s1 agent up
set server b/s1 fqdn foo
clear counters
clear counters all
add server b/n 127.0.0.1:9 check weight 3
add server b/n 127.0.0.1:9
add server b/n2
add server b
add server
add server x/n 127.0.0.1:1
get weight b/n
enable server b/n
del server b/n
del server b/nope
del server b
del server
disable server b/n
del server b/n
add server b/n 127.0.0.1:9 check inter 2s fall 3 rise 2 maxconn 5 backup weight 4
get weight b/n
disable server b/n
del server b/n
show backend
show cli level
operator
user
show stat x y z
set severity-output
set severity-output foo
set severity-output number;set weight b/zz 1
set severity-output string;set weight b/zz 1
set severity-output number;get weight b/s1
set severity-output number;set server b/s1 addr 127.0.0.1
set severity-output number;add server b/s1 127.0.0.1:9
set server b/s1 state ready; get weight b/s1
set timeout
set timeout cli
set timeout cli x
set timeout cli 5";

#[test]
fn replies_are_haproxys() {
    let _turn = beside_others();
    let apps = ["s1", "s2"].map(App::start);
    let Some(stage) = Stage::new(&apps) else {
        return;
    };
    let mut differences = Vec::new();
    for line in SAME.lines() {
        let [theirs, ours] = [0, 1].map(|i| stage.sides[i].say(line));
        if theirs != ours {
            differences.push(format!("{line}\n  {theirs:?}\n  {ours:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The first words of each line, which are what readers look for.
fn keys(text: &str) -> Vec<String> {
    let key = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    text.lines()
        .map(key)
        .filter(|key| !key.is_empty())
        .collect()
}

#[test]
fn info_has_haproxys_keys_in_every_form() {
    let _turn = beside_others();
    let apps = ["s1"].map(App::start);
    let Some(stage) = Stage::new(&apps) else {
        return;
    };
    // What HAProxy's memory pools and developers count.
    let absent = |key: &String| {
        let words = ["Pool", "DebugCommands", "ConnectedPeers"];
        words.iter().any(|word| key.contains(word))
    };
    for line in ["show info", "show info typed", "show info desc"] {
        let [theirs, ours] = [0, 1].map(|i| keys(&stage.sides[i].say(line)));
        let missing: Vec<_> = theirs.iter().filter(|k| !ours.contains(k)).collect();
        assert!(missing.iter().all(|key| absent(key)), "{line}: {missing:?}");
    }
    let json = stage.sides[1].say("show info json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["value"]["value"], "HAProxy");
    let version = stage.sides[1].say("show info");
    assert!(
        version.contains(&format!(
            "\nVersion: 2.6.0-roundel{}\n",
            env!("CARGO_PKG_VERSION")
        )),
        "{version}"
    );
}

#[test]
fn tables_of_one_proxy_have_the_same_rows() {
    let _turn = beside_others();
    let apps = ["s1", "s2"].map(App::start);
    let Some(stage) = Stage::new(&apps) else {
        return;
    };
    let line = "set server b/s1 weight 0; disable server b/s2";
    stage.sides.iter().for_each(|side| drop(side.say(line)));
    for line in [
        "show stat b 4 -1",
        "show stat f 1 -1",
        "show stat b 2 -1",
        "show stat no-maint",
        "show stat b 4 1",
        "show stat foo",
    ] {
        let rows = |i: usize| {
            let text: String = stage.sides[i].say(line);
            let row = |line: &str| {
                let cells: Vec<_> = line.split(',').collect();
                let wanted = |at: usize| cells.get(at).copied().unwrap_or_default().to_owned();
                // HAProxy adds numbers to the status of a backend when rows are left out.
                let status = wanted(17);
                let status = status.split(' ').next().unwrap_or_default();
                [&wanted(0), &wanted(1), status, &wanted(18)].join(" ")
            };
            let lines = text.lines().filter(|line| !line.is_empty());
            lines.map(row).collect::<Vec<_>>()
        };
        assert_eq!(rows(0), rows(1), "{line}");
    }
    let states = |i: usize| {
        let text: String = stage.sides[i].say("show servers state b");
        let row = |line: &str| {
            let cells: Vec<_> = line.split(' ').collect();
            // Name, operational and administrative state, both weights.
            [3, 5, 6, 7, 8].map(|at: usize| cells.get(at).copied().unwrap_or_default().to_owned())
        };
        text.lines().map(row).collect::<Vec<_>>()
    };
    assert_eq!(states(0), states(1));
}
