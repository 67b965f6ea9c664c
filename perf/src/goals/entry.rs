//! What a goal's measurement is: its parts, which of them is worst, and how people and programs
//! read it. Pure.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::paired::{Pairs, Ratio, median};

/// Where a ratio has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    pub(crate) fn is_met_by(self, ratio: f64) -> bool {
        match self {
            Target::AtLeast(least) => ratio >= least,
            // Below nothing is noise, and no number.
            Target::AtMost(most) => (0.0..=most).contains(&ratio),
        }
    }

    /// How far a ratio is from the target: 1 is on it, more is better.
    fn score(self, ratio: f64) -> f64 {
        match self {
            Target::AtLeast(least) => ratio / least,
            Target::AtMost(most) if ratio > 0.0 => most / ratio,
            Target::AtMost(_) if ratio < 0.0 => 0.0,
            Target::AtMost(_) => f64::INFINITY,
        }
    }

    fn value(self) -> f64 {
        match self {
            Target::AtLeast(value) | Target::AtMost(value) => value,
        }
    }

    fn bound(self) -> &'static str {
        match self {
            Target::AtLeast(_) => "at least",
            Target::AtMost(_) => "at most",
        }
    }
}

/// A ratio that was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    pub(crate) ratio: f64,
    /// Its 95 % interval; none of what was measured once.
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) pairs: usize,
    /// Pairs beside a hiccup.
    pub(crate) dropped: usize,
    /// Medians of what the ratio was made of, with names that say the unit.
    pub(crate) figures: Vec<(String, f64)>,
    /// Why the number is worth less than it should be.
    pub(crate) doubt: Option<String>,
}

impl Measured {
    /// Something that was measured once.
    pub(crate) fn once(ratio: f64) -> Measured {
        Measured {
            ratio,
            ..Measured::default()
        }
    }

    /// The median of paired ratios; an error in words if no pair has one.
    pub(crate) fn of_pairs<A, B>(
        pairs: &Pairs<A, B>,
        names: [&str; 2],
        of: impl Fn(&A, &B) -> (f64, f64),
    ) -> Result<Measured, String> {
        let values: Vec<(f64, f64)> = pairs.counting().map(|(a, b)| of(a, b)).collect();
        let ratio = Ratio::of(&values).ok_or("no pair of slices gave a ratio")?;
        let (first, second) = values.into_iter().unzip();
        let figures = [median(first), median(second)];
        let names = names.into_iter().map(str::to_owned);
        let doubt = pairs.are_too_few().then(|| {
            let dropped = pairs.dropped_count();
            format!(
                "the machine was not quiet: {dropped} of {} pairs lie beside a hiccup of it, so \
                 that too few are left, and this is of all of them",
                ratio.pairs
            )
        });
        Ok(Measured {
            ratio: ratio.median,
            interval: Some((ratio.low, ratio.high)),
            pairs: ratio.pairs,
            dropped: pairs.dropped_count(),
            figures: names.zip(figures).collect(),
            doubt,
        })
    }

    /// Adds those that explain another ratio.
    pub(crate) fn figures(mut self, figures: &[(String, f64)]) -> Measured {
        self.figures.extend_from_slice(figures);
        self
    }

    /// Adds the median of something that each pair has.
    pub(crate) fn median<A, B>(
        self,
        pairs: &Pairs<A, B>,
        name: &str,
        of: impl Fn(&A, &B) -> f64,
    ) -> Measured {
        let values = pairs.counting().map(|(a, b)| of(a, b)).collect();
        self.figure(name, median(values))
    }

    /// Adds a figure that explains the ratio.
    pub(crate) fn figure(mut self, name: &str, value: f64) -> Measured {
        self.figures.push((name.to_owned(), value));
        self
    }
}

/// One number of a goal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) target: Target,
    /// Or why there is none, in words.
    pub(crate) result: Result<Measured, String>,
}

impl Part {
    pub(crate) fn new(
        name: impl Into<String>,
        target: Target,
        result: Result<Measured, String>,
    ) -> Part {
        Part {
            name: name.into(),
            target,
            result,
        }
    }

    /// Met is what was measured, without a doubt, and is where it has to be.
    fn is_met(&self) -> bool {
        let measured = self.result.as_ref().ok();
        measured.is_some_and(|measured| {
            measured.doubt.is_none() && self.target.is_met_by(measured.ratio)
        })
    }

    fn why(&self) -> Option<&str> {
        match &self.result {
            Ok(measured) => measured.doubt.as_deref(),
            Err(why) => Some(why),
        }
    }

