//! The order in which people count.

use std::cmp::Ordering;

/// Compares two texts as people count: runs of digits by their number, so `webapp-2` comes before
/// `webapp-10`, all else byte by byte. Texts that tie that way compare byte by byte as a whole, so
/// the order is total and only equal texts are equal.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    natural(a.as_bytes(), b.as_bytes()).then_with(|| a.cmp(b))
}

fn natural(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let (Some(&x), Some(&y)) = (a.first(), b.first()) else {
            return a.len().cmp(&b.len());
        };
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (digits(a), digits(b));
            let (p, q) = (significant(&a[..m]), significant(&b[..n]));
            (a, b) = (&a[m..], &b[n..]);
            p.len().cmp(&q.len()).then_with(|| p.cmp(q))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            x.cmp(&y)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len())
}

fn significant(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_compare_as_numbers() {
        let sorted = [
            "10", "v", "w", "w-1", "w-02", "w-2", "w-2a", "w-2b", "w-10", "w-é1", "x",
        ];
        let mut texts = sorted;
        texts.reverse();
        texts.sort_by(|a, b| natural_order(a, b));
        assert_eq!(texts, sorted);
    }
}
