//! Answers to our queries on their way to who asked, and questions to who listens.

use std::collections::BTreeMap;

use roundel_gossip::{Answer, QueryId, Question};
use tokio::sync::mpsc;

/// Questions kept for a listener that is busy; further ones are lost, as datagrams are.
const QUESTIONS: usize = 256;

/// The answers to one query, as they come.
#[derive(Debug)]
pub struct Answers {
    pub(crate) id: QueryId,
    pub(crate) receiver: mpsc::UnboundedReceiver<Answer>,
}

impl Answers {
    /// The query.
    pub fn id(&self) -> QueryId {
        self.id
    }

    /// The next answer or acknowledgement; nothing more when the query's time is over. Dropping
    /// this before is fine.
    pub async fn next(&mut self) -> Option<Answer> {
        self.receiver.recv().await
    }
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    // The node bounds the number of queries, and of answers to each.
    asked: BTreeMap<QueryId, mpsc::UnboundedSender<Answer>>,
    listeners: Vec<(String, mpsc::Sender<Question>)>,
}

impl Desk {
    pub(crate) fn asked(&mut self, id: QueryId) -> Answers {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.asked.insert(id, sender);
        Answers { id, receiver }
    }

    pub(crate) fn answered(&mut self, answer: Answer) {
        if let Some(sender) = self.asked.get(&answer.query) {
            // Whoever asked may have enough.
            let _ = sender.send(answer);
        }
    }

    pub(crate) fn ended(&mut self, id: QueryId) {
        self.asked.remove(&id);
    }

    pub(crate) fn listen(&mut self, prefix: String) -> mpsc::Receiver<Question> {
        let (sender, receiver) = mpsc::channel(QUESTIONS);
        self.listeners.retain(|(_, sender)| !sender.is_closed());
        self.listeners.push((prefix, sender));
        receiver
    }

    pub(crate) fn question(&self, question: &Question) {
        for (prefix, sender) in &self.listeners {
            if question.name.starts_with(prefix.as_str()) {
                let _ = sender.try_send(question.clone());
            }
        }
    }
}
