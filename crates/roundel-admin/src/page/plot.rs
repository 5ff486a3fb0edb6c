//! Plots as inline SVG, drawn from rows of history.

use maud::{Markup, html};

use crate::history::Range;

/// The drawing area's size in user units; it is stretched to the tile.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 64.0;

/// How many points one line has at most.
const POINTS: u64 = 60;

/// One line of a plot.
pub(super) struct Line {
    /// The class that gives colour and dashes: `l1`, `l2`, `l3`.
    pub(super) class: &'static str,
    /// Time in milliseconds and value; `None` is a gap.
    pub(super) points: Vec<(u64, Option<f64>)>,
    /// Whether the value holds until the next point.
    pub(super) step: bool,
    /// Whether the area below is tinted.
    pub(super) fill: bool,
}

/// A moment on the time axis that links to the timeline.
pub(super) struct Mark {
    pub(super) time_ms: u64,
    pub(super) event: u64,
    pub(super) class: &'static str,
    pub(super) label: String,
}

/// A plot.
pub(super) struct Plot {
    /// What it shows, for those who do not see it.
    pub(super) title: String,
    pub(super) now_ms: u64,
    pub(super) range: Range,
    pub(super) lines: Vec<Line>,
    pub(super) marks: Vec<Mark>,
}

impl Plot {
    /// The greatest value shown.
    pub(super) fn max(&self) -> f64 {
        let values = self.lines.iter().flat_map(|l| &l.points);
        values.filter_map(|(_, v)| *v).fold(0.0, f64::max)
    }

    /// The drawing. The y axis begins at zero.
    pub(super) fn svg(&self) -> Markup {
        let top = nice(self.max());
        let x = |time: u64| self.x(time);
        html! {
            svg.plot role="img" aria-label=(self.title) viewBox="0 0 300 64" preserveAspectRatio="none" {
                path.grid d="M0 .5H300M0 32H300M0 63.5H300" {}
                @for mark in &self.marks {
                    a href={ "#e" (mark.event) } {
                        line class={ "mark c-" (mark.class) } x1=(x(mark.time_ms)) x2=(x(mark.time_ms)) y1="0" y2="64" {
                            title { (mark.label) }
                        }
                    }
                }
                @for line in &self.lines {
                    @for run in self.runs(line, top) {
                        @if line.fill {
                            polygon class={ "area " (line.class) } points=(area(&run)) {}
                        }
                        polyline class={ "line " (line.class) } points=(join(&run)) {}
                    }
                }
            }
        }
    }

    fn x(&self, time_ms: u64) -> String {
        format!("{:.1}", self.place(time_ms))
    }

    fn place(&self, time_ms: u64) -> f64 {
        let age = self.now_ms.saturating_sub(time_ms) as f64;
        WIDTH - age / self.range.span_ms() as f64 * WIDTH
    }

    /// The unbroken runs of a line as coordinates.
    fn runs(&self, line: &Line, top: f64) -> Vec<Vec<(f64, f64)>> {
        let longest = self.bucket_ms() * 5 / 2;
        let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
        let mut last: Option<(u64, f64)> = None;
        for (time, value) in self.thin(&line.points) {
            let Some(value) = value else {
                last = None;
                continue;
            };
            let y = HEIGHT - 1.0 - value / top * (HEIGHT - 4.0);
            let near = last.is_some_and(|(t, _)| time.saturating_sub(t) <= longest);
            match runs.last_mut().filter(|_| near) {
                Some(run) => {
                    if let Some((_, before)) = last.filter(|_| line.step) {
                        run.push((self.place(time), before));
                    }
                    run.push((self.place(time), y));
                }
                None => runs.push(vec![(self.place(time), y)]),
            }
            last = Some((time, y));
        }
        runs
    }

    fn bucket_ms(&self) -> u64 {
        (self.range.span_ms() / POINTS).max(self.range.step_ms())
    }

