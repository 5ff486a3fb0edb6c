//! What bounds a request: its client's patience, time, places, descriptors.

mod aborts;
mod bounds;
mod bursts;
mod descriptors;
mod ending;
mod full;
mod reload;
mod slow;
mod stage;
mod timeouts;
mod waiting;
