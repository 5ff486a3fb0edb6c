//! Via: by which ways a request came, and whether one of them is ours already.

use std::sync::LazyLock;

use roundel_http1::{Fields, Known, Lines, Version};

/// The name that this process gives itself: no other's, and none that tells of the host.
static PSEUDONYM: LazyLock<String> = LazyLock::new(|| format!("roundel-{:08x}", fastrand::u32(..)));

/// Via by the version in which a request came.
pub(crate) struct Via([Lines; 3]);

impl Via {
    /// Prepares the fields; none if it is not to be told.
    pub(crate) fn new(told: bool) -> Self {
        Self(["1.0", "1.1", "2.0"].map(|version| {
            let mut lines = Lines::new();
            if told {
                lines.push_known(Known::Via, &[value(version).as_bytes()]);
            }
            lines
        }))
    }

    pub(crate) fn line(&self, version: Version) -> &Lines {
        &self.0[match version {
            Version::Http10 => 0,
            Version::Http11 => 1,
            Version::Http2 => 2,
        }]
    }
}

/// What is added to a message that came in this version.
pub(crate) fn value(version: &str) -> String {
    format!("{version} {}", *PSEUDONYM)
}

/// Whether a request has gone through this process before.
///
/// Source: RFC 9110 7.6.3: the second word of each element of the list is who received it.
pub(crate) fn has_been_here(fields: Fields<'_>) -> bool {
    fields.has(Known::Via) && fields.all(Known::Via).any(|line| names_us(line.value))
}

#[cold]
fn names_us(value: &[u8]) -> bool {
    let mut elements = value.split(|b| *b == b',');
    elements.any(|element| {
        let words = element.split(|b| matches!(b, b' ' | b'\t'));
        let mut words = words.filter(|word| !word.is_empty());
        words.nth(1) == Some(PSEUDONYM.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_name_is_ours() {
        let own = &*PSEUDONYM;
        for (via, ours) in [
            (format!("1.1 {own}"), true),
            (
                format!("1.0 edge,\tHTTP/1.1  {own} (a comment), 2.0 x"),
                true,
            ),
            (format!("1.1 edge ({own})"), false),
            (format!("1.1 {own}x"), false),
            (own.clone(), false),
            ("1.1 roundel, 1.1 roundel-1".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(names_us(via.as_bytes()), ours, "{via}");
        }
    }
}
