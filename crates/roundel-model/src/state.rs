//! The states of a server.

use std::fmt;

/// The state of a server, as every view names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerState {
    /// Known; its first check has not passed. Takes nothing.
    Joining,
    /// Takes new and sticky traffic.
    Up,
    /// Slow start: takes a part.
    Warming,
    /// Put out by passive errors for a while. Takes nothing.
    Ejected,
    /// An operator drains it: no new clients, sticky ones stay.
    Draining,
    /// It announced that it leaves: no new request at all; sticky clients get another server.
    Leaving,
    /// An operator took it out.
    Maint,
    /// Checks, refused connections or gossip and check together say that it does not answer.
    Down,
    /// Gone from the set; its row is kept for a while.
    Left,
}

impl ServerState {
    /// Every state, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::Joining,
        Self::Up,
        Self::Warming,
        Self::Ejected,
        Self::Draining,
        Self::Leaving,
        Self::Maint,
        Self::Down,
        Self::Left,
    ];

    /// The lower-case word shown to people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Up => "up",
            Self::Warming => "warming",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Leaving => "leaving",
            Self::Maint => "maint",
            Self::Down => "down",
            Self::Left => "left",
        }
    }

    /// Whether requests without a sticky cookie may go there.
    pub fn takes_new(self) -> bool {
        matches!(self, Self::Up | Self::Warming)
    }

    /// Whether requests that carry its sticky cookie may go there.
    pub fn takes_sticky(self) -> bool {
        matches!(self, Self::Up | Self::Warming | Self::Draining)
    }
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an operator ordered for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum AdminState {
    /// Serve when checks allow.
    #[default]
    Ready,
    /// Take no new clients.
    Drain,
    /// Take nothing.
    Maint,
}

impl AdminState {
    /// The lower-case word of the runtime API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

impl fmt::Display for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
