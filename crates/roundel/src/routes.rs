//! From settings to what the proxy takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use roundel_balance::{BackendConfig, Balancer};
use roundel_model::Name;
use roundel_proxy::Routes;

use crate::config::{Backend, LogFormat, Settings};

/// The balancers by backend name.
pub(crate) type Balancers = BTreeMap<Name, Arc<Balancer>>;

/// Gives each backend the balancer it had, or a new one.
pub(crate) fn balancers(settings: &Settings, known: &Balancers, workers: usize) -> Balancers {
    let balancer = |backend: &Backend| {
        let balancer = known
            .get(&backend.name)
            .cloned()
            .unwrap_or_else(|| Balancer::new(balance_config(backend), workers));
        (backend.name.clone(), balancer)
    };
    let made: Balancers = settings.backends.iter().map(balancer).collect();
    for backend in &settings.backends {
        made[&backend.name].limit_queue(backend.max_queue);
    }
    made
}

fn balance_config(backend: &Backend) -> BackendConfig {
    BackendConfig {
        name: backend.name.clone(),
        policy: backend.balance,
        sticky_key: backend.sticky_key.clone(),
    }
}

/// Builds the routes. Panics: a backend without balancer, which [`balancers`] rules out.
pub(crate) fn build(settings: &Settings, balancers: &Balancers) -> Routes {
    let backends: BTreeMap<&Name, Arc<roundel_proxy::Backend>> = settings
        .backends
        .iter()
        .map(|b| (&b.name, Arc::new(backend(b, balancers))))
        .collect();
    let find = |name: &Name| {
        let found = backends.get(name);
        Arc::clone(found.expect("resolving checked that every backend named exists"))
    };
    let frontends = settings.frontends.iter().map(|f| {
        let route = |r: &crate::config::Route| roundel_proxy::Route {
            host: r.host.clone(),
            path_prefix: r.path_prefix.clone(),
            backend: find(&r.backend),
        };
        let default = find(&f.default_backend);
        let mut frontend = roundel_proxy::Frontend::new(f.name.clone(), f.listen.clone(), default);
        frontend.timeouts = f.timeouts;
        frontend.limits = f.limits;
        frontend.marks = f.marks;
        frontend.trusted_proxies.clone_from(&f.trusted_proxies);
        frontend.routes = f.routes.iter().map(route).collect();
        frontend
    });
    Routes {
        frontends: frontends.collect(),
    }
}

fn backend(backend: &Backend, balancers: &Balancers) -> roundel_proxy::Backend {
    let balancer = balancers.get(&backend.name);
    let balancer = balancer.expect("every backend has a balancer");
    let mut made = roundel_proxy::Backend::new(Arc::clone(balancer));
    made.timeouts = backend.timeouts;
    made.retries = backend.retries;
    made.retry_budget = backend.retry_budget;
    made.hash_on = backend.balance.needs_key().then(|| backend.hash_on.clone());
    made.sticky.clone_from(&backend.sticky);
    made
}

/// The proxy's word for a log format; `None` for no log.
pub(crate) fn log_format(format: LogFormat) -> Option<roundel_proxy::LogFormat> {
    use roundel_proxy::LogFormat as Theirs;
    Some(match format {
        LogFormat::Json => Theirs::Json,
        LogFormat::Haproxy => Theirs::Haproxy,
        LogFormat::Common => Theirs::Common,
        LogFormat::Combined => Theirs::Combined,
        LogFormat::Logfmt => Theirs::Logfmt,
        LogFormat::Off => return None,
    })
}
