//! From figures to places on an axis, and which of them have a label. Pure.

/// An axis: its range in figures, its range on the picture, its labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    is_log: bool,
    from: f64,
    to: f64,
    /// Where `from` and `to` are on the picture.
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// Figures with a line, and with what is written beside it.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Where a figure is; what is beyond the axis is at its end.
    pub(crate) fn place(&self, figure: f64) -> f64 {
        let position = |figure: f64| match self.is_log {
            true => figure.max(f64::MIN_POSITIVE).log10(),
            false => figure,
        };
        let (from, to) = (position(self.from), position(self.to));
        let share = ((position(figure) - from) / (to - from)).clamp(0.0, 1.0);
        self.start + share * (self.end - self.start)
    }

    /// An axis from zero to a round figure above the largest.
    pub(crate) fn linear(most: f64, span: (f64, f64), label: impl Fn(f64) -> String) -> Axis {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = step_of(most / 5.0);
        let count = (most / step - 1e-9).ceil().max(1.0);
        let ticks = (0..=count as u32).map(|number| f64::from(number) * step);
        Axis {
            is_log: false,
            from: 0.0,
            to: count * step,
            start: span.0,
            end: span.1,
            ticks: ticks.map(|figure| (figure, label(figure))).collect(),
        }
    }

    /// The same for times of a run: it ends where the run does.
    pub(crate) fn time(most: f64, span: (f64, f64)) -> Axis {
        let mut axis = Axis::linear(most, span, |figure| {
            let digits = usize::from(figure.fract() != 0.0);
            format!("{figure:.digits$}")
        });
        axis.to = most.max(f64::MIN_POSITIVE);
        axis.ticks.retain(|(figure, _)| *figure <= most);
        axis
    }

    /// A logarithmic axis around figures above zero, labelled at 1, 2 and 5 of each power of ten,
    /// or at 1 only where there are many.
    pub(crate) fn log(range: (f64, f64), span: (f64, f64), label: impl Fn(f64) -> String) -> Axis {
        let (from, to) = (round_down(range.0), round_up(range.1.max(range.0 * 2.0)));
        let decades = (to / from).log10();
        let steps: &[f64] = if decades > 4.0 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let powers = from.log10().floor() as i32..=to.log10().ceil() as i32;
        let figures =
            powers.flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        let within = from * 0.999..=to * 1.001;
        Axis {
            is_log: true,
            from,
            to,
            start: span.0,
            end: span.1,
            ticks: figures
                .filter(|figure| within.contains(figure))
                .map(|figure| (figure, label(figure)))
                .collect(),
        }
    }

    /// Percentiles on the scale of nines: 90, 99 and 99.9 % are equally far from each other.
    /// Figures are nines, see `nines`.
    pub(crate) fn nines(most: f64, span: (f64, f64)) -> Axis {
        let most = most.clamp(1.0, 8.0);
        let mut ticks = vec![(0.0, "0 %".to_owned()), (nines(0.5), "50 %".to_owned())];
        for nine in 1..=most as u32 {
            let label = match nine {
                1 => "90 %".to_owned(),
                2 => "99 %".to_owned(),
                nine => format!("99.{} %", "9".repeat(nine as usize - 2)),
            };
            ticks.push((f64::from(nine), label));
        }
        Axis {
            is_log: false,
            from: 0.0,
            to: most,
            start: span.0,
            end: span.1,
            ticks,
        }
    }
}

/// How many nines a quantile has: 0.9 has one, 0.99 two.
pub(crate) fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-12).log10()
}

/// A time in microseconds for people, with three digits.
pub(crate) fn time_text(us: f64) -> String {
    let (figure, unit) = match us {
        _ if us >= 999_500.0 => (us / 1e6, "s"),
        _ if us >= 999.5 => (us / 1e3, "ms"),
        _ => (us, "µs"),
    };
    format!("{} {unit}", three_digits(figure))
}

