//! What an exchange keeps while it waits.

use roundel_balance::{Pick, ServerId};
use roundel_http1::Edits;

use super::call::Timeout;
use super::replay::Replay;
use crate::search::Search;
use crate::upstream::Server;

/// Everything of one exchange that outlives a step of it.
///
/// Pooled per worker, apart from the future that uses it: a future of this size would be allocated
/// and copied with every request.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(super) search: Search,
    /// The server that the client's cookie names and that serves.
    pub(super) cookie: Option<ServerId>,
    pub(super) edits: Edits,
    /// How long a gRPC call may take; what is left of it is passed on with every attempt.
    pub(super) call: Option<Timeout>,
    pub(super) replay: Replay,
    /// A connection of this server was stale; it is asked again on a fresh one.
    pub(super) again: Option<Pick>,
    pub(super) stale_seen: bool,
    /// It waits, or waited, for a server of a backend that has lost its last one.
    pub(super) held: bool,
    /// The request brings a login for its connection.
    pub(super) login: bool,
    /// The connection on which it was to go on has ended.
    pub(super) login_lost: bool,
    /// The server is asked on a connection that carries the client's login.
    pub(super) bound: bool,
    /// The server that is asked; at the end, the one that was asked last.
    pub(super) pick: Option<Pick>,
    /// The connection to it.
    pub(super) server: Option<Server>,
}

impl State {
    /// Lets go of everything but storage.
    pub(crate) fn clear(&mut self) {
        self.search = Search::default();
        self.cookie = None;
        self.edits.clear();
        self.call = None;
        self.replay = Replay::default();
        self.again = None;
        self.stale_seen = false;
        self.held = false;
        self.login = false;
        self.login_lost = false;
        self.bound = false;
        self.pick = None;
        self.server = None;
    }
}