    fn fields(&self) -> Map<String, Value> {
        let measured = self.result.as_ref().ok();
        let interval = measured.and_then(|measured| measured.interval);
        let figures = measured.map_or(&[][..], |measured| &measured.figures);
        let figures: Map<String, Value> = figures
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let Value::Object(mut fields) = json!({
            "ratio": measured.map(|measured| measured.ratio),
            "low": interval.map(|interval| interval.0),
            "high": interval.map(|interval| interval.1),
            "target": self.target.value(),
            "bound": self.target.bound(),
            "met": self.is_met(),
            "part": self.name,
            "pairs": measured.map_or(0, |measured| measured.pairs),
            "pairs_dropped": measured.map_or(0, |measured| measured.dropped),
            "figures": figures,
        }) else {
            unreachable!("it is an object")
        };
        if let Some(why) = self.why() {
            fields.insert("why".to_owned(), why.into());
        }
        fields
    }
}

/// One of the twelve.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) goal: u8,
    pub(crate) name: &'static str,
    /// At least one.
    pub(crate) parts: Vec<Part>,
    pub(crate) durability: &'static str,
    /// How long its measurement took.
    pub(crate) seconds: f64,
}

impl Entry {
    /// The part that is furthest from its target among those that have a number.
    pub(crate) fn worst(&self) -> &Part {
        let score = |part: &&Part| {
            let measured = part.result.as_ref();
            measured.map_or(f64::INFINITY, |measured| part.target.score(measured.ratio))
        };
        let worst = self.parts.iter().filter(|part| part.result.is_ok());
        let worst = worst.min_by(|a, b| score(a).total_cmp(&score(b)));
        worst.unwrap_or(&self.parts[0])
    }

    /// Whether every part is met.
    pub(crate) fn is_met(&self) -> bool {
        self.parts.iter().all(Part::is_met)
    }

    /// What is missing or doubtful, part by part.
    fn why(&self) -> Option<String> {
        let same = self.parts[0].why();
        if self.parts.iter().all(|part| part.why() == same) {
            return same.map(str::to_owned);
        }
        let mut whys: Vec<String> = Vec::new();
        for part in &self.parts {
            if let Some(why) = part.why() {
                whys.push(format!("{}: {why}", part.name));
            }
        }
        Some(whys.join("; "))
    }

    /// The entry of summary.json.
    pub(crate) fn to_json(&self, context: &Value) -> Value {
        let mut fields = self.worst().fields();
        fields.insert("goal".to_owned(), self.goal.into());
        fields.insert("name".to_owned(), self.name.into());
        fields.insert("met".to_owned(), self.is_met().into());
        fields.insert("durability".to_owned(), self.durability.into());
        fields.insert("seconds".to_owned(), self.seconds.into());
        if let Some(why) = self.why() {
            fields.insert("why".to_owned(), why.into());
        }
        if self.parts.len() > 1 {
            let parts = self.parts.iter().map(|part| Value::Object(part.fields()));
            fields.insert("parts".to_owned(), parts.collect());
        }
        fields.insert("context".to_owned(), context.clone());
        Value::Object(fields)
    }

    /// Its lines of the table.
    pub(crate) fn rows(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            let number = |value: Option<f64>| value.map_or("-".to_owned(), short);
            let measured = part.result.as_ref().ok();
            let interval = measured.and_then(|measured| measured.interval);
            let target = match part.target {
                Target::AtLeast(least) => format!(">= {}", short(least)),
                Target::AtMost(most) => format!("<= {}", short(most)),
            };
            let figures = measured.map_or(&[][..], |measured| &measured.figures);
            let figures: Vec<String> = figures
                .iter()
                .map(|(name, value)| format!("{name} {}", short(*value)))
                .collect();
            let met = if part.is_met() { "yes" } else { "no" };
            writeln!(
                text,
                "| {} | {} | {} | {} | {} | {target} | {met} | {} |",
                self.goal,
                part.name,
                number(measured.map(|measured| measured.ratio)),
                number(interval.map(|interval| interval.0)),
                number(interval.map(|interval| interval.1)),
                figures.join("; "),
            )
            .expect("a string grows");
        }
        text
    }

    /// What the table has no room for.
    pub(crate) fn notes(&self) -> String {
        self.why()
            .map_or(String::new(), |why| format!("goal {}: {why}\n", self.goal))
    }
}

