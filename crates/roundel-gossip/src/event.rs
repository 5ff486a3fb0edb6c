//! What the node tells its application.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::member::Member;
use crate::query::{Answer, QueryId, Question};

/// Tells the application that something happened.
///
/// Member events are given at once, never coalesced. Whoever misses some can read the members
/// again: each event carries a whole member, not a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A member is here: a new one, or one that was failed or had left.
    Join(Member),
    /// A member changed its tags.
    Update(Member),
    /// A member announced that it leaves. It still answers: stop giving it work.
    Leaving(Member),
    /// A member has left as announced.
    Leave(Member),
    /// A member failed: it was suspected and did not refute in time.
    Failed(Member),
    /// A member that was failed or had left is forgotten.
    Reap(Member),
    /// A member is suspected by the cluster.
    Suspect {
        /// The suspected member.
        name: String,
        /// Who said so first.
        from: String,
    },
    /// A suspected member proved to be alive.
    Refuted {
        /// The member that is well.
        name: String,
    },
    /// A watched member missed two direct pings in a row.
    Silent {
        /// The watched member.
        name: String,
    },
    /// A watched member answers, first or again after having been silent.
    Heard {
        /// The watched member.
        name: String,
        /// How long its answer took.
        round_trip: Duration,
    },
    /// A member answers by TCP, again and again, and not by UDP. Told of the first such member;
    /// then nothing more until all are heard by UDP again.
    DatagramsLost {
        /// The member.
        name: String,
        /// Where it is.
        address: SocketAddr,
    },
    /// Every member that answered by TCP only is heard by UDP again, or is gone.
    DatagramsBack,
    /// A join by this address succeeded.
    Joined {
        /// The address that was given to `join`.
        address: SocketAddr,
        /// How many members the answer named.
        members: usize,
    },
    /// A join by this address failed.
    JoinFailed {
        /// The address that was given to `join`.
        address: SocketAddr,
        /// Why, as a sentence for people.
        reason: String,
    },
    /// A name is claimed by two addresses. The known one is kept.
    Conflict {
        /// The name; may be our own.
        name: String,
        /// The address that keeps the name.
        kept: SocketAddr,
        /// The address that is refused.
        refused: SocketAddr,
    },
    /// Something from a peer was refused. Given once per peer and reason; all are counted.
    Dropped {
        /// The sender.
        from: SocketAddr,
        /// Why.
        reason: DropReason,
    },
    /// A user event was seen for the first time.
    User {
        /// The event's name, any text.
        name: String,
        /// The event's payload.
        payload: Vec<u8>,
        /// The Lamport time of the event.
        time: u64,
        /// Whether events of one name may be merged by a handler.
        coalesce: bool,
    },
    /// Somebody asks something of us; [`Node::respond`](crate::Node::respond) answers. What only
    /// nodes ask each other is answered without the application.
    Query(Question),
    /// A member answers or acknowledges our query.
    Answer(Answer),
    /// The time for answers to our query is over.
    QueryEnded {
        /// Our query.
        query: QueryId,
    },
    /// Our keys were changed by a query to all members.
    KeysChanged {
        /// `install-key`, `use-key` or `remove-key`.
        act: String,
        /// Who asked; empty from agents before 0.9.
        by: String,
        /// Keys installed now.
        installed: usize,
    },
    /// The members were asked who has our name, after [`Event::Conflict`] about it.
    Voted {
        /// Whether most of those who answered know us by it. If not, another has the name:
        /// this node cannot be seen by others.
        kept: bool,
        /// How many know us by it.
        votes: usize,
        /// How many answered.
        answers: usize,
    },
    /// We go on under another name: [`Node::rename`](crate::Node::rename).
    Renamed {
        /// The name that belongs to another member.
        from: String,
        /// Ours from here on.
        to: String,
    },
    /// We begin anew after an error of our own, and know the others as before:
    /// [`Node::restart`](crate::Node::restart).
    Restarted,
    /// We are at another address from here on, and say so to all.
    Moved {
        /// Where we were.
        from: SocketAddr,
        /// Where we are.
        to: SocketAddr,
        /// The peer that reached us there; none if we were told to move.
        peer: Option<SocketAddr>,
    },
    /// Our own leave is complete: it is spread as far as it will be.
    Departed,
}

/// Says why something from a peer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// It cannot be decoded.
    Malformed,
    /// It is not encrypted with a known key, or it is encrypted and we have no key.
    Unauthenticated,
    /// It carries another label.
    Label,
    /// A member's name is not allowed.
    Name,
    /// A member record lacks valid protocol versions, and is not passed on.
    Versions,
    /// A member record has an unusable address.
    Address,
    /// A member's tags are longer than 512 bytes.
    Meta,
    /// Our protocol version and the peer's do not overlap.
    Incompatible,
    /// A limit is reached: too many members, streams or bytes.
    Limit,
    /// An incarnation that no honest member reaches.
    Incarnation,
    /// A Lamport time far ahead of ours.
    Time,
    /// A stream took too long.
    Timeout,
    /// An error of our own came of it.
    Internal,
}

impl DropReason {
    /// Every reason, for a table of counters.
    pub const ALL: [Self; 13] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::Label,
        Self::Name,
        Self::Versions,
        Self::Address,
        Self::Meta,
        Self::Incompatible,
        Self::Limit,
        Self::Incarnation,
        Self::Time,
        Self::Timeout,
        Self::Internal,
    ];

    /// One lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Label => "label",
            Self::Name => "name",
            Self::Versions => "versions",
            Self::Address => "address",
            Self::Meta => "meta",
            Self::Incompatible => "incompatible",
            Self::Limit => "limit",
            Self::Incarnation => "incarnation",
            Self::Time => "time",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
