//! Benchmarks of Roundel as whole programs.
//!
//! Owns: the side-by-side comparison with other balancers (`compare`) and the origin that it
//! runs against (`origin`), the figures of the gossip (`gossip` in memory, `live` among real
//! agents). Does not own: any claim; a figure counts with the command that gave it, see
//! `README.md` in this folder.

mod compare;
mod gossip;
mod live;
mod origin;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(about = "Measures Roundel beside other balancers")]
enum Command {
    /// Runs every peer through the same rows of work, interleaved, and prints a table.
    Compare(compare::Options),
    /// Runs clusters in memory and prints the figures of the gossip.
    Gossip(gossip::Options),
    /// Runs a balancer among stock Serf agents on loopback and prints the live figures.
    GossipLive(live::Options),
    /// Serves prebuilt answers: /128, /10k, /1m, and any POST.
    Origin(origin::Options),
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Compare(options) => compare::run(&options),
        Command::Gossip(options) => gossip::run(&options),
        Command::GossipLive(options) => live::run(&options),
        Command::Origin(options) => origin::run(&options),
    }
}
