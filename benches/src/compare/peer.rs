//! The programs compared: each with a plain and a sticky listener, set up for the same work.

mod certificate;
mod envoy;
mod haproxy;
mod nginx;
mod pingora;
mod relay;
mod roundel;
mod traefik;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::row::Work;

use crate::process::{self, Running, find, pinned};

use self::certificate::Certificate;
pub(crate) use self::roundel::{Variant, log, socket};

/// The names of the two that every comparison has besides Roundel.
pub(super) const REFERENCE: &str = "haproxy";
pub(super) const NGINX: &str = "nginx";
pub(super) const RELAY: &str = "relay";
pub(crate) const OURS: &str = "roundel";

/// Where requests end up.
pub(crate) const ORIGINS: [&str; 2] = ["127.0.0.1:19001", "127.0.0.1:19002"];

/// Where calls of gRPC end up.
pub(crate) const CALLED: [&str; 2] = ["127.0.0.1:19003", "127.0.0.1:19004"];

/// A balancer that can be started.
#[derive(Serialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What it does beside the work that all share.
    pub(crate) more: &'static str,
    #[serde(skip)]
    pub(crate) plain: SocketAddr,
    #[serde(skip)]
    pub(crate) sticky: SocketAddr,
    /// Where it speaks TLS, if it does.
    #[serde(skip)]
    pub(crate) tls: Option<SocketAddr>,
    /// Where it speaks HTTP/2 without TLS, if it does; then it does so over TLS as well.
    #[serde(skip)]
    pub(crate) h2: Option<SocketAddr>,
    /// Where it takes calls of gRPC for servers that speak HTTP/2, if it does.
    #[serde(skip)]
    pub(crate) grpc: Option<SocketAddr>,
    /// The certificate that it shows there.
    #[serde(skip)]
    trusted: PathBuf,
    #[serde(skip)]
    program: PathBuf,
    #[serde(skip)]
    arguments: Vec<OsString>,
    #[serde(skip)]
    environment: Vec<(&'static str, String)>,
    /// Where its standard output goes; nowhere without it.
    #[serde(skip)]
    output: Option<PathBuf>,
    /// Where its standard error goes; shown when it does not start.
    #[serde(skip)]
    words: PathBuf,
}

/// A balancer that runs.
pub(crate) struct Started {
    pub(crate) process: Running,
    pub(crate) plain: SocketAddr,
    pub(crate) sticky: SocketAddr,
    pub(crate) tls: Option<SocketAddr>,
    pub(crate) h2: Option<SocketAddr>,
    pub(crate) grpc: Option<SocketAddr>,
    pub(crate) trusted: PathBuf,
}

impl Started {
    /// Where such work is sent. Errors: it does none of that kind.
    pub(crate) fn address(&self, work: &Work) -> Result<SocketAddr> {
        if work.streams.is_some() && self.h2.is_none() {
            bail!("it does not speak HTTP/2");
        }
        match work.tls {
            None if work.grpc => self.grpc.context("it carries no gRPC"),
            Some(_) => self.tls.context("it does not speak TLS"),
            None if work.streams.is_some() => self.h2.context("it does not speak HTTP/2"),
            None if work.sticky => Ok(self.sticky),
            None => Ok(self.plain),
        }
    }
}

/// Binaries of peers that take part only when named.
#[derive(clap::Args)]
pub(crate) struct Named {
    /// An earlier build of Roundel.
    #[arg(long, value_name = "PATH")]
    earlier: Option<PathBuf>,
    /// A further HAProxy, beside Debian's; may be repeated.
    #[arg(long, value_name = "PATH")]
    haproxy: Vec<PathBuf>,
    /// Envoy.
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// Traefik, version 3.
    #[arg(long, value_name = "PATH")]
    traefik: Option<PathBuf>,
    /// The balancer of `benches/peers`.
    #[arg(long, value_name = "PATH")]
    pingora: Option<PathBuf>,
}

/// Where a peer listens and keeps its configuration.
pub(crate) struct Place<'a> {
    pub(crate) port: u16,
    pub(crate) scratch: &'a Path,
}

impl Place<'_> {
    fn plain(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    fn sticky(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port + 1).into()
    }

    fn tls(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port + 3).into()
    }

    fn h2(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port + 4).into()
    }

    fn grpc(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port + 5).into()
    }

    /// The certificate that all show.
    fn certificate(&self) -> Certificate {
        Certificate::in_folder(self.scratch)
    }

    /// Writes a configuration and returns where.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.scratch.join(format!("{}-{name}", self.port));
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// A peer here that runs `program` with `arguments`.
    fn peer(&self, name: &str, program: &Path, arguments: &[&str]) -> Peer {
        Peer {
            name: name.to_owned(),
            version: String::new(),
            more: "",
            plain: self.plain(),
            sticky: self.sticky(),
            tls: None,
            h2: None,
            grpc: None,
            trusted: self.certificate().alone,
            program: program.to_owned(),
            arguments: arguments.iter().map(OsString::from).collect(),
            environment: Vec::new(),
            output: None,
            words: self.scratch.join(format!("{}.err", self.port)),
        }
    }
}