/// A number with as many digits as say something.
fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, target: Target, ratio: Option<f64>) -> Part {
        let result = ratio.map(Measured::once).ok_or("not yet".to_owned());
        Part::new(name, target, result)
    }

    fn entry(parts: Vec<Part>) -> Entry {
        Entry {
            goal: 3,
            name: "latency",
            parts,
            durability: "sync",
            seconds: 1.5,
        }
    }

    #[test]
    fn the_worst_part_stands_for_the_goal_and_all_must_be_met() {
        use Target::{AtLeast, AtMost};
        let check = |parts: &[(Target, Option<f64>)], worst: &str, met: bool| {
            let parts = parts.iter().zip(["a", "b", "c"]);
            let parts = parts.map(|(&(target, ratio), name)| part(name, target, ratio));
            let entry = entry(parts.collect());
            assert_eq!(
                (&*entry.worst().name, entry.is_met()),
                (worst, met),
                "{entry:?}"
            );
        };
        check(&[(AtLeast(0.9), Some(0.95))], "a", true);
        check(&[(AtLeast(0.9), Some(0.8))], "a", false);
        check(
            &[(AtMost(1.3), Some(1.2)), (AtMost(1.5), Some(1.49))],
            "b",
            true,
        );
        check(
            &[(AtMost(1.3), Some(2.6)), (AtMost(1.5), Some(1.6))],
            "a",
            false,
        );
        check(
            &[(AtLeast(20.0), Some(10.0)), (AtMost(0.05), Some(0.2))],
            "b",
            false,
        );
        // What has no number stands for the goal only if nothing has.
        check(
            &[(AtLeast(0.9), None), (AtMost(3.0), Some(1.0))],
            "b",
            false,
        );
        check(&[(AtLeast(0.9), None)], "a", false);
        check(
            &[(AtMost(0.0), Some(0.0)), (AtLeast(0.85), Some(0.9))],
            "b",
            true,
        );
        check(
            &[(AtMost(0.0), Some(1.0)), (AtLeast(0.85), Some(0.1))],
            "a",
            false,
        );
        // A difference of two medians that lies below nothing was not measured.
        check(
            &[(AtMost(3.0), Some(-0.2)), (AtLeast(0.85), Some(0.9))],
            "a",
            false,
        );
    }

    #[test]
    fn an_entry_has_its_numbers_or_says_why_not() {
        let context = json!({ "machine": "X" });
        let whole = entry(vec![part("p50", Target::AtMost(1.3), Some(1.25))]).to_json(&context);
        assert_eq!(whole["goal"], 3);
        assert_eq!(whole["ratio"], 1.25);
        assert_eq!(
            (&whole["target"], &whole["bound"]),
            (&json!(1.3), &json!("at most"))
        );
        assert_eq!(whole["met"], true);
        assert_eq!(whole["context"]["machine"], "X");
        assert!(whole["low"].is_null() && whole["why"].is_null() && whole["parts"].is_null());
        let none = entry(vec![part("p50", Target::AtMost(1.3), None)]).to_json(&context);
        assert!(none["ratio"].is_null());
        assert_eq!(
            (&none["met"], &none["why"]),
            (&json!(false), &json!("not yet"))
        );
        let both = entry(vec![
            part("p50", Target::AtMost(1.3), Some(1.0)),
            part("p99", Target::AtMost(1.5), None),
        ]);
        let object = both.to_json(&context);
        assert_eq!(
            (&object["ratio"], &object["met"]),
            (&json!(1.0), &json!(false))
        );
        assert_eq!(object["why"], "p99: not yet");
        assert_eq!(object["parts"][0]["part"], "p50");
        assert!(object["parts"][1]["ratio"].is_null());
        assert!(
            both.rows()
                .contains("| 3 | p50 | 1.00 | - | - | <= 1.30 | yes |"),
            "{}",
            both.rows()
        );
        assert!(
            both.rows()
                .contains("| 3 | p99 | - | - | - | <= 1.50 | no |")
        );
        assert_eq!(both.notes(), "goal 3: p99: not yet\n");
    }

    #[test]
    fn ratios_come_from_the_pairs_that_count() {
        let mut pairs = Pairs::new(4);
        for (first, had_hiccup) in [(2.0, false), (9.0, true), (2.0, false), (2.0, false)] {
            pairs.push(first, 4.0, had_hiccup);
        }
        let of = |pairs: &Pairs<f64, f64>| {
            Measured::of_pairs(pairs, ["a MB/s", "b MB/s"], |a, b| (*a, *b))
        };
        let measured = of(&pairs).expect("ratios");
        assert_eq!((measured.ratio, measured.interval), (0.5, Some((0.5, 0.5))));
        assert_eq!((measured.pairs, measured.dropped), (3, 1));
        assert_eq!(measured.figures[1], ("b MB/s".to_owned(), 4.0));
        assert_eq!(measured.doubt, None);
        let mut noisy = Pairs::new(4);
        noisy.push(2.0, 1.0, true);
        noisy.push(2.0, 1.0, false);
        let measured = of(&noisy).expect("ratios");
        assert_eq!(
            (measured.ratio, measured.pairs, measured.dropped),
            (2.0, 2, 1)
        );
        assert!(
            measured
                .doubt
                .is_some_and(|doubt| doubt.contains("1 of 2 pairs"))
        );
        let doubtful = Part::new("a", Target::AtLeast(1.0), of(&noisy));
        assert!(!doubtful.is_met());
        assert!(of(&Pairs::new(4)).is_err());
    }
}
