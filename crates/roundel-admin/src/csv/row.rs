//! What one line is about.

use roundel_model::ServerState;

use crate::history::{BackendRates, FrontendRates, Means, ServerRates};
use crate::moment::Moment;
use crate::status::{Backend, Check, Frontend, Server, Times, Traffic};

/// The subject of a line, with the rates that belong to it.
pub(crate) enum Row<'a> {
    Frontend(&'a Frontend, &'a FrontendRates),
    Server(&'a Backend, &'a Server, &'a ServerRates),
    Backend(&'a Backend, &'a BackendRates),
}

/// Calls `f` for each line: frontends first, then each backend's servers and the backend. What
/// has left has no line: to HAProxy's readers it would be a server in maintenance.
pub(crate) fn each(moment: &Moment, mut f: impl FnMut(&Row<'_>)) {
    let (front, back, server) = Default::default();
    for frontend in &moment.snapshot.frontends {
        let rates = moment.rates.frontends.get(&frontend.name);
        f(&Row::Frontend(frontend, rates.unwrap_or(&front)));
    }
    for backend in &moment.snapshot.backends {
        let rates = moment.rates.backends.get(&backend.name).unwrap_or(&back);
        for one in backend.here() {
            let rates = rates.servers.get(&one.name).unwrap_or(&server);
            f(&Row::Server(backend, one, rates));
        }
        f(&Row::Backend(backend, rates));
    }
}

impl<'a> Row<'a> {
    /// The frontend or backend.
    pub(crate) fn proxy(&self) -> &'a str {
        match *self {
            Self::Frontend(f, _) => &f.name,
            Self::Server(b, ..) | Self::Backend(b, _) => &b.name,
        }
    }

    /// The server, or the word for the whole.
    pub(crate) fn server_name(&self) -> &'a str {
        match *self {
            Self::Frontend(..) => "FRONTEND",
            Self::Server(_, s, _) => &s.name,
            Self::Backend(..) => "BACKEND",
        }
    }

    /// The id of the frontend or backend.
    pub(crate) fn iid(&self) -> u32 {
        match *self {
            Self::Frontend(f, _) => f.id,
            Self::Server(b, ..) | Self::Backend(b, _) => b.id,
        }
    }

    /// The id of the server; 0 for the whole.
    pub(crate) fn sid(&self) -> u32 {
        match *self {
            Self::Server(_, s, _) => s.id,
            Self::Frontend(..) | Self::Backend(..) => 0,
        }
    }

    /// Whether HAProxy would call it up.
    pub(crate) fn is_up(&self) -> bool {
        match *self {
            Self::Frontend(..) => true,
            Self::Server(_, s, _) => s.state.takes_sticky(),
            Self::Backend(b, _) => is_usable(b),
        }
    }

    /// Whether it is a server in maintenance.
    pub(crate) fn is_maint(&self) -> bool {
        matches!(self, Self::Server(_, s, _) if s.state == ServerState::Maint)
    }

    /// What went through a server or backend.
    pub(crate) fn traffic(&self) -> Option<&'a Traffic> {
        match *self {
            Self::Frontend(..) => None,
            Self::Server(_, s, _) => Some(&s.traffic),
            Self::Backend(b, _) => Some(&b.traffic),
        }
    }

    /// The sums and maxima of a server or backend.
    pub(crate) fn times(&self) -> Option<&'a Times> {
        self.traffic().map(|t| &t.times)
    }

    /// The averages of a server (recent ones) or a backend (mean of its servers' sums).
    pub(crate) fn means(&self) -> Option<Means> {
        match self {
            Self::Server(_, _, rates) => Some(rates.means),
            Self::Backend(b, _) => Some(Means::of(&b.traffic.times)),
            Self::Frontend(..) => None,
        }
    }

    /// The server of a server's line.
    pub(crate) fn server(&self) -> Option<&'a Server> {
        match *self {
            Self::Server(_, s, _) => Some(s),
            _ => None,
        }
    }

    /// The check of a server's line.
    pub(crate) fn check(&self) -> Option<&'a Check> {
        self.server()?.check.as_ref()
    }

    /// The backend of a backend's line.
    pub(crate) fn backend(&self) -> Option<&'a Backend> {
        match *self {
            Self::Backend(b, _) => Some(b),
            _ => None,
        }
    }

    /// The frontend of a frontend's line.
    pub(crate) fn frontend(&self) -> Option<&'a Frontend> {
        match *self {
            Self::Frontend(f, _) => Some(f),
            _ => None,
        }
    }

    /// The rates of a frontend's line.
    pub(crate) fn front_rates(&self) -> Option<&'a FrontendRates> {
        match *self {
            Self::Frontend(_, r) => Some(r),
            _ => None,
        }
    }

    /// Answers by class.
    pub(crate) fn responses(&self) -> &'a [u64; 6] {
        match *self {
            Self::Frontend(f, _) => &f.responses_total,
            Self::Server(_, s, _) => &s.traffic.responses_total,
            Self::Backend(b, _) => &b.traffic.responses_total,
        }
    }
}

/// Whether a backend has a server that takes new requests.
pub(crate) fn is_usable(backend: &Backend) -> bool {
    backend.serving() > 0
}

/// The usable servers of a backend that are, or are not, backups.
pub(crate) fn usable(backend: &Backend, backup: bool) -> impl Iterator<Item = &Server> {
    let fits = move |s: &&Server| s.state.takes_new() && s.backup == backup;
    backend.rows().filter(fits)
}

/// The usable servers that requests go to: backups where there is no other.
pub(crate) fn in_use(backend: &Backend) -> impl Iterator<Item = &Server> {
    usable(backend, usable(backend, false).next().is_none())
}
