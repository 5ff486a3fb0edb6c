//! What a configuration has Roundel do to messages, or answer by itself: seen by clients of both
//! protocols, and by servers.

mod bodies;
mod clients;
mod headers;
mod pages;
mod paths;
mod rates;
mod redirects;
mod stage;
