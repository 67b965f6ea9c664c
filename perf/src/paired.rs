//! Two things measured in turns, and what can be said of their ratio. Pure.
//!
//! A machine's speed drifts while it is measured. So both are measured in short slices one after
//! the other, each slice is compared with its neighbour only, and what is reported is the median
//! of these ratios with the interval that a resampling of them gives (a percentile bootstrap).

use serde::Serialize;

use crate::limits::RESAMPLES_COUNT;
use crate::request::xorshift;

/// The median of paired ratios, and where it lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Pairs that had a ratio: both measured, the second not zero.
    pub(crate) pairs: usize,
}

/// Whether the first of the two begins in a pair: first, second, second, first, and so on, so that
/// a steady drift favours neither.
pub(crate) fn first_begins(pair: usize) -> bool {
    pair.is_multiple_of(2)
}

impl Ratio {
    /// Of pairs (first, second); `None` if no pair has a ratio.
    pub(crate) fn of(pairs: &[(f64, f64)]) -> Option<Ratio> {
        let ratios: Vec<f64> = pairs
            .iter()
            .map(|(first, second)| first / second)
            .filter(|ratio| ratio.is_finite())
            .collect();
        if ratios.is_empty() {
            return None;
        }
        let mut state = SEED;
        let mut medians: Vec<f64> = (0..RESAMPLES_COUNT)
            .map(|_| {
                let sample: Vec<f64> = (0..ratios.len())
                    .map(|_| {
                        state = xorshift(state);
                        // The upper bits are the better ones.
                        ratios[((state >> 33) % ratios.len() as u64) as usize]
                    })
                    .collect();
                median(sample)
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        let at = |share: f64| medians[((medians.len() - 1) as f64 * share).round() as usize];
        Some(Ratio {
            low: at(0.025),
            high: at(0.975),
            pairs: ratios.len(),
            median: median(ratios),
        })
    }
}

/// The same pairs give the same interval.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "a median of something");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_abba() {
        let order: Vec<bool> = (0..4).map(first_begins).collect();
        assert_eq!(order, [true, false, true, false]);
    }

    #[test]
    fn the_middle_is_found() {
        let check = |values: &[f64], expected| assert_eq!(median(values.to_vec()), expected);
        check(&[3.0], 3.0);
        check(&[3.0, 1.0], 2.0);
        check(&[9.0, 1.0, 2.0], 2.0);
        check(&[4.0, 1.0, 3.0, 2.0], 2.5);
    }

    #[test]
    fn a_drift_that_both_share_leaves_the_ratio_alone() {
        let pairs: Vec<(f64, f64)> = (1..=15)
            .map(|at| (f64::from(at) * 30.0, f64::from(at) * 10.0))
            .collect();
        let ratio = Ratio::of(&pairs).expect("ratios");
        assert_eq!((ratio.median, ratio.low, ratio.high), (3.0, 3.0, 3.0));
        assert_eq!(ratio.pairs, 15);
    }

    #[test]
    fn the_interval_holds_the_median_and_shrinks_with_more_pairs() {
        let noisy = |count: u64| -> Vec<(f64, f64)> {
            let mut state = SEED;
            let noise = |state: &mut u64| {
                *state = xorshift(*state);
                (*state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5
            };
            (0..count).map(|_| (2.0 + noise(&mut state), 1.0)).collect()
        };
        let few = Ratio::of(&noisy(9)).expect("ratios");
        let many = Ratio::of(&noisy(200)).expect("ratios");
        for ratio in [few, many] {
            assert!(
                ratio.low < ratio.median && ratio.median < ratio.high,
                "{ratio:?}"
            );
        }
        assert!(
            many.high - many.low < (few.high - few.low) / 2.0,
            "{few:?} {many:?}"
        );
        assert!((1.8..2.2).contains(&many.median), "{many:?}");
    }

    #[test]
    fn an_outlier_does_not_move_the_median() {
        let mut pairs = vec![(2.0, 1.0); 14];
        pairs.push((1000.0, 1.0));
        assert_eq!(Ratio::of(&pairs).map(|ratio| ratio.median), Some(2.0));
    }

    #[test]
    fn pairs_without_a_ratio_are_left_out() {
        assert_eq!(Ratio::of(&[]), None);
        assert_eq!(Ratio::of(&[(1.0, 0.0)]), None);
        let ratio = Ratio::of(&[(1.0, 0.0), (4.0, 2.0)]).expect("one ratio");
        assert_eq!((ratio.median, ratio.pairs), (2.0, 1));
    }
}
