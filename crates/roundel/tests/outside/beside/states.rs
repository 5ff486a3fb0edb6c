//! The CSV row for row, for servers in every state.

use std::net::SocketAddr;

use roundel_testkit::{get, poll};

use super::all_states::{self, AllStates, Rows};
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
    for front in [all.pair.front, all.pair.ours.front] {
        for _ in 0..3 {
            assert_eq!(get(front, "/").unwrap().text(), "up");
        }
    }
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
}
