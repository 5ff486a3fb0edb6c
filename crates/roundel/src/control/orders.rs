//! Orders of operators.

use std::time::Instant;

use roundel_admin::command::{Command, CommandError, Order, Outcome};
use roundel_model::{Name, Presence, Server, SourceKind};

use super::Control;
use crate::managed::Managed;

impl Control {
    /// Carries out one order and answers it. What takes time goes on beside the task.
    pub(super) fn handle_order(&mut self, order: Order) {
        let Order {
            command,
            principal,
            reply,
        } = order;
        let who = principal.0;
        let result = match command {
            Command::Join { .. }
            | Command::Leave { .. }
            | Command::Query(_)
            | Command::UserEvent { .. }
            | Command::Keys { .. } => {
                match &self.parts.gossip {
                    Some(view) => {
                        let log = self.parts.log.clone();
                        super::cluster::carry_out(view.handle(), log, command, who, reply);
                    }
                    None => drop(reply.send(Err(gossip_is_off()))),
                }
                return;
            }
            Command::Reload => self.reload("an operator").map_err(CommandError::Failed),
            command => self.order_server(command),
        };
        // Whoever asked may be gone.
        let _ = reply.send(result.map(outcome));
    }

    fn order_server(&mut self, command: Command) -> Result<String, CommandError> {
        let now = Instant::now();
        match command {
            Command::SetState {
                backend,
                server,
                state,
            } => self.managed(&backend)?.set_state(now, &server, state),
            Command::SetWeight {
                backend,
                server,
                weight,
            } => self.managed(&backend)?.set_weight(now, &server, weight),
            Command::AddServer {
                backend,
                server,
                address,
                weight,
            } => self.managed(&backend)?.add_by_hand(
                now,
                Server {
                    name: server,
                    address,
                    weight,
                    backup: false,
                    source: SourceKind::Operator,
                    presence: Presence::Present,
                },
            ),
            Command::DelServer { backend, server } => {
                self.managed(&backend)?.remove_by_hand(now, &server)
            }
            Command::Join { .. }
            | Command::Leave { .. }
            | Command::Query(_)
            | Command::UserEvent { .. }
            | Command::Keys { .. }
            | Command::Reload => unreachable!("handled before"),
        }
    }

    fn managed(&mut self, backend: &Name) -> Result<&mut Managed, CommandError> {
        self.backends
            .get_mut(backend)
            .ok_or(CommandError::NoBackend)
    }
}

fn outcome(text: String) -> Outcome {
    Outcome { text, data: None }
}

fn gossip_is_off() -> CommandError {
    CommandError::Refused("Gossip is off; add a [gossip] table or --gossip-listen.".to_owned())
}
