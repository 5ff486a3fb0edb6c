//! Orders outlive the servers they are about: they are kept for the name until taken back.

use std::collections::VecDeque;
use std::fmt;

use roundel_model::{AdminState, Name, WeightOrder};

use super::record::Record;
use super::{Director, EventKind};

/// The most orders kept for servers that are not there.
const MOST: usize = 1_024;

/// What an operator ordered for one server and has not taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerOrders {
    /// Serve, drain, or take nothing.
    pub state: AdminState,
    /// Another weight than that of its source.
    pub weight: Option<WeightOrder>,
    /// Another limit of requests in flight than that of the configuration; 0 for any number.
    pub maxconn: Option<u32>,
    /// No checks.
    pub unchecked: bool,
    /// Another port for the checks than that of the server.
    pub check_port: Option<u16>,
}

impl ServerOrders {
    /// Whether nothing is ordered.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for ServerOrders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = (self.state != AdminState::Ready).then(|| self.state.to_string());
        let weight = self.weight.map(|weight| format!("weight {weight}"));
        let maxconn = self.maxconn.map(|most| format!("maxconn {most}"));
        let checks = self.unchecked.then(|| "checks off".to_owned());
        let port = self
            .check_port
            .map(|port| format!("checked at port {port}"));
        let parts = [state, weight, maxconn, checks, port];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

/// The orders for servers that are not there, oldest first; at most one entry per name.
#[derive(Debug, Default)]
pub(super) struct Kept(VecDeque<(Name, ServerOrders)>);

impl Kept {
    /// Keeps orders, however many there are.
    fn insert(&mut self, name: Name, orders: ServerOrders) {
        self.take(&name);
        if !orders.is_none() {
            self.0.push_back((name, orders));
        }
    }

    /// Keeps orders and returns the oldest ones when there are too many.
    fn push(&mut self, name: Name, orders: ServerOrders) -> Option<(Name, ServerOrders)> {
        self.insert(name, orders);
        if self.0.len() > MOST {
            self.0.pop_front()
        } else {
            None
        }
    }

    fn take(&mut self, name: &Name) -> Option<ServerOrders> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        self.0.remove(at).map(|(_, orders)| orders)
    }

    pub(super) fn find(&mut self, name: &Name) -> Option<&mut ServerOrders> {
        let mut all = self.0.iter_mut();
        all.find(|(known, _)| known == name)
            .map(|(_, orders)| orders)
    }

    /// Forgets those under which nothing is ordered any more.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|(_, orders)| !orders.is_none());
    }
}

impl Director {
    /// The orders for servers that are not there, oldest first.
    pub fn kept_orders(&self) -> impl Iterator<Item = &(Name, ServerOrders)> {
        self.kept.0.iter()
    }

    /// Every order that is not taken back, whether its server is there or not.
    pub fn all_orders(&self) -> Vec<(Name, ServerOrders)> {
        let here = self.records.iter();
        let here = here.map(|r| (r.server.name.clone(), r.orders()));
        let kept = self.kept.0.iter().cloned();
        kept.chain(here.filter(|(_, orders)| !orders.is_none()))
            .collect()
    }

    /// Keeps orders for servers that are still to be seen, such as another director had; all of
    /// them, since most of these servers will be seen at once.
    pub fn keep_orders(&mut self, orders: impl IntoIterator<Item = (Name, ServerOrders)>) {
        for (name, orders) in orders {
            self.kept.insert(name, orders);
        }
    }

    /// Takes every order for a name back. Returns whether there was one.
    pub fn take_back(&mut self, name: &Name) -> bool {
        let kept = self.kept.take(name);
        let here = self.position(name).map(|i| {
            let record = &mut self.records[i];
            let orders = record.orders();
            record.obey(ServerOrders::default());
            orders
        });
        let all = [kept, here].into_iter().flatten();
        let mut was = all.filter(|orders| !orders.is_none()).peekable();
        let found = was.peek().is_some();
        for orders in was {
            let text = format!("taken back by operator: {orders}");
            self.tell(EventKind::Admin, Some(name.clone()), text, None);
        }
        found
    }

    pub(super) fn keep(&mut self, name: Name, orders: ServerOrders) {
        if orders.is_none() {
            return;
        }
        if let Some((name, orders)) = self.kept.push(name, orders) {
            let text = format!(
                "forgotten: {orders}, ordered by operator; more than {MOST} servers under orders are away"
            );
            self.tell(EventKind::Admin, Some(name), text, None);
        }
    }

    /// Gives a server that is seen for the first time, or again, the orders kept for its name,
    /// and says what they are and what ends them.
    pub(super) fn enlist(&mut self, record: &mut Record) -> Option<String> {
        let orders = self.kept.take(&record.server.name)?;
        record.obey(orders);
        if record.unchecked {
            record.health.trust();
        }
        record.enlisted = true;
        let ends = ends(self.balancer.name(), &record.server.name, &orders);
        Some(format!("comes under orders: {orders}{ends}"))
    }
}

/// The verbs that end orders, as an operator writes them.
pub(super) fn ends(backend: &Name, server: &Name, orders: &ServerOrders) -> String {
    let state = match orders.state {
        AdminState::Ready => None,
        _ => Some(format!("`roundel ready {backend}/{server}`")),
    };
    let weight = orders.weight;
    let weight = weight.map(|_| format!("`roundel weight {backend}/{server} 100%`"));
    let checks = orders.unchecked;
    let checks = checks.then(|| format!("`enable health {backend}/{server}` at the runtime API"));
    let verbs: Vec<String> = [state, weight, checks].into_iter().flatten().collect();
    match verbs.len() {
        0 => String::new(),
        1 => format!("; {} ends it", verbs[0]),
        _ => format!("; {} end them", verbs.join(" and ")),
    }
}

impl Record {
    pub(super) fn orders(&self) -> ServerOrders {
        ServerOrders {
            state: self.admin,
            weight: self.weights.ordered,
            maxconn: self.maxconn,
            unchecked: self.unchecked,
            check_port: self.check_port,
        }
    }

    pub(super) fn obey(&mut self, orders: ServerOrders) {
        self.admin = orders.state;
        self.weights.ordered = orders.weight;
        self.maxconn = orders.maxconn;
        self.unchecked = orders.unchecked;
        self.check_port = orders.check_port;
        self.enlisted = false;
    }
}
