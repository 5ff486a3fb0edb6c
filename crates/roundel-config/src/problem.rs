//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;

use super::Source;

/// One mistake: what, where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// The bytes meant, if it lies in the file.
    pub span: Option<Range<usize>>,
}

/// Every mistake of one configuration, in order of the file, with its text.
#[derive(Debug, Clone)]
pub struct Problems {
    source: Option<Source>,
    list: Vec<Problem>,
}

impl Problems {
    /// Sorts the mistakes by place and drops repetitions.
    pub fn new(source: Option<Source>, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|p| p.span.as_ref().map_or(usize::MAX, |s| s.start));
        list.dedup();
        Self { source, list }
    }

    /// How many mistakes there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The first mistake in one line, for places that show only one.
    pub fn headline(&self) -> String {
        let Some(first) = self.list.first() else {
            return String::new();
        };
        let place = self.position(first);
        let more = match self.count() - 1 {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        format!("{place}{}{more}", first.message)
    }

    fn position(&self, problem: &Problem) -> String {
        match (&self.source, &problem.span) {
            (Some(source), Some(span)) => {
                let place = source.place(span);
                format!("{}:{}:{}: ", source.name(), place.line_number, place.column)
            }
            (Some(source), None) => format!("{}: ", source.name()),
            (None, _) => String::new(),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            writeln!(f, "{}error: {}", self.position(problem), problem.message)?;
            if let (Some(source), Some(span)) = (&self.source, &problem.span) {
                let place = source.place(span);
                let gutter = place.line_number.to_string().len().max(3);
                // Tabs are kept in the line below so that the caret stands under its text.
                let lead: String = place
                    .line
                    .chars()
                    .take(place.column - 1)
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                writeln!(f, " {:>gutter$} | {}", place.line_number, place.line)?;
                writeln!(f, " {:>gutter$} | {lead}{}", "", "^".repeat(place.width))?;
            }
            if let Some(hint) = &problem.hint {
                writeln!(f, "     hint: {hint}")?;
            }
        }
        let s = if self.count() == 1 { "" } else { "s" };
        writeln!(f, "{} problem{s} found", self.count())
    }
}

impl std::error::Error for Problems {}
