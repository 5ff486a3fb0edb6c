//! In which order the servers of a table stand.

use std::cmp::Ordering;

use super::look::{BY_URGENCY, Look};
use crate::history::ServerRates;
use crate::status::Server;

/// The columns of a table of servers: the word of the query parameter, the head, its class.
pub(super) const COLUMNS: [(&str, &str, &str); 13] = [
    ("state", "State", ""),
    ("name", "Server", ""),
    ("weight", "Weight", "num"),
    ("share", "Share", "num"),
    ("rate", "Req/s", "num"),
    ("in_flight", "In flight", "num"),
    ("mean", "Mean", "num"),
    ("2xx", "2xx", "num"),
    ("4xx", "4xx", "num"),
    ("5xx", "5xx", "num"),
    ("errors", "Errors", "num"),
    ("for", "For", "num"),
    ("check", "Check", ""),
];

/// The column to sort by, and whether against its natural order: numbers fall, words rise, and
/// the worst state comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sort {
    column: usize,
    reversed: bool,
}

/// What rows are compared by.
#[derive(PartialEq, PartialOrd)]
enum Value<'a> {
    Number(f64),
    Word(&'a str),
}

impl Sort {
    /// Reads `COLUMN` or `-COLUMN`; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let plain = text.strip_prefix('-').unwrap_or(text);
        let column = COLUMNS.iter().position(|(word, ..)| *word == plain)?;
        Some(Self {
            column,
            reversed: plain.len() < text.len(),
        })
    }

    /// The word of the query parameter.
    pub(super) fn word(self) -> String {
        let sign = if self.reversed { "-" } else { "" };
        format!("{sign}{}", COLUMNS[self.column].0)
    }

    /// What a click on the head of a column leads to: the other way round where it is sorted by.
    pub(super) fn after_click(now: Option<Self>, column: usize) -> Self {
        let same = now.filter(|sort| sort.column == column);
        Self {
            column,
            reversed: same.is_some_and(|sort| !sort.reversed),
        }
    }

    /// `ascending` or `descending`, if the table is sorted by this column.
    pub(super) fn direction(self, column: usize) -> Option<&'static str> {
        let rises = matches!(COLUMNS[column].0, "state" | "name" | "check") != self.reversed;
        let word = if rises { "ascending" } else { "descending" };
        (self.column == column).then_some(word)
    }

    /// Which of two servers stands first.
    pub(super) fn compare(
        self,
        a: (&Server, &ServerRates),
        b: (&Server, &ServerRates),
    ) -> Ordering {
        let (a, b) = (self.value(a), self.value(b));
        let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
        if self.reversed {
            order.reverse()
        } else {
            order
        }
    }

    /// What rises in the natural order.
    fn value<'a>(self, (server, rates): (&'a Server, &ServerRates)) -> Value<'a> {
        let answers = |class: usize| server.traffic.responses_total[class] as f64;
        let falling = match COLUMNS[self.column].0 {
            "name" => return Value::Word(&server.name),
            "check" => return Value::Word(server.check.as_ref().map_or("", |c| &c.status)),
            "state" => {
                let class = Look::of_server(server).class;
                let at = BY_URGENCY.iter().position(|c| *c == class);
                return Value::Number(at.unwrap_or(BY_URGENCY.len()) as f64);
            }
            "weight" => f64::from(server.weight),
            "share" => rates.share.unwrap_or(0.0),
            "rate" => rates.requests_per_second,
            "in_flight" => server.in_flight as f64,
            "mean" => rates.means.total_ms,
            "2xx" => answers(1),
            "4xx" => answers(3),
            "5xx" => answers(4),
            "errors" => server.errors_total as f64,
            _ => server.since_seconds as f64,
        };
        Value::Number(-falling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(sort: &str) -> Vec<String> {
        let sort = Sort::parse(sort).unwrap();
        let rates = ServerRates::default();
        let mut servers: Vec<Server> = [("b", 2), ("c", 9), ("a", 5)]
            .into_iter()
            .map(|(name, in_flight)| Server {
                name: name.into(),
                in_flight,
                ..Server::default()
            })
            .collect();
        servers.sort_by(|a, b| sort.compare((a, &rates), (b, &rates)));
        servers.into_iter().map(|s| s.name.to_string()).collect()
    }

    #[test]
    fn numbers_fall_and_words_rise_unless_reversed() {
        assert_eq!(order("name"), ["a", "b", "c"]);
        assert_eq!(order("-name"), ["c", "b", "a"]);
        assert_eq!(order("in_flight"), ["c", "a", "b"]);
        assert_eq!(order("-in_flight"), ["b", "a", "c"]);
        // Where all are equal the order of the set stays.
        assert_eq!(order("errors"), ["b", "c", "a"]);
    }

    #[test]
    fn a_second_click_turns_the_order_round() {
        let first = Sort::after_click(None, 4);
        assert_eq!(
            (first.word().as_str(), first.direction(4)),
            ("rate", Some("descending"))
        );
        let second = Sort::after_click(Some(first), 4);
        assert_eq!(
            (second.word().as_str(), second.direction(4)),
            ("-rate", Some("ascending"))
        );
        assert_eq!(Sort::after_click(Some(second), 1).word(), "name");
        assert_eq!(second.direction(1), None);
        assert_eq!(Sort::parse("pid"), None);
    }
}
