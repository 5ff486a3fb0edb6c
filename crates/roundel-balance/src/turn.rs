//! Where a rotation stands, carried from one snapshot to the next.

use crate::ServerId;

/// A rotation and the slot of the server it picked last.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    /// The servers in order of rotation, repeated by weight; never empty.
    pub(crate) order: Vec<ServerId>,
    /// The slot picked last; below the length of `order`.
    pub(crate) last: usize,
}

impl Turn {
    /// The slot of `next` that follows the server picked last, as if the round went on.
    ///
    /// When that server is gone, the nearest one before it in the old order counts. A server
    /// with several slots keeps its phase. Without any common server the round starts afresh.
    pub(crate) fn resume(&self, next: &[ServerId]) -> usize {
        let mut kept = next.to_vec();
        kept.sort_unstable();
        let old = self.order.len();
        let last_kept = (0..old)
            .map(|back| (self.last + old - back) % old)
            .find(|slot| kept.binary_search(&self.order[*slot]).is_ok());
        let Some(slot) = last_kept else {
            return 0;
        };
        let id = self.order[slot];
        let count = |order: &[ServerId]| order.iter().filter(|x| **x == id).count();
        let rank = count(&self.order[..slot]) * count(next) / count(&self.order);
        let mut here = (0..next.len()).filter(|slot| next[*slot] == id);
        here.nth(rank).map_or(0, |slot| (slot + 1) % next.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u32]) -> Vec<ServerId> {
        numbers.iter().copied().map(ServerId).collect()
    }

    fn resume(old: &[u32], last: usize, next: &[u32]) -> usize {
        Turn {
            order: ids(old),
            last,
        }
        .resume(&ids(next))
    }

    #[test]
    fn goes_on_after_the_server_picked_last() {
        assert_eq!(resume(&[1, 2, 3], 1, &[1, 2, 3, 4]), 2);
        assert_eq!(resume(&[1, 2, 3], 2, &[1, 2, 3, 4]), 3);
        assert_eq!(resume(&[1, 2, 3], 0, &[0, 1, 2, 3]), 2);
    }

    #[test]
    fn a_removed_server_leaves_its_place_to_the_one_before() {
        assert_eq!(resume(&[1, 2, 3], 1, &[1, 3]), 1);
        assert_eq!(resume(&[1, 2, 3], 0, &[2, 3]), 0);
        assert_eq!(resume(&[1, 2], 0, &[7, 8, 9]), 0);
    }

    #[test]
    fn a_heavy_server_keeps_its_phase() {
        assert_eq!(resume(&[1, 1, 2, 1], 3, &[1, 1, 2, 1, 3]), 4);
        assert_eq!(resume(&[1, 1, 2, 1], 0, &[1, 1, 2, 1, 3]), 1);
    }
}
