//! Joins under way: which addresses are still to answer, and who asked.

use std::net::SocketAddr;

use tokio::sync::oneshot;

use crate::handle::JoinError;

/// Most failures told of in one error.
const TOLD: usize = 5;

/// Joins under way.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    pending: Vec<Join>,
}

#[derive(Debug)]
struct Join {
    waiting: Vec<SocketAddr>,
    joined: usize,
    errors: Vec<String>,
    reply: oneshot::Sender<Result<usize, JoinError>>,
}

impl Joins {
    /// Notes a join by `addresses`; `errors` are what went wrong before.
    pub(crate) fn begin(
        &mut self,
        addresses: Vec<SocketAddr>,
        errors: Vec<String>,
        reply: oneshot::Sender<Result<usize, JoinError>>,
    ) {
        self.pending.push(Join {
            waiting: addresses,
            joined: 0,
            errors,
            reply,
        });
        self.settle();
    }

    /// Notes how the join by one address ended.
    pub(crate) fn ended(&mut self, address: SocketAddr, error: Option<&str>) {
        for join in &mut self.pending {
            let before = join.waiting.len();
            join.waiting.retain(|waiting| *waiting != address);
            if join.waiting.len() == before {
                continue;
            }
            match error {
                Some(why) => join.errors.push(format!("{address}: {why}")),
                None => join.joined += 1,
            }
        }
        self.settle();
    }

    /// Answers those who wait for nothing more.
    fn settle(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for join in pending {
            if !join.waiting.is_empty() {
                self.pending.push(join);
                continue;
            }
            let result = if join.joined > 0 {
                Ok(join.joined)
            } else {
                Err(JoinError::NobodyAnswered(tell(&join.errors)))
            };
            let _ = join.reply.send(result);
        }
    }
}

fn tell(errors: &[String]) -> String {
    let more = errors.len().saturating_sub(TOLD);
    let told = errors[..errors.len().min(TOLD)].join("; ");
    match (errors.len(), more) {
        (0, _) => "no address was given".to_owned(),
        (_, 0) => told,
        (_, more) => format!("{told}; and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_ends_with_its_last_address() {
        let (a, b) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
        let mut joins = Joins::default();
        let (reply, mut answer) = oneshot::channel();
        joins.begin(vec![a, b], Vec::new(), reply);
        joins.ended(a, Some("refused"));
        assert!(answer.try_recv().is_err());
        joins.ended(b, None);
        assert_eq!(answer.try_recv().unwrap(), Ok(1));
    }

    #[test]
    fn nobody_is_an_error_that_tells_why() {
        let mut joins = Joins::default();
        let (reply, mut answer) = oneshot::channel();
        joins.begin(Vec::new(), vec!["cannot resolve lb".to_owned()], reply);
        let error = answer.try_recv().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "no member answered: cannot resolve lb");
    }
}
