//! What clients feel and a person should know.

use serde::{Deserialize, Serialize};

/// One thing that is wrong for clients, while it lasts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alarm {
    /// What kind of thing: `no_server`, `errors`, `stalled`, `queue` or `latency`.
    pub kind: String,
    /// The backend.
    pub backend: String,
    /// Whether it cannot wait; otherwise it is a warning.
    pub critical: bool,
    /// When it began, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// The sentence that every view shows.
    pub text: String,
}
