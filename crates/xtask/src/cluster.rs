//! A Compose project made from docker/compose.yaml, looked at from outside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use roundel_testkit::{free_port, get, poll};
use serde_json::Value;
use tempfile::TempDir;

use crate::step::{command, output, run};

/// The service that is scaled.
const APP: &str = "webapp";

/// A running project; taken down with its volumes on drop, whatever happened.
pub(crate) struct Cluster {
    project: String,
    image: String,
    builder: String,
    front: SocketAddr,
    stats: SocketAddr,
    /// A further Compose file, in a folder that goes with this.
    further: Option<(TempDir, PathBuf)>,
}

impl Cluster {
    /// Names a project of its own with free ports on 127.0.0.1; starts nothing.
    pub(crate) fn new() -> Self {
        let id = std::process::id();
        let port = || SocketAddr::from(([127, 0, 0, 1], free_port([127, 0, 0, 1].into())));
        Self {
            project: format!("roundel-check-{id}"),
            image: format!("roundel-check:{id}"),
            builder: format!("roundel-check-builder:{id}"),
            front: port(),
            stats: port(),
            further: None,
        }
    }

    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    /// Names the image of the stock agents.
    pub(crate) fn stock_image(&self) -> String {
        self.image.replace("check", "check-stock")
    }

    pub(crate) fn builder(&self) -> &str {
        &self.builder
    }

    /// Where the published frontend is.
    pub(crate) fn front(&self) -> SocketAddr {
        self.front
    }

    /// Brings the service to `count` containers, as the README says.
    pub(crate) fn scale(&self, count: usize, build: bool) -> Result<()> {
        let scale = format!("{APP}={count}");
        let mut words = vec!["up", "-d", "--scale", &scale];
        if build {
            words.push("--build");
        }
        run(&mut self.compose(&words))
    }

    /// Adds the services of a further file to the project.
    pub(crate) fn extend(&mut self, file: (TempDir, PathBuf)) {
        self.further = Some(file);
    }

    /// Brings each service to so many containers.
    pub(crate) fn scale_all(&self, counts: &[(&str, usize)]) -> Result<()> {
        let mut compose = self.compose(&["up", "-d"]);
        for (service, count) in counts {
            compose.args(["--scale", &format!("{service}={count}")]);
        }
        run(&mut compose)
    }

    /// Takes a service's containers away, orderly; the next [`Cluster::scale`] makes fresh ones.
    pub(crate) fn remove(&self, service: &str) -> Result<()> {
        run(&mut self.compose(&["rm", "-s", "-f", service]))
    }

    /// Waits until exactly `count` servers serve.
    pub(crate) fn wait_up(&self, count: usize, within: Duration) -> Result<()> {
        let mut last = Vec::new();
        let found = poll(within, || {
            last = self.states().unwrap_or_default();
            let up = last.iter().filter(|state| *state == "up").count();
            let others = last
                .iter()
                .filter(|s| !matches!(s.as_str(), "up" | "left"))
                .count();
            (up == count && others == 0).then_some(())
        });
        found.with_context(|| format!("not {count} servers up within {within:?}: {last:?}"))
    }

    /// The balancer's snapshot.
    pub(crate) fn snapshot(&self) -> Result<Value> {
        let response = get(self.stats, "/api/v1/snapshot")?;
        if response.status != 200 {
            bail!("snapshot: status {}", response.status);
        }
        Ok(serde_json::from_slice(&response.body)?)
    }

    /// A page of the admin port as text.
    pub(crate) fn page(&self, path: &str) -> Result<String> {
        Ok(get(self.stats, path)?.text())
    }

    /// The container ids of a service.
    pub(crate) fn containers(&self, service: &str) -> Result<Vec<String>> {
        let ids = output(&mut self.compose(&["ps", "-q", service]))?;
        Ok(ids.lines().map(String::from).collect())
    }

    /// The scaled service's container ids.
    pub(crate) fn apps(&self) -> Result<Vec<String>> {
        self.containers(APP)
    }

    /// What the containers logged, for a report of a failure.
    pub(crate) fn logs(&self) -> String {
        let words = ["logs", "--no-color", "--tail", "60"];
        output(&mut self.compose(&words)).unwrap_or_else(|error| error.to_string())
    }

    fn states(&self) -> Option<Vec<String>> {
        let snapshot = self.snapshot().ok()?;
        let servers = snapshot["backends"][0]["servers"].as_array()?;
        let state = |server: &Value| server["state"].as_str().map(String::from);
        servers.iter().map(state).collect()
    }

    fn compose(&self, words: &[&str]) -> Command {
        let plugin = command("docker", &["compose", "version"]).output();
        let mut compose = if plugin.is_ok_and(|output| output.status.success()) {
            command("docker", &["compose"])
        } else {
            command("docker-compose", &[])
        };
        compose
            .args(["-f", "docker/compose.yaml"])
            .args(
                self.further
                    .iter()
                    .flat_map(|(_, file)| [Path::new("-f"), file]),
            )
            .args(["-p", &self.project])
            .args(words)
            .env("ROUNDEL_IMAGE", &self.image)
            .env("ROUNDEL_BUILDER", &self.builder)
            .env("ROUNDEL_HTTP_PORT", self.front.to_string())
            .env("ROUNDEL_STATS_PORT", self.stats.to_string());
        compose
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let down = run(&mut self.compose(&["down", "-v", "--remove-orphans", "-t", "2"]));
        let images = [
            "image",
            "rm",
            "-f",
            self.image.as_str(),
            self.builder.as_str(),
            &self.stock_image(),
        ];
        let removed = output(&mut command("docker", &images));
        let rest = [
            "image",
            "prune",
            "-f",
            "--filter",
            "label=roundel.stage=build",
        ];
        let pruned = output(&mut command("docker", &rest));
        for error in down
            .err()
            .into_iter()
            .chain(removed.err())
            .chain(pruned.err())
        {
            eprintln!("cleaning up: {error:#}");
        }
    }
}
