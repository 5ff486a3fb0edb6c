//! Keeps one certificate for a set of names ordered and renewed.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{Account, Error, RenewalInfo};
use rcgen::KeyPair;
use roundel_cluster::{Cluster, Lead};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::account::{new_key, open, register};
use crate::ca::{Ca, RootsError};
use crate::config::{Config, ConfigError};
use crate::facts::Facts;
use crate::issued::Issued;
use crate::order::Orderer;
use crate::present::Presenter;
use crate::schedule::{ASK_AGAIN, Due, Window, ask_at, due, next_try};
use crate::self_signed::self_signed;
use crate::shared::{ACCOUNT, CERTIFICATE, PROGRESS, Shared};
use crate::store::{Account as KeptAccount, Flight, Progress, Store, StoreError, seconds, time};
use crate::words::{Failure, Verdict};

/// How soon it is looked again whether the process that orders for these names has ended.
const LOCKED: Duration = Duration::from_secs(5);
/// The same while another set of names makes the account.
const ACCOUNT_LOCKED: Duration = Duration::from_millis(50);

/// Why nothing can be ordered.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Roots(#[from] RootsError),
    #[error("no self-signed certificate can be made: {0}")]
    SelfSigned(String),
}

/// Keeps one certificate for a set of names ordered and renewed.
///
/// Shape: one for each set of names in a process. Whoever calls [`Renewer::turn`] says what time it is;
/// [`Renewer::start`] does so by the system's clock.
/// Errors: none after the start; what fails is in [`Facts`] and tried again.
pub struct Renewer {
    config: Config,
    /// In small letters, sorted.
    names: Vec<String>,
    presenter: Arc<dyn Presenter>,
    ca: Ca,
    store: Store,
    /// With the other balancers; `None` where nobody shares.
    shared: Option<Shared>,
    /// What was taken from them last.
    taken: BTreeMap<&'static str, String>,
    /// Held as long as this process orders for these names.
    lock: Option<File>,
    progress: Progress,
    /// Where in a span of time this balancer acts, from 0 to 1.
    fraction: f64,
    /// What the CA said of renewal, and when it is asked again.
    window: Option<Window>,
    ask_at: Option<SystemTime>,
    served: watch::Sender<Arc<Issued>>,
    facts: watch::Sender<Facts>,
}

impl Renewer {
    /// Reads what was kept; asks nobody. `now` is what the self-signed certificate is made by. With a
    /// `cluster` all balancers in it have one certificate, and show the proofs by [`crate::Proofs`], not by
    /// `presenter`.
    ///
    /// Errors: a configuration of which nothing can be ordered (the first problem), a state directory
    /// that cannot be used, a file of roots that holds none.
    pub fn open(
        config: Config,
        presenter: Arc<dyn Presenter>,
        cluster: Option<Cluster>,
        now: SystemTime,
    ) -> Result<Self, StartError> {
        if let Some(error) = config.check().into_iter().next() {
            return Err(error.into());
        }
        let names = config.set();
        let ca = Ca::new(config.ca_file.as_deref())?;
        let store = Store::open(&config.state, &config.directory, &names)?;
        let lock = store.lock()?;
        let progress = store.progress()?;
        let shared = cluster
            .map(|cluster| Shared::new(cluster, &store))
            .transpose()?;
        let presenter = match &shared {
            Some(shared) => Arc::new(shared.clone()),
            None => presenter,
        };
        let served = match kept(&store, &names)? {
            Some(issued) => issued,
            None => {
                let names = names.join(" ");
                tracing::warn!(
                    "acme: {names} served with a self-signed certificate until one is issued"
                );
                self_signed(&config.set(), now).map_err(StartError::SelfSigned)?
            }
        };
        let mut renewer = Self {
            config,
            names,
            presenter,
            ca,
            store,
            shared,
            taken: BTreeMap::new(),
            lock,
            progress,
            fraction: fastrand::f64(),
            window: None,
            ask_at: None,
            served: watch::Sender::new(Arc::new(served)),
            facts: watch::Sender::new(Facts::default()),
        };
        renewer.tell(now, None);
        Ok(renewer)
    }

    /// What is to be served.
    pub fn certificate(&self) -> watch::Receiver<Arc<Issued>> {
        self.served.subscribe()
    }

    /// How it is going.
    pub fn facts(&self) -> watch::Receiver<Facts> {
        self.facts.subscribe()
    }

    /// Does what is due, and gives the time by which it is to be called again.
    ///
    /// Dropping the future is as good as a kill at that moment: the next turn goes on from there.
    pub async fn turn(&mut self, now: SystemTime) -> SystemTime {
        let begun = Instant::now();
        self.take_over(now);
        let next = match self.leads() {
            Ok(true) => self.lead(now, begun).await,
            Ok(false) => now + LOCKED,
            Err(error) => self.failed(now, &Failure::own(error)),
        };
        self.tell(now, Some(next));
        next
    }

