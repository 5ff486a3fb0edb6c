//! A new configuration: taken over as a whole, or not at all.

use std::time::Instant;

use roundel_config::{LoadError, Settings};
use roundel_model::EventKind;

use super::{Control, director_config};
use crate::collector::unix_now;
use crate::routes;

impl Control {
    /// Reads the configuration again and takes it over.
    ///
    /// Errors: why it was refused, in one line; nothing has changed then.
    pub(super) fn reload(&mut self, why: &str) -> Result<String, String> {
        match self.try_reload() {
            Ok(text) => {
                self.config.reloads_ok_total += 1;
                self.config.last_error = None;
                self.config.last_reload_timestamp_seconds = unix_now();
                let text = format!("{text}, asked by {why}");
                let log = &self.parts.log;
                log.add(EventKind::Reload, "config", text.clone(), None);
                self.publish();
                Ok(text)
            }
            Err(text) => {
                self.config.reloads_failed_total += 1;
                self.config.last_error = Some(text.clone());
                let line = format!("refused, nothing changed: {text}");
                let log = &self.parts.log;
                log.add(EventKind::ReloadFailed, "config", line, None);
                self.publish();
                Err(text)
            }
        }
    }

    fn try_reload(&mut self) -> Result<String, String> {
        let fresh = self.parts.loader.load().map_err(|error| match error {
            LoadError::Usage(text) => text,
            LoadError::Problems(problems) => {
                tracing::warn!("the new configuration has problems:\n{problems}");
                problems.headline()
            }
        })?;
        let old = &self.parts.settings;
        if fresh.gossip.is_some() != old.gossip.is_some() {
            return Err("gossip can be turned on or off only by a restart".to_owned());
        }
        let restart = fresh.needs_restart(old);
        let changes = changes(old, &fresh);
        self.take_over(fresh)?;
        let mut text = match changes {
            0 => "reloaded, nothing changed".to_owned(),
            1 => "reloaded, 1 change".to_owned(),
            n => format!("reloaded, {n} changes"),
        };
        if !restart.is_empty() {
            text.push_str(&format!("; needs a restart: {}", restart.join(", ")));
        }
        Ok(text)
    }

    /// Listeners first, since they are what can fail; everything after cannot.
    fn take_over(&mut self, mut fresh: Settings) -> Result<(), String> {
        let known: routes::Balancers = self
            .backends
            .iter()
            .map(|(name, m)| (name.clone(), m.director().balancer().clone()))
            .collect();
        let balancers = routes::balancers(&fresh, &known, self.parts.proxy.workers());
        let routes = routes::build(&fresh, &balancers);
        self.parts
            .proxy
            .reload(routes)
            .map_err(|error| error.to_string())?;
        let now = Instant::now();
        fresh.keep_running(&self.parts.settings);
        let old = std::mem::replace(&mut self.parts.settings, fresh.clone());
        self.closed.clear();
        self.backends.retain(|name, managed| {
            let kept = fresh.backends.iter().any(|b| b.name == *name);
            if !kept {
                self.parts.sources.stop(name);
                self.absent.insert(name.clone(), managed.orders());
            }
            kept
        });
        for backend in &fresh.backends {
            let Some(managed) = self.backends.get_mut(&backend.name) else {
                self.add_backend(backend, &balancers);
                continue;
            };
            let balancer = managed.director().balancer();
            balancer.configure(backend.balance, backend.sticky_key.clone());
            managed.send_proxy = backend.proxy_header();
            managed.reconfigure(now, director_config(backend, &fresh));
            let before = old.backends.iter().find(|b| b.name == backend.name);
            let same = before.is_some_and(|b| {
                b.discover == backend.discover && b.server_port == backend.server_port
            });
            if !same {
                let inherited = managed.found().clone();
                self.parts.sources.start(backend, Some(inherited));
            }
        }
        Ok(())
    }
}

/// How many frontends and backends are new, gone or different, and other settings.
fn changes(old: &Settings, new: &Settings) -> usize {
    let frontends = new.frontends.iter();
    let fresh_frontends = frontends.filter(|f| !old.frontends.contains(f)).count();
    let gone = old.frontends.iter();
    let gone = gone.filter(|f| new.frontends.iter().all(|n| n.name != f.name));
    let backends = new.backends.iter();
    let fresh_backends = backends.filter(|b| !old.backends.contains(b)).count();
    let lost = old.backends.iter();
    let lost = lost.filter(|b| new.backends.iter().all(|n| n.name != b.name));
    let drain = usize::from(old.process.drain_timeout != new.process.drain_timeout);
    let maxconn = usize::from(old.process.maxconn != new.process.maxconn);
    fresh_frontends + gone.count() + fresh_backends + lost.count() + drain + maxconn
}
