//! The weight of a server: what its source gave, what an operator ordered.

use roundel_model::{Weight, WeightOrder};

use crate::Placement;

/// Both weights of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weights {
    pub(super) given: Weight,
    /// How much of it counts at most; `None` for all.
    pub(super) most: Option<Weight>,
    pub(super) ordered: Option<WeightOrder>,
}

impl Weights {
    pub(super) fn given(weight: Weight) -> Self {
        Self {
            given: weight,
            most: None,
            ordered: None,
        }
    }

    /// What counts of the weight given.
    pub(super) fn counted(&self) -> Weight {
        self.most.map_or(self.given, |most| self.given.min(most))
    }

    /// Whether less counts than was given.
    pub(super) fn is_capped(&self) -> bool {
        self.counted() < self.given
    }

    pub(super) fn why_capped(&self) -> String {
        let (given, counted) = (self.given, self.counted());
        format!(
            "weight {given} announced and {counted} counts: the gossip has no key; more once it has \
             served for a minute"
        )
    }

    /// The weight in units of 1/[`Placement::WEIGHT_UNIT`]; zero only when zero was given or
    /// ordered, never by rounding.
    pub(super) fn fine(&self) -> u32 {
        let unit = Placement::WEIGHT_UNIT;
        let given = u32::from(self.counted().get()) * unit;
        match self.ordered {
            None => given,
            Some(WeightOrder::Absolute(weight)) => u32::from(weight.get()) * unit,
            Some(WeightOrder::Percent(0)) => 0,
            Some(WeightOrder::Percent(p)) => {
                let part = u64::from(given) * u64::from(p) / 100;
                let most = u32::from(Weight::MAX) * unit;
                u32::try_from(part)
                    .map_or(most, |part| part.min(most))
                    .max(given.min(1))
            }
        }
    }

    /// The weight from 0 to 256, as [`shown`].
    pub(super) fn shown(&self) -> u16 {
        shown(self.fine())
    }

    /// Takes an order; all of what its source gave is no order any more.
    pub(super) fn order(&mut self, order: WeightOrder) {
        self.ordered = Some(order).filter(|order| *order != WeightOrder::Percent(100));
    }
}

/// A fine weight as a whole number, rounded down as HAProxy does; only a true zero shows as zero.
pub(super) fn shown(fine: u32) -> u16 {
    let whole = (fine / Placement::WEIGHT_UNIT).max(fine.min(1));
    u16::try_from(whole).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(given: u64, order: WeightOrder) -> Weights {
        let mut weights = Weights::given(Weight::new(given).unwrap());
        weights.order(order);
        weights
    }

    #[test]
    fn a_percentage_of_a_small_weight_is_never_zero() {
        let half = weights(1, WeightOrder::Percent(50));
        assert_eq!((half.fine(), half.shown()), (128, 1));
        let none = weights(1, WeightOrder::Percent(0));
        assert_eq!((none.fine(), none.shown()), (0, 0));
    }

    #[test]
    fn percentages_are_of_what_the_source_gave_and_end_at_256() {
        for (given, percent, expected) in [
            (10, 150, 15),
            (10, 25_600, 256),
            (256, 25_600, 256),
            (0, 50, 0),
        ] {
            let weights = weights(given, WeightOrder::Percent(percent));
            assert_eq!(weights.shown(), expected, "{percent} % of {given}");
        }
        assert_eq!(weights(0, WeightOrder::Percent(100)).ordered, None);
    }
}
