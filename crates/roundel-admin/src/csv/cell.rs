//! One cell of a table: nothing, a number, or text.

use std::fmt::Write;

use roundel_model::is_hidden;

/// Where a column writes its value; writing nothing leaves the cell empty.
pub(crate) struct Cell<'a> {
    out: &'a mut String,
    quote: bool,
}

impl<'a> Cell<'a> {
    /// A cell of a CSV line: texts are quoted where needed.
    pub(crate) fn csv(out: &'a mut String) -> Self {
        Self { out, quote: true }
    }

    /// A cell whose text is taken as it is; whoever shows it escapes it.
    pub(crate) fn plain(out: &'a mut String) -> Self {
        Self { out, quote: false }
    }

    /// Writes a number.
    pub(crate) fn num(&mut self, n: impl Into<i128>) {
        // A String takes every write.
        let _ = write!(self.out, "{}", n.into());
    }

    /// Writes a number that may be missing.
    pub(crate) fn maybe(&mut self, n: Option<impl Into<i128>>) {
        if let Some(n) = n {
            self.num(n);
        }
    }

    /// Writes a duration or a rate, rounded to a whole number.
    pub(crate) fn round(&mut self, n: f64) {
        self.num(n.round() as u64);
    }

    /// Writes a sentence, in a CSV with semicolons for its commas: many scripts of HAProxy's users
    /// split lines at every comma.
    pub(crate) fn phrase(&mut self, text: &str) {
        match self.quote {
            true => self.text(&text.replace(',', ";")),
            false => self.text(text),
        }
    }

    /// Writes text.
    ///
    /// Line ends and other hidden characters become spaces. A text with a comma or a quote
    /// is wrapped in quotes and its own are doubled. A text that a spreadsheet would run as a
    /// formula gets an apostrophe in front.
    pub(crate) fn text(&mut self, text: &str) {
        let clean = |c: char| if is_hidden(c) { ' ' } else { c };
        if !self.quote {
            self.out.extend(text.chars().map(clean));
            return;
        }
        let formula = text.starts_with(['=', '+', '@']);
        let wrap = text.contains([',', '"']);
        if wrap {
            self.out.push('"');
        }
        if formula {
            self.out.push('\'');
        }
        for c in text.chars().map(clean) {
            if c == '"' {
                self.out.push('"');
            }
            self.out.push(c);
        }
        if wrap {
            self.out.push('"');
        }
    }
}