/// Says which packages are missing before anything starts.
pub(super) fn require_programs() -> Result<()> {
    process::require(&[
        ("haproxy", "haproxy"),
        ("nginx", "nginx-light"),
        ("taskset", "util-linux"),
        ("h2load", "nghttp2-client"),
    ])
}

/// Every peer with its configuration written into `scratch`; the reference is the first.
pub(super) fn all(roundel: &Path, named: &Named, scratch: &Path) -> Result<Vec<Peer>> {
    for binary in [
        Some(roundel),
        named.earlier.as_deref(),
        named.envoy.as_deref(),
        named.traefik.as_deref(),
    ]
    .into_iter()
    .chain([named.pingora.as_deref()])
    .flatten()
    .chain(named.haproxy.iter().map(PathBuf::as_path))
    {
        if !binary.is_file() {
            bail!("{} is no program", binary.display());
        }
    }
    Certificate::make(scratch)?;
    let mut port = 18_100;
    let mut place = || {
        port += 10;
        Place { port, scratch }
    };
    let debian = find("haproxy").context("haproxy is gone")?;
    let mut peers = vec![
        haproxy::peer(REFERENCE, &debian, &place())?,
        self::roundel::peer(OURS, roundel, &place(), Variant::default())?,
        nginx::peer(&find("nginx").context("nginx is gone")?, &place())?,
        relay::peer(&std::env::current_exe()?, &place()),
    ];
    if let Some(binary) = &named.earlier {
        let (name, variant) = ("earlier roundel", Variant::default());
        peers.push(self::roundel::peer(name, binary, &place(), variant)?);
    }
    for binary in &named.haproxy {
        let name = format!("haproxy {}", version(binary, &["-v"]));
        peers.push(haproxy::peer(&name, binary, &place())?);
    }
    if let Some(binary) = &named.envoy {
        peers.push(envoy::peer(binary, &place())?);
    }
    if let Some(binary) = &named.traefik {
        peers.push(traefik::peer(binary, &place())?);
    }
    if let Some(binary) = &named.pingora {
        peers.push(pingora::peer(binary, &place()));
    }
    Ok(peers)
}

/// Roundel once more, in another way.
pub(crate) fn variant(binary: &Path, place: &Place<'_>, variant: Variant) -> Result<Peer> {
    self::roundel::peer(OURS, binary, place, variant)
}

/// The first word of a program's own account of its version that begins with a digit.
fn version(binary: &Path, words: &[&str]) -> String {
    let output = Command::new(binary).args(words).output();
    let text = output.map(|out| [out.stdout, out.stderr].concat());
    let text = text.unwrap_or_default();
    first_version(&String::from_utf8_lossy(&text)).unwrap_or("?".to_owned())
}

fn first_version(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || c == '/');
    let mut words =
        words.filter(|w| w.contains('.') && w.starts_with(|c: char| c.is_ascii_digit()));
    words.next().map(str::to_owned)
}

impl Peer {
    /// Starts it on these cores and waits until both listeners accept.
    pub(crate) fn start(&self, cores: &str) -> Result<Started> {
        let out = match &self.output {
            Some(file) => std::fs::File::create(file)?.into(),
            None => Stdio::null(),
        };
        let mut command = pinned(cores, &self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(k, v)| (*k, v)))
            .stdout(out)
            .stderr(std::fs::File::create(&self.words)?);
        let mut process = Running::start(&mut command)?;
        for address in [self.plain, self.sticky]
            .into_iter()
            .chain(self.tls)
            .chain(self.h2)
            .chain(self.grpc)
        {
            process::wait_port(address, &mut process).with_context(|| {
                let words = std::fs::read_to_string(&self.words).unwrap_or_default();
                format!("{} does not start: {words}", self.name)
            })?;
        }
        Ok(Started {
            process,
            plain: self.plain,
            sticky: self.sticky,
            tls: self.tls,
            h2: self.h2,
            grpc: self.grpc,
            trusted: self.trusted.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        let said = [
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17",
                "2.6.12-1+deb12u4",
            ),
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("roundel 0.1.0", "0.1.0"),
        ];
        for (text, version) in said {
            assert_eq!(first_version(text).as_deref(), Some(version));
        }
        assert_eq!(first_version("none"), None);
    }
}
