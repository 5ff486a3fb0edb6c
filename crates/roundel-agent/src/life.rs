//! One life of an agent, from the app's start to its end.

use std::net::{SocketAddr, UdpSocket};

use rustix::process::Signal;

use crate::app::App;
use crate::drain::drain;
use crate::membership::Membership;
use crate::port;
use crate::signals::{Request, Signals};
use crate::{AgentError, Config};

/// Runs an agent until it is told to stop or the app ends, and gives the exit code.
///
/// With a command: starts it, announces the server once its port accepts, passes signals on,
/// and at TERM, INT or QUIT announces that it drains, holds the app until every balancer has said
/// that it is done with it (at most the drain timeout), ends it, leaves, and gives its exit code,
/// 128 and the number for one ended by a signal. A second such signal ends the wait. An app that
/// ends by itself makes the agent leave at once.
///
/// Without a command the code is 0 after the same drain.
///
/// Errors: see [`AgentError`]; the app is not running then.
pub async fn run(config: Config) -> Result<i32, AgentError> {
    let signals = Signals::install()?;
    check_listen(config.gossip.listen)?;
    config
        .gossip
        .advertise
        .as_ref()
        .map_or(Ok(()), |told| told.check())?;
    let app = App::start(config.command.as_deref())?;
    let mut agent = Agent {
        config,
        signals,
        app,
    };
    agent.live().await
}

/// What ends a phase of the agent's life.
enum Turn {
    /// The app ended with this code.
    Ended(i32),
    /// We are to stop, the app by this signal.
    Stop(Signal),
}

struct Agent {
    config: Config,
    signals: Signals,
    app: App,
}

impl Agent {
    async fn live(&mut self) -> Result<i32, AgentError> {
        if let Some(turn) = self.wait_for_port().await {
            return Ok(self.finish(turn).await);
        }
        let node = self.config.node.clone();
        let mut member = match Membership::start(self.config.announced(), node).await {
            Ok(member) => member,
            Err(error) => return self.without_gossip(error).await,
        };
        let turn = tokio::select! {
            never = member.keep() => match never {},
            turn = self.turn() => turn,
        };
        let turn = match turn {
            Turn::Ended(code) => {
                tracing::warn!(code, "the app ended by itself: leaving");
                Turn::Ended(code)
            }
            Turn::Stop(signal) => self.drain(&member, signal).await,
        };
        // The app ends and the leave is spread at the same time.
        let leave = async {
            member.leave().await;
            member.shutdown().await;
        };
        let (code, ()) = tokio::join!(self.finish(turn), leave);
        Ok(code)
    }

    /// Waits for the app's port where that is asked for; gives what came in between, if so.
    async fn wait_for_port(&mut self) -> Option<Turn> {
        if !self.app.is_ours() && !self.config.wait_port {
            return None;
        }
        let open = port::accepts(self.config.specific_ip(), self.config.port);
        tokio::select! {
            () = open => None,
            turn = self.turn() => Some(turn),
        }
    }

    /// Waits for the app's end or a signal to stop; does what other signals ask for meanwhile.
    async fn turn(&mut self) -> Turn {
        loop {
            tokio::select! {
                code = self.app.ended() => return Turn::Ended(code),
                request = self.signals.next() => match request {
                    Request::Stop(signal) => return Turn::Stop(signal),
                    Request::Forward(signal) => self.app.signal(signal),
                    Request::Reap => self.app.reap_orphans(),
                },
            }
        }
    }

    /// Drains unless the app ends before or a second signal asks for haste.
    async fn drain(&mut self, member: &Membership, signal: Signal) -> Turn {
        let Config {
            role,
            port,
            drain_timeout,
            ..
        } = self.config.clone();
        tokio::select! {
            () = drain(member, &role, port, drain_timeout) => Turn::Stop(signal),
            turn = self.turn() => turn,
        }
    }

    /// Ends the app, if it is ours and still runs, and gives the exit code.
    async fn finish(&mut self, turn: Turn) -> i32 {
        let mut turn = turn;
        loop {
            match turn {
                Turn::Ended(code) => return code,
                Turn::Stop(_) if !self.app.is_ours() => return 0,
                Turn::Stop(signal) => self.app.signal(signal),
            }
            turn = self.turn().await;
        }
    }

    /// Gossip cannot start after all. An app of ours goes on: it is never ended because of that.
    async fn without_gossip(
        &mut self,
        error: roundel_gossip_tokio::StartError,
    ) -> Result<i32, AgentError> {
        if !self.app.is_ours() {
            return Err(error.into());
        }
        tracing::error!(%error, "the app runs, but no balancer will hear of it");
        let turn = self.turn().await;
        Ok(self.finish(turn).await)
    }
}

/// Finds out early that the gossip address is taken, before the app is started.
fn check_listen(address: SocketAddr) -> Result<(), AgentError> {
    match UdpSocket::bind(address) {
        Ok(_) => Ok(()),
        Err(source) => Err(AgentError::Listen { address, source }),
    }
}
