//! The CSV row for row, for servers in every state.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use roundel_testkit::{Origin, free_address, get, poll};

use super::Pair;
use crate::balancer::SOON;
use crate::turns::beside_others;

/// What both must say. Left out are times, what a machine's speed decides, numbers of objects, and
/// what `HAPROXY.md` lists.
const COLUMNS: [&str; 22] = [
    "qcur", "scur", "stot", "dresp", "econ", "eresp", "wretr", "wredis", "status", "weight", "act",
    "bck", "pid", "sid", "lbtot", "type", "hrsp_2xx", "hrsp_5xx", "req_tot", "cli_abrt", "mode",
    "uweight",
];

type Rows = BTreeMap<(String, String), BTreeMap<String, String>>;

fn rows(at: SocketAddr) -> Rows {
    let csv = get(at, "/;csv").unwrap().text();
    let mut lines = csv.trim_start_matches("# ").lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        let cells = header.iter().zip(line.split(','));
        let mut row: BTreeMap<String, String> = cells
            .filter(|(name, _)| COLUMNS.contains(*name))
            .map(|(name, cell)| ((*name).to_owned(), cell.to_owned()))
            .collect();
        let words: Vec<&str> = line.split(',').collect();
        if words[1] == "BACKEND" {
            // The sum of connections opened; HAProxy's limit of a backend has no counterpart.
            row.remove("sid");
        }
        ((words[0].to_owned(), words[1].to_owned()), row)
    };
    let all = lines.map(row);
    all.filter(|((proxy, _), _)| proxy == "b" || proxy == "dead")
        .collect()
}

fn order(socket: &std::path::Path, line: &str) {
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{line}").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said.trim(), "", "{line}");
}

#[test]
fn servers_in_every_state_have_haproxys_rows() {
    let _turn = beside_others();
    let names = ["up", "down", "drain", "maint", "zero", "spare"];
    let mut apps: BTreeMap<&str, Origin> = names
        .iter()
        .map(|name| (*name, Origin::named(name)))
        .collect();
    let closed = free_address();
    let mut servers: Vec<(&str, SocketAddr, bool)> = apps
        .iter()
        .map(|(name, app)| (*name, app.address(), *name == "spare"))
        .collect();
    servers.push(("never", closed, false));
    let ours = servers.iter().map(|(name, address, backup)| {
        format!("{{ name = \"{name}\", address = \"{address}\", backup = {backup} }}")
    });
    let check =
        "sticky = \"off\"\ncheck = { http = \"GET /\", every = \"200ms\", timeout = \"5s\" }\n";
    let ours = format!(
        "default_backend = \"b\"\n[[backend]]\nname = \"b\"\n{check}server = [{}]\n\
         [[backend]]\nname = \"dead\"\n{check}server = [{{ name = \"never\", address = \"{closed}\" }}]\n",
        ours.collect::<Vec<_>>().join(", ")
    );
    let theirs = servers.iter().map(|(name, address, backup)| {
        let backup = if *backup { " backup" } else { "" };
        format!("  server {name} {address} check inter 200ms{backup}\n")
    });
    let theirs = format!(
        "  default_backend b\nbackend b\n  option httpchk GET /\n{}backend dead\n  option httpchk GET /\n  \
         server never {closed} check inter 200ms\n",
        theirs.collect::<String>()
    );
    let Some(pair) = Pair::start(&ours, &theirs) else {
        return;
    };
    drop(apps.remove("down"));
    for socket in ["roundel.sock", "haproxy.sock"] {
        let socket = pair.folder.path().join(socket);
        order(&socket, "set server b/drain state drain");
        order(&socket, "set server b/maint state maint");
        order(&socket, "set weight b/zero 0");
    }
    let settled = |rows: &Rows| {
        let status = |name: &str| rows[&("b".to_owned(), name.to_owned())]["status"].clone();
        ["up", "spare"].map(status) == ["UP", "UP"]
            && ["down", "never"].map(status) == ["DOWN", "DOWN"]
    };
    for at in [pair.ours.stats, pair.stats] {
        let waited = poll(SOON, || settled(&rows(at)).then_some(()));
        assert!(waited.is_some(), "{:#?}", rows(at));
    }
    for front in [pair.front, pair.ours.front] {
        for _ in 0..3 {
            assert_eq!(get(front, "/").unwrap().text(), "up");
        }
    }
    let (mut ours, mut theirs) = (Rows::new(), Rows::new());
    let same = poll(SOON, || {
        (ours, theirs) = (rows(pair.ours.stats), rows(pair.stats));
        (ours == theirs).then_some(())
    });
    if same.is_none() {
        for (name, row) in &theirs {
            assert_eq!(Some(row), ours.get(name), "HAProxy's, ours: {name:?}");
        }
        panic!("more rows than HAProxy's: {ours:#?}");
    }
}