    /// Whether this process, of this balancer, orders for these names. What another process has issued is
    /// taken over.
    fn leads(&mut self) -> Result<bool, StoreError> {
        Ok(self.has_lock()? && self.owner().is_none_or(|lead| lead == Lead::Own))
    }

    /// Which balancer orders; `None` where nobody shares.
    fn owner(&self) -> Option<Lead> {
        let shared = self.shared.as_ref()?;
        Some(shared.lead(&self.progress))
    }

    /// Takes what other balancers have: it is served, and kept in files.
    pub(crate) fn take_over(&mut self, now: SystemTime) {
        let Some(shared) = self.shared.clone() else {
            return;
        };
        for kind in [ACCOUNT, PROGRESS, CERTIFICATE] {
            let Some((version, text)) = shared.text(kind) else {
                continue;
            };
            if self.taken.get(kind) == Some(&text) {
                continue;
            }
            match kind {
                PROGRESS => self.progress = shared.progress().unwrap_or_default(),
                CERTIFICATE => self.take_certificate(&text),
                _ => {}
            }
            // Without the lock it is another process's to keep.
            let kept = self
                .lock
                .as_ref()
                .map(|_| self.store.keep(kind, version, &text));
            if let Some(Err(error)) = kept {
                tracing::warn!("acme: {error}");
            }
            self.taken.insert(kind, text);
        }
        self.tell(now, None);
    }

    fn take_certificate(&mut self, both: &str) {
        let names = self.names.join(" ");
        match Issued::read(both, both, &self.names, &source(&self.store)) {
            Err(why) => {
                tracing::warn!("acme: the certificate for {names} of another balancer: {why}")
            }
            Ok(issued) if self.served.borrow().certificate == issued.certificate => {}
            Ok(issued) => {
                tracing::info!("acme: certificate for {names} taken over from another balancer");
                (self.window, self.ask_at) = (None, None);
                self.served.send_replace(Arc::new(issued));
            }
        }
    }

    pub(crate) fn shared(&self) -> Option<Shared> {
        self.shared.clone()
    }

