//! What pictures need, out of the JSON of results. Pure.

use corelog::bench::{Problem, Rate};
use indicatif::HumanCount;
use serde_json::Value;

use super::MARKS;
use super::scale::three_digits;
use crate::report::{consume_words, load_words};
use crate::workload::Workload;

/// The parts of results that are drawn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// The workload's name; `None` if there are several.
    pub(crate) workload: Option<String>,
    pub(crate) question: String,
    /// What all of them have in common; `None` if they have not, or if nobody says.
    pub(crate) rate: Option<String>,
    pub(crate) durability: Option<String>,
    pub(crate) machine: Option<String>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) flows: Vec<Flow>,
    pub(crate) small_print: Vec<String>,
}

/// A distribution of latencies.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) name: String,
    /// Quantiles and microseconds.
    pub(crate) spectrum: Vec<(f64, f64)>,
    pub(crate) marks_us: [f64; MARKS.len()],
    pub(crate) max_us: f64,
    pub(crate) count: u64,
}

/// Throughput over time.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) name: String,
    pub(crate) step_seconds: f64,
    /// MB/s, step by step.
    pub(crate) rates: Vec<f64>,
}

/// The keys of `MARKS` in a result.
const MARK_KEYS: [&str; MARKS.len()] = ["p50_us", "p99_us", "p999_us", "p9999_us"];

impl Reading {
    /// Of one result of `perf run` or `perf compare`.
    pub(crate) fn of(label: Option<&str>, result: &Value) -> Result<Reading, Problem> {
        let workload: Workload = serde_json::from_value(result["workload"].clone())
            .map_err(|error| Problem::new(format!("no result of perf run or compare: {error}")))?;
        let context = &result["context"];
        let mut reading = Reading {
            workload: Some(workload.name.clone()),
            question: workload.question.clone(),
            rate: rate_words(&workload),
            durability: durability_of(result),
            machine: machine_words(&context["machine"]),
            small_print: small_print(&workload, result),
            ..Reading::default()
        };
        // A comparison has a distribution of each broker, a run has its own.
        if let Some(curves) = result["curves"].as_array() {
            for curve in curves {
                let name = broker_name(&curve["broker"]);
                reading.add_curve(&name, &curve["latency"], &curve["spectrum"])?;
            }
            return Ok(reading);
        }
        let name = label.map_or_else(|| broker_name(&context["broker"]), str::to_owned);
        let (produces, consumes) = (workload.load.connections > 0, workload.consume.is_some());
        let named = |what: &str| match produces && consumes {
            true => format!("{name}, {what}"),
            false => name.clone(),
        };
        let spectrum = &result["spectrum"];
        let latencies = [
            ("latency", named("to the answer")),
            ("end_to_end", named("to the consumer")),
        ];
        for (key, name) in latencies {
            reading.add_curve(&name, &result[key], &spectrum[key])?;
        }
        let bytes = f64::from(workload.load.record_bytes);
        if produces {
            reading.add_flow(&named("acknowledged"), &result["series"], "records", bytes)?;
        }
        if consumes {
            reading.add_flow(
                &named("fetched"),
                &result["series"],
                "fetched_records",
                bytes,
            )?;
        }
        Ok(reading)
    }

    /// Several in one picture. What they have in common is said once.
    pub(crate) fn merge(readings: Vec<Reading>) -> Reading {
        let first = readings.first().cloned().unwrap_or_default();
        let common = |of: fn(&Reading) -> &Option<String>| {
            let is_common = readings.iter().all(|reading| of(reading) == of(&first));
            of(&first).clone().filter(|_| is_common)
        };
        let mut whole = Reading {
            rate: common(|reading| &reading.rate),
            durability: common(|reading| &reading.durability),
            machine: common(|reading| &reading.machine),
            ..Reading::default()
        };
        let several = readings
            .windows(2)
            .any(|pair| pair[0].workload != pair[1].workload);
        for mut reading in readings {
            let name = reading.workload.clone().unwrap_or_default();
            if several {
                let curves = reading.curves.iter_mut().map(|curve| &mut curve.name);
                let flows = reading.flows.iter_mut().map(|flow| &mut flow.name);
                for series in curves.chain(flows) {
                    *series = format!("{name}: {series}");
                }
                // The small print says what each of them is.
                reading.question = match &*whole.question {
                    "" => name,
                    before if before.ends_with(&name) => before.to_owned(),
                    before => format!("{before}, {name}"),
                };
            }
            whole.question = reading.question;
            whole.workload = reading.workload.filter(|_| !several);
            whole.curves.append(&mut reading.curves);
            whole.flows.append(&mut reading.flows);
            for line in reading.small_print {
                if !whole.small_print.contains(&line) {
                    whole.small_print.push(line);
                }
            }
        }
        whole
    }

