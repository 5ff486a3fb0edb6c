//! What an active check is and what it found.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How the servers of a backend are probed, how often, and how many results decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// What a probe does.
    pub kind: CheckKind,
    /// Time between the starts of two probes of one server; an eighth of it, at least 50 ms,
    /// while a server that is out may come in. Default 2 s.
    pub every: Duration,
    /// The same for a server that serves, from its first failure on until it is decided; more
    /// than `every` counts as `every`. Default 1 s: half of `every`, so that an outage of less
    /// than `(fall - 1) * every / 2` is lived through.
    pub fast: Duration,
    /// A probe without a result for this long has failed. Default 2 s.
    pub timeout: Duration,
    /// Passes in a row that bring a server back; a server that never served needs one. Default 2.
    pub rise: u32,
    /// Failures in a row that put a server down. Default 3.
    pub fall: u32,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// Sends an HTTP/1.1 request; a status of 2xx or 3xx passes.
    Http {
        /// The method, `HEAD` by default.
        method: String,
        /// The path, `/` by default.
        path: String,
        /// The Host field; the server's address when absent.
        host: Option<String>,
    },
    /// Calls `grpc.health.v1.Health/Check` over HTTP/2; SERVING passes.
    Grpc {
        /// The service asked for; empty for the server as a whole.
        service: String,
        /// The `:authority`; the server's address when absent.
        host: Option<String>,
    },
    /// Connects and closes.
    Tcp,
    /// No probe: a server serves as soon as it is known.
    Off,
}

impl Default for CheckSpec {
    fn default() -> Self {
        Self {
            kind: CheckKind::Http {
                method: "HEAD".into(),
                path: "/".into(),
                host: None,
            },
            every: Duration::from_secs(2),
            fast: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }
}

impl CheckSpec {
    /// Time between two probes while failures count against a server that serves.
    pub fn fast(&self) -> Duration {
        self.fast.min(self.every)
    }

    /// Whether servers are probed at all.
    pub fn is_on(&self) -> bool {
        self.kind != CheckKind::Off
    }
}

impl fmt::Display for CheckKind {
    /// Writes the form of the flag `--check`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { method, path, .. } => write!(f, "{method} {path}"),
            Self::Grpc { .. } => f.write_str("grpc"),
            Self::Tcp => f.write_str("tcp"),
            Self::Off => f.write_str("off"),
        }
    }
}

/// HAProxy's words for the result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum CheckStatus {
    /// Not checked.
    Unk,
    /// No result yet.
    #[default]
    Ini,
    /// The connect succeeded (TCP check).
    L4Ok,
    /// The connect was refused or failed.
    L4Con,
    /// The connect did not end in time.
    L4Tout,
    /// The TLS handshake succeeded (TCP check).
    L6Ok,
    /// The server did not speak TLS, or is not to be believed.
    L6Rsp,
    /// The TLS handshake did not end in time.
    L6Tout,
    /// The answer passed.
    L7Ok,
    /// The answer's status did not pass.
    L7Sts,
    /// The answer did not come in time.
    L7Tout,
    /// The answer was not valid HTTP, or none came.
    L7Rsp,
}

impl CheckStatus {
    /// The word of the CSV column `check_status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unk => "UNK",
            Self::Ini => "INI",
            Self::L4Ok => "L4OK",
            Self::L4Con => "L4CON",
            Self::L4Tout => "L4TOUT",
            Self::L6Ok => "L6OK",
            Self::L6Rsp => "L6RSP",
            Self::L6Tout => "L6TOUT",
            Self::L7Ok => "L7OK",
            Self::L7Sts => "L7STS",
            Self::L7Tout => "L7TOUT",
            Self::L7Rsp => "L7RSP",
        }
    }

    /// HAProxy's phrase for the CSV column `check_desc`.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Unk => "Unknown",
            Self::Ini => "Initializing",
            Self::L4Ok => "Layer4 check passed",
            Self::L4Con => "Layer4 connection problem",
            Self::L4Tout => "Layer4 timeout",
            Self::L6Ok => "Layer6 check passed",
            Self::L6Rsp => "Layer6 invalid response",
            Self::L6Tout => "Layer6 timeout",
            Self::L7Ok => "Layer7 check passed",
            Self::L7Sts => "Layer7 wrong status",
            Self::L7Tout => "Layer7 timeout",
            Self::L7Rsp => "Layer7 invalid response",
        }
    }

    /// Whether the server passed.
    pub fn passed(self) -> bool {
        matches!(self, Self::L4Ok | Self::L6Ok | Self::L7Ok)
    }
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The result of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// What was found.
    pub status: CheckStatus,
    /// The status code of an HTTP answer.
    pub http_code: Option<u16>,
    /// How long the probe took.
    pub duration: Duration,
    /// A few words for people, such as `Connection refused`; at most one line.
    pub description: Arc<str>,
}
