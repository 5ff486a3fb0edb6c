use super::*;
use crate::fixture;
use crate::history::{History, Rates};
use crate::status::Snapshot;
use std::sync::Arc;

/// Verbatim from HAProxy 2.6.12.
const HEADER_2_6: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,agg_server_check_status,agg_check_status,";

/// What later versions put between those and the `-` column.
const HEADER_3: &str = "srid,sess_other,h1sess,h2sess,h3sess,req_other,h1req,h2req,h3req,proto,priv_idle_cur,reqbin,reqbout,resbin,resbout,cache_hint_hits,-,";

fn moment(snapshots: impl IntoIterator<Item = Snapshot>) -> Moment {
    let mut history = History::new();
    let mut latest = Moment::new(Arc::default(), Rates::default());
    for snapshot in snapshots {
        let snapshot = Arc::new(snapshot);
        let rates = history.push(&snapshot);
        latest = Moment::new(snapshot, rates);
    }
    latest
}

/// The table with nothing cleared.
fn render(moment: &Moment, filter: &Filter) -> String {
    super::render(moment, filter, &Cleared::default())
}

/// A strict reader: quotes, doubled quotes, one record per line.
fn parse(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    assert!(!quoted, "open quote in {line}");
    cells.push(cell);
    cells
}

struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn of(text: &str) -> Self {
        let mut lines = text.lines();
        let header = parse(lines.next().unwrap().strip_prefix("# ").unwrap());
        let rows: Vec<_> = lines.map(parse).collect();
        for row in &rows {
            assert_eq!(row.len(), header.len());
        }
        Self { header, rows }
    }

    fn get(&self, server: &str, column: &str) -> &str {
        let at = self.header.iter().position(|name| name == column).unwrap();
        let row = self.rows.iter().find(|row| row[1] == server).unwrap();
        &row[at]
    }
}

#[test]
fn the_header_is_haproxys_to_the_byte() {
    let text = render(&moment([fixture::calm(1, 1)]), &Filter::ALL);
    let header = text.lines().next().unwrap();
    let rest = header.strip_prefix(HEADER_2_6).expect("columns 0 to 102");
    let own = rest
        .strip_prefix(HEADER_3)
        .expect("columns 103 to 118 and the mark");
    assert!(
        own.split(',').all(|name| name.is_empty()
            || name.starts_with("roundel_")
            || name.starts_with("ssl_"))
    );
    assert_eq!(COLUMNS[119].name, "-");
}

#[test]
fn every_line_ends_with_a_comma_and_rows_are_in_order() {
    let text = render(&moment([fixture::calm(1, 2)]), &Filter::ALL);
    assert!(text.ends_with(",\n"));
    assert!(text.lines().all(|line| line.ends_with(',')));
    let table = Table::of(&text);
    let names: Vec<_> = table
        .rows
        .iter()
        .map(|r| (r[0].as_str(), r[1].as_str()))
        .collect();
    let expected = [
        ("localnodes", "FRONTEND"),
        ("nodes", "webapp-1"),
        ("nodes", "webapp-2"),
        ("nodes", "BACKEND"),
    ];
    assert_eq!(names, expected);
}

#[test]
fn numbers_are_those_of_the_snapshot() {
    let table = Table::of(&render(
        &moment([fixture::calm(10, 2), fixture::calm(12, 2)]),
        &Filter::ALL,
    ));
    let now = fixture::calm(12, 2);
    let server = &now.backends[0].servers[0];
    let requests = server.requests_total.to_string();
    assert_eq!(table.get("webapp-1", "stot"), requests);
    assert_eq!(table.get("webapp-1", "check_status"), "L7OK");
    assert_eq!(table.get("webapp-1", "check_desc"), "Layer7 check passed");
    assert_eq!(table.get("webapp-1", "ttime"), "4");
    assert_eq!(table.get("webapp-1", "ttime_max"), "180");
    assert_eq!(table.get("FRONTEND", "rate"), "4");
    assert_eq!(table.get("FRONTEND", "conn_tot"), "48");
    assert_eq!(table.get("FRONTEND", "slim"), "");
    assert_eq!(table.get("BACKEND", "act"), "2");
    assert_eq!(table.get("BACKEND", "weight"), "2");
    assert_eq!(table.get("BACKEND", "algo"), "roundrobin");
    assert_eq!(table.get("BACKEND", "type"), "1");
    let rate =
        (server.requests_total - fixture::calm(10, 2).backends[0].servers[0].requests_total) / 2;
    assert_eq!(table.get("webapp-1", "rate"), rate.to_string());
}

#[test]
fn states_become_haproxys_words() {
    let table = Table::of(&render(&moment([fixture::every_state(9)]), &Filter::ALL));
    let words = [
        ("webapp-1", "DOWN", "1"),
        ("webapp-2", "UP", "1"),
        ("webapp-3", "UP", "1"),
        ("webapp-4", "DOWN", "1"),
        ("webapp-5", "DRAIN", "1"),
        ("webapp-6", "DRAIN", "1"),
        ("webapp-7", "MAINT", "1"),
        ("webapp-8", "DOWN", "1"),
        ("webapp-10", "UP", "1"),
    ];
    for (server, status, act) in words {
        assert_eq!(table.get(server, "status"), status, "{server}");
        assert_eq!(table.get(server, "act"), act, "{server}");
    }
    assert_eq!(table.get("webapp-3", "throttle"), "40");
    assert_eq!(table.get("webapp-8", "check_status"), "* L4CON");
    assert_eq!(table.get("BACKEND", "status"), "UP");
    assert_eq!(
        table.get("webapp-10", "last_chk"),
        "gossip silent 2.1 s; check passes",
        "scripts split at every comma"
    );
}

