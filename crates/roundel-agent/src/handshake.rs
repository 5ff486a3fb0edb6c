//! Asking every balancer until it has nothing left to do here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roundel_gossip_tokio::{
    ANSWERS, Answer, DRAIN, DrainAnswer, DrainRequest, Handle, Member, QueryParams, Status,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Pause after which those that have not said that they are done are asked again: a datagram may
/// be lost.
const AGAIN: Duration = Duration::from_millis(50);

/// How long an answer to one question is of use, on slow networks too.
const LATE: Duration = Duration::from_secs(1);

/// A balancer that has said nothing for so long may have died, and may be cut off from us: it is
/// not waited for, and not trusted to be done.
const SILENT: Duration = Duration::from_secs(1);

/// How many are named in one question: names of 128 bytes still fit into one packet.
const NAMED: usize = 6;

/// What the balancers said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Those that are done.
    pub(crate) drained: BTreeSet<String>,
    /// Those that did not answer, or not lately: they may have requests here.
    pub(crate) silent: BTreeSet<String>,
}

/// Whether a member answers our question.
pub(crate) fn answers(member: &Member) -> bool {
    let (key, value) = ANSWERS;
    member.status == Status::Alive && member.tags.get(key).is_some_and(|v| v == value)
}

/// Asks every living balancer again and again, until each is done or silent. Those that come or
/// go meanwhile count as long as they are there.
///
/// Shape: `incarnation` is ours since we announced that we drain. Cut it off at the deadline.
pub(crate) async fn ask_all(handle: &Handle, incarnation: u32, deadline: Instant) -> Outcome {
    let members = handle.members();
    let mut asking = Asking::default();
    let (sender, mut answers) = mpsc::channel(64);
    loop {
        let now = Instant::now();
        let living: Vec<Member> = members.borrow().iter().cloned().collect();
        let open = asking.open(now, &living);
        if open.is_empty() {
            return asking.outcome;
        }
        let request = DrainRequest {
            deadline: deadline.saturating_duration_since(now),
            incarnation,
        };
        for names in open.chunks(NAMED) {
            ask(handle, names, &request, &sender).await;
        }
        let again = now + AGAIN;
        while let Ok(Some(answer)) = timeout_at(again, answers.recv()).await {
            asking.heard(Instant::now(), &answer);
            if asking.is_done() {
                break;
            }
        }
    }
}

/// Asks some once; what they answer comes by the channel.
async fn ask(
    handle: &Handle,
    names: &[String],
    request: &DrainRequest,
    sender: &mpsc::Sender<Answer>,
) {
    let params = QueryParams {
        name: DRAIN.to_owned(),
        payload: request.encode(),
        nodes: names.to_vec(),
        timeout: Some(LATE),
        direct: true,
        ..QueryParams::default()
    };
    match handle.query(params).await {
        Ok(mut answers) => {
            let sender = sender.clone();
            // Ends with the question's time.
            tokio::spawn(async move {
                while let Some(answer) = answers.next().await {
                    let _ = sender.send(answer).await;
                }
            });
        }
        Err(error) => tracing::debug!(%error, "cannot ask balancers"),
    }
}

/// Who was asked and what came of it.
#[derive(Debug, Default)]
struct Asking {
    /// Balancers that are not done, and when each was heard last or asked first.
    open: BTreeMap<String, Instant>,
    outcome: Outcome,
    told: BTreeMap<String, DrainAnswer>,
}

impl Asking {
    /// Takes the members as they are, and gives the names that are to be asked now.
    fn open(&mut self, now: Instant, members: &[Member]) -> Vec<String> {
        let living: BTreeSet<&str> = members
            .iter()
            .filter(|member| answers(member))
            .map(|member| member.name.as_str())
            .collect();
        self.open.retain(|name, _| living.contains(name.as_str()));
        for name in &living {
            let settled = &self.outcome;
            if !settled.drained.contains(*name) && !settled.silent.contains(*name) {
                self.open.entry((*name).to_owned()).or_insert(now);
            }
        }
        let silent = |since: &Instant| now.saturating_duration_since(*since) >= SILENT;
        let lost: Vec<String> = self
            .open
            .iter()
            .filter(|(_, since)| silent(since))
            .map(|(name, _)| name.clone())
            .collect();
        for name in lost {
            tracing::warn!(balancer = name, "no answer: not waiting for it");
            self.open.remove(&name);
            self.outcome.silent.insert(name);
        }
        self.open.keys().cloned().collect()
    }

    /// Takes one answer. What cannot be read, and what nobody was asked for, is nothing.
    fn heard(&mut self, now: Instant, answer: &Answer) {
        let Some(heard) = self.open.get_mut(&answer.from) else {
            return;
        };
        let read = answer.payload.as_deref().map(DrainAnswer::decode);
        let Some(Ok(said)) = read else {
            tracing::debug!(balancer = answer.from, "an answer that cannot be read");
            return;
        };
        *heard = now;
        if said.drained {
            self.open.remove(&answer.from);
            self.outcome.drained.insert(answer.from.clone());
            tracing::debug!(balancer = answer.from, "drained");
        } else if self.told.insert(answer.from.clone(), said) != Some(said) {
            let (in_flight, tunnels) = (said.in_flight, said.tunnels);
            tracing::info!(balancer = answer.from, in_flight, tunnels, "waiting");
        }
    }

