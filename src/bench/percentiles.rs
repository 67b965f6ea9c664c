//! Percentiles of times, for people, for programs, and as HdrHistogram's plotters read them. Pure.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::Value;

/// The percentiles that are shown, with their names in text and JSON.
pub const PERCENTILES: [(f64, &str, &str); 6] = [
    (0.5, "p50", "p50_us"),
    (0.9, "p90", "p90_us"),
    (0.99, "p99", "p99_us"),
    (0.999, "p99.9", "p999_us"),
    (0.9999, "p99.99", "p9999_us"),
    (1.0, "max", "max_us"),
];

/// Pairs of a quantile and its value in microseconds, denser towards the slow end.
pub fn spectrum(times: &Histogram<u64>) -> Vec<(f64, f64)> {
    if times.is_empty() {
        return Vec::new();
    }
    let steps = times.iter_quantiles(SPECTRUM_TICKS);
    steps
        .map(|step| {
            let us = step.value_iterated_to() as f64 / 1000.0;
            (step.quantile_iterated_to(), us)
        })
        .collect()
}

/// Points of a spectrum for each halving of the distance to its end.
const SPECTRUM_TICKS: u32 = 5;

/// The shown percentiles of times in nanoseconds, for programs.
pub fn percentiles(times: &Histogram<u64>) -> Value {
    let mut object = serde_json::Map::new();
    object.insert("count".to_owned(), times.len().into());
    object.insert("mean_us".to_owned(), (times.mean() / 1000.0).into());
    for (quantile, _, key) in PERCENTILES {
        object.insert(key.to_owned(), us_at(times, quantile).into());
    }
    Value::Object(object)
}

/// HdrHistogram's list of percentiles, as its plotters read it; values in microseconds.
pub fn hgrm(times: &Histogram<u64>) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for step in times.iter_quantiles(SPECTRUM_TICKS) {
        let quantile = step.quantile_iterated_to();
        let value = step.value_iterated_to() as f64 / 1000.0;
        let count = times.count_between(0, step.value_iterated_to());
        write!(text, "{value:>12.3} {quantile:>14.12} {count:>10}").expect("a string grows");
        match quantile < 1.0 {
            true => writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(text),
        }
        .expect("a string grows");
    }
    let (mean, deviation) = (times.mean() / 1000.0, times.stdev() / 1000.0);
    let (max, count) = (times.max() as f64 / 1000.0, times.len());
    write!(
        text,
        "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]\n\
         #[Max     = {max:>12.3}, Total count    = {count:>12}]\n"
    )
    .expect("a string grows");
    text
}

/// The value at a quantile of times in nanoseconds, in microseconds.
pub fn us_at(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::book::histogram;

    #[test]
    fn the_list_of_percentiles_ends_with_all_values() {
        let mut times = histogram();
        for us in 1..=1000 {
            times.record(us * 1000).expect("within bounds");
        }
        let text = hgrm(&times);
        let last = text.lines().rfind(|line| !line.starts_with('#'));
        let words: Vec<&str> = last.expect("a line").split_whitespace().collect();
        assert_eq!(words[1..], ["1.000000000000", "1000"]);
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
