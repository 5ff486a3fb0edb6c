//! Complaints that are logged once, not at every look.

use std::collections::BTreeMap;

/// The most lines for one look; a flood of the same is not worth more.
const MOST: usize = 20;

/// What is wrong at this moment, by subject.
#[derive(Debug, Default)]
pub(crate) struct Notices(BTreeMap<String, String>);

impl Notices {
    /// Takes the complaints of one look and logs those that differ from the look before.
    pub(crate) fn renew(&mut self, source: &str, complaints: BTreeMap<String, String>) {
        let is_news =
            |(subject, complaint): &(&String, &String)| self.0.get(*subject) != Some(*complaint);
        let mut news = complaints.iter().filter(is_news);
        for (subject, complaint) in news.by_ref().take(MOST) {
            tracing::warn!(source, "{subject}: {complaint}");
        }
        match news.count() {
            0 => {}
            more => tracing::warn!(source, "{more} more complaints of this kind"),
        }
        self.0 = complaints;
    }
}

/// Makes text from outside fit for one line of a log: printable, quoted, short.
pub(crate) fn quoted(text: &str) -> String {
    const MOST: usize = 64;
    let short: String = text.chars().take(MOST).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{dots}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line() {
        assert_eq!(quoted("a\n\x1b[31m"), "\"a\\n\\u{1b}[31m\"");
        assert_eq!(quoted(&"é".repeat(100)).chars().count(), 67);
    }
}
