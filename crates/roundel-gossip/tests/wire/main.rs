//! Holds the wire codec against recorded bytes of real agents, and against rules on any bytes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod corpus;
mod crafted;
mod json;
mod properties;
mod recorded;
mod vectors;
