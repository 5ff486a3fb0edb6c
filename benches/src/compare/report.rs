//! Medians, ratios, and how they are printed.

use anyhow::Result;
use serde::Serialize;

use super::peer::Peer;
use super::row::Row;
use super::{Options, Sample};

/// One peer in one row.
#[derive(Serialize)]
struct Cell {
    row: char,
    title: &'static str,
    peer: String,
    /// Median CPU time per request in microseconds.
    cpu_us: f64,
    /// Median of the paired ratios to the reference, and their quartiles.
    ratio: f64,
    ratio_low: f64,
    ratio_high: f64,
    requests_per_second: f64,
    failed: u64,
}

/// Prints the table; writes it and its JSON into the folder asked for.
pub(crate) fn write(
    results: &[(&Row, Vec<Vec<Sample>>)],
    peers: &[Peer],
    options: &Options,
) -> Result<()> {
    let cells: Vec<Cell> = results
        .iter()
        .flat_map(|(row, rounds)| {
            peers
                .iter()
                .enumerate()
                .map(|(index, peer)| cell(row, peer, index, rounds, peers.len()))
        })
        .collect();
    let text = markdown(&cells, peers, options);
    print!("{text}");
    if let Some(folder) = &options.out {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("compare.md"), text)?;
        std::fs::write(
            folder.join("compare.json"),
            serde_json::to_string_pretty(&cells)?,
        )?;
    }
    Ok(())
}

fn cell(row: &Row, peer: &Peer, index: usize, rounds: &[Vec<Sample>], last: usize) -> Cell {
    let ratios = sorted(rounds.iter().map(|round| {
        let around = (round[0].cpu_us_per_request + round[last].cpu_us_per_request) / 2.0;
        let own = if index == 0 {
            around
        } else {
            round[index].cpu_us_per_request
        };
        own / around
    }));
    let of =
        |field: fn(&Sample) -> f64| quantile(&sorted(rounds.iter().map(|r| field(&r[index]))), 0.5);
    Cell {
        row: row.letter,
        title: row.title,
        peer: peer.name.clone(),
        cpu_us: of(|s| s.cpu_us_per_request),
        ratio: quantile(&ratios, 0.5),
        ratio_low: quantile(&ratios, 0.25),
        ratio_high: quantile(&ratios, 0.75),
        requests_per_second: of(|s| s.requests_per_second),
        failed: rounds.iter().map(|r| r[index].failed).sum(),
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The `q` quantile of sorted values, linear between neighbours; 0 for none.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(top) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let place = q * top as f64;
    let (low, high) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    low + (high - low) * place.fract()
}

fn markdown(cells: &[Cell], peers: &[Peer], options: &Options) -> String {
    let mut text = format!(
        "CPU time per request, ratio to {} (quartiles), then µs and requests/s; median of {} rounds of {} s.\n\n",
        peers[0].name, options.rounds, options.seconds
    );
    text += "| row |";
    peers
        .iter()
        .for_each(|peer| text += &format!(" {} |", peer.name));
    text += "\n|---|";
    peers.iter().for_each(|_| text += "---|");
    text += "\n";
    for row in cells.chunks(peers.len()) {
        text += &format!("| {} {} |", row[0].row, row[0].title);
        for c in row {
            let failed = match c.failed {
                0 => String::new(),
                n => format!(", {n} failed"),
            };
            text += &format!(
                " {:.2} ({:.2}–{:.2}), {:.1} µs, {:.0}/s{failed} |",
                c.ratio, c.ratio_low, c.ratio_high, c.cpu_us, c.requests_per_second
            );
        }
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0], 0.5), 1.5);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
