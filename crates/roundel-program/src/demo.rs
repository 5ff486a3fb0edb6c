//! Everything in one process: a balancer, and toy servers that really join by gossip.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use roundel_config::value;
use roundel_config::{Acts, Frontend, Settings, Tls};
use roundel_gossip_tokio::Handle;
use roundel_model::Shown;
use roundel_tls::Certificate;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::loader::Loader;
use crate::out;
use crate::serve::{Serving, runtime};
use crate::signals::Signals;
use crate::table::Table;
use crate::toy::{self, Toy};

pub(crate) mod secured;

use secured::Secured;

/// The demo's own defaults: no privileged port, nothing that leaves this machine, operator
/// acts for whoever sits at it.
pub(crate) fn adjust(settings: &mut Settings, certificate: Option<&Arc<Certificate>>) {
    let effective = &settings.effective;
    let untouched = |path: &str| effective.is_default(path);
    if let Some(gossip) = &mut settings.gossip {
        if untouched("gossip.listen") {
            gossip.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        }
        if untouched("gossip.node_name") {
            "lb".clone_into(&mut gossip.node_name);
        }
        // The toys know only the key given, and all of it ends together.
        gossip.keyring = None;
        if untouched("gossip.snapshot") {
            gossip.snapshot = None;
        }
    }
    if untouched("stats.admin") && settings.process.acts == Acts::Off {
        settings.process.acts = Acts::Loopback;
    }
    if untouched("access_log.format") {
        settings.process.access_log = None;
    }
    if untouched("cli.listen") {
        settings.process.cli_listen = None;
    }
    let alone = settings.frontends.len() == 1 && untouched("frontend.listen");
    if let Some(frontend) = settings
        .frontends
        .first_mut()
        .filter(|f| alone && f.name == "localnodes")
    {
        let port = if certificate.is_some() {
            ":8443"
        } else {
            ":8080"
        };
        let address = value::listen(port).expect("a fixed address");
        frontend.listen = vec![roundel_proxy::Listen::new(address)];
    }
    let own = settings.frontends.iter_mut().find(|f| is_own(f));
    if let Some((frontend, certificate)) = own.zip(certificate) {
        frontend.tls = Some(Tls {
            certificates: vec![Arc::clone(certificate)],
            acme: None,
            policy: roundel_tls::Policy::default(),
            paths: Vec::new(),
            trace: Vec::new(),
        });
        for listen in &mut frontend.listen {
            listen.tls = true;
        }
    }
}

/// Whether it is the frontend that exists without a file.
fn is_own(frontend: &Frontend) -> bool {
    frontend.name == "localnodes" && frontend.tls.is_none()
}

/// The verb `demo`.
pub(crate) fn run(
    servers: u16,
    loader: Loader,
    settings: Settings,
    secured: Option<&Secured>,
) -> anyhow::Result<()> {
    let has = |tls: &Option<Tls>| tls.as_ref().is_some_and(|tls| tls.paths.is_empty());
    anyhow::ensure!(
        secured.is_none() || settings.frontends.iter().any(|f| has(&f.tls)),
        "--tls is for the demo's own frontend; where a file defines frontends, say tls there"
    );
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let keys = settings.gossip.as_ref().map(|g| g.keys.clone());
        let keys = keys.unwrap_or_default();
        let serving = Serving::start(loader, settings).await?;
        let gossip = serving
            .gossip()
            .context("the demo's servers join by gossip; add a [gossip] table")?;
        let seed = gossip.local_addr();
        let mut toys = Vec::new();
        for number in 1..=servers {
            toys.push(RunningToy::start(number, seed, keys.clone()).await?);
        }
        // The demo goes on when nobody reads.
        let guide = guide(&serving, servers, seed, secured);
        let _ = out::text(guide + "\n");
        serving.until_ended(&mut signals).await?;
        for toy in toys {
            toy.gossip.shutdown().await;
        }
        Ok(())
    })
}

/// One toy server with a gossip node of its own.
struct RunningToy {
    gossip: Handle,
    _tasks: JoinSet<()>,
}

impl RunningToy {
    async fn start(number: u16, seed: SocketAddr, keys: Vec<Vec<u8>>) -> anyhow::Result<Self> {
        let name = format!("webapp-{number}");
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(local).await?;
        let port = listener.local_addr()?.port();
        let toy = Toy::new(name.clone(), env!("CARGO_PKG_VERSION").to_owned());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            if let Err(error) = toy::serve(toy, listener, std::future::pending()).await {
                tracing::warn!("a toy server ended: {error}");
            }
        });
        let tags = [("role", "backend".to_owned()), ("port", port.to_string())];
        let gossip = roundel_gossip_tokio::start(roundel_gossip_tokio::Config {
            name,
            listen: local,
            tags: tags.map(|(k, v)| (k.to_owned(), v)).into(),
            join: vec![seed.to_string()],
            keys,
            ..roundel_gossip_tokio::Config::default()
        })
        .await?;
        Ok(Self {
            gossip,
            _tasks: tasks,
        })
    }
}

/// What to look at and what to try.
fn guide(serving: &Serving, servers: u16, seed: SocketAddr, secured: Option<&Secured>) -> String {
    let mut front = serving.front().map_or_else(String::new, url);
    let mut curl = "curl".to_owned();
    if let Some(secured) = secured {
        front = front.replacen("http://", "https://", 1);
        curl = format!("curl --cacert {}", Shown(secured.file().display()));
    }
    let stats = url(serving.stats());
    let at = match serving.stats().port() {
        1936 => String::new(),
        _ => format!(" --stats {stats}"),
    };
    let mut tries = Table::default();
    let mut row =
        |command: String, what: &str| tries.row(["".to_owned(), command, what.to_owned()]);
    row(format!("{curl} {front}"), "each server in turn");
    row(
        format!("{curl} -c jar -b jar {front}"),
        "with a cookie jar: one server, sessionViews grows",
    );
    row(format!("roundel members{at}"), "who is in the gossip");
    row(format!("roundel stat{at}"), "who serves, and how much");
    row(
        format!("roundel drain{at} nodes/webapp-2"),
        "no new clients; `ready` takes it back",
    );
    format!(
        "\
Roundel demo: one balancer, {servers} toy servers that joined it by gossip.

  the app    {front}/
  the page   {stats}/

Try:
{tries}
One more server, until you stop it:
  ROUNDEL_NODE_NAME=extra roundel agent --gossip-listen 127.0.0.1:0 --join {seed} --port 3000 -- roundel toy

Ctrl-C ends it all."
    )
}

/// How a browser on this machine reaches an address.
fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}
