//! The weight of a server: what its source gave, what an operator ordered.

use roundel_model::Weight;

use super::{CommandError, WeightOrder};
use crate::Placement;

/// Both weights of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weights {
    pub(super) given: Weight,
    pub(super) ordered: Option<WeightOrder>,
}

impl Weights {
    /// The weight in units of 1/[`Placement::WEIGHT_UNIT`]; zero only when zero was ordered.
    pub(super) fn fine(&self) -> u32 {
        let unit = Placement::WEIGHT_UNIT;
        let given = u32::from(self.given.get());
        match self.ordered {
            None => given * unit,
            Some(WeightOrder::Absolute(n)) => u32::from(n) * unit,
            Some(WeightOrder::Percent(0)) => 0,
            Some(WeightOrder::Percent(p)) => (given * unit * u32::from(p) / 100).max(1),
        }
    }

    /// The weight from 0 to 256, rounded up.
    pub(super) fn shown(&self) -> u16 {
        shown(self.fine())
    }

    /// Takes an order. Errors: one that leads beyond 256; nothing changed then.
    pub(super) fn order(&mut self, order: WeightOrder) -> Result<(), CommandError> {
        match order {
            WeightOrder::Absolute(n) if n > Weight::MAX => Err(CommandError::AbsoluteWeight),
            WeightOrder::Percent(p)
                if u32::from(p) * u32::from(self.given.get()) > u32::from(Weight::MAX) * 100 =>
            {
                Err(CommandError::RelativeWeight)
            }
            order => {
                self.ordered = Some(order);
                Ok(())
            }
        }
    }
}

/// A fine weight as a whole number, rounded up.
pub(super) fn shown(fine: u32) -> u16 {
    let whole = fine.div_ceil(Placement::WEIGHT_UNIT);
    u16::try_from(whole).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_of_a_small_weight_is_never_zero() {
        let mut weights = Weights {
            given: Weight::ONE,
            ordered: None,
        };
        weights.order(WeightOrder::Percent(50)).unwrap();
        assert_eq!((weights.fine(), weights.shown()), (128, 1));
        weights.order(WeightOrder::Percent(0)).unwrap();
        assert_eq!((weights.fine(), weights.shown()), (0, 0));
        assert_eq!(
            weights.order(WeightOrder::Absolute(257)),
            Err(CommandError::AbsoluteWeight)
        );
        assert_eq!(
            weights.order(WeightOrder::Percent(25_601)),
            Err(CommandError::RelativeWeight)
        );
        weights.order(WeightOrder::Percent(25_600)).unwrap();
        assert_eq!(weights.shown(), 256);
    }
}
