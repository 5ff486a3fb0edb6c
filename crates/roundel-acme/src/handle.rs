//! A renewer at work on a thread of its own.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

use crate::facts::Facts;
use crate::issued::Issued;
use crate::renewer::Renewer;
use crate::schedule::LOOK;
use crate::shared::{CERTIFICATE, Shared};

/// The shortest time between two turns.
const PAUSE: Duration = Duration::from_secs(1);

/// Changes that come together are taken together.
const BURST: Duration = Duration::from_millis(10);

/// A renewer at work; it ends when this is dropped.
#[derive(Debug)]
pub struct Handle {
    certificate: watch::Receiver<Arc<Issued>>,
    facts: watch::Receiver<Facts>,
    shared: Option<Shared>,
    _running: oneshot::Sender<()>,
}

impl Handle {
    /// What is to be served: at first what was kept or is self-signed, then each that is issued.
    pub fn certificate(&self) -> watch::Receiver<Arc<Issued>> {
        self.certificate.clone()
    }

    /// Whether other balancers have a certificate that is yet to be served here.
    pub fn is_behind(&self) -> bool {
        let has_other = |shared: &Shared| shared.text(CERTIFICATE).is_some();
        self.certificate.borrow().self_signed && self.shared.as_ref().is_some_and(has_other)
    }

    /// How it is going.
    pub fn facts(&self) -> watch::Receiver<Facts> {
        self.facts.clone()
    }
}

impl Renewer {
    /// Orders when `ready` is, and before takes what other balancers have. It is on a thread of its own, since it writes files, on a disk that may
    /// be slow. What a CA is told to look at has to answer by then.
    ///
    /// Errors: when the system gives no thread or no runtime.
    pub fn start(self, ready: impl Future<Output = ()> + Send + 'static) -> io::Result<Handle> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (running, stopped) = oneshot::channel();
        let handle = Handle {
            certificate: self.certificate(),
            facts: self.facts(),
            shared: self.shared(),
            _running: running,
        };
        thread::Builder::new().name("acme".into()).spawn(move || {
            runtime.block_on(self.run(ready, stopped));
            // Somebody may still be looking up a name.
            runtime.shutdown_background();
        })?;
        Ok(handle)
    }

    /// Turns until it is stopped. Each step of it may be the last.
    async fn run(mut self, ready: impl Future<Output = ()>, mut stopped: oneshot::Receiver<()>) {
        let mut changes = self.changes();
        let mut ready = pin!(ready);
        loop {
            // What other balancers have is served from the first connection on.
            self.take_over(SystemTime::now());
            tokio::select! {
                _ = &mut stopped => return,
                () = &mut ready => break,
                () = changed(&mut changes) => {}
            }
        }
        loop {
            let turns = async {
                let next = self.turn(SystemTime::now()).await;
                let wait = next.duration_since(SystemTime::now()).unwrap_or_default();
                tokio::select! {
                    () = sleep(wait.clamp(PAUSE, LOOK)) => {}
                    () = changed(&mut changes) => {}
                }
            };
            tokio::select! {
                _ = &mut stopped => return,
                () = turns => {}
            }
        }
    }
}

/// Other balancers have something; never where nobody shares.
async fn changed(changes: &mut watch::Receiver<u64>) {
    match changes.changed().await {
        Ok(()) => sleep(BURST).await,
        Err(_) => std::future::pending().await,
    }
}
