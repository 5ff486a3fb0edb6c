//! The timeline.

use serde::{Deserialize, Serialize};

/// One line of the timeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Grows with each event of one process.
    pub seq: u64,
    /// RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// What kind of thing happened.
    pub kind: EventKind,
    /// Whom it concerns: `backend/server`, a member, a frontend, `config`, ….
    pub subject: String,
    /// The cause in words.
    pub text: String,
    /// How long it took, in milliseconds, where that means something.
    pub duration_ms: Option<u64>,
    /// How many identical lines were folded into this one; 0 and 1 mean none.
    pub repeats: u32,
}

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
    /// A listener opened or closed.
    Listener,
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
            Self::Listener => "listener",
            Self::Other => "other",
        }
    }

    /// The mark shown beside the word.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Join | Self::Serving | Self::CheckUp | Self::Returned | Self::Refuted => "▲",
            Self::Leave | Self::Drained => "◐",
            Self::Failed | Self::CheckDown | Self::ReloadFailed | Self::NoServer => "✕",
            Self::Suspect | Self::Ejected => "⬣",
            Self::Reload | Self::Set => "⟳",
            Self::Weight | Self::Admin => "◆",
            Self::Listener | Self::Other => "•",
        }
    }
}
