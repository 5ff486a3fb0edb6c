//! What a reader is told: the snapshot, and what is computed from it.

use anyhow::{Context, bail};
use roundel_admin::status::{Backend, Server, Snapshot};
use roundel_admin::{BackendRates, Rates, ServerRates};
use roundel_model::{ServerState, Shown, natural_order};
use serde::Deserialize;

use crate::table::Look;

/// A snapshot with its rates.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) snapshot: Snapshot,
    pub(super) rates: Rates,
}

/// What stands beside the snapshot in the same document.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Beside {
    rates: Rates,
}

impl View {
    /// Reads the document of `/api/v1/snapshot`. Errors: it is none of this version.
    pub(super) fn parse(document: &[u8]) -> serde_json::Result<Self> {
        let beside: Beside = serde_json::from_slice(document)?;
        Ok(Self {
            snapshot: serde_json::from_slice(document)?,
            rates: beside.rates,
        })
    }

    /// The rates of a backend, if there are any yet.
    pub(super) fn backend(&self, name: &str) -> Option<&BackendRates> {
        self.rates.backends.get(name)
    }

    /// The rates of a server, if there are any yet.
    pub(super) fn server(&self, backend: &str, name: &str) -> Option<&ServerRates> {
        self.backend(backend)?.servers.get(name)
    }

    /// Finds `BACKEND` or `BACKEND/SERVER`. Errors: nothing has this name; what has is told.
    pub(super) fn find(&self, name: &str) -> anyhow::Result<(&Backend, Option<&Server>)> {
        let (backend, server) = match name.split_once('/') {
            Some((backend, server)) => (backend, Some(server)),
            None => (name, None),
        };
        let known = self.snapshot.backends.iter();
        let found = self.snapshot.backend(backend).with_context(|| {
            let known = list(known.map(|b| b.name.as_str()));
            format!(
                "no backend is called `{}`; there are: {known}",
                Shown(backend)
            )
        })?;
        let Some(server) = server else {
            return Ok((found, None));
        };
        match found.server(server) {
            Some(server) => Ok((found, Some(server))),
            None => {
                let known = list(found.rows().map(|s| &*s.name));
                bail!(
                    "no server of {} is called `{}`; there are: {known}",
                    Shown(backend),
                    Shown(server)
                )
            }
        }
    }
}

/// Names in order, as many as a line takes.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 8;
    let mut names: Vec<&str> = names.collect();
    names.sort_by(|a, b| natural_order(a, b));
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    let named = match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    };
    match more {
        0 => Shown(named).to_string(),
        more => format!("{} and {more} more", Shown(named)),
    }
}

/// The servers as one looks for them: troubled ones first, then by name as people count.
pub(super) fn by_urgency(backend: &Backend) -> Vec<&Server> {
    let mut servers: Vec<&Server> = backend.rows().collect();
    servers.sort_by(|a, b| {
        let rank = |s: &Server| urgency(s.state).saturating_sub(u8::from(s.doubt));
        let order = rank(a).cmp(&rank(b));
        order.then_with(|| natural_order(&a.name, &b.name))
    });
    servers
}

fn urgency(state: ServerState) -> u8 {
    use ServerState::{Down, Draining, Ejected, Joining, Leaving, Left, Maint, Up, Warming};
    match state {
        Down => 0,
        Ejected => 1,
        Joining => 2,
        Maint => 3,
        Draining => 4,
        Leaving => 5,
        Warming => 6,
        Up => 8,
        Left => 9,
    }
}

/// The colour of a server.
pub(super) fn look(server: &Server) -> Look {
    use ServerState::{Down, Draining, Ejected, Joining, Leaving, Left, Maint, Up, Warming};
    match server.state {
        Down => Look::Bad,
        Up if server.doubt => Look::Odd,
        Up => Look::Good,
        Ejected | Joining | Warming | Draining | Leaving | Maint => Look::Odd,
        Left => Look::Dim,
    }
}
