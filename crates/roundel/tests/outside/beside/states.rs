//! The CSV row for row, for servers in every state.

use std::net::SocketAddr;
use std::path::Path;

use roundel_testkit::{get, poll};

use super::all_states::{self, AllStates, Rows, say};
use crate::balancer::SOON;
use crate::turns::beside_others;

/// What both must say. Left out are times, what a machine's speed decides, numbers of objects, and
/// what `HAPROXY.md` lists.
const COLUMNS: [&str; 22] = [
    "qcur", "scur", "stot", "dresp", "econ", "eresp", "wretr", "wredis", "status", "weight", "act",
    "bck", "pid", "sid", "lbtot", "type", "hrsp_2xx", "hrsp_5xx", "req_tot", "cli_abrt", "mode",
    "uweight",
];

fn rows(at: SocketAddr) -> Rows {
    let mut rows = all_states::rows(at);
    for ((proxy, server), row) in &mut rows {
        row.retain(|name, _| COLUMNS.contains(&name.as_str()));
        if server == "BACKEND" {
            // The sum of connections opened; HAProxy's limit of a backend has no counterpart.
            row.remove("sid");
        }
        if proxy == "full" {
            // Requests that are under way are counted at other moments.
            row.retain(|name, _| !["stot", "req_tot"].contains(&name.as_str()));
        }
    }
    rows
}

#[test]
fn servers_in_every_state_have_haproxys_rows() {
    let _turn = beside_others();
    let Some(all) = AllStates::start() else {
        return;
    };
    ask(&all, 3);
    compare(&all);
}

fn ask(all: &AllStates, times: usize) {
    for front in [all.pair.front, all.pair.ours.front] {
        for _ in 0..times {
            assert_eq!(get(front, "/").unwrap().text(), "up");
        }
    }
}

/// Waits until both have the same rows, and gives them.
fn compare(all: &AllStates) -> Rows {
    let (mut ours, mut theirs) = (Rows::new(), Rows::new());
    let same = poll(SOON, || {
        [theirs, ours] = all.stats().map(rows);
        (ours == theirs).then_some(())
    });
    if same.is_none() {
        for (name, row) in &theirs {
            assert_eq!(Some(row), ours.get(name), "HAProxy's, ours: {name:?}");
        }
        panic!("more rows than HAProxy's: {ours:#?}");
    }
    ours
}

#[test]
fn cleared_counters_begin_anew_as_haproxys_do() {
    let _turn = beside_others();
    let Some(all) = AllStates::start() else {
        return;
    };
    let total = |rows: &Rows| rows[&("b".to_owned(), "up".to_owned())]["stot"].clone();
    ask(&all, 3);
    assert_eq!(total(&compare(&all)), "3");
    for socket in all.sockets() {
        assert_eq!(say(&socket, "clear counters all"), "\n");
    }
    assert_eq!(total(&compare(&all)), "0");
    ask(&all, 2);
    assert_eq!(total(&compare(&all)), "2");
    for socket in all.sockets() {
        assert_eq!(say(&socket, "clear counters"), "\n");
    }
    assert_eq!(total(&compare(&all)), "2");
    // Those of Prometheus never go back.
    let metrics = all.pair.ours.page("/metrics");
    let line = "roundel_server_requests_total{backend=\"b\",server=\"up\",code=\"2xx\"} 5";
    assert!(metrics.contains(line), "{metrics}");
}

/// The status of each row of the backends, without HAProxy's count of checks on the way to it.
fn statuses(socket: &Path, line: &str) -> Vec<(String, String)> {
    let table = say(socket, line);
    let rows = table
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    let ours = rows.filter(|row| ["b", "dead", "full"].contains(&row[0]));
    let status = |row: Vec<&str>| {
        let words = if row[1] == "BACKEND" { 2 } else { 1 };
        let status: Vec<&str> = row[17].split(' ').take(words).collect();
        (format!("{}/{}", row[0], row[1]), status.join(" "))
    };
    ours.map(status).collect()
}

#[test]
fn narrowed_tables_leave_the_same_rows_out_and_count_the_same() {
    let _turn = beside_others();
    let Some(all) = AllStates::start() else {
        return;
    };
    for line in [
        "show stat up",
        "show stat no-maint",
        "show stat up no-maint",
    ] {
        let (mut ours, mut theirs) = Default::default();
        let same = poll(SOON, || {
            [theirs, ours] = all.sockets().map(|socket| statuses(&socket, line));
            (ours == theirs).then_some(())
        });
        assert!(same.is_some(), "{line}\n{theirs:?}\n{ours:?}");
        let backend = &ours.iter().find(|(name, _)| name == "b/BACKEND").unwrap().1;
        assert_eq!(backend, "UP (4/7)", "{line}");
    }
}
