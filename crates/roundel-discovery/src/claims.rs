//! Who has taken the place of members that are lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use roundel_gossip_tokio::{Member, Status};

/// The gossip addresses of members that are doubted, with the living that have them too.
///
/// Whoever gossips at the very address of a member that does not answer has taken its place.
#[derive(Default)]
pub(crate) struct Claims<'a>(BTreeMap<SocketAddr, Vec<&'a str>>);

impl<'a> Claims<'a> {
    pub(crate) fn of(members: &'a [Member]) -> Self {
        let mut claims = Self::default();
        if !members.iter().any(is_doubted) {
            return claims;
        }
        for member in members {
            if member.status == Status::Alive && !member.suspect {
                let here = claims.0.entry(member.address).or_default();
                here.push(&member.name);
            }
        }
        claims
    }

    pub(crate) fn has_another(&self, member: &Member) -> bool {
        let here = self.0.get(&member.address).filter(|_| is_doubted(member));
        here.is_some_and(|names| names.iter().any(|name| **name != member.name))
    }
}

fn is_doubted(member: &Member) -> bool {
    member.status == Status::Failed || (member.status == Status::Alive && member.suspect)
}
