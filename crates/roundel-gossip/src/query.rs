//! Queries and user events as the application asks, sees and answers them.

use std::net::SocketAddr;
use std::time::Duration;

/// Prefix of queries that nodes ask each other; no application sees them.
pub const INTERNAL: &str = "_serf_";

/// Prefix of internal queries that our applications do see, and stock agents only log.
pub const EXTENSION: &str = "_serf_roundel-";

/// Most bytes of an encoded query, and of an encoded answer; Serf's default.
pub const MAX_QUERY: usize = 1024;

/// Most bytes of an encoded user event; Serf's default.
pub const MAX_EVENT: usize = 512;

/// Names a query, ours or another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId {
    /// Lamport time of the query.
    pub(crate) time: u64,
    /// Random number that the answers repeat.
    pub(crate) number: u32,
}

/// What to ask, and whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryParams {
    /// What is asked.
    pub name: String,
    /// Arguments.
    pub payload: Vec<u8>,
    /// Only these nodes; empty for all.
    pub nodes: Vec<String>,
    /// Only nodes whose tags match: name of the tag, regular expression (RE2, not anchored).
    pub tags: Vec<(String, String)>,
    /// Whether each node that takes the query acknowledges it.
    pub ack: bool,
    /// Each answer is sent a second time through this many other members. Default 0.
    pub relay_factor: u8,
    /// How long answers are waited for. Default: grows with the cluster, 3.2 s below 10 members.
    pub timeout: Option<Duration>,
    /// Sends the query straight to the members in `nodes` instead of gossiping it, and our own
    /// record with it if there is room, so that they know our tags when they answer. What is lost
    /// is not repeated: ask again.
    pub direct: bool,
}

/// An answer or an acknowledgement to our query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Our query.
    pub query: QueryId,
    /// The member that answers. Given at most once as answer and once as acknowledgement.
    pub from: String,
    /// What it says; nothing if it only acknowledges.
    pub payload: Option<Vec<u8>>,
}

/// A query that somebody asks us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// To answer it with [`Node::respond`](crate::Node::respond).
    pub id: QueryId,
    /// What is asked, any text.
    pub name: String,
    /// Arguments.
    pub payload: Vec<u8>,
    /// Who asks; empty from agents before 0.9.
    pub from: String,
    /// Where the answer goes.
    pub address: SocketAddr,
    /// Lamport time of the query.
    pub time: u64,
    /// How long an answer is of use.
    pub timeout: Duration,
}

/// Says why a query, an answer or a user event cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// Too long for one packet.
    #[error("needs {len} bytes; at most {limit} can be sent")]
    TooLong {
        /// Bytes when encoded.
        len: usize,
        /// The most that is sent.
        limit: usize,
    },
    /// Too many of our queries wait for answers.
    #[error("too many queries are waiting for answers")]
    TooMany,
    /// No such query waits for our answer: it is answered, over, or never was.
    #[error("the query is over or answered already")]
    Over,
    /// A tag filter is no regular expression.
    #[error("{0:?} is no regular expression")]
    Expression(String),
    /// The node has left or ended.
    #[error("the gossip node has left")]
    Left,
}