    fn is_done(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, tags: &[(&str, &str)], status: Status) -> Member {
        let pair = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Member {
            name: name.to_owned(),
            address: ([10, 0, 0, 1], 7946).into(),
            tags: tags.iter().map(pair).collect(),
            status,
            suspect: false,
            incarnation: 1,
            versions: [1, 5, 2, 2, 5, 4],
            since: std::time::Instant::now(),
            known: roundel_gossip_tokio::Known::Asked,
        }
    }

    fn balancers(names: &[&str]) -> Vec<Member> {
        let tags = [("role", "balancer"), ("rv", "1")];
        let new = |name: &&str| member(name, &tags, Status::Alive);
        names.iter().map(new).collect()
    }

    fn answer(from: &str, payload: Vec<u8>) -> Answer {
        let mut answer = an_answer();
        answer.from = from.to_owned();
        answer.payload = Some(payload);
        answer
    }

    /// Only a node makes the id of a query: one is asked of a node that is alone.
    fn an_answer() -> Answer {
        let config = roundel_gossip_tokio::Config {
            name: "asker".to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            ..roundel_gossip_tokio::Config::default()
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let id = runtime.block_on(async {
            let handle = roundel_gossip_tokio::start(config).await.unwrap();
            let asked = handle.query(QueryParams::default()).await.unwrap();
            asked.id()
        });
        Answer {
            query: id,
            from: String::new(),
            payload: None,
        }
    }

    fn says(in_flight: u32, drained: bool) -> Vec<u8> {
        DrainAnswer {
            drained,
            in_flight,
            tunnels: 0,
        }
        .encode()
    }

    #[test]
    fn only_living_balancers_that_can_answer_are_asked() {
        let mut asking = Asking::default();
        let mut members = balancers(&["lb-1"]);
        members.push(member("app", &[("role", "backend")], Status::Alive));
        members.push(member("old", &[("role", "balancer")], Status::Alive));
        members.push(member("dead", &[("rv", "1")], Status::Failed));
        members.push(member("left", &[("rv", "1")], Status::Leaving));
        assert_eq!(asking.open(Instant::now(), &members), ["lb-1"]);
    }

    #[test]
    fn each_is_asked_until_it_is_done() {
        let (mut asking, now) = (Asking::default(), Instant::now());
        let members = balancers(&["lb-1", "lb-2"]);
        assert_eq!(asking.open(now, &members), ["lb-1", "lb-2"]);
        asking.heard(now, &answer("lb-1", says(0, true)));
        asking.heard(now, &answer("lb-2", says(3, false)));
        assert_eq!(asking.open(now + AGAIN, &members), ["lb-2"]);
        // A repeated answer changes nothing.
        asking.heard(now, &answer("lb-1", says(1, false)));
        asking.heard(now, &answer("lb-2", says(0, true)));
        assert!(asking.is_done() && asking.open(now + AGAIN, &members).is_empty());
        assert_eq!(asking.outcome.drained.len(), 2);
    }

    #[test]
    fn one_that_comes_meanwhile_is_asked_and_one_that_dies_is_not_waited_for() {
        let (mut asking, now) = (Asking::default(), Instant::now());
        asking.open(now, &balancers(&["lb-1", "lb-2"]));
        asking.heard(now, &answer("lb-1", says(0, true)));
        assert_eq!(asking.open(now, &balancers(&["lb-1", "lb-3"])), ["lb-3"]);
    }

    #[test]
    fn one_that_says_nothing_is_not_waited_for_and_not_trusted() {
        let (mut asking, now) = (Asking::default(), Instant::now());
        let members = balancers(&["lb-1", "lb-2"]);
        asking.open(now, &members);
        asking.heard(now + SILENT / 2, &answer("lb-2", says(1, false)));
        assert_eq!(asking.open(now + SILENT, &members), ["lb-2"]);
        assert_eq!(asking.outcome.silent, BTreeSet::from(["lb-1".to_owned()]));
    }

    #[test]
    fn hostile_answers_end_nothing() {
        let (mut asking, now) = (Asking::default(), Instant::now());
        asking.open(now, &balancers(&["lb-1"]));
        for (from, payload) in [
            ("stranger", says(0, true)),
            ("lb-1", Vec::new()),
            ("lb-1", b"drained".to_vec()),
            ("lb-1", vec![0xdf; 64]),
            // Drained, and yet with requests in flight.
            ("lb-1", says(1, true)),
        ] {
            asking.heard(now, &answer(from, payload));
        }
        let mut ack = answer("lb-1", Vec::new());
        ack.payload = None;
        asking.heard(now, &ack);
        assert!(!asking.is_done());
        assert_eq!(asking.outcome, Outcome::default());
    }
}
