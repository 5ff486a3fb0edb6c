//! What standard output is: how wide, and whether colours mean anything there.

use std::io::{self, IsTerminal};

use crate::table::Look;

/// Columns of a page whose reader does not say how wide it is.
const USUAL: usize = 80;

/// How to write for whoever reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Columns of text that a line may have.
    pub(crate) width: usize,
    /// Whether it is a terminal: lines are folded there, and nowhere else.
    pub(crate) is_terminal: bool,
    /// Whether to colour.
    pub(crate) colour: bool,
}

impl Screen {
    /// What standard output is at this moment; a window may change.
    pub(crate) fn find() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let wish = std::env::var("COLUMNS").ok().and_then(|n| n.parse().ok());
        let window = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let window = window.map(|size| usize::from(size.ws_col));
        let width = wish.or(window).filter(|width| *width > 0);
        let is_set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: width.unwrap_or(USUAL),
            is_terminal,
            colour: is_terminal && !is_set("NO_COLOR") && !is_dumb,
        }
    }

    /// Text in the colours of a look, where there are any. What stands in it is shown already.
    pub(crate) fn paint(self, look: Look, text: &str) -> String {
        match look.code().filter(|_| self.colour) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }

    /// Folds a line at its spaces so that none of the lines is wider than the screen, where it is a
    /// terminal; each begins with `indent` spaces.
    pub(crate) fn fold(self, text: &str, indent: usize) -> String {
        let margin = " ".repeat(indent);
        if !self.is_terminal {
            return format!("{margin}{text}\n");
        }
        let most = self.width.saturating_sub(indent).max(20);
        let mut out = String::new();
        let mut line = String::new();
        for word in text.split(' ') {
            let would_be = line.chars().count() + 1 + word.chars().count();
            if !line.is_empty() && would_be > most {
                out += &format!("{margin}{line}\n");
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
        out + &format!("{margin}{line}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_for_people_only() {
        let mut screen = Screen {
            width: 24,
            is_terminal: true,
            colour: false,
        };
        let text = "HEAD / gave 405; 2xx and 3xx pass";
        let folded = screen.fold(text, 2);
        assert_eq!(folded, "  HEAD / gave 405; 2xx\n  and 3xx pass\n");
        screen.is_terminal = false;
        assert_eq!(screen.fold(text, 2), format!("  {text}\n"));
    }
}