    /// A picture's title.
    pub(crate) fn title(&self, what: &str) -> String {
        match &self.workload {
            Some(name) => format!("{what}: {name}"),
            None => what.to_owned(),
        }
    }

    /// The title of the spectrum: what its figures are worth nothing without.
    pub(crate) fn spectrum_title(&self) -> String {
        let rate = match (&self.rate, &self.durability) {
            (None, None) => return self.title("Latency percentiles"),
            (Some(rate), _) => format!("Latency {rate}"),
            (None, Some(_)) => "Latency".to_owned(),
        };
        match &self.durability {
            Some(durability) => format!("{rate}, durability {durability}"),
            None => rate,
        }
    }

    /// The begin of a file's name.
    pub(crate) fn stem(&self) -> String {
        let name = self.workload.as_deref().unwrap_or("several");
        let letters = name.chars().map(|letter| match letter {
            letter if letter.is_ascii_alphanumeric() => letter.to_ascii_lowercase(),
            _ => '-',
        });
        letters.collect()
    }

    /// Adds a distribution; one of nothing is left out.
    fn add_curve(&mut self, name: &str, times: &Value, spectrum: &Value) -> Result<(), Problem> {
        let missing = || Problem::new("a result without its spectrum: measure it again");
        let count = times["count"].as_u64().unwrap_or(0);
        if count == 0 {
            return Ok(());
        }
        let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
        let points = spectrum.as_array().ok_or_else(missing)?.iter();
        let points = points.map(|point| number(&point[0]).zip(number(&point[1])));
        let mut marks_us = [0.0; MARKS.len()];
        for (mark, key) in marks_us.iter_mut().zip(MARK_KEYS) {
            *mark = number(&times[key]).ok_or_else(missing)?;
        }
        self.curves.push(Curve {
            name: name.to_owned(),
            spectrum: points.collect::<Option<Vec<_>>>().ok_or_else(missing)?,
            marks_us,
            max_us: number(&times["max_us"]).ok_or_else(missing)?,
            count,
        });
        Ok(())
    }

    /// Adds a time series of records of so many bytes.
    fn add_flow(
        &mut self,
        name: &str,
        series: &Value,
        key: &str,
        record_bytes: f64,
    ) -> Result<(), Problem> {
        let missing = || Problem::new("a result without its time series: measure it again");
        let step_ms = series["step_ms"].as_f64().filter(|&step_ms| step_ms > 0.0);
        let step_seconds = step_ms.ok_or_else(missing)? / 1000.0;
        let records = series[key].as_array().ok_or_else(missing)?.iter();
        let rates = records.map(|records| {
            let records = records.as_f64()?;
            Some(records * record_bytes / 1e6 / step_seconds)
        });
        self.flows.push(Flow {
            name: name.to_owned(),
            step_seconds,
            rates: rates.collect::<Option<Vec<_>>>().ok_or_else(missing)?,
        });
        Ok(())
    }
}

fn broker_name(broker: &Value) -> String {
    let text = |key: &str| broker[key].as_str().unwrap_or_default();
    let product = match text("product") {
        "kafka" => "Apache Kafka",
        product => product,
    };
    let name = format!("{product} {}", text("version"));
    format!("{}, {}", name.trim(), text("durability"))
}

/// The rate of who produces.
fn rate_words(workload: &Workload) -> Option<String> {
    let load = &workload.load;
    match load.rate {
        _ if load.connections == 0 => None,
        Rate::Max => Some("as fast as it goes".to_owned()),
        Rate::RecordsPerSecond(rate) => {
            let megabytes = rate as f64 * f64::from(load.record_bytes) / 1e6;
            Some(format!(
                "at {} records/s ({} MB/s)",
                HumanCount(rate),
                three_digits(megabytes)
            ))
        }
    }
}

/// The durability of all brokers of a result.
fn durability_of(result: &Value) -> Option<String> {
    let of = |broker: &Value| broker["durability"].as_str().map(str::to_owned);
    let own = of(&result["context"]["broker"])?;
    let peer = of(&result["peer"]);
    (peer.is_none() || peer.as_ref() == Some(&own)).then_some(own)
}

fn machine_words(machine: &Value) -> Option<String> {
    Some(format!(
        "{}, {} CPUs, Linux {}",
        machine["cpu_model"].as_str()?,
        machine["cpus"].as_array()?.len(),
        machine["kernel"].as_str()?
    ))
}

