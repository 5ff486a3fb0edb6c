//! A new configuration: taken over as a whole, or not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roundel_admin::command::CommandError;
use roundel_config::{LoadError, Settings};
use roundel_model::EventKind;

use tokio::sync::{Mutex, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::cluster::Answer;
use super::orders::outcome;
use super::{Control, director_config};
use crate::collector::unix_now;
use crate::loader::Loader;
use crate::routes;

/// How long the files may take to be read.
const READ: Duration = Duration::from_secs(10);

type Loaded = Result<Settings, LoadError>;

/// Reloads that were asked for. The files are read beside the control task, since their disk may have
/// gone.
pub(super) struct Reloads {
    reading: JoinSet<Loaded>,
    /// Held as long as a thread reads, also by one that nobody waits for any more.
    reader: Arc<Mutex<()>>,
    /// Who is answered by what is read now.
    asked: Vec<Asked>,
    /// Who came later: the files may have changed since.
    later: Vec<Asked>,
}

/// Why, and who is to be told.
pub(super) struct Asked {
    pub(super) why: &'static str,
    pub(super) reply: Option<oneshot::Sender<Answer>>,
}

impl Reloads {
    pub(super) fn new() -> Self {
        Self {
            reading: JoinSet::new(),
            reader: Arc::default(),
            asked: Vec::new(),
            later: Vec::new(),
        }
    }

    /// What was read; `None` while nothing is.
    pub(super) async fn next(&mut self) -> Option<Loaded> {
        let broken = |_| Err(LoadError::Usage("reading it has panicked".to_owned()));
        Some(self.reading.join_next().await?.unwrap_or_else(broken))
    }

    fn begin(&mut self, loader: Loader) {
        let reader = Arc::clone(&self.reader);
        self.reading.spawn(async move {
            let slow = || LoadError::Usage(format!("reading it takes longer than {READ:?}"));
            let Ok(reading) = reader.try_lock_owned() else {
                return Err(slow());
            };
            let load = spawn_blocking(move || {
                let _reading = reading;
                loader.load()
            });
            let load = timeout(READ, load).await.map_err(|_| slow())?;
            load.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
        });
    }
}

impl Control {
    /// Has the configuration read again; [`Control::reload`] takes it over.
    pub(super) fn begin_reload(&mut self, asked: Asked) {
        if self.reloads.asked.is_empty() {
            self.reloads.asked.push(asked);
            self.reloads.begin(self.parts.loader.clone());
        } else {
            self.reloads.later.push(asked);
        }
    }

    /// Takes over what was read, or says why not, in one line; nothing has changed then.
    pub(super) fn reload(&mut self, loaded: Loaded) {
        // What is found by then is what new sources go on from.
        self.take_sets();
        let asked = std::mem::take(&mut self.reloads.asked);
        let why = asked.first().map_or("nobody", |asked| asked.why);
        let done = self.try_reload(loaded);
        let done = done.map(|text| format!("{text}, asked by {why}"));
        match &done {
            Ok(text) => {
                self.config.reloads_ok_total += 1;
                self.config.last_error = None;
                self.config.last_reload_timestamp_seconds = unix_now();
                let log = &self.parts.log;
                log.add(EventKind::Reload, "config", text.clone(), None);
            }
            Err(error) => {
                let text = error.to_string();
                self.config.reloads_failed_total += 1;
                self.config.last_error = Some(text.clone());
                let line = format!("refused, nothing changed: {text}");
                let log = &self.parts.log;
                log.add(EventKind::ReloadFailed, "config", line, None);
            }
        }
        self.publish();
        for reply in asked.into_iter().filter_map(|asked| asked.reply) {
            self.answer(reply, done.clone().map(outcome));
        }
        for asked in std::mem::take(&mut self.reloads.later) {
            self.begin_reload(asked);
        }
    }

    fn try_reload(&mut self, loaded: Loaded) -> Result<String, CommandError> {
        let fresh = loaded.map_err(|error| {
            if let LoadError::Problems(problems) = &error {
                tracing::warn!("the new configuration has problems");
                for line in problems.to_string().lines() {
                    tracing::warn!("{line}");
                }
            }
            CommandError::Invalid(error.headline())
        })?;
        let old = &self.parts.settings;
        if fresh.gossip.is_some() != old.gossip.is_some() {
            let text = "gossip can be turned on or off only by a restart".to_owned();
            return Err(CommandError::Invalid(text));
        }
        let restart = fresh.needs_restart(old);
        let changes = changes(old, &fresh);
        self.take_over(fresh).map_err(CommandError::Failed)?;
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
        let parts = &mut self.parts;
        let begun = parts
            .acme
            .begin(&fresh)
            .map_err(|error| format!("{error:#}"));
        let done = begun.and_then(|()| {
            let routes = routes::build(&fresh, &balancers, &parts.tickets, &parts.acme);
            let done = parts.proxy.reload(routes);
            done.map_err(|error| error.to_string())
        });
        parts
            .acme
            .keep(done.as_ref().map_or(&parts.settings, |()| &fresh));
        done?;
        let parts = &self.parts;
        parts.sources.keep_off(&parts.proxy.frontends());
        let now = Instant::now();
        fresh.keep_running(&self.parts.settings);
        let old = std::mem::replace(&mut self.parts.settings, fresh.clone());
        self.closed.clear();
        self.follow_files(&fresh);
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
            managed.speak(backend);
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
