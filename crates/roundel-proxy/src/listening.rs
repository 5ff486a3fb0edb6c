//! A listener as one worker has it.

use std::cell::RefCell;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::rules::FrontendSlot;
use crate::shared::Door;

/// Where the connections of a listener go. An order may change it while it listens.
pub(crate) type Gate = Rc<RefCell<(Rc<FrontendSlot>, Door)>>;

/// A listener of this worker; it closes when this is dropped.
pub(crate) struct Listening {
    pub(crate) gate: Gate,
    pub(crate) sockets: Vec<Arc<TcpListener>>,
    pub(crate) closes: Vec<oneshot::Sender<bool>>,
}
