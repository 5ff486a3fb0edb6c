//! Names of frontends, backends, servers and members.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::natural_order;

/// Holds a name of 1 to 128 characters out of `[A-Za-z0-9._:-]`.
///
/// Names arrive from the network. Whatever passes this type can be shown in HTML, CSV, JSON,
/// Prometheus labels and log lines as it is. Cloning is a reference count.
///
/// Ordering is natural: see [`natural_order`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Arc<str>);

/// Says why a text is not a [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// The text is empty.
    Empty,
    /// The text is longer than 128 bytes.
    TooLong,
    /// The text holds a character outside `[A-Za-z0-9._:-]`, first at this byte.
    BadCharacter(usize),
}

impl Name {
    /// The longest name in bytes.
    pub const MAX: usize = 128;

    /// Checks `text` and makes it a name. Errors: see [`NameError`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(NameError::TooLong);
        }
        match text.bytes().position(|b| !is_name_byte(b)) {
            Some(at) => Err(NameError::BadCharacter(at)),
            None => Ok(Self(Arc::from(text))),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-')
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        natural_order(&self.0, &other.0)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name cannot be empty"),
            Self::TooLong => write!(f, "a name has at most {} characters", Name::MAX),
            Self::BadCharacter(at) => write!(
                f,
                "character {} is not allowed in a name; use letters, digits and . _ : -",
                at + 1
            ),
        }
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn accepts_the_allowed_alphabet_only() {
        assert!(Name::new("webapp-1.lab_x:9").is_ok());
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new(&"a".repeat(129)), Err(NameError::TooLong));
        for bad in [
            "a b",
            "a\n",
            "<img>",
            "a,b",
            "a\"b",
            "=cmd()",
            "é",
            "a\u{202e}",
        ] {
            assert!(
                matches!(Name::new(bad), Err(NameError::BadCharacter(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn sorts_as_people_count() {
        assert!(name("w-2") < name("w-10"));
    }
}