/// The same in milliseconds without their unit.
pub(crate) fn ms_text(us: f64) -> String {
    let digits = match us {
        _ if us >= 1000.0 || us == 0.0 => return three_digits(us / 1000.0),
        // As many as show its first two digits.
        us => (1 - (us / 1000.0).log10().floor() as i32).clamp(0, 9) as usize,
    };
    let text = format!("{:.digits$}", us / 1000.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A figure with three digits, and no zeros behind the point.
pub(crate) fn three_digits(figure: f64) -> String {
    let digits = match figure.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{figure:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// The next of 1, 2, 5, 10, 20 and so on that is not below the figure.
fn round_up(figure: f64) -> f64 {
    let power = 10_f64.powf(figure.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let found = steps.into_iter().find(|&step| step >= figure * 0.999_999);
    found.unwrap_or(10.0 * power)
}

fn round_down(figure: f64) -> f64 {
    let power = 10_f64.powf(figure.log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * power);
    let found = steps.into_iter().find(|&step| step <= figure * 1.000_001);
    found.unwrap_or(power)
}

/// A step between labels of an axis: 1, 2, 2.5, 5, 10 and so on.
fn step_of(least: f64) -> f64 {
    let next = round_up(least);
    let quarter = next / 2.0;
    // Half of 5 lies between 2 and 5; other halves are steps or too small.
    match quarter >= least * 0.999_999 {
        true => quarter,
        false => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn figures_get_round_labels() {
        let check = |most, expected: &[&str]| {
            let axis = Axis::linear(most, (0.0, 100.0), three_digits);
            assert_eq!(labels(&axis), expected, "{most}");
            assert!(
                axis.place(most) <= 100.0 && axis.place(most) >= most.min(60.0),
                "{most}"
            );
            assert_eq!(axis.place(0.0), 0.0);
        };
        check(97.0, &["0", "20", "40", "60", "80", "100"]);
        check(100.0, &["0", "20", "40", "60", "80", "100"]);
        check(101.0, &["0", "25", "50", "75", "100", "125"]);
        check(1083.0, &["0", "250", "500", "750", "1000", "1250"]);
        check(0.3, &["0", "0.1", "0.2", "0.3"]);
        check(0.0, &["0", "0.2", "0.4", "0.6", "0.8", "1"]);
    }

    #[test]
    fn powers_of_ten_are_equally_far() {
        let axis = Axis::log((130.0, 14_000.0), (300.0, 0.0), time_text);
        assert_eq!(
            labels(&axis),
            [
                "100 µs", "200 µs", "500 µs", "1 ms", "2 ms", "5 ms", "10 ms", "20 ms"
            ]
        );
        let (one, ten) = (axis.place(1e3), axis.place(1e4));
        assert!((axis.place(100.0) - one - (one - ten)).abs() < 1e-9);
        let wide = Axis::log((10.0, 1e6), (0.0, 1.0), time_text);
        assert_eq!(
            labels(&wide),
            ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]
        );
        let flat = Axis::log((7.0, 7.0), (0.0, 1.0), time_text);
        assert!(flat.place(7.0) > 0.0 && flat.place(7.0) < 1.0);
    }

    #[test]
    fn nines_are_equally_far() {
        let axis = Axis::nines(4.3, (0.0, 430.0));
        assert_eq!(
            labels(&axis),
            ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]
        );
        assert!((axis.place(nines(0.999)) - 300.0).abs() < 1e-6);
        assert_eq!(axis.place(nines(1.0)), 430.0);
    }

    #[test]
    fn the_axis_of_time_ends_with_the_run() {
        let axis = Axis::time(18.5, (0.0, 185.0));
        assert_eq!(labels(&axis), ["0", "5", "10", "15"]);
        assert_eq!(axis.place(18.5), 185.0);
        assert_eq!(
            labels(&Axis::time(1.0, (0.0, 1.0))),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
    }

    #[test]
    fn times_are_read_without_counting_zeros() {
        let check = |us, expected| assert_eq!(time_text(us), expected);
        check(0.25, "0.25 µs");
        check(87.0, "87 µs");
        check(999.6, "1 ms");
        check(1234.0, "1.23 ms");
        check(56_700.0, "56.7 ms");
        check(1_500_000.0, "1.5 s");
    }
}
