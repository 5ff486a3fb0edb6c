//! A worker's own copy of a frontend's rules, prepared for reading per request.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use roundel_balance::{Current, View};
use roundel_stats::PerWorker;

use crate::complaints::Complaints;
use crate::config::{Backend, ClientTimeouts, Frontend, RouteTimeouts, ServerTimeouts, Target};
use crate::headers::rules::{HeaderRules, Place, Template};
use crate::headers::via::Via;
use crate::maxconn::Room;
use crate::sticky::CookieText;
use crate::{FrontendCounters, headers};

/// One frontend of one worker; connections hold it and see new rules with their next request.
pub(crate) struct FrontendSlot {
    rules: RefCell<Rc<Rules>>,
    live: FrontendLive,
    pub(crate) complaints: Complaints,
}

/// What outlives every change of a frontend's rules, shared by all workers.
#[derive(Debug, Clone)]
pub(crate) struct FrontendLive {
    pub(crate) counters: Arc<PerWorker<FrontendCounters>>,
    pub(crate) room: Arc<Room>,
}

impl FrontendSlot {
    pub(crate) fn new(rules: Rules, live: FrontendLive) -> Self {
        Self {
            rules: RefCell::new(Rc::new(rules)),
            live,
            complaints: Complaints::default(),
        }
    }

    pub(crate) fn replace(&self, rules: Rules) {
        *self.rules.borrow_mut() = Rc::new(rules);
    }

    /// Lends the rules in force.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Rules) -> T) -> T {
        look(&self.rules.borrow())
    }

    pub(crate) fn rules(&self) -> Rc<Rules> {
        self.rules.borrow().clone()
    }

    /// The counters that `worker` writes.
    pub(crate) fn counters(&self, worker: usize) -> &FrontendCounters {
        &self.live.counters[worker]
    }

    /// The places of its connections.
    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.live.room
    }
}

/// The rules in force for one request.
pub(crate) struct Rules {
    pub(crate) frontend: Arc<Frontend>,
    pub(crate) limits: roundel_http1::Limits,
    pub(crate) via: Via,
    /// Something asks for the identifier of a request.
    pub(crate) wants_request_id: bool,
    /// The default backend, then one per route that has one, in their order.
    pub(crate) backends: Vec<Rc<BackendSlot>>,
}

/// One backend as one worker sees it, by the way of one route.
pub(crate) struct BackendSlot {
    pub(crate) backend: Arc<Backend>,
    pub(crate) cookie: Option<CookieText>,
    /// Some server gets a header of the PROXY protocol.
    pub(crate) sends_proxy: bool,
    /// What changes in requests: the frontend's rules, then the backend's.
    pub(crate) request_headers: HeaderRules,
    /// What changes in answers: the backend's rules, then the frontend's.
    pub(crate) response_headers: HeaderRules,
    /// The Host that those for requests set.
    pub(crate) host: Option<Box<[u8]>>,
    /// How long the client of a request that came by this route may take, and its server.
    timeouts: (ClientTimeouts, ServerTimeouts),
    view: RefCell<View>,
}

impl Rules {
    pub(crate) fn new(frontend: Arc<Frontend>) -> Self {
        let routes = frontend.routes.iter().filter_map(|r| match &r.target {
            Target::Backend(backend) => Some((backend, r.timeouts)),
            Target::Redirect(_) => None,
        });
        let slot = |(backend, timeouts): (&Arc<Backend>, _)| {
            Rc::new(BackendSlot::new(backend.clone(), &frontend, timeouts))
        };
        let default = (&frontend.default_backend, RouteTimeouts::default());
        let backends = std::iter::once(default).chain(routes).map(slot);
        let backends = backends.collect::<Vec<_>>();
        let limits = roundel_http1::Limits {
            head: frontend.limits.header_bytes,
            target: frontend.limits.uri_bytes,
            fields: frontend
                .limits
                .headers
                .min(roundel_http1::Limits::MOST_FIELDS),
            ..roundel_http1::Limits::default()
        };
        let mut rules = backends
            .iter()
            .flat_map(|slot| slot.request_headers.iter().chain(&slot.response_headers));
        let wants_id = |value: &Template| value.has(Place::RequestId);
        Self {
            wants_request_id: frontend.marks.request_id
                || rules.any(|rule| rule.value().is_some_and(wants_id)),
            via: Via::new(frontend.via),
            frontend,
            limits,
            backends,
        }
    }
}

impl BackendSlot {
    fn new(backend: Arc<Backend>, frontend: &Frontend, timeouts: RouteTimeouts) -> Self {
        let request_headers = [&frontend.request_headers[..], &backend.request_headers].concat();
        Self {
            host: headers::rules::host(&request_headers).map(|host| host.as_bytes().into()),
            request_headers,
            timeouts: timeouts.over(frontend.timeouts, backend.timeouts),
            response_headers: [&backend.response_headers[..], &frontend.response_headers].concat(),
            view: RefCell::new(View::new(backend.balancer.clone())),
            sends_proxy: backend.send_proxy.is_on(),
            cookie: backend.sticky.as_ref().map(CookieText::new),
            backend,
        }
    }

    /// How long a client may take while its request is answered.
    pub(crate) fn client_timeouts(&self) -> &ClientTimeouts {
        &self.timeouts.0
    }

    /// How long a server may take while it answers.
    pub(crate) fn server_timeouts(&self) -> &ServerTimeouts {
        &self.timeouts.1
    }

    /// Lends the newest snapshot of the servers.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Current) -> T) -> T {
        look(self.view.borrow_mut().current())
    }

    /// The newest snapshot of the servers.
    pub(crate) fn current(&self) -> Current {
        self.view.borrow_mut().current().clone()
    }

    /// Tells this balancer's servers from another's in a pool, and those that were believed under the
    /// conditions in force from others.
    pub(crate) fn key(&self) -> usize {
        let balancer = Arc::as_ptr(&self.backend.balancer) as usize;
        let mark = self.backend.tls.as_ref().map_or(0, |back| back.mark());
        // Connections that are there speak what the servers spoke.
        let proto = (self.backend.proto as usize) << 1;
        balancer ^ mark as usize ^ proto
    }
}
