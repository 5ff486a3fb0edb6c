//! Orders for frontends: like a reload of one setting, until the next reload.

use roundel_admin::command::{CommandError, FrontendChange};
use roundel_model::{EventKind, Name};

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use super::Control;
use crate::routes;

/// Pause between two looks at a port, and the longest that they go on.
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(2);

impl Control {
    /// Changes one frontend, as HAProxy's `set maxconn frontend`, `disable frontend` and
    /// `enable frontend` do.
    pub(super) fn change_frontend(
        &mut self,
        name: &Name,
        change: FrontendChange,
    ) -> Result<String, CommandError> {
        let mut fresh = self.parts.settings.clone();
        let frontend = fresh.frontends.iter_mut().find(|f| f.name == *name);
        let frontend = frontend.ok_or(CommandError::NoFrontend)?;
        let text = match change {
            FrontendChange::Maxconn(most) => {
                frontend.maxconn = most;
                format!("maxconn {most} by operator")
            }
            FrontendChange::Open(false) if frontend.listen.is_empty() => {
                return Err(refused("All sockets are already disabled."));
            }
            FrontendChange::Open(false) => {
                let listen = std::mem::take(&mut frontend.listen);
                self.closed.insert(name.clone(), listen);
                "closed by operator".to_owned()
            }
            FrontendChange::Open(true) => match self.closed.get(name) {
                Some(listen) => {
                    frontend.listen.clone_from(listen);
                    "open again by operator".to_owned()
                }
                None => return Err(refused("All sockets are already enabled.")),
            },
        };
        let known = self.backends.iter();
        let known = known.map(|(name, m)| (name.clone(), m.director().balancer().clone()));
        let balancers = routes::balancers(&fresh, &known.collect(), self.parts.proxy.workers());
        let routes = routes::build(&fresh, &balancers, &self.parts.tickets, &self.parts.acme);
        let done = self.parts.proxy.reload(routes);
        done.map_err(|error| CommandError::Failed(error.to_string()))?;
        if change == FrontendChange::Open(true) {
            self.closed.remove(name);
        }
        self.parts.settings = fresh;
        self.parts
            .log
            .add(EventKind::Listener, name.to_string(), text, None);
        Ok(String::new())
    }
}

impl Control {
    /// Ends when what closed frontends listened on can be opened again: workers first take in what
    /// waits in the queue of a port.
    pub(super) fn closed_ports_free(&self) -> impl Future<Output = ()> + Send + 'static {
        let closed = self.closed.values().flatten();
        let addresses: Vec<SocketAddr> = closed.map(|listen| listen.address).collect();
        let all = async move {
            for address in addresses {
                while tokio::net::TcpListener::bind(address).await.is_err() {
                    tokio::time::sleep(LOOK).await;
                }
            }
        };
        // A port that another program has taken by now is for that order to tell which opens it.
        async { drop(tokio::time::timeout(PATIENCE, all).await) }
    }
}

fn refused(text: &str) -> CommandError {
    CommandError::Refused(text.to_owned())
}
