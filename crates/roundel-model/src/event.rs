//! What the timeline tells of.

use serde::{Deserialize, Serialize};

/// The kinds of events.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A member or server was heard of for the first time, or again.
    Join,
    /// A server takes traffic.
    Serving,
    /// A member is suspected.
    Suspect,
    /// A suspicion was refuted.
    Refuted,
    /// A member is held for failed.
    Failed,
    /// A member or server announced that it leaves, or left.
    Leave,
    /// A draining server has nothing in flight.
    Drained,
    /// A check brought a server up.
    CheckUp,
    /// A check or a refused connection brought a server down.
    CheckDown,
    /// Passive errors put a server out.
    Ejected,
    /// A server put out is back.
    Returned,
    /// A weight changed.
    Weight,
    /// An operator did something.
    Admin,
    /// The configuration was reloaded.
    Reload,
    /// A reload was refused.
    ReloadFailed,
    /// A set changed.
    Set,
    /// A backend has no server that serves.
    NoServer,
    /// Clients have it bad: errors, waits, no answers.
    Alarm,
    /// An alarm has ended.
    Quiet,
    /// A listener opened or closed.
    Listener,
    /// A certificate ends soon, has ended, or does not count yet.
    Certificate,
    /// Anything else.
    #[default]
    #[serde(other)]
    Other,
}

impl EventKind {
    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Serving => "serving",
            Self::Suspect => "suspect",
            Self::Refuted => "refuted",
            Self::Failed => "failed",
            Self::Leave => "leave",
            Self::Drained => "drained",
            Self::CheckUp => "check_up",
            Self::CheckDown => "check_down",
            Self::Ejected => "ejected",
            Self::Returned => "returned",
            Self::Weight => "weight",
            Self::Admin => "admin",
            Self::Reload => "reload",
            Self::ReloadFailed => "reload_failed",
            Self::Set => "set",
            Self::NoServer => "no_server",
            Self::Alarm => "alarm",
            Self::Quiet => "quiet",
            Self::Listener => "listener",
            Self::Certificate => "certificate",
            Self::Other => "other",
        }
    }
}
