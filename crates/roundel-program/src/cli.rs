//! The command line: verbs, flags, and the variables that stand for flags.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use roundel_config::flags::{Flags, GossipArgs};
use roundel_config::value;
use roundel_model::{Name, Weight, WeightOrder};

/// The source revision that this was built from; empty where the builder did not say.
pub(crate) const REVISION: &str = match option_env!("ROUNDEL_REVISION") {
    Some(revision) => revision,
    None => "",
};

/// The version, with the revision where that is known.
static VERSION: LazyLock<String> = LazyLock::new(|| match REVISION {
    "" => env!("CARGO_PKG_VERSION").to_owned(),
    revision => format!("{} ({revision})", env!("CARGO_PKG_VERSION")),
});

/// A layer-7 load balancer that finds its own backends.
#[derive(Debug, Parser)]
#[command(
    name = "roundel",
    version = VERSION.as_str(),
    about = "A layer-7 load balancer that finds its own backends"
)]
pub struct Cli {
    /// What to do; help when absent.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "made once per process")]
pub enum Command {
    /// Run the load balancer
    Serve(ServeArgs),
    /// Join the gossip as a server; with `-- CMD`, run CMD as a good PID 1
    Agent(AgentArgs),
    /// Run a balancer and toy servers in one process
    Demo(DemoArgs),
    /// Run the sample web app
    Toy(ToyArgs),
    /// Check the configuration and report every problem
    Check(CheckArgs),
    /// Ask a running balancer whether it is ready: exit code 0 or 1
    Healthcheck(HealthcheckArgs),
    /// List the members of the gossip cluster
    Members(MembersArgs),
    /// List what happened
    Events(EventsArgs),
    /// Make a running balancer join these addresses
    Join(JoinArgs),
    /// Make a running balancer leave the gossip
    Leave(OperatorArgs),
    /// Make a new key for the gossip
    Keygen,
    /// Change or list the keys of all members
    Keys(KeysArgs),
    /// Ask the members something and print their answers
    Query(QueryArgs),
    /// Announce a user event to the members
    Event(EventArgs),
    /// Show a running balancer's servers and numbers
    Stat(StatArgs),
    /// Tell how a server came to its state
    Why(WhyArgs),
    /// Write down how things are, for whoever is asked to help
    Report(ReportArgs),
    /// Take no new clients on a server; sticky ones stay
    Drain(ServerArgs),
    /// Let a server serve again
    Ready(ServerArgs),
    /// Take a server out
    Maint(ServerArgs),
    /// Give a server another weight
    Weight(WeightArgs),
    /// Print what a shell needs to complete commands and flags
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
}

/// Flags of `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// The shells that completions are made for.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Flags of `man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Write the pages of all commands into this folder instead
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Flags of `serve`.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: Flags,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub log: LogArgs,
}

/// Flags of every long-running verb.
#[derive(Debug, Clone, Default, Args)]
pub struct LogArgs {
    /// off, error, warn, info, debug, trace, or by part as in RUST_LOG [default: info]
    #[arg(long, value_name = "LEVEL", env = "ROUNDEL_LOG_LEVEL", value_parser = crate::logging::level)]
    pub log_level: Option<String>,
}

/// Flags of `agent`.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub gossip: GossipArgs,
    /// What this node is
    #[arg(
        long,
        value_name = "ROLE",
        env = "ROUNDEL_ROLE",
        default_value = "backend"
    )]
    pub role: String,
    /// Port that the app listens on [default: 3000]
    #[arg(long, value_name = "PORT", env = "ROUNDEL_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Share of traffic, 1 to 256
    #[arg(long, value_name = "N", env = "ROUNDEL_WEIGHT", value_parser = weight)]
    pub weight: Option<Weight>,
    /// Join only when the port answers (always so with a command)
    #[arg(long, env = "ROUNDEL_WAIT_PORT", value_parser = BoolishValueParser::new())]
    pub wait_port: bool,
    /// How long requests in flight may take when it ends
    #[arg(long, value_name = "T", env = "ROUNDEL_DRAIN_TIMEOUT", default_value = "8s", value_parser = value::duration)]
    pub drain_timeout: Duration,
    /// Unix socket through which members, events, join, leave, keys, query and event reach this
    /// node
    #[arg(long, value_name = "PATH", env = "ROUNDEL_CLI_SOCKET")]
    pub cli_socket: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub log: LogArgs,
    /// Command to run
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Flags of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// How many toy servers to run
    #[arg(long, value_name = "N", env = "ROUNDEL_SERVERS", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=200))]
    pub servers: u16,
    /// HTTPS instead of HTTP, with a certificate made on the spot
    #[arg(long)]
    pub tls: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub serve: ServeArgs,
}