    /// Joins neighbouring points to their mean, in buckets fixed on the clock so that a line
    /// moves without changing its shape.
    fn thin(&self, points: &[(u64, Option<f64>)]) -> Vec<(u64, Option<f64>)> {
        let bucket = self.bucket_ms();
        let oldest = self.now_ms.saturating_sub(self.range.span_ms());
        let kept = points.iter().filter(|(t, _)| *t >= oldest);
        let kept: Vec<_> = kept.collect();
        let join = |group: &[&(u64, Option<f64>)]| {
            let values: Vec<f64> = group.iter().filter_map(|(_, v)| *v).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let time = group.last().map_or(0, |(t, _)| *t);
            (time, (!values.is_empty()).then_some(mean))
        };
        kept.chunk_by(|a, b| a.0 / bucket == b.0 / bucket)
            .map(join)
            .collect()
    }
}

/// A small line without axes for a table's cell.
pub(super) fn spark(values: &[f32]) -> Markup {
    let top = values.iter().copied().fold(0.0f32, f32::max).max(1.0);
    let pairs: Vec<f32> = values
        .rchunks(2)
        .map(|p| p.iter().sum::<f32>() / p.len() as f32)
        .collect();
    let point = |(i, v): (usize, &f32)| (60.0 - 2.0 * i as f64, 15.0 - f64::from(v / top) * 13.0);
    let points: Vec<_> = pairs.iter().enumerate().map(point).collect();
    html! {
        svg.spark aria-hidden="true" viewBox="0 0 60 16" preserveAspectRatio="none" {
            @if points.len() > 1 {
                polyline.line.l1 points=(join(&points)) {}
            }
        }
    }
}

/// The points of a line, closed along the bottom.
fn area(points: &[(f64, f64)]) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return String::new();
    };
    let (a, b) = (first.0, last.0);
    format!(
        "{},{HEIGHT} {} {},{HEIGHT}",
        tenth(a),
        join(points),
        tenth(b)
    )
}

fn join(points: &[(f64, f64)]) -> String {
    let mut out = String::with_capacity(points.len() * 10);
    for (x, y) in points {
        if !out.is_empty() {
            out.push(' ');
        }
        out += &format!("{},{}", tenth(*x), tenth(*y));
    }
    out
}

/// Rounded to a tenth, without a needless `.0`.
fn tenth(n: f64) -> f64 {
    (n * 10.0).round() / 10.0
}

/// The next round number at or above `max`: 1, 2 or 5 times a power of ten.
pub(super) fn nice(max: f64) -> f64 {
    if max.is_nan() || max <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(max.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let fits = steps.into_iter().find(|s| s * power >= max * 0.9999);
    fits.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(u64, Option<f64>)>) -> Plot {
        let line = Line {
            class: "l1",
            points,
            step: false,
            fill: false,
        };
        Plot {
            title: "test".into(),
            now_ms: 1_000_000,
            range: Range::FiveMinutes,
            lines: vec![line],
            marks: Vec::new(),
        }
    }

    #[test]
    fn a_gap_in_time_or_value_breaks_the_line() {
        let seconds = |from: u64, to: u64| (from..to).map(|s| (s * 1_000, Some(1.0)));
        let mut points: Vec<_> = seconds(800, 850).collect();
        points.extend((850..860).map(|s| (s * 1_000, None)));
        points.extend(seconds(860, 900));
        points.extend(seconds(950, 1_000));
        let plot = plot(points);
        assert_eq!(plot.runs(&plot.lines[0], 1.0).len(), 3);
    }

    #[test]
    fn old_points_are_left_out_and_the_newest_is_at_the_right() {
        let plot = plot((0..=1_000).map(|s| (s * 1_000, Some(s as f64))).collect());
        let runs = plot.runs(&plot.lines[0], nice(1_000.0));
        assert_eq!(runs.len(), 1);
        assert!(runs[0].len() <= 77, "{}", runs[0].len());
        assert!(runs[0][0].0 >= 0.0);
        assert_eq!(runs[0].last().unwrap().0, WIDTH);
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (max, top) in [
            (0.0, 1.0),
            (0.7, 1.0),
            (1.0, 1.0),
            (13.0, 20.0),
            (412.0, 500.0),
            (0.018, 0.02),
        ] {
            assert!((nice(max) - top).abs() < 1e-9, "{max}: {}", nice(max));
        }
    }
}
