//! The real binary, looked at from outside: processes, sockets, other people's programs.
//!
//! One test target, so that the heavy tests can take turns: see [`turns`].

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure and names its place"
)]

mod abused;
mod acme;
mod address;
mod agent;
mod alarms;
mod balancer;
mod beside;
mod browser;
mod changes;
mod chaos;
mod cluster;
mod configuration;
mod demo;
mod door;
mod drain;
mod driver;
mod encrypted;
mod exchanges;
mod fields;
mod file_sd;
mod gapless;
mod grpc;
mod hearsay;
mod limits;
mod live;
mod logins;
mod mixed;
mod multiplexed;
mod never_up;
mod operator;
mod orders;
mod policy;
mod proxied;
mod reload;
mod renewal;
mod rules;
mod runtime;
mod secrets;
mod secured;
mod serf;
mod servers;
mod shared;
mod shown;
mod shutdown;
mod sockets;
mod stock;
mod strangers;
mod streams;
mod supervision;
mod systemd;
mod tools;
mod turns;
mod upgrade;
mod verbs;
mod visitors;
