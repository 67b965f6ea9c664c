//! Two things measured in turns, and what can be said of their ratio. Pure.
//!
//! A machine's speed drifts while it is measured. So both are measured in short slices one after
//! the other, each slice is compared with its neighbour only, and what is reported is the median
//! of these ratios with the interval that a resampling of them gives (a percentile bootstrap).

use corelog::bench::xorshift;
use serde::Serialize;

use crate::limits::RESAMPLES_COUNT;

/// The median of paired ratios, and where it lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Pairs that had a ratio: both measured, the second not zero.
    pub(crate) pairs: usize,
}

/// Pairs that were measured, those beside a hiccup apart.
#[derive(Clone, Debug)]
pub(crate) struct Pairs<A, B> {
    kept: Vec<(A, B)>,
    dropped: Vec<(A, B)>,
    wanted: usize,
}

impl<A, B> Pairs<A, B> {
    pub(crate) fn new(wanted: usize) -> Pairs<A, B> {
        Pairs {
            kept: Vec::new(),
            dropped: Vec::new(),
            wanted,
        }
    }

    pub(crate) fn push(&mut self, first: A, second: B, had_hiccup: bool) {
        match had_hiccup {
            true => self.dropped.push((first, second)),
            false => self.kept.push((first, second)),
        }
    }

    /// Whether there are enough, or have been enough tries: half as many again as are wanted.
    pub(crate) fn is_done(&self) -> bool {
        let tries = self.kept.len() + self.dropped.len();
        self.kept.len() >= self.wanted || tries >= self.wanted + self.wanted / 2
    }

    pub(crate) fn dropped_count(&self) -> usize {
        self.dropped.len()
    }

    /// Whether so many were dropped that what is left says little: fewer than half, or than 3.
    pub(crate) fn are_too_few(&self) -> bool {
        self.kept.len() < self.wanted.div_ceil(2).max(3.min(self.wanted))
    }

    /// The pairs that count: those without a hiccup, or all of them if these are too few. Who
    /// uses them says so then.
    pub(crate) fn counting(&self) -> impl Iterator<Item = &(A, B)> {
        let others = self.dropped.iter();
        self.kept
            .iter()
            .chain(others.filter(|_| self.are_too_few()))
    }
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
    fn pairs_beside_a_hiccup_do_not_count_unless_too_few_are_left() {
        let check = |wanted, hiccups: &[bool], done, few, counting: &[i32]| {
            let mut pairs = Pairs::new(wanted);
            for (at, &had_hiccup) in (0..).zip(hiccups) {
                pairs.push(at, (), had_hiccup);
            }
            let got: Vec<i32> = pairs.counting().map(|pair| pair.0).collect();
            assert_eq!(
                (pairs.is_done(), pairs.are_too_few()),
                (done, few),
                "{hiccups:?}"
            );
            assert_eq!(got, counting, "{hiccups:?}");
            let count = hiccups.iter().filter(|&&had| had).count();
            assert_eq!(pairs.dropped_count(), count);
        };
        check(4, &[false; 4], true, false, &[0, 1, 2, 3]);
        check(
            4,
            &[false, true, false, true, false],
            false,
            false,
            &[0, 2, 4],
        );
        check(
            4,
            &[true, false, true, false, true, false],
            true,
            false,
            &[1, 3, 5],
        );
        check(
            4,
            &[true, true, true, false, true, false],
            true,
            true,
            &[3, 5, 0, 1, 2, 4],
        );
        check(4, &[true; 3], false, true, &[0, 1, 2]);
        check(1, &[false], true, false, &[0]);
    }

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
