//! Certificates that are ordered of a CA: one renewer for each configuration that asks for one.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use roundel_acme::{Config, Facts, Handle, Issued, Renewer};
use roundel_cluster::Cluster;
use roundel_config::Settings;
use roundel_tls::{Certificate, Challenges};
use tokio::sync::{mpsc, watch};

use crate::control::Ask;

/// What is ordered, and what has come of it.
pub(crate) struct Acme {
    /// What CAs are shown as proof, by all frontends.
    challenges: Challenges,
    /// The balancers that have the same certificates.
    cluster: Option<Cluster>,
    orders: Vec<Order>,
    /// Who is told that a certificate has come.
    asks: mpsc::Sender<Ask>,
    /// Whether listeners answer, so that CAs can be told to look.
    open: watch::Receiver<bool>,
}

struct Order {
    config: Config,
    certificate: watch::Receiver<Arc<Issued>>,
    facts: watch::Receiver<Facts>,
    /// At work as long as it is there.
    handle: Option<Handle>,
}

impl Acme {
    /// Nothing is ordered yet, and nothing will be before listeners are `open`.
    pub(crate) fn new(
        challenges: Challenges,
        cluster: Option<Cluster>,
        asks: mpsc::Sender<Ask>,
        open: watch::Receiver<bool>,
    ) -> Self {
        Self {
            challenges,
            cluster,
            orders: Vec::new(),
            asks,
            open,
        }
    }

    /// Begins what the settings ask for and is not under way.
    ///
    /// Errors: what cannot be begun. What was begun before it ends with [`Acme::keep`].
    pub(crate) fn begin(&mut self, settings: &Settings) -> anyhow::Result<()> {
        for config in wanted(settings) {
            if self.orders.iter().any(|order| order.config == *config) {
                continue;
            }
            let order = self.order(config);
            let names = || {
                format!(
                    "the certificate for {} cannot be ordered",
                    config.names.join(" ")
                )
            };
            self.orders.push(order.with_context(names)?);
        }
        Ok(())
    }

    /// Ends what the settings do not ask for.
    pub(crate) fn keep(&mut self, settings: &Settings) {
        let wanted: Vec<_> = wanted(settings).collect();
        self.orders.retain(|order| wanted.contains(&&order.config));
    }

    /// Leaves it to the process that follows, or to the next start; what has come is served on.
    pub(crate) fn stop(&mut self) {
        for order in &mut self.orders {
            order.handle = None;
        }
    }

    /// Whether other balancers have a certificate that is yet to be shown here.
    pub(crate) fn is_behind(&self) -> bool {
        let handles = self.orders.iter().filter_map(|order| order.handle.as_ref());
        handles.into_iter().any(Handle::is_behind)
    }

    /// What CAs are shown as proof.
    pub(crate) fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// What is to be shown for an order, and how that is going.
    pub(crate) fn shown(&self, config: &Config) -> Option<(Arc<Certificate>, Facts)> {
        let order = self.orders.iter().find(|order| order.config == *config)?;
        let certificate = order.certificate.borrow().certificate.clone();
        Some((certificate, order.facts.borrow().clone()))
    }

    fn order(&self, config: &Config) -> anyhow::Result<Order> {
        let challenges = Arc::new(self.challenges.clone());
        let cluster = self.cluster.clone();
        let renewer = Renewer::open(config.clone(), challenges, cluster, SystemTime::now())?;
        let mut open = self.open.clone();
        let handle = renewer.start(async move {
            if open.wait_for(|open| *open).await.is_err() {
                // The process ends before it has answered anybody.
                std::future::pending().await
            }
        })?;
        let order = Order {
            config: config.clone(),
            certificate: handle.certificate(),
            facts: handle.facts(),
            handle: Some(handle),
        };
        let (mut certificate, asks) = (order.certificate.clone(), self.asks.clone());
        tokio::spawn(async move {
            while certificate.changed().await.is_ok() {
                if asks.send(Ask::Certificates).await.is_err() {
                    return;
                }
            }
        });
        Ok(order)
    }
}

fn wanted(settings: &Settings) -> impl Iterator<Item = &Config> {
    settings.tls().filter_map(|tls| tls.acme.as_ref())
}
