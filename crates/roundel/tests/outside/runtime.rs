//! The runtime API beside HAProxy's own: the same words, the same servers that serve.

mod kept;
mod lasting;
mod sequences;
mod servers;
mod stage;
mod words;
mod writes;
