//! Names in the order in which people count: `webapp-2` before `webapp-10`.

use std::cmp::Ordering;

/// Compares two names: digits by their number, the rest by their characters.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let ((x, a_rest), (y, b_rest)) = (piece(a), piece(b));
        let order = match (number(x), number(y)) {
            (Some(x), Some(y)) => x.len().cmp(&y.len()).then(x.cmp(y)),
            _ => x.cmp(y),
        };
        // Where only the zeros in front differ, the shorter one is first.
        let order = order.then(x.len().cmp(&y.len()));
        if order.is_ne() {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
    a.len().cmp(&b.len())
}

/// The first run of digits, or of anything else, and what follows.
fn piece(text: &str) -> (&str, &str) {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != is_number);
    text.split_at(end.unwrap_or(text.len()))
}

/// Digits without zeros in front: the longer of two is the greater number.
fn number(piece: &str) -> Option<&str> {
    let is_number = piece.starts_with(|c: char| c.is_ascii_digit());
    is_number.then(|| piece.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_comes_behind_two() {
        let mut names = ["w-10", "w-2b", "w-02", "v", "w", "w-2", "10", "w-2a"];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(
            names,
            ["10", "v", "w", "w-2", "w-2a", "w-2b", "w-02", "w-10"]
        );
    }
}
