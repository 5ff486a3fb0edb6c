//! `roundel report`: the evidence of one moment in one Markdown file.

use roundel_admin::status::Event;
use roundel_model::{EventKind, ServerState, Shown};

use super::view::{View, by_urgency};
use super::{stat, tables, why};
use crate::screen::Screen;

/// Events that it tells at most, the newest.
const EVENTS: usize = 500;
/// Servers of a backend whose state it explains at most.
const EXPLAINED: usize = 20;

/// Text for a file: nothing folded, nothing left out, nothing coloured.
const PAPER: Screen = Screen {
    width: usize::MAX / 2,
    is_terminal: false,
    colour: false,
};

/// The whole report. `configuration` is the effective one without its secrets, if a file was named.
/// Errors: none of a snapshot of this version.
pub(super) fn markdown(view: &View, configuration: Option<&str>) -> anyhow::Result<String> {
    let s = &view.snapshot;
    let time = jiff::Timestamp::from_millisecond(s.time_ms.try_into()?)?;
    let mut out = format!(
        "# Roundel {} on {}\n\nTaken at {time:.3} (UTC), {} s after its start, process {}, {} threads, {} MB \
         resident, {} of {} files open.\n",
        s.version,
        Shown(&s.node),
        s.uptime_seconds as u64,
        s.process.pid,
        s.process.threads,
        s.process.resident_bytes / 1_000_000,
        s.process.open_fds,
        s.process.max_fds,
    );
    section(
        &mut out,
        "Servers and numbers",
        &stat::page(view, None, PAPER)?,
    );
    let mut told = String::new();
    for backend in &s.backends {
        let troubled = |s: &&&_| is_troubled(s);
        for server in by_urgency(backend).iter().filter(troubled).take(EXPLAINED) {
            let name = format!("{}/{}", backend.name, server.name);
            told += &why::server(view, &name, PAPER)?;
            told.push('\n');
        }
    }
    section(&mut out, "Servers that do not serve", &told);
    section(&mut out, "Failures", &lines(failures(view)));
    section(&mut out, "Members", &tables::members(&s.members));
    let skipped = s.events.len().saturating_sub(EVENTS);
    let events = s.events[skipped..].iter().map(|e| tables::event(e));
    section(&mut out, "Events (UTC)", &lines(events));
    let config = match (&s.config.last_error, s.config.file.as_str()) {
        (Some(error), file) => format!("{file}: the last reload was refused: {error}"),
        (None, "") => "no file: flags, variables and defaults".into(),
        (None, file) => format!("file {file}, {} reloads", s.config.reloads_ok_total),
    };
    section(&mut out, "Configuration in force", &lines([config]));
    if let Some(text) = configuration {
        section(
            &mut out,
            "What its file says, without secrets",
            &shown(text),
        );
    }
    Ok(out)
}

fn is_troubled(server: &roundel_admin::status::Server) -> bool {
    server.doubt || !matches!(server.state, ServerState::Up | ServerState::Left)
}

/// What went wrong, by server, and the newest events that tell of it.
fn failures(view: &View) -> Vec<String> {
    let mut out = Vec::new();
    for backend in &view.snapshot.backends {
        if backend.no_server_total + backend.queue_timeouts_total > 0 {
            out.push(format!(
                "{}: {} requests found no server, {} waited too long",
                backend.name, backend.no_server_total, backend.queue_timeouts_total
            ));
        }
        for server in backend.rows() {
            let traffic = &server.traffic;
            let counts = [
                (traffic.responses_total[4], "answers of 5xx"),
                (traffic.connect_errors_total, "connects failed"),
                (traffic.response_errors_total, "broken answers"),
                (traffic.server_aborts_total, "answers broken off"),
                (server.ejections_total, "ejections"),
            ];
            let seen = counts.iter().filter(|(n, _)| *n > 0);
            let seen: Vec<String> = seen.map(|(n, what)| format!("{n} {what}")).collect();
            if !seen.is_empty() {
                out.push(format!(
                    "{}/{}: {}",
                    backend.name,
                    server.name,
                    seen.join(", ")
                ));
            }
        }
    }
    let events = view.snapshot.events.iter().filter(|e| is_failure(e));
    out.extend(events.map(|e| tables::event(e)));
    out
}

fn is_failure(event: &Event) -> bool {
    use EventKind as Kind;
    matches!(
        event.kind,
        Kind::Failed | Kind::CheckDown | Kind::Ejected | Kind::NoServer | Kind::ReloadFailed
    )
}

fn lines(lines: impl IntoIterator<Item = String>) -> String {
    lines
        .into_iter()
        .map(|line| format!("{}\n", Shown(line)))
        .collect()
}

/// Text of several lines, each as it can be shown.
fn shown(text: &str) -> String {
    lines(text.lines().map(str::to_owned))
}

/// Adds a block that no text can end: its fence is longer than any run of its marks within.
fn section(out: &mut String, title: &str, text: &str) {
    let text = match text.trim_end() {
        "" => "none",
        text => text,
    };
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    *out += &format!("\n## {title}\n\n{fence}text\n{text}\n{fence}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_block() {
        let mut out = String::new();
        section(&mut out, "Events", "a ```` b\n# forged");
        assert_eq!(out, "\n## Events\n\n`````text\na ```` b\n# forged\n`````\n");
        let told = markdown(&View::default(), Some("key = 1\u{1b}[2J")).unwrap();
        assert!(told.contains("key = 1\\u{1b}[2J"), "{told}");
        assert!(told.contains("## Members\n\n```text\nnone\n"), "{told}");
    }
}
