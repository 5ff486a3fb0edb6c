//! Orders of operators.

use std::time::Instant;

use roundel_model::{AdminState, WeightOrder};

use super::{CommandError, Director, EventKind, ServerAct, ServerCommand};

impl Director {
    /// Carries out an operator's order; for a server that is away but under orders, those kept
    /// for its name are changed. Errors: see [`CommandError`]; nothing changed then.
    pub fn handle_command(
        &mut self,
        now: Instant,
        command: &ServerCommand,
    ) -> Result<(), CommandError> {
        let Some(i) = self.position(&command.server) else {
            return self.order_absent(command);
        };
        match command.act {
            ServerAct::State(admin) => self.order_state(i, admin),
            ServerAct::Weight(order) => self.order_weight(i, order),
            ServerAct::Maxconn(most) => self.order_maxconn(i, most),
            ServerAct::Health(up) => self.order_health(i, up),
            ServerAct::Checks(on) => self.order_checks(now, i, on)?,
            ServerAct::CheckPort(port) => self.order_check_port(now, i, port)?,
        }
        self.records[i].enlisted = false;
        self.settle(now, i);
        self.finish(now);
        Ok(())
    }

    fn order_absent(&mut self, command: &ServerCommand) -> Result<(), CommandError> {
        let orders = self.kept.find(&command.server);
        let orders = orders.ok_or(CommandError::NoSuchServer)?;
        match command.act {
            ServerAct::State(admin) => orders.state = admin,
            ServerAct::Weight(order) => {
                orders.weight = Some(order).filter(|o| *o != WeightOrder::Percent(100));
            }
            ServerAct::Maxconn(most) => orders.maxconn = Some(most),
            ServerAct::Checks(on) => orders.unchecked = !on,
            ServerAct::CheckPort(port) => orders.check_port = check_port(port),
            ServerAct::Health(_) => return Err(CommandError::NoSuchServer),
        }
        let text = match orders.is_none() {
            true => "its orders are taken back; it is away".to_owned(),
            false => format!("{orders} ordered by operator; it is away"),
        };
        self.kept.tidy();
        self.tell(EventKind::Admin, Some(command.server.clone()), text, None);
        Ok(())
    }

    fn order_state(&mut self, i: usize, admin: AdminState) {
        let record = &mut self.records[i];
        if record.admin == admin {
            return;
        }
        record.admin = admin;
        let text = match record.live.in_flight() {
            0 => format!("{admin} ordered by operator"),
            n => format!("{admin} ordered by operator; {n} in flight"),
        };
        self.tell_order(i, EventKind::Admin, text);
    }

    fn order_weight(&mut self, i: usize, order: WeightOrder) {
        let record = &mut self.records[i];
        let before = record.weights;
        record.weights.order(order);
        if record.weights == before {
            return;
        }
        let (old, new) = (before.shown(), record.weights.shown());
        let text = match order {
            WeightOrder::Absolute(_) => format!("weight {old} → {new} by operator"),
            WeightOrder::Percent(p) => format!("weight {old} → {p} % ({new}) by operator"),
        };
        self.dirty = true;
        self.tell_order(i, EventKind::Weight, text);
    }

    fn order_maxconn(&mut self, i: usize, most: u32) {
        self.records[i].maxconn = Some(most);
        self.dirty = true;
        self.tell_order(i, EventKind::Admin, format!("maxconn {most} by operator"));
    }

    /// Sets what the checks say, until they say something else.
    fn order_health(&mut self, i: usize, up: bool) {
        let record = &mut self.records[i];
        let word = if up { "up" } else { "down" };
        if up {
            record.health.assume_up();
        } else {
            record.health.assume_down();
            record.cause = "set down by operator".into();
        }
        self.tell_order(i, EventKind::Admin, format!("health {word} by operator"));
    }

    /// Switches the checks of one server; without them what they said last stays.
    fn order_checks(&mut self, now: Instant, i: usize, on: bool) -> Result<(), CommandError> {
        if !self.config.check.is_on() {
            return Err(CommandError::NoCheck);
        }
        let record = &mut self.records[i];
        if record.unchecked == on {
            record.unchecked = !on;
            record.health.trust();
            record.probe.abandon(now, &self.config.check);
            let word = if on { "on" } else { "off" };
            self.tell_order(i, EventKind::Admin, format!("checks {word} by operator"));
        }
        Ok(())
    }

    fn order_check_port(&mut self, now: Instant, i: usize, port: u16) -> Result<(), CommandError> {
        if !self.config.check.is_on() {
            return Err(CommandError::NoCheck);
        }
        let record = &mut self.records[i];
        record.check_port = check_port(port);
        record.probe.abandon(now, &self.config.check);
        let text = match record.check_port {
            Some(port) => format!("checked at port {port} by operator"),
            None => "checked at its own port by operator".to_owned(),
        };
        self.tell_order(i, EventKind::Admin, text);
        Ok(())
    }

    fn tell_order(&mut self, i: usize, kind: EventKind, text: String) {
        let name = self.records[i].server.name.clone();
        self.tell(kind, Some(name), text, None);
    }
}

/// The port that an order names; 0 takes it back, as in HAProxy.
fn check_port(port: u16) -> Option<u16> {
    (port != 0).then_some(port)
}
