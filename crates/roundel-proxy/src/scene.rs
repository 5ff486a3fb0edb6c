//! Where an exchange takes place.

use crate::peer::Peer;
use crate::rules::Rules;
use crate::worker::Worker;

/// The worker, the rules and the client of an exchange.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) rules: &'a Rules,
    pub(crate) peer: &'a Peer,
}
