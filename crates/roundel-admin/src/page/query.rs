//! What a reader asked the page to be like.

use std::collections::BTreeMap;

use super::sort::Sort;
use crate::history::Range;

/// Rows of servers on one page of a long table.
pub(super) const ROWS: usize = 100;

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum View {
    /// Everything.
    #[default]
    Overview,
    /// Tables without plots.
    Tables,
    /// HAProxy's columns.
    Classic,
}

impl View {
    pub(super) const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Overview, "", "Overview"),
        (Self::Tables, "table", "Tables"),
        (Self::Classic, "haproxy", "HAProxy columns"),
    ];

    /// The word of the query parameter.
    pub(super) fn as_str(self) -> &'static str {
        let mine = Self::ALL.into_iter().find(|(view, ..)| *view == self);
        mine.map_or("", |(_, word, _)| word)
    }
}

/// The colours asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Theme {
    /// As the reader's system has it.
    #[default]
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    pub(super) const ALL: [(Self, &'static str); 3] = [
        (Self::Auto, "auto"),
        (Self::Light, "light"),
        (Self::Dark, "dark"),
    ];

    /// The word of the query parameter.
    pub(super) fn as_str(self) -> &'static str {
        let mine = Self::ALL.into_iter().find(|(theme, _)| *theme == self);
        mine.map_or("auto", |(_, word)| word)
    }
}

/// What changes the parts of the page: readers who agree in it share what is rendered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Key {
    pub(super) view: View,
    range: u8,
    /// The number of the page of a long table, from 0.
    pub(super) page: usize,
    /// Only servers whose name, address or state word holds this.
    pub(super) filter: String,
    /// The order of tables of servers; `None` for that of the set.
    pub(super) sort: Option<Sort>,
}

impl Key {
    /// How far back the plots go.
    pub(super) fn range(&self) -> Range {
        Range::ALL[usize::from(self.range)]
    }

    /// A link to this page with one parameter changed. The script keeps what is not in the key.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let query = PageQuery {
            key: self.clone(),
            ..PageQuery::default()
        };
        query.with(name, value)
    }
}

/// The whole query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PageQuery {
    pub(crate) key: Key,
    pub(super) theme: Theme,
    /// Seconds after which a reader without script reloads.
    pub(super) refresh: Option<u32>,
    /// How the last act ended.
    pub(super) st: Option<String>,
}

impl PageQuery {
    /// Reads the parameters; what is not understood is as if not given.
    pub(crate) fn parse(given: &BTreeMap<String, String>) -> Self {
        let word = |name: &str| given.get(name).map(String::as_str);
        let view = View::ALL
            .into_iter()
            .find(|(_, w, _)| Some(*w) == word("view"));
        let theme = Theme::ALL
            .into_iter()
            .find(|(_, w)| Some(*w) == word("theme"));
        let range = Range::from_word(word("range"));
        let range = Range::ALL.iter().position(|r| *r == range).unwrap_or(0);
        let page: usize = word("page").and_then(|p| p.parse().ok()).unwrap_or(1);
        let refresh = word("refresh").and_then(|r| r.parse::<u32>().ok());
        let filter = word("q").unwrap_or_default();
        Self {
            key: Key {
                view: view.map_or(View::Overview, |(view, ..)| view),
                range: range as u8,
                page: page.clamp(1, 10_000) - 1,
                filter: filter.chars().take(64).collect::<String>().to_lowercase(),
                sort: word("sort").and_then(Sort::parse),
            },
            theme: theme.map_or(Theme::Auto, |(theme, _)| theme),
            refresh: refresh.map(|s| s.clamp(1, 3_600)),
            st: word("st").map(str::to_owned),
        }
    }

    /// How the last act ended, in words.
    pub(crate) fn outcome(&self) -> Option<&'static str> {
        match self.st.as_deref()? {
            "DONE" => Some("Done."),
            "PART" => Some("Done for some of the servers only; the log says why."),
            "ERRP" => Some("Nothing was done; the log says why."),
            "UNKN" => Some("Nothing was done: no such act."),
            _ => None,
        }
    }

    /// The query string of this page with one parameter changed; empty values are left out.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let (range, refresh) = (
            self.key.range().as_str(),
            self.refresh.map(|r| r.to_string()),
        );
        let sort = self.key.sort.map(Sort::word);
        let all = [
            ("view", self.key.view.as_str()),
            ("range", if range == "5m" { "" } else { range }),
            (
                "theme",
                if self.theme == Theme::Auto {
                    ""
                } else {
                    self.theme.as_str()
                },
            ),
            ("refresh", refresh.as_deref().unwrap_or_default()),
            ("q", &self.key.filter),
            ("sort", sort.as_deref().unwrap_or_default()),
        ];
        let mut query = String::new();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                let separator = if query.is_empty() { '?' } else { '&' };
                query.push(separator);
                query.push_str(name);
                query.push('=');
                query.push_str(&encode(value));
            }
        };
        for (own, kept) in all {
            if own != name {
                add(own, kept);
            }
        }
        add(name, value);
        if query.is_empty() {
            "/".into()
        } else {
            format!("/{query}")
        }
    }
}

/// Percent-encodes all but unreserved characters.
fn encode(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out += &format!("%{b:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &[(&str, &str)]) -> PageQuery {
        let map = list
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        PageQuery::parse(&map)
    }

    #[test]
    fn odd_values_are_as_if_not_given() {
        let odd = parse(&[
            ("view", "<b>"),
            ("theme", "pink"),
            ("range", "9y"),
            ("page", "-1"),
            ("refresh", "x"),
        ]);
        assert_eq!(odd, PageQuery::default());
    }

    #[test]
    fn links_keep_the_rest() {
        let query = parse(&[("view", "table"), ("theme", "dark"), ("q", "a&b")]);
        assert_eq!(
            query.with("range", "1h"),
            "/?view=table&theme=dark&q=a%26b&range=1h"
        );
        assert_eq!(query.with("view", ""), "/?theme=dark&q=a%26b");
        let sorted = parse(&[("sort", "-rate"), ("range", "1h")]);
        assert_eq!(sorted.key.with("page", "2"), "/?range=1h&sort=-rate&page=2");
        assert_eq!(parse(&[]).with("theme", ""), "/");
    }
}