#[test]
fn probes_in_transition_are_counted_in_the_status() {
    let mut snapshot = fixture::calm(1, 1);
    let check = |health| crate::status::Check {
        rise: 2,
        fall: 3,
        health,
        ..Default::default()
    };
    let server = Arc::make_mut(&mut snapshot.backends[0].servers[0]);
    server.check = Some(check(3));
    assert_eq!(server_status(server), "UP 2/3");
    server.check = Some(check(2));
    assert_eq!(server_status(server), "UP 1/3");
    server.state = roundel_model::ServerState::Down;
    server.check = Some(check(1));
    assert_eq!(server_status(server), "DOWN 1/2");
    server.state = roundel_model::ServerState::Up;
    server.check = None;
    assert_eq!(server_status(server), "no check");
}

#[test]
fn hostile_text_stays_in_its_cell() {
    let text = render(&moment([fixture::hostile()]), &Filter::ALL);
    let table = Table::of(&text);
    assert_eq!(table.rows.len(), 3);
    assert!(!text.contains('\u{1b}') && !text.contains('\r'));
    assert!(table.rows[1][1].starts_with("<img src=x"));
    let mut cell = String::new();
    Cell::csv(&mut cell).text("=HYPERLINK(1)");
    assert_eq!(cell, "'=HYPERLINK(1)");
}

#[test]
fn filters_select_rows() {
    let moment = moment([fixture::every_state(3)]);
    let rows = |filter| Table::of(&render(&moment, &filter)).rows;
    let servers = Filter {
        kinds: 4,
        ..Filter::ALL
    };
    assert_eq!(rows(servers.clone()).len(), 9, "what left has no row");
    let one = Filter {
        sid: 2,
        kinds: 4,
        ..Filter::ALL
    };
    assert_eq!(rows(one)[0][1], "webapp-2");
    let other = Filter {
        iid: 9,
        ..Filter::ALL
    };
    assert!(rows(other).is_empty());
    let no_maint = Filter {
        no_maint: true,
        ..servers
    };
    assert_eq!(rows(no_maint).len(), 8);
    let elsewhere = Filter {
        scope: "local".into(),
        ..Filter::ALL
    };
    let rows = rows(elsewhere);
    assert!(
        !rows.is_empty() && rows.iter().all(|row| row[0].contains("local")),
        "{rows:?}"
    );
}

/// The cells of every row by column.
fn cells(text: &str) -> Vec<(&'static str, String)> {
    let rows = text.lines().skip(1).map(parse);
    let named = |row: Vec<String>| COLUMNS.iter().map(|c| c.name).zip(row).collect::<Vec<_>>();
    rows.flat_map(named).collect()
}

#[test]
fn cleared_counters_begin_anew_and_nothing_else_changes() {
    let (before, after) = (
        moment([fixture::calm(10, 2)]),
        moment([fixture::calm(12, 2)]),
    );
    let mut cleared = Cleared::default();
    cleared.clear(&before, false);
    let plain = cells(&render(&before, &Filter::ALL));
    let maxima = cells(&super::render(&before, &Filter::ALL, &cleared));
    let greatest = ["qmax", "qtime_max", "ctime_max", "rtime_max", "ttime_max"];
    for (was, is) in plain.iter().zip(&maxima) {
        assert!(was == is || greatest.contains(&is.0), "{was:?} {is:?}");
    }
    assert!(
        maxima
            .iter()
            .all(|(name, cell)| *name != "ttime_max" || ["", "0"].contains(&&**cell))
    );

    cleared.clear(&before, true);
    let none = cells(&super::render(&before, &Filter::ALL, &cleared));
    let mut counters = 0;
    for (was, (name, cell)) in plain.iter().zip(&none) {
        if typed::is_counter(name) && *name != "downtime" {
            assert!(["", "0"].contains(&&**cell), "{name} {cell}");
            counters += usize::from(was.1 != *cell);
        } else if *name == "lastsess" {
            assert!(["", "-1"].contains(&&**cell), "{cell}");
        } else {
            assert!(was.1 == *cell || greatest.contains(name), "{name} {cell}");
        }
    }
    assert!(counters > 20, "{counters}");

    // What was counted since then, in each form.
    let now = cells(&render(&after, &Filter::ALL));
    let since = cells(&super::render(&after, &Filter::ALL, &cleared));
    let mut grown = 0;
    for ((was, now), (name, since)) in plain.iter().zip(&now).zip(&since) {
        let number = |text: &str| text.parse::<u64>().unwrap_or_default();
        if typed::is_counter(name) && *name != "downtime" {
            assert_eq!(number(since), number(&now.1) - number(&was.1), "{name}");
            grown += number(since);
        }
    }
    assert!(grown > 0);
    let typed = Filter {
        form: Form::Typed,
        ..Filter::ALL
    };
    let total = |text: String| {
        let line = text.lines().find(|line| line.contains(".stot.")).unwrap();
        line.rsplit(':').next().unwrap().parse::<u64>().unwrap()
    };
    let total_since = total(super::render(&after, &typed, &cleared));
    assert!(total_since < total(render(&after, &typed)));

    // A server that is counted anew is not shown with less than it has.
    let anew = super::render(&moment([fixture::calm(1, 2)]), &Filter::ALL, &cleared);
    assert_eq!(
        cells(&anew).iter().find(|(name, _)| *name == "stot"),
        cells(&render(&moment([fixture::calm(1, 2)]), &Filter::ALL))
            .iter()
            .find(|(name, _)| *name == "stot"),
    );
}
