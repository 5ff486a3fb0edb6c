//! The real binary, looked at from outside: processes, sockets, other people's programs.
//!
//! One test target, so that the heavy tests can take turns: see [`turns`].

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure and names its place"
)]

mod agent;
mod balancer;
mod browser;
mod changes;
mod cluster;
mod configuration;
mod demo;
mod driver;
mod fields;
mod operator;
mod orders;
mod policy;
mod reload;
mod renewal;
mod serf;
mod servers;
mod shutdown;
mod systemd;
mod tools;
mod turns;
