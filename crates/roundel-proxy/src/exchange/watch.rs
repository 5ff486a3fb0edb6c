//! Whether a client still waits for its answer.

use std::task::{Context, Poll};

use crate::deadline::Deadline;
use crate::rules::BackendSlot;
use crate::sides::{Downstream, Presence};

/// Looks after a client while something else is waited for.
pub(super) struct Watch<'x> {
    deadline: &'x Deadline,
    abort_on_close: bool,
}

impl<'x> Watch<'x> {
    pub(super) fn new(slot: &BackendSlot, deadline: &'x Deadline) -> Self {
        Self {
            deadline,
            abort_on_close: slot.backend.abort_on_close,
        }
    }

    /// Ready when nobody waits for the answer any more.
    ///
    /// The task is woken by the client itself or, where the client cannot be heard, by the
    /// sweep; so whoever calls this polls the deadline as well.
    pub(super) fn poll_left(&self, client: &mut impl Downstream, cx: &mut Context<'_>) -> Poll<()> {
        match client.poll_presence(cx) {
            Presence::Gone => Poll::Ready(()),
            Presence::Finished if self.abort_on_close => Poll::Ready(()),
            Presence::Finished | Presence::Unheard => {
                self.deadline.look_again();
                Poll::Pending
            }
            Presence::There => Poll::Pending,
        }
    }
}
