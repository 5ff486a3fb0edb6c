//! The flags that say the same as keys of the file, and the variables that stand for them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use roundel_balance::{CheckKind, Policy};
use roundel_gossip_tokio::{Advertise, Handler};
use roundel_model::Name;

use crate::file::{check_word, cookie_name, cookie_prefix, policy};
use crate::list::{List, Listed};
use crate::value::{self, Fault};
use crate::{AccessLogFormat, LOG_FORMATS};

/// The file to read, and what is said on top of it.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Configuration file (TOML); `-` is standard input
    #[arg(short, long, value_name = "FILE", env = "ROUNDEL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where to take requests, such as `:80`; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "ROUNDEL_LISTEN", value_delimiter = ',', value_parser = value::listen)]
    pub listen: Vec<SocketAddr>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub admin: AdminArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub gossip: GossipArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub backend: BackendArgs,
    /// Folder that keeps the known members over restarts [default: /var/lib/roundel where that can
    /// be written]
    #[arg(long, value_name = "DIR", env = "ROUNDEL_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// File that holds the key under which balancers, and they alone, share certificates and keys of
    /// tickets; not the gossip's
    #[arg(long, value_name = "FILE", env = "ROUNDEL_CLUSTER_KEY_FILE")]
    pub cluster_key_file: Option<PathBuf>,
    /// Form of the access log on standard output [default: json, on a terminal text]
    #[arg(long, value_name = "FORMAT", env = "ROUNDEL_ACCESS_LOG", value_parser = log_format)]
    pub access_log: Option<AccessLogFormat>,
}

/// Flags of the admin plane.
#[derive(Debug, Clone, Default, Args)]
pub struct AdminArgs {
    /// Page, metrics, API [default: :1936]
    #[arg(long, value_name = "ADDR", env = "ROUNDEL_STATS_LISTEN", value_parser = value::listen)]
    pub stats_listen: Option<SocketAddr>,
    /// Runtime API, read-only [default: 127.0.0.1:9999]
    #[arg(long, value_name = "ADDR|off", env = "ROUNDEL_CLI_LISTEN", value_parser = listen_or_off)]
    pub cli_listen: Option<ListenOrOff>,
    /// Runtime API on a unix socket, with operator acts
    #[arg(long, value_name = "PATH", env = "ROUNDEL_CLI_SOCKET")]
    pub cli_socket: Option<PathBuf>,
    /// File that holds the token for operator acts
    #[arg(long, value_name = "FILE", env = "ROUNDEL_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,
}

/// Flags of a gossip node.
#[derive(Debug, Clone, Default, Args)]
pub struct GossipArgs {
    /// Gossip over UDP and TCP [default: :7946]
    #[arg(long, value_name = "ADDR", env = "ROUNDEL_GOSSIP_LISTEN", value_parser = value::listen)]
    pub gossip_listen: Option<SocketAddr>,
    /// Address that other members shall use, or an interface (`eth1`) or a network (`10.0.0.0/8`)
    /// that has it [default: found out]
    #[arg(long, value_name = "ADDR|INTERFACE|NETWORK", env = "ROUNDEL_ADVERTISE", value_parser = value::advertise)]
    pub advertise: Option<Advertise>,
    /// Any member's `host[:port]`; a DNS name means all its addresses; retried for ever
    #[arg(long, value_name = "ADDR", env = "ROUNDEL_JOIN", value_delimiter = ',')]
    pub join: Vec<String>,
    /// Name of this node [default: host name]
    #[arg(long, value_name = "NAME", env = "ROUNDEL_NODE_NAME", value_parser = name)]
    pub node_name: Option<Name>,
    /// Tag to announce; the variable is a list, in which `\,` is a comma of a value
    #[arg(long = "tag", value_name = "K=V", env = "ROUNDEL_TAG", value_parser = Listed(value::pair))]
    pub tags: Vec<List<(String, String)>>,
    /// Key of the gossip, base64
    #[arg(
        long,
        value_name = "KEY",
        env = "ROUNDEL_GOSSIP_KEY",
        hide_env_values = true
    )]
    pub gossip_key: Option<String>,
    /// File that keeps the keys when they are rotated (JSON, mode 0600); begins with the key given
    #[arg(long, value_name = "FILE", env = "ROUNDEL_GOSSIP_KEYRING_FILE")]
    pub gossip_keyring_file: Option<PathBuf>,
    /// File that keeps the known members, to find them again without a seed
    #[arg(long, value_name = "FILE", env = "ROUNDEL_GOSSIP_SNAPSHOT")]
    pub gossip_snapshot: Option<PathBuf>,
    /// Script to run for events, as with `serf agent`: `member-join,member-leave=SCRIPT`
    #[arg(
        long = "event-handler",
        value_name = "[EVENTS=]SCRIPT",
        env = "ROUNDEL_EVENT_HANDLER"
    )]
    pub event_handlers: Vec<Handler>,
    /// File that holds the key of the gossip
    #[arg(
        long,
        value_name = "FILE",
        env = "ROUNDEL_GOSSIP_KEY_FILE",
        conflicts_with = "gossip_key"
    )]
    pub gossip_key_file: Option<PathBuf>,
}

