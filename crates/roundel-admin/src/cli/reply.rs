//! What a command says, and how bad that is.

use axum::body::Bytes;

/// How much a reply matters, as syslog numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// Nothing was done.
    Error = 3,
    /// Done, with a remark.
    Warning = 4,
    /// Done, and told of.
    Info = 6,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "err",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// How severities are shown: `set severity-output`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Shown {
    #[default]
    None,
    Number,
    Word,
}

impl Shown {
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "none" => Some(Self::None),
            "number" => Some(Self::Number),
            "string" => Some(Self::Word),
            _ => None,
        }
    }
}

/// A reply. HAProxy adds one line end to every text, so that a text which ends with one is
/// followed by an empty line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    severity: Option<Severity>,
    text: Bytes,
}

impl Reply {
    /// A table or a value, which has no severity.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self {
            severity: None,
            text: text.into().into(),
        }
    }

    pub(super) fn error(text: impl Into<String>) -> Self {
        Self {
            severity: Some(Severity::Error),
            text: text.into().into(),
        }
    }

    pub(super) fn warning(text: impl Into<String>) -> Self {
        Self {
            severity: Some(Severity::Warning),
            text: text.into().into(),
        }
    }

    pub(super) fn info(text: impl Into<String>) -> Self {
        Self {
            severity: Some(Severity::Info),
            text: text.into().into(),
        }
    }

    /// The text of a reply that many may hold: a table, or an error.
    pub(super) fn shared(text: Bytes, is_error: bool) -> Self {
        Self {
            severity: is_error.then_some(Severity::Error),
            text,
        }
    }

    /// The text, and whether it is an error.
    pub(super) fn into_parts(self) -> (Bytes, bool) {
        (self.text, self.severity == Some(Severity::Error))
    }

    /// The bytes to send, but for a line end: what stands before the text, and the text.
    pub(super) fn render(self, shown: Shown) -> (String, Bytes) {
        let severity = self.severity.filter(|_| !self.text.is_empty());
        let before = match (severity, shown) {
            (Some(severity), Shown::Number) => format!("[{}]: ", severity as u8),
            (Some(severity), Shown::Word) => format!("[{}]: ", severity.word()),
            _ => String::new(),
        };
        (before, self.text)
    }
}
