//! Certificates that are ordered and renewed by ACME.
//!
//! Owns: the account with a certificate authority (CA), orders, when to renew and when to try again,
//! what of it is kept on disk, the certificate that is served until the first order is done.
//! Does not own: who answers the CA's challenges on the wire (`roundel-proxy`, from
//! [`roundel_tls::Challenges`]), what is served with a certificate (`roundel-tls`), the
//! configuration's syntax (`roundel-config`).
//! Start at [`Renewer`]: its `turn` does what is due. `order` has the steps of one order, `schedule`
//! every decision that needs a clock, as functions of `now`.
//!
//! Invariants:
//! - Before the CA is told anything that matters later, it is on disk: the account's key before the
//!   account, the certificate's key before the order is finalized. The one thing that only the CA
//!   knows before us is an order's address: a kill between the two leaves an order that is never
//!   finalized, or that the CA gives again for the same names, as Let's Encrypt does.
//! - Of a set of names one order is in flight: who has the lock of its file in the state directory
//!   orders, all others read.
//! - Between the proofs and the word to the CA that it may look stands [`Presenter`]: with several
//!   balancers it returns when all of them answer.
//! - Where balancers share, all of them have what the next one needs to go on, before the CA is told
//!   anything that matters later: who is at it, the account's key, the certificate's key with the order's
//!   address, the proofs.
//!
//! Source: RFC 8555 (ACME), RFC 8737 (tls-alpn-01), RFC 9773 (renewal information).

mod account;
mod ca;
mod config;
mod facts;
mod handle;
mod issued;
mod order;
mod present;
mod renewer;
mod schedule;
mod self_signed;
mod shared;
mod store;
mod words;

pub use ca::RootsError;
pub use config::{Challenge, Config, ConfigError, ExternalAccount};
pub use facts::Facts;
pub use handle::Handle;
pub use issued::Issued;
pub use present::{Presenter, Proof, Proofs};
pub use renewer::{Renewer, StartError};
pub use store::StoreError;
