//! The same numbers under the names of HAProxy's exporter, for boards and alerts made for it.
//!
//! Labels are `proxy`, `server`, `code`, `state`; states are sets of series, one of them 1.
//! Most numbers are those of the CSV's columns. Left out is what has no true value here: the
//! pools' memory, zlib's, and failed resolutions. Source: the names that HAProxy 2.6 prints.

mod numbers;
mod process;

use roundel_model::ServerState;

use super::families::{Families, Series};
use super::frontends::CLASSES;
use super::{OwnNumbers, Scope};
use crate::csv::{Row, each_row, server_status};
use crate::history::Means;
use crate::moment::Moment;
use crate::status::Server;

/// Whose numbers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Area {
    Frontend,
    Backend,
    Server,
}

impl Area {
    /// The word in the names.
    fn word(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Server => "server",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Frontend => 'F',
            Self::Backend => 'B',
            Self::Server => 'S',
        }
    }

    /// Whether a line of the CSV is about one of them.
    fn holds(self, row: &Row<'_>) -> bool {
        match row {
            Row::Frontend(..) => self == Self::Frontend,
            Row::Backend(..) => self == Self::Backend,
            Row::Server(..) => self == Self::Server,
        }
    }
}

pub(super) fn write(moment: &Moment, own: &OwnNumbers, scope: Scope, out: &mut Families) {
    if scope.global {
        process::write(moment, own, out);
    }
    let areas = [
        (scope.frontends, Area::Frontend),
        (scope.backends, Area::Backend),
        (scope.servers, Area::Server),
    ];
    for (_, area) in areas.into_iter().filter(|(wanted, _)| *wanted) {
        states(moment, area, out);
        numbers::write(moment, area, out);
        responses(moment, area, out);
        if area != Area::Frontend {
            averages(moment, area, out);
        }
    }
    if scope.backends {
        aggregates(moment, out);
    }
    if scope.servers {
        check_states(moment, out);
    }
}

/// Calls `write` for each line of an area with the labels that name it.
fn each(moment: &Moment, area: Area, mut write: impl FnMut(&Row<'_>, &[(&str, &str)])) {
    each_row(moment, |row| {
        if area.holds(row) {
            let labels = [("proxy", row.proxy()), ("server", row.server_name())];
            let count = if area == Area::Server { 2 } else { 1 };
            write(row, &labels[..count]);
        }
    });
}

/// Writes a series for each word, 1 for the one that holds.
fn set(f: &mut Series, labels: &[(&str, &str)], words: &[&str], value: impl Fn(&str) -> u64) {
    for word in words {
        let mut labels = labels.to_vec();
        labels.push(("state", word));
        f.count(&labels, value(word));
    }
}

/// The states of a server's set.
const STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];

/// The results of a check's set.
const RESULTS: [&str; 16] = [
    "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP",
    "L7OK", "L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
];

fn is(server: &Server, state: &str) -> bool {
    match server_status(server).as_str() {
        "no check" => state == "UP",
        status => status.starts_with(state),
    }
}

fn found(server: &Server, result: &str) -> bool {
    server.check.as_ref().is_some_and(|c| *c.status == *result)
}

fn states(moment: &Moment, area: Area, out: &mut Families) {
    let name = format!("haproxy_{}_status", area.word());
    out.gauge(&name, "1 for the state it is in.", |f| {
        each(moment, area, |row, labels| match row {
            Row::Server(_, server, _) => {
                set(f, labels, &STATES, |state| u64::from(is(server, state)));
            }
            _ => set(f, labels, &STATES[..2], |state| {
                u64::from(row.is_up() == (state == "UP"))
            }),
        });
    });
}

fn check_states(moment: &Moment, out: &mut Families) {
    let help = "1 for the result of the last check.";
    out.gauge("haproxy_server_check_status", help, |f| {
        each(moment, Area::Server, |row, labels| {
            if let Some(server) = row.server().filter(|s| s.check.is_some()) {
                set(f, labels, &RESULTS, |result| {
                    u64::from(found(server, result))
                });
            }
        });
    });
}

/// How many of a backend's servers are in each state, and how many checks had each result.
fn aggregates(moment: &Moment, out: &mut Families) {
    type Fits = fn(&Server, &str) -> bool;
    let kinds: [(&str, &[&str], Fits); 3] = [
        ("agg_server_status", &STATES, is),
        // An older name of the same.
        ("agg_server_check_status", &STATES, is),
        ("agg_check_status", &RESULTS, found),
    ];
    for (name, words, fits) in kinds {
        let name = format!("haproxy_backend_{name}");
        out.gauge(
            &name,
            "Servers by state, or by their check's result.",
            |f| {
                each(moment, Area::Backend, |row, labels| {
                    let Some(backend) = row.backend() else { return };
                    let here = || {
                        backend
                            .servers
                            .iter()
                            .filter(|s| s.state != ServerState::Left)
                    };
                    set(f, labels, words, |word| {
                        here().filter(|s| fits(s, word)).count() as u64
                    });
                });
            },
        );
    }
}

fn responses(moment: &Moment, area: Area, out: &mut Families) {
    let name = format!("haproxy_{}_http_responses_total", area.word());
    out.counter(&name, "Responses by class.", |f| {
        each(moment, area, |row, labels| {
            for (code, n) in CLASSES.into_iter().zip(row.responses()) {
                let mut labels = labels.to_vec();
                labels.push(("code", code));
                f.count(&labels, *n);
            }
        });
    });
}

fn averages(moment: &Moment, area: Area, out: &mut Families) {
    type Of = fn(&Means) -> f64;
    let kinds: [(&str, Of); 4] = [
        ("queue", |m| m.queue_ms),
        ("connect", |m| m.connect_ms),
        ("response", |m| m.response_ms),
        ("total", |m| m.total_ms),
    ];
    for (kind, of) in kinds {
        let name = format!("haproxy_{}_{kind}_time_average_seconds", area.word());
        out.gauge(&name, "Average over the last 1,024 requests.", |f| {
            each(moment, area, |row, labels| {
                if let Some(means) = row.means() {
                    f.value(labels, of(&means) / 1_000.0);
                }
            });
        });
    }
}
