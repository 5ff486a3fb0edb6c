//! What Roundel shows of itself over TLS.
//!
//! Owns: certificates and which of them answers a name, the policy of a frontend (versions, ALPN,
//! client certificates), session tickets, how servers are spoken to, what a CA is shown as proof of a name.
//! Does not own: sockets and handshakes on the wire (`roundel-proxy`), which files there are and when
//! they are read again (`roundel-config`, `roundel`).
//! Start at [`Front`].
//! Invariants: it reads no clock and begins no thread; no key is in any text that it makes.

pub use rustls;

mod back;
mod certificate;
mod challenges;
mod clients;
mod files;
mod flaw;
mod front;
mod lifetime;
mod policy;
mod presented;
mod provider;
mod tickets;

pub use back::{Back, Demand};
pub use certificate::{Certificate, KeyKind, Validity};
pub use challenges::{ACME_TLS, Challenges};
pub use clients::Clients;
pub use files::{load, trace};
pub use flaw::{Flaw, Refused};
pub use front::{Answer, Front};
pub use lifetime::Stage;
pub use policy::{Policy, Profile, Protocol};
pub use presented::Presented;
pub use tickets::{TURN, TicketKeys};

#[cfg(test)]
mod tests;
