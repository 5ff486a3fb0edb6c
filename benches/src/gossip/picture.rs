//! Curves as an SVG: how news spreads, how crashes are found out; ours and the model's.

use std::fmt::Write;

use super::measure::{Detection, Spread};
use crate::svg::{COLOURS, entry, open};

/// One size of cluster: ours first, then memberlist's model.
pub(super) struct Pair {
    pub(super) members: usize,
    pub(super) spread: (Spread, Spread),
    pub(super) detection: (Detection, Detection),
}

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
const POINTS: usize = 140;

struct Panel {
    left: f64,
    title: &'static str,
    scale: Scale,
    ticks: &'static [(f64, &'static str)],
}

/// How seconds lie along a panel.
enum Scale {
    /// From 0 to these.
    Even(f64),
    /// From the first to the second, each tenfold as wide as the one before.
    Tenfold(f64, f64),
}

impl Scale {
    /// Seconds at a part of the width.
    fn seconds(&self, part: f64) -> f64 {
        match self {
            Self::Even(end) => part * end,
            Self::Tenfold(start, end) => start * (end / start).powf(part),
        }
    }

    /// The part of the width at which these seconds lie.
    fn part(&self, seconds: f64) -> f64 {
        match self {
            Self::Even(end) => seconds / end,
            Self::Tenfold(start, end) => (seconds / start).ln() / (end / start).ln(),
        }
    }
}

impl Panel {
    fn at(&self, part: f64, share: f64) -> (f64, f64) {
        let x = self.left + WIDTH * part;
        (x, 70.0 + HEIGHT * (1.0 - share))
    }

    fn frame(&self, svg: &mut String) {
        let (left, top) = self.at(0.0, 1.0);
        let _ = write!(
            svg,
            "<text x='{left}' y='50' class='t'>{}</text>\n<rect x='{left}' y='{top}' width='{WIDTH}' height='{HEIGHT}' class='f'/>\n",
            self.title
        );
        for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let (x, y) = self.at(0.0, share);
            let _ = writeln!(
                svg,
                "<path d='M{x} {y}h{WIDTH}' class='g'/><text x='{}' y='{}' class='y'>{:.0} %</text>",
                x - 6.0,
                y + 4.0,
                share * 100.0
            );
        }
        for (seconds, label) in self.ticks {
            let (x, y) = self.at(self.scale.part(*seconds), 0.0);
            let _ = writeln!(
                svg,
                "<text x='{x:.1}' y='{}' class='x'>{label}</text>",
                y + 18.0
            );
        }
    }

    fn curve(&self, svg: &mut String, colour: &str, dashed: bool, share_at: impl Fn(f64) -> f64) {
        let mut path = String::new();
        for point in 0..=POINTS {
            let part = point as f64 / POINTS as f64;
            let (x, y) = self.at(part, share_at(self.scale.seconds(part)));
            let command = if point == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        let dash = if dashed {
            " stroke-dasharray='5 4'"
        } else {
            ""
        };
        let _ = writeln!(svg, "<path d='{path}' class='c' stroke='{colour}'{dash}/>");
    }
}

/// Draws both panels.
pub(super) fn draw(pairs: &[Pair]) -> String {
    let label = "Convergence and detection: Roundel beside the model of memberlist";
    let mut svg = open(1020, 400, label);
    let spread = Panel {
        left: 60.0,
        title: "Members reached by a broadcast, after",
        scale: Scale::Tenfold(0.001, 2.0),
        ticks: &[
            (0.001, "1 ms"),
            (0.01, "10 ms"),
            (0.1, "0.1 s"),
            (1.0, "1 s"),
        ],
    };
    let detection = Panel {
        left: 560.0,
        title: "Crashes declared failed, after",
        scale: Scale::Even(25.0),
        ticks: &[
            (0.0, "0 s"),
            (5.0, "5 s"),
            (10.0, "10 s"),
            (15.0, "15 s"),
            (20.0, "20 s"),
            (25.0, "25 s"),
        ],
    };
    spread.frame(&mut svg);
    detection.frame(&mut svg);
    for (pair, colour) in pairs.iter().zip(COLOURS.iter().cycle()) {
        spread.curve(&mut svg, colour, false, |s| pair.spread.0.share_at(s));
        spread.curve(&mut svg, colour, true, |s| pair.spread.1.share_at(s));
        detection.curve(&mut svg, colour, false, |s| pair.detection.0.share_at(s));
        detection.curve(&mut svg, colour, true, |s| pair.detection.1.share_at(s));
    }
    let mut x = 60.0;
    for (pair, colour) in pairs.iter().zip(COLOURS.iter().cycle()) {
        let name = format!("{} members", grouped(pair.members));
        entry(&mut svg, (x, 380.0), colour, false, &name);
        x += 160.0;
    }
    entry(&mut svg, (x, 380.0), "#333", true, "memberlist (model)");
    svg + "</svg>\n"
}

/// A number with a comma at each thousand.
pub(crate) fn grouped(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}
