//! HAProxy's table: the same columns under the same names, from the same source as the CSV.

use maud::{Markup, html};

use super::format::span;
use super::look::Look;
use super::{Part, Scene};
use crate::csv::{COLUMNS, Cell, Row, each_row, server_status};

/// The groups of the head, with each column's title and the CSV column that fills it.
const GROUPS: [(&str, &[(&str, &str)]); 9] = [
    (
        "Queue",
        &[("Cur", "qcur"), ("Max", "qmax"), ("Limit", "qlimit")],
    ),
    (
        "Session rate",
        &[("Cur", "rate"), ("Max", "rate_max"), ("Limit", "rate_lim")],
    ),
    (
        "Sessions",
        &[
            ("Cur", "scur"),
            ("Max", "smax"),
            ("Limit", "slim"),
            ("Total", "stot"),
            ("LbTot", "lbtot"),
            ("Last", "lastsess"),
        ],
    ),
    ("Bytes", &[("In", "bin"), ("Out", "bout")]),
    ("Denied", &[("Req", "dreq"), ("Resp", "dresp")]),
    (
        "Errors",
        &[("Req", "ereq"), ("Conn", "econ"), ("Resp", "eresp")],
    ),
    ("Warnings", &[("Retr", "wretr"), ("Redis", "wredis")]),
    (
        "Server",
        &[
            ("Status", "status"),
            ("LastChk", "check_status"),
            ("Wght", "weight"),
            ("Act", "act"),
            ("Bck", "bck"),
            ("Chk", "chkfail"),
            ("Dwn", "chkdown"),
            ("Dwntme", "downtime"),
            ("Thrtle", "throttle"),
        ],
    ),
    (
        "Responses",
        &[
            ("1xx", "hrsp_1xx"),
            ("2xx", "hrsp_2xx"),
            ("3xx", "hrsp_3xx"),
            ("4xx", "hrsp_4xx"),
            ("5xx", "hrsp_5xx"),
        ],
    ),
];

pub(super) fn part(scene: &Scene<'_>) -> Part {
    let snapshot = &scene.moment.snapshot;
    let fronts = snapshot.frontends.iter().map(|f| f.name.as_str());
    let names = fronts.chain(snapshot.backends.iter().map(|b| b.name.as_str()));
    let children: Vec<Part> = names
        .enumerate()
        .map(|(i, name)| table(scene, i, name))
        .collect();
    let markup = html! {
        div id="servers" { @for child in &children { (maud::PreEscaped(&child.html)) } }
    };
    Part {
        id: "servers".into(),
        html: markup.into_string(),
        shell: String::new(),
        children,
    }
}

fn table(scene: &Scene<'_>, index: usize, proxy: &str) -> Part {
    let fronts = scene.moment.snapshot.frontends.len();
    let mut rows: Vec<Markup> = Vec::new();
    each_row(scene.moment, |row| {
        let front = matches!(row, Row::Frontend(..));
        if row.proxy() == proxy && front == (index < fronts) {
            rows.push(line(row));
        }
    });
    let id = format!("p-{index}");
    let markup = html! {
        section.backend id=(id) {
            div.scroll tabindex="0" role="region" aria-label=(proxy) {
                table.classic {
                    caption { span.name { (proxy) } }
                    thead {
                        tr {
                            td rowspan="2" {}
                            @for (group, columns) in GROUPS { th scope="colgroup" colspan=(columns.len()) { (group) } }
                        }
                        tr { @for (title, _) in GROUPS.iter().flat_map(|(_, c)| *c) { th scope="col" { (title) } } }
                    }
                    tbody { @for row in &rows { (row) } }
                }
            }
        }
    };
    Part::leaf(id, markup)
}

fn line(row: &Row<'_>) -> Markup {
    let (class, name) = match row {
        Row::Frontend(..) => ("whole", "Frontend"),
        Row::Backend(..) => ("whole", "Backend"),
        Row::Server(_, s, _) => (Look::of_server(s).class, &*s.name),
    };
    html! {
        tr class={ "row c-" (class) } {
            th scope="row" { (name) }
            @for (_, column) in GROUPS.iter().flat_map(|(_, c)| *c) { td class=[numeric(column)] { (value(row, column)) } }
        }
    }
}

fn numeric(column: &str) -> Option<&'static str> {
    (!matches!(column, "status" | "check_status")).then_some("num")
}

/// A cell as the classic page words it.
fn value(row: &Row<'_>, column: &str) -> String {
    match (column, row) {
        ("status", Row::Server(_, s, _)) => {
            format!("{} {}", span(s.since_seconds), server_status(s))
        }
        ("status", Row::Backend(b, _)) => format!("{} {}", span(b.since_seconds), raw(row, column)),
        ("check_status", _) => last_check(row),
        ("act" | "bck", Row::Server(..)) => match raw(row, column).as_str() {
            "1" => "Y".into(),
            _ => "-".into(),
        },
        ("lastsess", _) => match row.traffic() {
            Some(t) => t.last_request_seconds.map_or("?".into(), span),
            None => String::new(),
        },
        ("downtime", _) => raw(row, column).parse().map_or(String::new(), span),
        _ => raw(row, column),
    }
}

fn last_check(row: &Row<'_>) -> String {
    let Some(check) = row.check() else {
        return String::new();
    };
    let code = check.code.map_or(String::new(), |code| format!("/{code}"));
    let took = check
        .duration_ms
        .map_or(String::new(), |ms| format!(" in {ms}ms"));
    let running = if check.running { "* " } else { "" };
    format!("{running}{}{code}{took}", check.status)
}

fn raw(row: &Row<'_>, column: &str) -> String {
    let mut out = String::new();
    if let Some(column) = COLUMNS.iter().find(|c| c.name == column) {
        (column.write)(row, &mut Cell::plain(&mut out));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_shown_is_one_of_the_csv() {
        for (_, name) in GROUPS.iter().flat_map(|(_, columns)| *columns) {
            assert!(COLUMNS.iter().any(|c| c.name == *name), "{name}");
        }
        assert_eq!(GROUPS.iter().map(|(_, c)| c.len()).sum::<usize>(), 35);
    }
}
