//! From settings to what the proxy takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use roundel_balance::{BackendConfig, Balancer};
use roundel_config::{Backend, ErrorPages, Settings, Target, Tls};
use roundel_model::Name;
use roundel_proxy::{Limiter, Page, RateLimit, Routes};
use roundel_tls::{Front, TicketKeys};

use crate::acme::Acme;
use crate::descriptors;

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

/// What the page's port shows over TLS.
pub(crate) fn page(
    settings: &Settings,
    tickets: &Arc<TicketKeys>,
    acme: &Acme,
) -> Option<Arc<Front>> {
    let tls = settings.stats_tls.as_ref();
    tls.map(|tls| front(tls, tickets, acme))
}

fn front(tls: &Tls, tickets: &Arc<TicketKeys>, acme: &Acme) -> Arc<Front> {
    let ordered = tls.acme.as_ref().and_then(|config| acme.shown(config));
    let mut certificates = tls.certificates.clone();
    certificates.extend(ordered.map(|(certificate, _)| certificate));
    let front = Front::new(&certificates, &tls.policy, tickets, SystemTime::now());
    Arc::new(front.with_challenges(acme.challenges().clone()))
}

/// Builds the routes; `tickets` seal the sessions of all frontends. Panics: a backend without balancer, which [`balancers`] rules out.
pub(crate) fn build(
    settings: &Settings,
    balancers: &Balancers,
    tickets: &Arc<TicketKeys>,
    acme: &Acme,
) -> Routes {
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
        let route = |r: &roundel_config::Route| roundel_proxy::Route {
            host: r.host.clone(),
            path_prefix: r.path_prefix.clone(),
            target: match &r.target {
                Target::Backend(name) => roundel_proxy::Target::Backend(find(name)),
                Target::Redirect(to) => roundel_proxy::Target::Redirect(to.clone()),
            },
            rate_limit: r.rate_limit.map(limiter),
            timeouts: r.timeouts,
        };
        let default = find(&f.default_backend);
        let mut frontend = roundel_proxy::Frontend::new(f.name.clone(), f.listen.clone(), default);
        frontend.tls = f.tls.as_ref().map(|tls| front(tls, tickets, acme));
        frontend.challenges = acme.challenges().clone();
        frontend.maxconn = f.maxconn;
        frontend.timeouts = f.timeouts;
        frontend.limits = f.limits;
        frontend.marks = f.marks;
        frontend.request_headers.clone_from(&f.request_headers);
        frontend.response_headers.clone_from(&f.response_headers);
        frontend.error_pages = pages(&f.error_pages);
        frontend.rate_limit = f.rate_limit.map(limiter);
        frontend.trusted_proxies.clone_from(&f.trusted_proxies);
        frontend.strict_paths = f.strict_paths;
        frontend.routes = f.routes.iter().map(route).collect();
        frontend
    });
    Routes {
        frontends: frontends.collect(),
        maxconn: descriptors::maxconn(settings),
        http2_memory: settings.process.http2_memory,
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
    made.abort_on_close = backend.abort_on_close;
    made.send_proxy = backend.proxy_header();
    made.tls.clone_from(&backend.tls);
    made.proto = backend.proto;
    made.reuse = backend.reuse;
    made.request_headers.clone_from(&backend.request_headers);
    made.response_headers.clone_from(&backend.response_headers);
    made.error_pages = pages(&backend.error_pages);
    made
}

/// Counts from zero; the proxy keeps what it has counted by an equal rule.
fn limiter(limit: RateLimit) -> Arc<Limiter> {
    Arc::new(Limiter::new(limit))
}

fn pages(pages: &ErrorPages) -> roundel_proxy::ErrorPages {
    let page = |(status, (_, page)): (&u16, &(_, Page))| (*status, page.clone());
    pages.iter().map(page).collect()
}