/// Load, machine, durability, doubts: what every figure must be read with.
fn small_print(workload: &Workload, result: &Value) -> Vec<String> {
    let context = &result["context"];
    let machine = &context["machine"];
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let numbers = |value: &Value| {
        let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let all: Vec<String> = all.iter().map(Value::to_string).collect();
        match all.is_empty() {
            true => "unknown".to_owned(),
            false => all.join(","),
        }
    };
    let mut load = format!("{}: {}", workload.name, load_words(workload));
    if let Some(words) = consume_words(workload) {
        load.push_str(&format!("; consumers: {words}"));
    }
    let durability = match &*text(&context["broker"]["durability"]) {
        "sync" => "sync: acknowledged behind a data sync".to_owned(),
        "written" => "written: acknowledged behind the write, without a sync".to_owned(),
        other => other.to_owned(),
    };
    let mut lines = vec![
        load,
        format!(
            "{}, {} CPUs, Linux {}; broker on CPUs {}, client on CPUs {}; load average before {}; {}",
            text(&machine["cpu_model"]),
            machine["cpus"].as_array().map_or(0, Vec::len),
            text(&machine["kernel"]),
            numbers(&context["broker"]["cpus"]),
            numbers(&context["seats"]["client"]),
            text(&machine["load_before"]),
            date(context["at_ms"].as_i64().unwrap_or(0)),
        ),
        format!("Durability {durability}."),
    ];
    let doubts = result["doubts"].as_array().map(Vec::as_slice);
    for doubt in doubts.unwrap_or_default() {
        lines.push(format!("Note: {}.", text(doubt)));
    }
    lines
}

/// The day of a time, in UTC (Hinnant's days_from_civil, turned around).
fn date(ms: i64) -> String {
    let days = ms.div_euclid(86_400_000) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report;

    fn result(change: fn(&mut Value)) -> Value {
        let mut result = report::tests::result();
        change(&mut result);
        result
    }

    #[test]
    fn a_run_is_read_as_it_is_written() {
        let reading = Reading::of(None, &result(|_| {})).expect("a result");
        assert_eq!(reading.curves.len(), 1);
        assert_eq!(reading.curves[0].name, "corelog 0.1.0, sync");
        assert_eq!(reading.curves[0].count, 100);
        assert_eq!(reading.flows.len(), 1);
        // 100 answers for 5 records of 100 bytes each within the second.
        let mean = reading.flows[0].rates.iter().sum::<f64>() / 10.0;
        assert!((mean - 0.05).abs() < 1e-9, "{mean}");
        let print = reading.small_print.join("\n");
        for word in [
            "connections 4",
            "X, 4 CPUs, Linux 6.18",
            "CPUs 2,3",
            "data sync",
            "1970-01-01",
        ] {
            assert!(print.contains(word), "{word:?} is not in: {print}");
        }
    }

    #[test]
    fn what_results_have_in_common_is_said_once() {
        let one = Reading::of(Some("one"), &result(|_| {})).expect("a result");
        let other = Reading::of(Some("other"), &result(|_| {})).expect("a result");
        let whole = Reading::merge(vec![one.clone(), other.clone()]);
        assert_eq!(whole.small_print, one.small_print);
        assert_eq!(
            (whole.title("A"), whole.stem()),
            ("A: W1".to_owned(), "w1".to_owned())
        );
        let names: Vec<&str> = whole
            .curves
            .iter()
            .map(|curve| curve.name.as_str())
            .collect();
        assert_eq!(names, ["one", "other"]);
        let mut third = other;
        third.workload = Some("W9".to_owned());
        let whole = Reading::merge(vec![one, third]);
        assert_eq!(
            (whole.title("A"), whole.stem()),
            ("A".to_owned(), "several".to_owned())
        );
        let title = "Latency as fast as it goes, durability sync";
        assert_eq!(whole.spectrum_title(), title);
        assert_eq!(whole.machine.as_deref(), Some("X, 4 CPUs, Linux 6.18"));
        assert_eq!(whole.question, "W1, W9");
        assert_eq!(whole.curves[1].name, "W9: other");
    }

    #[test]
    fn what_is_no_result_is_refused() {
        for change in [
            (|result| *result = Value::Null) as fn(&mut Value),
            |result| result["workload"]["load"] = Value::Null,
            |result| result["spectrum"]["latency"][0][1] = "x".into(),
            |result| result["latency"]["p99_us"] = Value::Null,
            |result| result["series"]["step_ms"] = 0.into(),
            |result| result["series"]["records"] = Value::Null,
        ] {
            assert!(Reading::of(None, &result(change)).is_err());
        }
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        let check = |days: i64, expected| assert_eq!(date(days * 86_400_000), expected);
        check(0, "1970-01-01");
        check(59, "1970-03-01");
        check(11_016, "2000-02-29");
        check(20_779, "2026-11-22");
        check(-1, "1969-12-31");
    }
}
