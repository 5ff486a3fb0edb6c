//! Orders of operators.

use std::time::Instant;

use roundel_model::AdminState;

use super::{CommandError, Director, EventKind, ServerAct, ServerCommand, WeightOrder};

impl Director {
    /// Carries out an operator's order. Errors: see [`CommandError`]; nothing changed then.
    pub fn handle_command(
        &mut self,
        now: Instant,
        command: &ServerCommand,
    ) -> Result<(), CommandError> {
        let i = self
            .position(&command.server)
            .ok_or(CommandError::NoSuchServer)?;
        match command.act {
            ServerAct::State(admin) => self.order_state(i, admin),
            ServerAct::Weight(order) => self.order_weight(i, order)?,
        }
        self.settle(now, i);
        self.finish(now);
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
        let name = record.server.name.clone();
        self.tell(EventKind::Admin, Some(name), text, None);
    }

    fn order_weight(&mut self, i: usize, order: WeightOrder) -> Result<(), CommandError> {
        let record = &mut self.records[i];
        let before = record.weights;
        record.weights.order(order)?;
        if record.weights == before {
            return Ok(());
        }
        let (old, new) = (before.shown(), record.weights.shown());
        let text = match order {
            WeightOrder::Absolute(_) => format!("weight {old} → {new} by operator"),
            WeightOrder::Percent(p) => format!("weight {old} → {p} % ({new}) by operator"),
        };
        let name = record.server.name.clone();
        self.dirty = true;
        self.tell(EventKind::Weight, Some(name), text, None);
        Ok(())
    }
}
