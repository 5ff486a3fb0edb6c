//! What a command says, and how bad that is.

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
    text: String,
}

impl Reply {
    /// A table or a value, which has no severity.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self {
            severity: None,
            text: text.into(),
        }
    }

    pub(super) fn error(text: impl Into<String>) -> Self {
        Self {
            severity: Some(Severity::Error),
            text: text.into(),
        }
    }

    pub(super) fn warning(text: impl Into<String>) -> Self {
        Self {
            severity: Some(Severity::Warning),
            text: text.into(),
        }
    }

    pub(super) fn info(text: impl Into<String>) -> Self {
        Self {
            severity: Some(Severity::Info),
            text: text.into(),
        }
    }

    /// The bytes to send.
    pub(super) fn render(self, shown: Shown) -> String {
        let severity = self.severity.filter(|_| !self.text.is_empty());
        let text = self.text;
        match (severity, shown) {
            (Some(severity), Shown::Number) => format!("[{}]: {text}\n", severity as u8),
            (Some(severity), Shown::Word) => format!("[{}]: {text}\n", severity.word()),
            _ => text + "\n",
        }
    }
}
