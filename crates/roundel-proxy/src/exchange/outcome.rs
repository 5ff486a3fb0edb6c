//! How an exchange, and an attempt of it, may end.

use std::rc::Rc;

use roundel_balance::Pick;

use crate::ending::Term;
use crate::rules::BackendSlot;
use crate::upstream::Server;

/// How an exchange ended for its client.
#[must_use = "a tunnel is counted and logged by whoever runs it"]
pub(crate) enum Outcome {
    /// An answer was sent whole.
    Done,
    /// No answer, or a broken one: nothing may follow.
    Broken,
    /// The protocol was switched; bytes flow both ways from here on.
    Tunnel(Box<Tunnelled>),
}

/// The server's side of a switched connection; in flight as long as it lives.
pub(crate) struct Tunnelled {
    pub(crate) slot: Rc<BackendSlot>,
    pub(crate) server: Server,
    pub(crate) pick: Pick,
}

/// An answer that has begun; its server is in the state.
pub(super) struct Begun {
    /// The whole request was sent.
    pub(super) sent: bool,
    pub(super) request_bytes: u64,
}

/// Why there is no answer to pass on.
pub(super) enum Failed {
    /// The client is gone, or broke its request in a way that leaves nothing to say.
    Client(Term),
    /// The client gets this status.
    Answer(u16, Term, &'static str),
}
