//! The timeline.

use roundel_model::EventKind;
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

impl Event {
    /// The mark shown beside the word of its kind.
    pub fn mark(&self) -> &'static str {
        use EventKind as Kind;
        match self.kind {
            Kind::Join
            | Kind::Serving
            | Kind::CheckUp
            | Kind::Returned
            | Kind::Refuted
            | Kind::Quiet => "▲",
            Kind::Leave | Kind::Drained => "◐",
            Kind::Failed | Kind::CheckDown | Kind::ReloadFailed | Kind::NoServer | Kind::Alarm => {
                "✕"
            }
            Kind::Suspect | Kind::Ejected | Kind::Certificate => "⬣",
            Kind::Reload | Kind::Set => "⟳",
            Kind::Weight | Kind::Admin => "◆",
            Kind::Listener | Kind::Other => "•",
        }
    }
}
