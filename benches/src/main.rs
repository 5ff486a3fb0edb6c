//! Benchmarks of Roundel as whole programs.
//!
//! Owns: the side-by-side comparison with other balancers (`compare`), with the load (`load`) and
//! the origin (`origin`) that it uses; what must not grow (`grow`); what machines would carry
//! (`paper`); the figures of the gossip (`gossip` in memory, `live` among real agents). Does not
//! own: any claim; a figure counts with the command that gave it, see `README.md` in this folder.

mod compare;
mod gossip;
mod grow;
mod live;
mod load;
mod machine;
mod origin;
mod paper;
mod process;
mod relay;
mod stat;
mod svg;
mod swapper;

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
    /// Measures what must not grow: with servers, with churn, with time.
    Grow(grow::Options),
    /// Computes what one core, one machine and several carry, from a comparison's figures.
    Paper(paper::Options),
    /// Speaks for members that change all the time; a part of `grow`.
    #[command(hide = true)]
    Churn(grow::ChurnOptions),
    /// Sends requests to one address, checks every answer and prints a report as JSON.
    Load(load::Options),
    /// Passes bytes to servers and looks at none; a peer of `compare`.
    #[command(hide = true)]
    Relay(relay::Options),
    /// Serves prebuilt answers: /128, /10k, /1m, /16m, and any POST.
    Origin(origin::Options),
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Compare(options) => compare::run(&options),
        Command::Gossip(options) => gossip::run(&options),
        Command::GossipLive(options) => live::run(&options),
        Command::Grow(options) => grow::run(&options),
        Command::Churn(options) => grow::play(&options),
        Command::Load(options) => load::run(&options),
        Command::Paper(options) => paper::run(&options),
        Command::Relay(options) => relay::run(&options),
        Command::Origin(options) => origin::run(&options),
    }
}
