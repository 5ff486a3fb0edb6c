//! The words that every Roundel crate shares.
//!
//! Owns: names, weights, servers, backend sets, the states a server can be in, the kinds of events,
//! how text from outside is shown ([`Shown`]).
//! Does not own: how sets are found (`roundel-discovery`), who decides on a state or how a
//! server is chosen (`roundel-balance`), any I/O, any wire or file format.
//! Start at [`BackendSet`]. Invariants: a [`Name`] is always printable ASCII that is safe in
//! HTML, CSV, logs and metrics labels; a [`Weight`] is 0 to 256; a [`BackendSet`] never
//! holds two servers of one name.

mod event;
mod name;
mod natural;
mod server;
mod set;
mod shown;
mod state;

pub use event::EventKind;
pub use name::{Name, NameError};
pub use natural::natural_order;
pub use server::{
    Presence, Server, SourceKind, Weight, WeightError, WeightOrder, WeightOrderError,
};
pub use set::{BackendSet, Generation};
pub use shown::{Shown, is_hidden, visible, visible_json};
pub use state::{AdminState, ServerState};
