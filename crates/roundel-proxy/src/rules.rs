//! A worker's own copy of a frontend's rules, prepared for reading per request.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use roundel_balance::{Current, View};
use roundel_stats::PerWorker;

use crate::FrontendCounters;
use crate::config::{Backend, Frontend};
use crate::sticky::CookieText;

/// One frontend of one worker; connections hold it and see new rules with their next request.
pub(crate) struct FrontendSlot {
    rules: RefCell<Rc<Rules>>,
    counters: Arc<PerWorker<FrontendCounters>>,
}

impl FrontendSlot {
    pub(crate) fn new(rules: Rules, counters: Arc<PerWorker<FrontendCounters>>) -> Self {
        Self {
            rules: RefCell::new(Rc::new(rules)),
            counters,
        }
    }

    pub(crate) fn replace(&self, rules: Rules) {
        *self.rules.borrow_mut() = Rc::new(rules);
    }

    pub(crate) fn rules(&self) -> Rc<Rules> {
        self.rules.borrow().clone()
    }

    /// The counters that `worker` writes.
    pub(crate) fn counters(&self, worker: usize) -> &FrontendCounters {
        &self.counters[worker]
    }
}

/// The rules in force for one request.
pub(crate) struct Rules {
    pub(crate) frontend: Arc<Frontend>,
    pub(crate) limits: roundel_http1::Limits,
    /// The default backend, then one per route in their order.
    pub(crate) backends: Vec<Rc<BackendSlot>>,
}

/// One backend as one worker sees it.
pub(crate) struct BackendSlot {
    pub(crate) backend: Arc<Backend>,
    pub(crate) cookie: Option<CookieText>,
    view: RefCell<View>,
}

impl Rules {
    pub(crate) fn new(frontend: Arc<Frontend>) -> Self {
        let routes = frontend.routes.iter().map(|r| &r.backend);
        let backends = std::iter::once(&frontend.default_backend)
            .chain(routes)
            .map(|backend| Rc::new(BackendSlot::new(backend.clone())))
            .collect();
        let limits = roundel_http1::Limits {
            head: frontend.limits.header_bytes,
            target: frontend.limits.uri_bytes,
            fields: frontend
                .limits
                .headers
                .min(roundel_http1::Limits::MOST_FIELDS),
            ..roundel_http1::Limits::default()
        };
        Self {
            frontend,
            limits,
            backends,
        }
    }
}

impl BackendSlot {
    fn new(backend: Arc<Backend>) -> Self {
        Self {
            view: RefCell::new(View::new(backend.balancer.clone())),
            cookie: backend.sticky.as_ref().map(CookieText::new),
            backend,
        }
    }

    /// The newest snapshot of the servers.
    pub(crate) fn current(&self) -> Current {
        self.view.borrow_mut().current().clone()
    }

    /// Tells this balancer's servers from another's in a pool.
    pub(crate) fn key(&self) -> usize {
        Arc::as_ptr(&self.backend.balancer) as usize
    }
}