/// Flags of `toy`.
#[derive(Debug, Clone, Args)]
pub struct ToyArgs {
    /// Where to answer [default: :3000]
    #[arg(long, value_name = "ADDR", env = "ROUNDEL_LISTEN", value_parser = value::listen)]
    pub listen: Option<SocketAddr>,
    /// Name shown as `host` [default: host name]
    #[arg(long, value_name = "NAME", env = "ROUNDEL_NODE_NAME", value_parser = name)]
    pub node_name: Option<Name>,
    /// Text shown as `tag` [default: the version]
    #[arg(long, value_name = "TEXT", env = "ROUNDEL_TOY_TAG")]
    pub tag: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub log: LogArgs,
}

/// Flags of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub serve: ServeArgs,
    /// Show the effective configuration and where each value came from
    #[arg(long)]
    pub print: bool,
    /// Show what a file may say, as JSON Schema for editors
    #[arg(long, conflicts_with = "print")]
    pub schema: bool,
}

/// Flags of `healthcheck`.
#[derive(Debug, Clone, Args)]
pub struct HealthcheckArgs {
    /// What to ask
    #[arg(default_value = "http://127.0.0.1:1936/readyz")]
    pub url: String,
    /// PEM of who signs the certificate of an https:// address [default: whom browsers trust]; at a
    /// loopback address any will do
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// Where the running balancer is.
#[derive(Debug, Clone, Args)]
pub struct ReaderArgs {
    /// Page of the running balancer
    #[arg(
        long,
        value_name = "URL",
        env = "ROUNDEL_STATS",
        hide_env_values = true,
        default_value = "http://127.0.0.1:1936"
    )]
    pub stats: String,
    /// PEM of who signs the certificate of an https:// page [default: whom browsers trust]; at a
    /// loopback address any will do
    #[arg(long, value_name = "FILE", env = "ROUNDEL_STATS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// File that holds the token for reading, where the page asks for one
    #[arg(long, value_name = "FILE", env = "ROUNDEL_READ_TOKEN_FILE")]
    pub read_token_file: Option<PathBuf>,
    /// Who signs in, where the page asks for a name and a password
    #[arg(
        long,
        value_name = "NAME",
        env = "ROUNDEL_STATS_USER",
        requires = "password_file"
    )]
    pub user: Option<String>,
    /// File that holds the password of --user
    #[arg(
        long,
        value_name = "FILE",
        env = "ROUNDEL_STATS_PASSWORD_FILE",
        requires = "user"
    )]
    pub password_file: Option<PathBuf>,
    /// Ask through this unix socket of a balancer or an agent instead
    #[arg(long, value_name = "PATH", env = "ROUNDEL_CLI_SOCKET")]
    pub cli_socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `stat`.
#[derive(Debug, Clone, Args)]
pub struct StatArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reader: ReaderArgs,
    /// Go on showing them, once a second
    #[arg(short, long, conflicts_with = "json")]
    pub watch: bool,
    /// Only this backend, or this server with all its numbers
    #[arg(value_name = "BACKEND[/SERVER]")]
    pub target: Option<String>,
}

/// Flags of `why`.
#[derive(Debug, Clone, Args)]
pub struct WhyArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub operator: OperatorArgs,
    /// Which server
    #[arg(value_name = "BACKEND/SERVER")]
    pub what: String,
}

/// Flags of `report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reader: ReaderArgs,
    /// Tell what this configuration file says, too, without its secrets
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write into this new file (mode 600) instead of printing
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Flags of `members`.
#[derive(Debug, Clone, Args)]
pub struct MembersArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reader: ReaderArgs,
    /// Only members with this status
    #[arg(long, value_name = "STATUS", value_parser = ["alive", "leaving", "left", "failed"])]
    pub status: Option<String>,
    /// Only members with this tag
    #[arg(long = "tag", value_name = "K=V", value_parser = value::pair)]
    pub tags: Vec<(String, String)>,
}

