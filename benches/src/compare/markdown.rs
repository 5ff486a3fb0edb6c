//! The tables as Markdown.

use std::fmt::Write;

use super::idle;
use super::outcome::{Outcome, RowResult};
use super::rounds::Cell;
use crate::stat::Spread;

/// All tables of a comparison.
pub(super) fn table(outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = intro(&mut text, outcome)
        .and_then(|()| verdicts(&mut text, outcome))
        .and_then(|()| ratios(&mut text, outcome))
        .and_then(|()| open_loop(&mut text, outcome))
        .and_then(|()| own(&mut text, outcome))
        .and_then(|()| idle(&mut text, outcome))
        .and_then(|()| failures(&mut text, outcome));
    text
}

fn intro(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    writeln!(
        text,
        "{}. Medians of {} paired rounds of {:.2} s, quartiles in brackets.\n",
        outcome.machine.sentence(),
        outcome.rounds,
        outcome.sample_seconds
    )?;
    for peer in &outcome.peers {
        write!(text, "- {} {}", peer.name, peer.version)?;
        match peer.more {
            "" => writeln!(text)?,
            more => writeln!(text, "; besides the common work: {more}")?,
        }
    }
    Ok(())
}

fn verdicts(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    head(
        text,
        "What is reached",
        &["row", "measure", "must", "goal", "reached", "stands"],
    )?;
    for verdict in &outcome.verdicts {
        let must = verdict.bound.must.map(|must| format!("{must:.2}"));
        let failed = match verdict.failed {
            0 => String::new(),
            n => format!("; **{n} requests failed**"),
        };
        writeln!(
            text,
            "| {} | {} | {} | {:.2} | {} | {}{failed} |",
            verdict.title,
            verdict.measure,
            must.unwrap_or("–".to_owned()),
            verdict.bound.goal,
            ratio(&verdict.reached),
            verdict.stands.as_str(),
        )?;
    }
    Ok(())
}

fn ratios(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let closed: Vec<&RowResult> = outcome.rows.iter().filter(|row| !row.open_loop).collect();
    if closed.is_empty() {
        return Ok(());
    }
    let names = outcome.peers.iter().map(|peer| peer.name.as_str());
    let columns: Vec<&str> = ["row"].into_iter().chain(names).collect();
    let title = "CPU time per request: ratio to the first, µs, requests per second on one core";
    head(text, title, &columns)?;
    for row in closed {
        write!(text, "| {} |", row.title)?;
        for peer in &outcome.peers {
            let Some(cell) = row.cells.iter().find(|cell| cell.peer == peer.name) else {
                write!(text, " – |")?;
                continue;
            };
            let Cell {
                cpu_us,
                requests_per_second,
                ..
            } = cell;
            write!(
                text,
                " {}, {:.1} µs, {:.0}/s{} |",
                ratio(&cell.ratio),
                cpu_us.median,
                requests_per_second.median,
                mark(cell)
            )?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn open_loop(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    for row in outcome.rows.iter().filter(|row| row.open_loop) {
        let columns = ["", "CPU ratio", "CPU µs", "p50 µs", "p99 µs", "p99.9 µs"];
        head(
            text,
            &format!("{}, latency from the due moment", row.title),
            &columns,
        )?;
        for cell in &row.cells {
            writeln!(
                text,
                "| {}{} | {} | {:.1} | {} | {} | {} |",
                cell.peer,
                mark(cell),
                ratio(&cell.ratio),
                cell.cpu_us.median,
                whole(&cell.p50_us),
                whole(&cell.p99_us),
                whole(&cell.p999_us)
            )?;
        }
    }
    Ok(())
}

fn own(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    if outcome.own.is_empty() {
        return Ok(());
    }
    head(
        text,
        "Roundel beside itself",
        &["row", "ratio", "without", "with", "note"],
    )?;
    for row in &outcome.own {
        let figure = |spread: &Spread| match spread.median {
            small if small < 1e3 => format!("{small:.1} {}", row.unit),
            large => format!("{large:.0} {}", row.unit),
        };
        let (without, with) = (figure(&row.without), figure(&row.with));
        writeln!(
            text,
            "| {} | {} | {without} | {with} | {} |",
            row.title,
            ratio(&row.ratio),
            row.note
        )?;
    }
    Ok(())
}

fn idle(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let columns = ["", "empty, KiB", "full, KiB", "KiB per connection"];
    for row in &idle::ALL {
        let mut idles = outcome
            .idle
            .iter()
            .filter(|idle| idle.key == row.key)
            .peekable();
        let Some(first) = idles.peek() else { continue };
        let title = format!("{}, of {}", row.title, first.connections);
        head(text, &title, &columns)?;
        for idle in idles {
            let each = idle.kib_per_connection();
            let (peer, empty, full) = (&idle.peer, idle.empty_kib, idle.full_kib);
            writeln!(text, "| {peer} | {empty} | {full} | {each:.2} |")?;
        }
    }
    Ok(())
}

/// Every kind of failure of every peer.
fn failures(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let failed = outcome.rows.iter().flat_map(|row| {
        let cells = row.cells.iter().filter(|cell| cell.failed > 0);
        cells.map(|cell| {
            let causes = cell.failures.iter();
            let causes: Vec<_> = causes.map(|(why, n)| format!("{n} {why}")).collect();
            format!("{} in {}: {}", cell.peer, row.title, causes.join(", "))
        })
    });
    let failed: Vec<String> = failed.collect();
    if failed.is_empty() {
        return writeln!(text, "\nEvery answer had the right status and length.");
    }
    writeln!(text, "\n## Failed requests\n")?;
    failed
        .iter()
        .try_for_each(|line| writeln!(text, "- {line}"))
}

fn head(text: &mut String, title: &str, columns: &[&str]) -> std::fmt::Result {
    writeln!(text, "\n## {title}\n\n| {} |", columns.join(" | "))?;
    writeln!(text, "|{}", "---|".repeat(columns.len()))
}

fn mark(cell: &Cell) -> String {
    match cell.failed {
        0 => String::new(),
        n => format!(", **{n} failed**"),
    }
}

fn ratio(spread: &Spread) -> String {
    match spread.low == spread.high {
        true => format!("{:.2}", spread.median),
        false => format!(
            "{:.2} ({:.2}–{:.2})",
            spread.median, spread.low, spread.high
        ),
    }
}

fn whole(spread: &Spread) -> String {
    format!(
        "{:.0} ({:.0}–{:.0})",
        spread.median, spread.low, spread.high
    )
}
