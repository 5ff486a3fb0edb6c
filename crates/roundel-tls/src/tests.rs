//! Real clients against what is shown, in memory.

mod clients;
mod front;
pub(crate) mod mint;
mod sessions;
mod talk;
