//! Orders of operators.

use std::time::Instant;

use roundel_admin::command::{Change, Command, CommandError, FrontendChange, Order, Outcome};
use roundel_balance::ServerOrders;
use roundel_model::{AdminState, EventKind, Name, Presence, Server, SourceKind};
use tokio::sync::oneshot;

use super::Control;
use super::cluster::Answer;
use super::reload::Asked;
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
        let closes = matches!(
            command,
            Command::Frontend {
                change: FrontendChange::Open(false),
                ..
            }
        );
        let result = match command {
            Command::Join { .. }
            | Command::Leave { .. }
            | Command::Query(_)
            | Command::UserEvent { .. }
            | Command::Keys { .. } => {
                match &self.parts.gossip {
                    Some(view) => {
                        let log = self.parts.log.clone();
                        let (done, answer) = oneshot::channel();
                        super::cluster::carry_out(view.handle(), log, command, who, done);
                        self.acts.begin(reply, answer);
                    }
                    None => self.answer(reply, Err(gossip_is_off())),
                }
                return;
            }
            Command::Change {
                backend,
                server,
                change: Change::Cut,
            } => match self.cut_server(&backend, &server) {
                Ok(told) => return self.answer_after(reply, told, String::new()),
                Err(error) => Err(error),
            },
            Command::Reload => {
                return self.begin_reload(Asked {
                    why: "an operator",
                    reply: Some(reply),
                });
            }
            // The views keep the greatest values; the next snapshot shows them forgotten.
            Command::ClearCounters { .. } => Ok(String::new()),
            command => self.order_server(command),
        };
        match result {
            Ok(text) if closes => self.answer_after(reply, self.closed_ports_free(), text),
            result => self.answer(reply, result.map(outcome)),
        }
    }

    /// Answers an act when this has ended.
    fn answer_after(
        &mut self,
        reply: oneshot::Sender<Answer>,
        settled: impl Future<Output = ()> + Send + 'static,
        text: String,
    ) {
        let (done, answer) = oneshot::channel();
        tokio::spawn(async move {
            settled.await;
            // Whoever asked may be gone.
            let _ = done.send(Ok(outcome(text)));
        });
        self.acts.begin(reply, answer);
    }

    /// Ends the requests at a server; the future ends when they have.
    fn cut_server(
        &mut self,
        backend: &Name,
        server: &Name,
    ) -> Result<impl Future<Output = ()> + Send + 'static, CommandError> {
        let live = self.managed(backend)?.live(Instant::now(), server);
        let in_flight = live.as_ref().map_or(0, |live| live.in_flight());
        if in_flight > 0 {
            let subject = format!("{backend}/{server}");
            let text = format!("requests cut by operator: {in_flight}");
            self.parts.log.add(EventKind::Admin, subject, text, None);
        }
        // Nothing is under way at one that is away.
        let cut = live.map(|live| self.parts.proxy.cut_server(live));
        Ok(async {
            if let Some(cut) = cut {
                cut.await;
            }
        })
    }

    fn order_server(&mut self, command: Command) -> Result<String, CommandError> {
        let now = Instant::now();
        match command {
            Command::SetState {
                backend,
                server,
                state,
                force,
            } => {
                let managed = self.managed(&backend)?;
                if !force && state != AdminState::Ready {
                    managed.spare_last(&server)?;
                }
                managed.set_state(now, &server, state)
            }
            Command::SetWeight {
                backend,
                server,
                weight,
                force,
            } => {
                let managed = self.managed(&backend)?;
                if !force && weight.is_zero() {
                    managed.spare_last(&server)?;
                }
                managed.set_weight(now, &server, weight)
            }
            Command::Change {
                backend,
                server,
                change,
            } => self.managed(&backend)?.change(now, &server, change),
            Command::AddServer {
                backend,
                server,
                address,
                weight,
                backup,
                maxconn,
                disabled,
                passed_over,
            } => {
                let orders = ServerOrders {
                    state: match disabled {
                        true => AdminState::Maint,
                        false => AdminState::Ready,
                    },
                    weight: None,
                    maxconn,
                    ..ServerOrders::default()
                };
                let subject = format!("{backend}/{server}");
                let server = Server {
                    name: server,
                    address,
                    weight,
                    backup,
                    source: SourceKind::Operator,
                    presence: Presence::Present,
                };
                let done = self.managed(&backend)?.add_by_hand(now, server, orders)?;
                if !passed_over.is_empty() {
                    let words = passed_over.join(", ");
                    let text = format!("as its backend is configured, not as asked: {words}");
                    self.parts.log.add(EventKind::Admin, subject, text, None);
                }
                Ok(done)
            }
            Command::DelServer { backend, server } => {
                self.managed(&backend)?.remove_by_hand(now, &server)
            }
            Command::Frontend { frontend, change } => self.change_frontend(&frontend, change),
            Command::ClearCounters { .. }
            | Command::Join { .. }
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

pub(super) fn outcome(text: String) -> Outcome {
    Outcome {
        text,
        ..Outcome::default()
    }
}

fn gossip_is_off() -> CommandError {
    CommandError::Refused("Gossip is off; add a [gossip] table or --gossip-listen.".to_owned())
}
