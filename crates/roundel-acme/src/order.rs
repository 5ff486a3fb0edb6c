//! The steps of one order, each of which can be the last of a process and the first of the next.

use std::time::{Duration, SystemTime};

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, ChallengeStatus, ChallengeType, Error,
    Identifier, NewOrder, Order, OrderStatus,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tokio::time::{Instant, sleep};

use crate::account::NONCE_TRIES;
use crate::ca::Ca;
use crate::config::Challenge;
use crate::issued::Issued;
use crate::present::{Presenter, Proof, Shown};
use crate::words::{Failure, Verdict, is_bad_nonce, is_refusal};

/// How long a CA may take to look, or to issue, before the order is left for the next try.
const PATIENCE: Duration = Duration::from_secs(300);
/// Time between two looks at an order, where the CA does not say: doubled up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The longest pause within an order that is taken of the CA's word.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An account as it orders.
pub(crate) struct Orderer<'a> {
    pub(crate) account: &'a Account,
    pub(crate) ca: &'a Ca,
    pub(crate) presenter: &'a dyn Presenter,
    pub(crate) challenge: Challenge,
    /// In small letters, sorted.
    pub(crate) names: &'a [String],
}

impl Orderer<'_> {
    /// Makes an order, in place of the certificate `before` where the CA wants to know.
    pub(crate) async fn make(&self, before: Option<&Issued>) -> Result<Order, Failure> {
        let names: Vec<_> = self.names.iter().cloned().map(Identifier::Dns).collect();
        let plain = NewOrder::new(&names);
        let replaces = before.and_then(Issued::identifier);
        let order = match replaces.map(|before| NewOrder::new(&names).replaces(before)) {
            Some(order) => match self.ask(&order).await {
                // A CA without renewal information; nothing was sent.
                Err(Error::Unsupported(_)) => self.ask(&plain).await,
                asked => asked,
            },
            None => self.ask(&plain).await,
        };
        order.map_err(|error| self.failed(&error, "a new order"))
    }

    async fn ask(&self, order: &NewOrder<'_>) -> Result<Order, Error> {
        patient(async || self.account.new_order(order).await).await
    }

    /// An order that was made before. One that the CA does not know is over.
    pub(crate) async fn find(&self, url: &str) -> Result<Order, Failure> {
        let found = patient(async || self.account.order(url.to_owned()).await).await;
        found.map_err(|error| self.ended(&error, "the order in flight"))
    }

    /// Brings an order to its end: the chain in PEM. `key` is the certificate's, in PEM.
    pub(crate) async fn complete(&self, order: &mut Order, key: &str) -> Result<String, Failure> {
        if order.state().status == OrderStatus::Pending {
            self.prove(order).await?;
        }
        if order.state().status == OrderStatus::Ready {
            self.finalize(order, key).await?;
        }
        self.settle(order, OrderStatus::Processing).await?;
        let chain = patient(async || order.certificate().await).await;
        let chain = chain.map_err(|error| self.ended(&error, "the certificate"))?;
        chain.ok_or_else(|| Failure::own("the CA has issued nothing yet"))
    }

    /// Shows the proofs that are asked for, tells the CA to look, and waits until it has.
    async fn prove(&self, order: &mut Order) -> Result<(), Failure> {
        let proofs = self.proofs(order).await?;
        let shown = Shown::present(self.presenter, proofs).await;
        let _shown =
            shown.map_err(|why| Failure::own(format_args!("proofs cannot be shown: {why}")))?;
        self.tell(order).await?;
        self.settle(order, OrderStatus::Pending).await
    }

    async fn proofs(&self, order: &mut Order) -> Result<Vec<Proof>, Failure> {
        // Each is asked for once, and what has been read stays when a later one fails.
        let read = patient(async || {
            let mut all = order.authorizations();
            while let Some(one) = all.next().await {
                one?;
            }
            Ok(())
        });
        let read = read.await;
        read.map_err(|error| self.failed(&error, "an authorization"))?;
        let mut proofs = Vec::new();
        let mut all = order.authorizations();
        while let Some(Ok(mut one)) = all.next().await {
            if self.is_pending(&one)? {
                proofs.push(self.proof(&mut one)?);
            }
        }
        Ok(proofs)
    }

    fn is_pending(&self, one: &AuthorizationHandle<'_>) -> Result<bool, Failure> {
        match one.status {
            AuthorizationStatus::Pending => Ok(true),
            AuthorizationStatus::Valid => Ok(false),
            status => {
                let name = one.identifier();
                Err(Failure::own(format_args!("{name}: its authorization is {status:?}")).over())
            }
        }
    }

    fn proof<'a>(&self, one: &'a mut AuthorizationHandle<'a>) -> Result<Proof, Failure> {
        let name = one.identifier().to_string().to_ascii_lowercase();
        let challenge = one.challenge(self.kind()).ok_or_else(|| {
            Failure::own(format_args!("{name}: the CA offers no {}", self.challenge)).over()
        })?;
        let authorization = challenge.key_authorization();
        Ok(match self.challenge {
            Challenge::Http01 => Proof::Http01 {
                token: challenge.token.clone(),
                key_authorization: authorization.as_str().to_owned(),
            },
            Challenge::TlsAlpn01 => Proof::TlsAlpn01 {
                name,
                digest: authorization
                    .digest()
                    .as_ref()
                    .try_into()
                    .expect("SHA-256 has 32 bytes"),
            },
        })
    }

    /// Tells the CA to look wherever it has not been told.
    async fn tell(&self, order: &mut Order) -> Result<(), Failure> {
        let mut all = order.authorizations();
        while let Some(Ok(mut one)) = all.next().await {
            let name = one.identifier().to_string();
            if one.status != AuthorizationStatus::Pending {
                continue;
            }
            let Some(mut challenge) = one.challenge(self.kind()) else {
                continue;
            };
            if challenge.status == ChallengeStatus::Pending {
                let told = patient(async || challenge.set_ready().await).await;
                told.map_err(|error| self.failed(&error, &name))?;
            }
        }
        Ok(())
    }

    async fn finalize(&self, order: &mut Order, key: &str) -> Result<(), Failure> {
        let request = self.signing_request(key).map_err(|error| {
            Failure::own(format_args!("no certificate can be asked for: {error}")).over()
        })?;
        let asked = patient(async || order.finalize_csr(&request).await).await;
        asked.map_err(|error| self.failed(&error, "the request for the certificate"))
    }

    fn signing_request(&self, key: &str) -> Result<Vec<u8>, rcgen::Error> {
        let key = KeyPair::from_pem(key)?;
        let mut params = CertificateParams::new(self.names)?;
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&key)?.der().to_vec())
    }

    /// Waits as long as the order has this status.
    async fn settle(&self, order: &mut Order, leaving: OrderStatus) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE.0;
        while order.state().status == leaving {
            if Instant::now() >= deadline {
                let line =
                    format!("the CA has not come to an end with the order within {PATIENCE:?}");
                return Err(Failure::own(line));
            }
            sleep(self.told().unwrap_or(pause)).await;
            pause = (pause * 2).min(PAUSE.1);
            let looked = patient(async || order.refresh().await.map(drop)).await;
            looked.map_err(|error| self.ended(&error, "the order in flight"))?;
        }
        match order.state().status {
            OrderStatus::Invalid => Err(self.explain(order).await.over()),
            _ => Ok(()),
        }
    }

    fn told(&self) -> Option<Duration> {
        let until = self.ca.told()?.duration_since(SystemTime::now());
        Some(until.unwrap_or_default().clamp(PAUSE.0, LONGEST_PAUSE))
    }

    /// Why an order came to nothing: what the CA found at each name, else what it says of the order.
    async fn explain(&self, order: &mut Order) -> Failure {
        let whole = order.state().error.clone();
        let url = order.url().to_owned();
        // Read anew: this one has the authorizations as they were before.
        let found = match patient(async || self.account.order(url.clone()).await).await {
            Ok(mut order) => self.first_problem(&mut order).await,
            Err(_) => None,
        };
        found.unwrap_or_else(|| match whole {
            Some(problem) => Failure::problem(&problem, "the order", self.challenge),
            None => Failure::own("the CA calls the order invalid, and does not say why"),
        })
    }

    async fn first_problem(&self, order: &mut Order) -> Option<Failure> {
        for _ in 0..NONCE_TRIES {
            let mut all = order.authorizations();
            while let Some(one) = all.next().await {
                let Ok(one) = one else { break };
                let name = one.identifier().to_string();
                if let Some(problem) = one.challenges.iter().find_map(|c| c.error.as_ref()) {
                    return Some(Failure::problem(problem, &name, self.challenge));
                }
            }
        }
        None
    }

    fn kind(&self) -> ChallengeType {
        match self.challenge {
            Challenge::Http01 => ChallengeType::Http01,
            Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        }
    }

    fn failed(&self, error: &Error, subject: &str) -> Failure {
        Failure {
            retry_after: self.ca.told(),
            ..Failure::of(error, subject, self.challenge)
        }
    }

    /// As [`Orderer::failed`], of a request without which the order cannot go on.
    fn ended(&self, error: &Error, subject: &str) -> Failure {
        let failure = self.failed(error, subject);
        let over = is_refusal(error) && failure.verdict == Verdict::Kept;
        if over { failure.over() } else { failure }
    }
}

/// Asks again as long as only the nonce is refused.
async fn patient<T>(mut ask: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..NONCE_TRIES {
        match ask().await {
            Err(error) if is_bad_nonce(&error) => {}
            answer => return answer,
        }
    }
    ask().await
}
