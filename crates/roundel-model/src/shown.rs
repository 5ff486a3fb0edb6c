//! Text from outside, as people may be shown it.

use std::fmt::{self, Write};

/// Whether a character would do something where it is shown instead of being seen: end a line,
/// steer a terminal, turn the direction of what follows, or hide.
///
/// Source: Unicode's general categories Cc, Zl and Zp, and of Cf those that are bidirectional
/// controls or have no width.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

/// Shows a text from outside on one line, each hidden character by its escape (`\n`, `\u{1b}`).
///
/// What has none is shown as it is. Everything that is a line for people goes through this once,
/// where the line is made: the system log, the tables and answers of the command line, the lines of
/// the runtime API. Forms for programs have escapes of their own and share only [`is_hidden`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<T>(pub T);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while let Some((at, c)) = text.char_indices().find(|(_, c)| is_hidden(*c)) {
            write!(self.0, "{}{}", &text[..at], c.escape_default())?;
            text = &text[at + c.len_utf8()..];
        }
        self.0.write_str(text)
    }
}

/// A text with something visible in place of each hidden character, line ends and tabs excepted.
///
/// For markup, where an escape would be seen as text: U+FFFD, as long in characters as what it stands for.
pub fn visible(text: String) -> String {
    let steers = |c: char| is_hidden(c) && !matches!(c, '\n' | '\t');
    match text.contains(steers) {
        true => text.replace(steers, "\u{fffd}"),
        false => text,
    }
}

/// A JSON text with an escape in place of each hidden character that JSON lets stand, such as U+009B.
pub fn visible_json(json: String) -> String {
    let stands = |c: char| c >= '\u{7f}' && is_hidden(c);
    if !json.contains(stands) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match stands(c) {
            // No hidden character is beyond the basic plane. A String takes every write.
            true => drop(write!(out, "\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_begin_a_line_or_steer_a_terminal() {
        let check = |text: &str, expected: &str| {
            let shown = Shown(text).to_string();
            assert_eq!(shown, expected);
            assert!(!shown.contains(is_hidden), "{shown:?}");
        };
        check("webapp-1", "webapp-1");
        check("Zoë ☃ \\n", "Zoë ☃ \\n");
        check("a\nb\r\tc\0", "a\\nb\\r\\tc\\u{0}");
        check("\u{1b}[2J\u{7f}\u{9b}1m", "\\u{1b}[2J\\u{7f}\\u{9b}1m");
        check("\u{202e}exe\u{2028}", "\\u{202e}exe\\u{2028}");
        check("\u{feff}a\u{200b}", "\\u{feff}a\\u{200b}");
    }

    #[test]
    fn json_means_the_same() {
        let text = "{\n  \"a\u{9b}\": \"\u{7f}é\u{202e}\"\n}".to_owned();
        let expected = "{\n  \"a\\u009b\": \"\\u007fé\\u202e\"\n}";
        assert_eq!(visible_json(text), expected);
    }

    #[test]
    fn markup_keeps_its_lines() {
        let html = "<p>\n\ta\r\u{1b}</p>".to_owned();
        assert_eq!(visible(html), "<p>\n\ta\u{fffd}\u{fffd}</p>");
    }
}