/// Flags of the one backend that exists without a file.
#[derive(Debug, Clone, Default, Args)]
pub struct BackendArgs {
    /// Port of servers that announce none [default: 3000]
    #[arg(long, value_name = "PORT", env = "ROUNDEL_SERVER_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub server_port: Option<u16>,
    /// Server that needs no discovery
    #[arg(long = "static", value_name = "NAME=ADDR", env = "ROUNDEL_STATIC", value_parser = Listed(static_server))]
    pub static_servers: Vec<List<(Name, String)>>,
    /// How servers are chosen: roundrobin, leastconn, p2c, hash, maglev [default: roundrobin]
    #[arg(long, value_name = "NAME", env = "ROUNDEL_BALANCE", value_parser = policy)]
    pub balance: Option<Policy>,
    /// Name of the sticky cookie [default: SERVERID]
    #[arg(long, value_name = "COOKIE|off", env = "ROUNDEL_STICKY", value_parser = sticky)]
    pub sticky: Option<StickyOrOff>,
    /// Active check, such as `GET /healthz` [default: HEAD /]
    #[arg(long, value_name = "\"HEAD /\"|grpc|tcp|off", env = "ROUNDEL_CHECK", value_parser = check_word)]
    pub check: Option<CheckKind>,
}

/// An address, or nowhere.
pub type ListenOrOff = Choice<SocketAddr>;
/// A cookie's name, or no stickiness.
pub type StickyOrOff = Choice<String>;

/// A value that the word `off` stands against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice<T> {
    /// The word `off`.
    Off,
    /// A value.
    On(T),
}

impl<T> Choice<T> {
    /// The value, unless off.
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }
}

fn listen_or_off(text: &str) -> Result<ListenOrOff, Fault> {
    match text {
        "off" => Ok(Choice::Off),
        _ => value::listen(text).map(Choice::On),
    }
}

fn sticky(text: &str) -> Result<StickyOrOff, Fault> {
    match text {
        "off" => Ok(Choice::Off),
        _ => {
            let name = cookie_name(text)?;
            match cookie_prefix(&name) {
                None => Ok(Choice::On(name)),
                Some(prefix) => Err(Fault::new(
                    format!("browsers drop a cookie named {prefix}… without Secure"),
                    "say it in a file: sticky = { cookie = \"…\", secure = true }",
                )),
            }
        }
    }
}

fn log_format(text: &str) -> Result<AccessLogFormat, Fault> {
    crate::reader::choose(text, &LOG_FORMATS)
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

fn static_server(text: &str) -> Result<(Name, String), String> {
    let (key, address) = value::pair(text).map_err(|e| e.to_string())?;
    // The default port may come from another flag; any port proves that the form is right.
    value::server_address(&address, 1).map_err(|e| e.to_string())?;
    Ok((name(&key)?, address))
}