    /// Changes when other balancers have something; never where nobody shares.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        match &self.shared {
            Some(shared) => shared.cluster.changes(),
            None => watch::Sender::new(0).subscribe(),
        }
    }

    /// Keeps how far it has come. Returns when all balancers have it.
    async fn keep_progress(&mut self) -> Result<(), StoreError> {
        self.store.keep_progress(&self.progress)?;
        if let Some(shared) = &self.shared {
            shared
                .confirmed(shared.put_json(PROGRESS, &self.progress))
                .await;
        }
        Ok(())
    }

    /// Says to the other balancers that this one is at it, and hears whether another was first.
    async fn claim(&mut self, now: SystemTime) -> Result<bool, StoreError> {
        let Some(shared) = self.shared.clone() else {
            return Ok(true);
        };
        let me = shared.cluster.me();
        if self.progress.at_work.as_ref() != Some(&me) {
            self.progress.at_work = Some(me);
            self.keep_progress().await?;
            self.take_over(now);
        }
        self.leads()
    }

    fn has_lock(&mut self) -> Result<bool, StoreError> {
        if self.lock.is_some() {
            return Ok(true);
        }
        self.lock = self.store.lock()?;
        if let Some(issued) = kept(&self.store, &self.names)? {
            let known = self.served.borrow().certificate == issued.certificate;
            if !known {
                self.served.send_replace(Arc::new(issued));
            }
        }
        self.progress = self.store.progress()?;
        Ok(self.lock.is_some())
    }

    async fn lead(&mut self, now: SystemTime, begun: Instant) -> SystemTime {
        if let Due::At(at) = self.due(now) {
            if self.progress.failures == 0 && self.ask_at.is_none_or(|ask| ask <= now) {
                self.ask_window(now).await;
            }
            if let Due::At(at) = self.due(now) {
                return self.ask_at.map_or(at, |ask| ask.min(at));
            }
            // The CA wants it renewed at once.
            tracing::debug!("acme: renewal by the CA's window, which was due {at:?} without");
        }
        match self.claim(now).await {
            Ok(true) => {}
            Ok(false) => return now + LOCKED,
            Err(error) => return self.failed(now, &Failure::own(error)),
        }
        let what = match &self.progress.order {
            Some(_) => "goes on with the order of",
            None => "orders",
        };
        let (names, ca) = (self.names.join(" "), &self.config.directory);
        tracing::info!("acme: {what} a certificate for {names} of {ca}");
        let tried = self.order().await;
        let now = now + begun.elapsed();
        match tried {
            Ok(issued) => self.done(now, issued),
            Err(failure) => self.failed(now, &failure),
        }
    }

    fn due(&self, now: SystemTime) -> Due {
        let served = self.served.borrow();
        let life = (!served.self_signed).then(|| served.life());
        due(now, life, self.window, self.progress.tries(), self.fraction)
    }

    /// One order from where it is to its end.
    async fn order(&mut self) -> Result<Issued, Failure> {
        let account = self.account().await?;
        let (ca, presenter, names) = (self.ca.clone(), self.presenter.clone(), self.names.clone());
        let orderer = Orderer {
            account: &account,
            ca: &ca,
            presenter: &*presenter,
            challenge: self.config.challenge,
            names: &names,
        };
        let (mut order, key) = match &self.progress.order {
            Some(flight) => (orderer.find(&flight.url).await?, flight.key.clone()),
            None => {
                let key = KeyPair::generate().map_err(Failure::own)?.serialize_pem();
                let served = self.served.borrow().clone();
                // A CA may refuse what it was told of the one before; the next try says nothing of it.
                let says = !served.self_signed && self.progress.failures == 0;
                let order = orderer.make(says.then_some(&*served)).await?;
                let url = order.url().to_owned();
                self.progress.order = Some(Flight {
                    url,
                    key: key.clone(),
                });
                self.keep_progress().await.map_err(Failure::own)?;
                (order, key)
            }
        };
        let chain = orderer.complete(&mut order, &key).await?;
        let source = source(&self.store);
        let issued = Issued::read(&chain, &key, &self.names, &source);
        let issued = issued.map_err(|why| {
            Failure::own(format_args!("what the CA issued is of no use: {why}")).over()
        })?;
        let both = format!("{}\n{key}", chain.trim_end());
        self.store.keep_certificate(&both).map_err(Failure::own)?;
        if let Some(shared) = &self.shared {
            shared.confirmed(shared.put(CERTIFICATE, both)).await;
            // Whoever began it may have died before it could.
            presenter.withdraw(&[]);
        }
        Ok(issued)
    }

    /// The account with the CA, made if there is none.
    async fn account(&self) -> Result<Account, Failure> {
        let of = |error: Error| Failure {
            retry_after: self.ca.told(),
            ..Failure::of(&error, "the account", self.config.challenge)
        };
        let _locked = self.lock_account().await?;
        let kept = self.known_account().map_err(Failure::own)?;
        let mut kept = match kept {
            Some(kept) => kept,
            None => {
                let made = new_key().map_err(of)?;
                self.keep_account(made).await.map_err(Failure::own)?
            }
        };
        if kept.url.is_none() {
            kept.url = Some(register(&self.ca, &self.config, &kept).await.map_err(of)?);
            kept = self.keep_account(kept).await.map_err(Failure::own)?;
        }
        open(&self.ca, &self.config, &kept).await.map_err(of)
    }

    /// Keeps an account. Gives the one that all balancers have then.
    async fn keep_account(&self, account: KeptAccount) -> Result<KeptAccount, StoreError> {
        self.store.keep_account(&account)?;
        let Some(shared) = &self.shared else {
            return Ok(account);
        };
        shared.confirmed(shared.put_json(ACCOUNT, &account)).await;
        Ok(shared.account().unwrap_or(account))
    }

    /// The account of all balancers, or the one that was kept here.
    fn known_account(&self) -> Result<Option<KeptAccount>, StoreError> {
        let shared = self.shared.as_ref();
        match shared.and_then(Shared::account) {
            Some(account) => Ok(Some(account)),
            None => self.store.account(),
        }
    }

    async fn lock_account(&self) -> Result<File, Failure> {
        loop {
            if let Some(lock) = self.store.lock_account().map_err(Failure::own)? {
                return Ok(lock);
            }
            sleep(ACCOUNT_LOCKED).await;
        }
    }

    /// Asks when the CA wants the certificate renewed. What fails leaves the lifetime to go by.
    async fn ask_window(&mut self, now: SystemTime) {
        let served = self.served.borrow().clone();
        let asked = async {
            let account = self.account().await.ok()?;
            account.renewal_info(&served.identifier()?).await.ok()
        };
        (self.window, self.ask_at) = match asked.await {
            Some((info, again)) => (Some(window(&info)), Some(ask_at(now, again))),
            None => (None, Some(now + ASK_AGAIN)),
        };
    }

    fn done(&mut self, now: SystemTime, issued: Issued) -> SystemTime {
        self.progress = Progress {
            last_order: Some(seconds(now)),
            ..Progress::default()
        };
        (self.window, self.ask_at) = (None, None);
        let days = issued
            .certificate
            .not_after()
            .duration_since(now)
            .unwrap_or_default()
            .as_secs()
            / 86_400;
        let path = self.store.certificate_path();
        tracing::info!(
            "acme: certificate for {} issued, {days} days left; kept in {}",
            self.names.join(" "),
            path.display()
        );
        self.served.send_replace(Arc::new(issued));
        self.facts.send_modify(|facts| facts.orders_total += 1);
        // Where this cannot be kept, the order is found valid at the next start, and read again.
        if let Err(error) = self.store.keep_progress(&self.progress) {
            return self.failed(now, &Failure::own(error));
        }
        self.share_progress();
        // At once again: the CA may have a word of when to renew.
        now
    }

    fn failed(&mut self, now: SystemTime, failure: &Failure) -> SystemTime {
        let failures = self.progress.failures.saturating_add(1);
        let next = next_try(now, failures, failure.retry_after, self.fraction);
        // As it is written down: in whole seconds, none too early.
        let next = time(seconds(next) + 1);
        self.progress.failures = failures;
        self.progress.next_try = Some(seconds(next));
        self.progress.last_error = Some(failure.line.clone());
        self.progress.at_work = None;
        let lost = match failure.verdict {
            Verdict::Kept => Ok(()),
            Verdict::OrderOver => {
                self.progress.order = None;
                Ok(())
            }
            Verdict::NoAccount => {
                self.progress.order = None;
                self.forget_account()
            }
        };
        // Without the lock it is another's to keep.
        let kept = lost.and_then(|()| match &self.lock {
            Some(_) => {
                self.share_progress();
                self.store.keep_progress(&self.progress)
            }
            None => Ok(()),
        });
        let wait = next.duration_since(now).unwrap_or_default().as_secs();
        tracing::warn!(
            "acme: no certificate for {}: {}; next try in {wait} s",
            self.names.join(" "),
            failure.line
        );
        if let Err(error) = kept {
            tracing::warn!("acme: {error}");
        }
        self.facts.send_modify(|facts| facts.failures_total += 1);
        next
    }

    /// Tells the other balancers, and waits for nobody.
    fn share_progress(&self) {
        if let Some(shared) = &self.shared {
            shared.put_json(PROGRESS, &self.progress);
        }
    }

    /// The key stays: the CA makes an account of it again.
    fn forget_account(&self) -> Result<(), StoreError> {
        let Some(kept) = self.known_account()? else {
            return Ok(());
        };
        let kept = KeptAccount { url: None, ..kept };
        if let Some(shared) = &self.shared {
            shared.put_json(ACCOUNT, &kept);
        }
        self.store.keep_account(&kept)
    }

    /// `next`: when it is called again, where nothing else is known.
    fn tell(&mut self, now: SystemTime, next: Option<SystemTime>) {
        let planned = match self.due(now) {
            Due::At(at) => Some(at),
            Due::Order => next,
        };
        let served = self.served.borrow().clone();
        let owner = match self.owner() {
            Some(Lead::Own) => self.shared.as_ref().map(|shared| shared.cluster.me()),
            Some(Lead::Other(name)) => Some(name),
            Some(Lead::Unknown) | None => None,
        };
        self.facts.send_modify(|facts| {
            facts.owner = owner;
            facts.names.clone_from(&self.names);
            facts.self_signed = served.self_signed;
            facts.not_after = Some(served.certificate.not_after());
            facts.last_order = self.progress.last_order.map(time);
            facts.last_error.clone_from(&self.progress.last_error);
            facts.next_try = planned;
            facts.failures = self.progress.failures;
            facts.elsewhere = self.lock.is_none();
        });
    }
}

impl std::fmt::Debug for Renewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewer")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// What was issued before; one that is of no use any more is told of and left.
fn kept(store: &Store, names: &[String]) -> Result<Option<Issued>, StoreError> {
    let Some(text) = store.certificate()? else {
        return Ok(None);
    };
    match Issued::read(&text, &text, names, &source(store)) {
        Ok(issued) => Ok(Some(issued)),
        Err(why) => {
            let path = store.certificate_path();
            tracing::warn!(
                "acme: {} is of no use, and another is ordered: {why}",
                path.display()
            );
            Ok(None)
        }
    }
}

/// Where a certificate comes from, for people.
fn source(store: &Store) -> String {
    format!("ACME, {}", store.certificate_path().display())
}

fn window(info: &RenewalInfo) -> Window {
    Window {
        start: info.suggested_window.start.into(),
        end: info.suggested_window.end.into(),
    }
}
