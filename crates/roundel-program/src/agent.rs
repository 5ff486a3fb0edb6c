//! From the flags of `agent` to its settings, and the socket by which it is asked.

pub(crate) mod socket;

use roundel_config::bounds;
use roundel_config::flags::GossipArgs;
use roundel_config::read_key;
use roundel_config::value::{self, Fault};

use crate::cli::AgentArgs;

/// The port of the classroom's apps.
const PORT: u16 = 3000;

/// Translates flags. Errors: a key that is none, a port in nobody's range.
pub(crate) fn config(args: AgentArgs) -> Result<roundel_agent::Config, Fault> {
    Ok(roundel_agent::Config {
        gossip: gossip(&args.gossip)?,
        role: args.role,
        port: args.port.unwrap_or(PORT),
        weight: args.weight.map(|w| w.get()),
        wait_port: args.wait_port,
        drain_timeout: args.drain_timeout,
        node: tokio::sync::watch::Sender::new(None),
        command: Some(args.command).filter(|words| !words.is_empty()),
    })
}

fn gossip(args: &GossipArgs) -> Result<roundel_gossip_tokio::Config, Fault> {
    let listen = match args.gossip_listen {
        Some(address) => address,
        None => value::listen(":7946")?,
    };
    let name = args.node_name.clone();
    Ok(roundel_gossip_tokio::Config {
        name: name
            .unwrap_or_else(roundel_config::host::node_name)
            .to_string(),
        listen,
        advertise: args.advertise.clone(),
        tags: args.tags.iter().flatten().cloned().collect(),
        join: args.join.clone(),
        keys: keys(args)?,
        keyring: args.gossip_keyring_file.clone(),
        snapshot: args.gossip_snapshot.clone(),
        handlers: args.event_handlers.clone(),
        limits: bounds::gossip(bounds::GOSSIP_MEMORY, bounds::GOSSIP_MEMBERS),
        ..roundel_gossip_tokio::Config::default()
    })
}

fn keys(args: &GossipArgs) -> Result<Vec<Vec<u8>>, Fault> {
    let text = match (&args.gossip_key, &args.gossip_key_file) {
        (Some(key), _) => key.clone(),
        (None, Some(path)) => {
            roundel_files::read_secret(path, roundel_files::LARGEST).map_err(|error| {
                Fault::new(
                    format!("cannot read {}: {error}", path.display()),
                    "check --gossip-key-file",
                )
            })?
        }
        (None, None) => return Ok(Vec::new()),
    };
    read_key(&text).map(|key| vec![key])
}