/// Flags of `events`.
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reader: ReaderArgs,
    /// Go on printing events as they happen
    #[arg(short, long)]
    pub follow: bool,
}

/// How to act on the running balancer.
#[derive(Debug, Clone, Args)]
pub struct OperatorArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reader: ReaderArgs,
    /// File that holds the token for operator acts
    #[arg(long, value_name = "FILE", env = "ROUNDEL_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,
}

/// Flags of `join`.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub operator: OperatorArgs,
    /// Members to join, `host[:port]`
    #[arg(required = true, value_name = "ADDR")]
    pub addresses: Vec<String>,
}

/// Flags of `keys`.
#[derive(Debug, Clone, Args)]
pub struct KeysArgs {
    /// What to do
    #[command(subcommand)]
    pub act: KeysAct,
}

/// What to do with the keys of all members.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysAct {
    /// Add a key that decrypts
    Install(KeyArgs),
    /// Encrypt with an installed key
    Use(KeyArgs),
    /// Remove a key that does not encrypt
    Remove(KeyArgs),
    /// List the installed keys
    List(OperatorArgs),
}

/// Flags of `keys install`, `use` and `remove`.
#[derive(Debug, Clone, Args)]
pub struct KeyArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub operator: OperatorArgs,
    /// The key, base64
    #[arg(value_name = "KEY")]
    pub key: String,
}

/// Flags of `query`.
#[derive(Debug, Clone, Args)]
pub struct QueryArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub operator: OperatorArgs,
    /// Only this member
    #[arg(long = "node", value_name = "NAME")]
    pub nodes: Vec<String>,
    /// Only members whose tag matches a regular expression
    #[arg(long = "tag", value_name = "K=REGEX", value_parser = value::pair)]
    pub tags: Vec<(String, String)>,
    /// How long to wait for answers [default: grows with the cluster, 3.2s below 10 members]
    #[arg(long, value_name = "T", value_parser = value::duration)]
    pub timeout: Option<Duration>,
    /// How many members pass each answer on a second time
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub relay_factor: u8,
    /// Want no acknowledgements
    #[arg(long)]
    pub no_ack: bool,
    /// What is asked
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Arguments
    #[arg(value_name = "PAYLOAD", default_value = "")]
    pub payload: String,
}

/// Flags of `event`.
#[derive(Debug, Clone, Args)]
pub struct EventArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub operator: OperatorArgs,
    /// Let handlers merge events of this name: only the last one of a burst counts
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    pub coalesce: bool,
    /// What the event is called
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it says
    #[arg(value_name = "PAYLOAD", default_value = "")]
    pub payload: String,
}

/// Flags of `drain`, `ready` and `maint`.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub operator: OperatorArgs,
    /// Which servers
    #[arg(required = true, value_name = "BACKEND/SERVER", value_parser = server_path)]
    pub servers: Vec<(Name, Name)>,
    /// Take out the last server that serves, too
    #[arg(long)]
    pub force: bool,
}

/// Flags of `weight`.
#[derive(Debug, Clone, Args)]
pub struct WeightArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub operator: OperatorArgs,
    /// Which server
    #[arg(value_name = "BACKEND/SERVER", value_parser = server_path)]
    pub server: (Name, Name),
    /// Share of traffic, 0 to 256, or a percentage of the weight that the source gave; 0 takes
    /// no new clients, 100% takes the order back
    #[arg(value_name = "N|N%")]
    pub weight: WeightOrder,
    /// Give the last server that serves weight 0, too
    #[arg(long)]
    pub force: bool,
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

fn weight(text: &str) -> Result<Weight, String> {
    let number: u64 = text.parse().map_err(|_| "use 0 to 256".to_owned())?;
    Weight::new(number).map_err(|e| e.to_string())
}

fn server_path(text: &str) -> Result<(Name, Name), String> {
    let (backend, server) = text
        .split_once('/')
        .ok_or_else(|| "write BACKEND/SERVER, such as nodes/webapp-1".to_owned())?;
    Ok((name(backend)?, name(server)?))
}
