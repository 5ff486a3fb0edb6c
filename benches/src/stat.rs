//! Medians and quartiles.

use serde::Serialize;

/// The middle of some values and what lies around it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// The lower and the upper quartile.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of any values in any order; zeros for none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self {
            median: quantile(&values, 0.5),
            low: quantile(&values, 0.25),
            high: quantile(&values, 0.75),
        }
    }
}

/// The `q` quantile of sorted values, linear between neighbours; 0 for none.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(top) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let place = q * top as f64;
    let (low, high) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let spread = Spread::of([4.0, 1.0, 2.0]);
        assert_eq!((spread.low, spread.median, spread.high), (1.5, 2.0, 3.0));
        assert_eq!(Spread::of([1.0, 2.0]).median, 1.5);
        assert_eq!(Spread::of([]), Spread::default());
    }
}
