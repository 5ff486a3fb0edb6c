//! What the settings mean to each part of the balancer.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use roundel_cluster::Cluster;
use roundel_config::{AccessLogFormat, Acts, Gossip, Process, Settings};
use roundel_discovery::AddrTag;
use roundel_gossip_tokio::{Advertise, Handle};
use roundel_model::BackendSet;
use roundel_proxy::{AccessLog, LogFormat};
use roundel_tls::Front;
use tokio::sync::mpsc;

use super::bound::Bound;
use crate::collector::GossipView;
use crate::sources::{Members, Sources};

/// The longest that the first checks hold up the start; with its default a check has ended then.
const FIRST_CHECKS: Duration = Duration::from_secs(2);

/// How long the first checks of the servers that are named may hold up the start.
pub(super) fn first_checks(settings: &Settings) -> Duration {
    let named = settings.backends.iter();
    let named = named.filter(|b| b.static_servers().next().is_some());
    let longest = named.map(|b| b.check.timeout).max();
    longest.unwrap_or_default().min(FIRST_CHECKS)
}

pub(super) fn node_name(settings: &Settings) -> String {
    match &settings.gossip {
        Some(gossip) => gossip.node_name.clone(),
        None => roundel_config::host::node_name().to_string(),
    }
}

pub(super) fn view(handle: Handle, settings: &Settings, cluster: Option<Cluster>) -> GossipView {
    let gossip = settings.gossip.as_ref();
    let seeds = gossip.map_or_else(Vec::new, |g| g.join.clone());
    GossipView::new(
        handle,
        node_name(settings),
        seeds,
        gossip.is_some_and(|g| !g.keys.is_empty()),
        cluster,
    )
}

/// What is at hand of the page tells names, addresses and numbers of everything.
pub(super) fn warn_of_open_page(process: &Process) {
    let listen = process.stats_listen;
    if process.read == roundel_admin::Read::Open && !listen.ip().to_canonical().is_loopback() {
        let port = listen.port();
        tracing::warn!(
            "the page is open: whoever reaches port {port} reads all that it shows; a token or a \
             password closes it (`read` under [stats])"
        );
    }
}

pub(super) fn warn_of_open_gossip(gossip: &Gossip) {
    if gossip.is_open() {
        let port = gossip.listen.port();
        tracing::warn!(
            "the gossip is not encrypted: whoever reaches port {port} can join and bring servers; \
             a key closes it (`roundel keygen`, --gossip-key)"
        );
    }
}

/// What finds servers, with what members of the gossip may say.
pub(super) fn sources(
    settings: &Settings,
    node: Option<&Handle>,
    bound: &Bound,
    sets: mpsc::Sender<BackendSet>,
) -> anyhow::Result<Sources> {
    let members = node.zip(settings.gossip.as_ref());
    let members = members.map(|(node, gossip)| Members {
        all: node.members(),
        allow_loopback: stays_on_this_machine(gossip),
        addr: match gossip.is_open() {
            true => AddrTag::In(gossip.allow_addr.clone()),
            false => AddrTag::Any,
        },
    });
    let mut beside = bound.addresses()?;
    beside.extend(node.map(Handle::local_addr));
    Ok(Sources::new(members, beside, sets))
}

/// Whether the gossip cannot reach beyond this machine, so that loopback servers are meant.
pub(super) fn stays_on_this_machine(gossip: &Gossip) -> bool {
    let ip = match &gossip.advertise {
        Some(Advertise::Address(address)) => address.ip(),
        Some(Advertise::Network(network)) => network.addr(),
        Some(Advertise::Interface(name)) => return name == "lo",
        None => gossip.listen.ip(),
    };
    ip.to_canonical().is_loopback()
}

pub(super) fn admin_config(
    process: &Process,
    tls: Arc<ArcSwapOption<Front>>,
    bounds: Arc<roundel_admin::Bounds>,
) -> roundel_admin::Config {
    roundel_admin::Config {
        read: process.read.clone(),
        open_metrics: process.open_metrics,
        acts: match &process.acts {
            Acts::Off => roundel_admin::Acts::Off,
            Acts::Loopback => roundel_admin::Acts::Loopback,
            Acts::Token(token) => roundel_admin::Acts::Token(token.clone()),
        },
        hosts: Vec::new(),
        tls,
        bounds,
    }
}

/// The form of the access log: for people where nothing is said and a terminal reads it.
pub(super) fn log_format(settings: &Settings) -> AccessLogFormat {
    let unsaid = settings.effective.is_default("access_log.format");
    match settings.process.access_log {
        Some(_) if unsaid && std::io::stdout().is_terminal() => Some(LogFormat::Text),
        format => format,
    }
}

pub(super) fn open_log(format: AccessLogFormat) -> std::io::Result<AccessLog> {
    match format {
        Some(format) => AccessLog::new(format, std::io::stdout()),
        None => Ok(AccessLog::off()),
    }
}
