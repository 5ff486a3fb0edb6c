//! The ratios as a picture: a dot for each peer in each row, its quartiles as a line.

use std::fmt::Write;

use super::outcome::{Outcome, RowResult};
use crate::svg::{COLOURS, entry, escape, open};

const LEFT: f64 = 260.0;
const WIDTH: f64 = 640.0;
const TOP: f64 = 80.0;
/// The largest ratio that has a place; larger ones are put at the edge with their number.
const MOST: f64 = 2.0;
/// Between two peers of a row, and between rows.
const LINE: f64 = 13.0;
const GAP: f64 = 16.0;

fn x(ratio: f64) -> f64 {
    LEFT + WIDTH * ratio.min(MOST) / MOST
}

pub(super) fn draw(outcome: &Outcome) -> String {
    let step = LINE * outcome.peers.len() as f64 + GAP;
    let bottom = TOP + step * outcome.rows.len() as f64;
    let label = "CPU time per request beside other balancers";
    let mut svg = open(960, bottom as u32 + 60, label);
    let mut places = (0..).map(|i| LEFT + 128.0 * f64::from(i));
    for ((peer, colour), at) in outcome.peers.iter().zip(COLOURS).zip(&mut places) {
        entry(&mut svg, (at - 200.0, 54.0), colour, false, &peer.name);
    }
    let reference = outcome.peers.first().map_or("", |peer| &peer.name);
    let _ = writeln!(
        svg,
        "<text x='20' y='28' class='t'>CPU time per request, ratio to {} (less is better; line: quartiles; | must, ‖ goal of Roundel)</text>",
        escape(reference)
    );
    for tenth in (0..=20).step_by(5) {
        let ratio = f64::from(tenth) / 10.0;
        let _ = writeln!(
            svg,
            "<path d='M{0:.1} {TOP}V{bottom}' class='g'/><text x='{0:.1}' y='{1}' class='x'>{ratio:.1}</text>",
            x(ratio),
            bottom + 18.0
        );
    }
    for (row, number) in outcome.rows.iter().zip(0..) {
        draw_row(&mut svg, outcome, row, TOP + step * f64::from(number), step);
    }
    svg + "</svg>\n"
}

fn draw_row(svg: &mut String, outcome: &Outcome, row: &RowResult, top: f64, step: f64) {
    let _ = writeln!(
        svg,
        "<path d='M{LEFT} {0:.1}h{WIDTH}' class='g'/><text x='{1}' y='{2:.1}' class='y'>{3}</text>",
        top + step,
        LEFT - 12.0,
        top + step / 2.0 + 4.0,
        escape(row.title)
    );
    if let Some(bound) = row.bound {
        let marks = [(bound.must, 1), (Some(bound.goal), 2)];
        for (ratio, lines) in marks.into_iter().filter_map(|(r, n)| Some((r?, n))) {
            for line in 0..lines {
                let at = x(ratio) + 3.0 * f64::from(line);
                let _ = writeln!(
                    svg,
                    "<path d='M{at:.1} {:.1}v{:.1}' stroke='#999' fill='none'/>",
                    top + 3.0,
                    step - 6.0
                );
            }
        }
    }
    for ((peer, colour), number) in outcome.peers.iter().zip(COLOURS).zip(0..) {
        let Some(cell) = row.cells.iter().find(|cell| cell.peer == peer.name) else {
            continue;
        };
        let y = top + GAP / 2.0 + LINE * (f64::from(number) + 0.5);
        let ratio = cell.ratio;
        let _ = writeln!(
            svg,
            "<path d='M{:.1} {y:.1}H{:.1}' class='c' stroke='{colour}'/><circle cx='{:.1}' cy='{y:.1}' r='4' fill='{colour}'/>",
            x(ratio.low),
            x(ratio.high),
            x(ratio.median)
        );
        if ratio.median > MOST || cell.failed > 0 {
            let mark = if cell.failed > 0 { " failed!" } else { "" };
            let _ = writeln!(
                svg,
                "<text x='{:.1}' y='{:.1}' class='y'>{:.2}{mark}</text>",
                x(ratio.median) - 8.0,
                y + 4.0,
                ratio.median
            );
        }
    }
}
