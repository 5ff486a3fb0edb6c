//! What every picture begins and ends with.

use std::fmt::Write;

/// Colours that differ also for the colour-blind.
pub(crate) const COLOURS: [&str; 7] = [
    "#0b6e4f", "#c2571a", "#4a4fb5", "#8a6d00", "#a3316f", "#3a7ca5", "#666666",
];

/// The start of a picture of this size; `.t` is a title, `.x` and `.y` label axes, `.f` frames,
/// `.g` is a grid, `.c` a curve.
pub(crate) fn open(width: u32, height: u32, label: &str) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' \
         aria-label='{label}'>\n\
         <style>text{{font:13px system-ui,sans-serif;fill:#333}}.t{{font-weight:600;font-size:15px}}\
         .y{{text-anchor:end}}.x{{text-anchor:middle}}.f{{fill:#fff;stroke:#999}}\
         .g{{stroke:#e5e5e5;fill:none}}.c{{fill:none;stroke-width:2}}</style>\n\
         <rect width='{width}' height='{height}' fill='#fff'/>\n"
    )
}

/// One entry of a legend: a piece of the line, then its name.
pub(crate) fn entry(svg: &mut String, (x, y): (f64, f64), colour: &str, dashed: bool, name: &str) {
    let dash = match dashed {
        true => " stroke-dasharray='5 4'",
        false => "",
    };
    let _ = writeln!(
        svg,
        "<path d='M{x} {y}h28' class='c' stroke='{colour}'{dash}/><text x='{}' y='{}'>{}</text>",
        x + 36.0,
        y + 4.0,
        escape(name)
    );
}

/// Text that may hold any character.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
