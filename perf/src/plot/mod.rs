//! Pictures of results, for reports and for the top of a README: the spectrum of latencies, and
//! throughput over time. From the JSON that `perf run` and `perf compare` write to SVG.
//!
//! `reading` takes what a picture needs out of results, `hgrm` out of lists of percentiles, `chart`
//! lays it out, `scale` and `svg` are axes and strokes. Everything but the callers is pure.

mod chart;
mod hgrm;
mod reading;
mod scale;
mod svg;

use corelog::bench::Problem;
use serde_json::Value;

use self::chart::{Chart, Series, X_SPAN};
use self::reading::{Flow, Reading};
use self::scale::{Axis, ms_text, nines, three_digits, time_text};
use crate::limits::{PLOT_POINTS_MAX, PLOT_SERIES_MAX};

/// A picture and the name of its file.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) file_name: String,
    pub(crate) svg: String,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A result of `perf run` or `perf compare`, with its name in the legend, if that is not the
    /// broker's.
    Result(Option<String>, Value),
    /// A list of percentiles with its name.
    Percentiles(String, String),
}

/// What is written above a picture, instead of what the results say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heading {
    pub(crate) title: Option<String>,
    pub(crate) subtitle: Option<String>,
}

/// The pictures of results that belong together.
pub(crate) fn pictures(sources: &[Source], heading: &Heading) -> Result<Vec<Picture>, Problem> {
    let whole = read(sources, heading)?;
    let series = whole.curves.len().max(whole.flows.len());
    if series > PLOT_SERIES_MAX {
        return Err(too_many(series));
    }
    let mut pictures = Vec::new();
    if !whole.curves.is_empty() {
        pictures.push(Picture {
            file_name: format!("{}-latency.svg", whole.stem()),
            svg: spectrum(&whole, heading),
        });
    }
    if !whole.flows.is_empty() {
        pictures.push(Picture {
            file_name: format!("{}-throughput.svg", whole.stem()),
            svg: throughput(&whole),
        });
    }
    match pictures.is_empty() {
        true => Err(Problem::new("there is nothing to draw in these results")),
        false => Ok(pictures),
    }
}

/// One picture: the spectrum of latencies.
pub(crate) fn spectrum_of(sources: &[Source], heading: &Heading) -> Result<String, Problem> {
    let whole = read(sources, heading)?;
    match whole.curves.len() {
        0 => Err(Problem::new("there are no latencies in these results")),
        1..=PLOT_SERIES_MAX => Ok(spectrum(&whole, heading)),
        series => Err(too_many(series)),
    }
}

fn read(sources: &[Source], heading: &Heading) -> Result<Reading, Problem> {
    let readings = sources.iter().map(|source| match source {
        Source::Result(label, result) => Reading::of(label.as_deref(), result),
        Source::Percentiles(..) if heading.title.is_none() => Err(Problem::new(
            "a list of percentiles says neither durability nor rate nor machine",
        )
        .hint("--title and --subtitle must say it")),
        Source::Percentiles(name, text) => hgrm::read(name, text),
    });
    Ok(Reading::merge(readings.collect::<Result<Vec<_>, _>>()?))
}

fn too_many(series: usize) -> Problem {
    Problem::new(format!(
        "{series} series are more than a picture of {PLOT_SERIES_MAX} can show"
    ))
}

/// The percentiles that stand out, with their names.
const MARKS: [(f64, &str); 4] = [
    (0.5, "p50"),
    (0.99, "p99"),
    (0.999, "p99.9"),
    (0.9999, "p99.99"),
];

fn spectrum(whole: &Reading, heading: &Heading) -> String {
    let (chart, x, y) = spectrum_chart(whole, heading);
    chart.draw(&x, &y)
}

fn spectrum_chart(whole: &Reading, heading: &Heading) -> (Chart, Axis, Axis) {
    let series = whole.curves.iter().map(|curve| {
        // Beyond so many nines there is only the slowest.
        let resolved = (curve.count.max(2) as f64).log10();
        let shown = |quantile: f64| nines(quantile) <= resolved;
        let step = curve.spectrum.len().div_ceil(PLOT_POINTS_MAX).max(1);
        let mut points: Vec<(f64, f64)> = curve
            .spectrum
            .iter()
            .step_by(step)
            .filter(|(quantile, _)| shown(*quantile))
            .map(|&(quantile, us)| (nines(quantile), us))
            .collect();
        points.push((resolved, curve.max_us));
        let marks = MARKS.iter().zip(&curve.marks_us);
        let dots = marks.clone().filter(|((quantile, _), _)| shown(*quantile));
        let cells = marks.map(|((quantile, _), us)| match shown(*quantile) {
            true => time_text(*us),
            false => "–".to_owned(),
        });
        Series {
            name: curve.name.clone(),
            dots: dots
                .map(|((quantile, _), us)| (nines(*quantile), *us))
                .collect(),
            cells: cells.chain([time_text(curve.max_us)]).collect(),
            points,
        }
    });
    let series: Vec<Series> = series.collect();
    let columns = MARKS.iter().map(|(_, name)| *name).chain(["max"]);
    let points = || series.iter().flat_map(|series| &series.points);
    let least = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let most = points().map(|point| point.1).fold(0.0, f64::max);
    let x_most = points().map(|point| point.0).fold(1.0, f64::max);
    let subtitle = heading.subtitle.clone().or_else(|| whole.machine.clone());
    let mut small_print = whole.small_print.clone();
    if subtitle.is_some() && !whole.question.is_empty() {
        small_print.insert(0, whole.question.clone());
    }
    let chart = Chart {
        title: heading
            .title
            .clone()
            .unwrap_or_else(|| whole.spectrum_title()),
        subtitle: subtitle.unwrap_or_else(|| whole.question.clone()),
        columns: columns.collect(),
        x_title:
            "percentile p of the requests (at a consumer: of the records), log scale of 1/(1 - p)"
                .to_owned(),
        y_title: "latency in ms, from the intended send time".to_owned(),
        small_print,
        series,
    };
    let y = match most > LINEAR_RANGE_MAX * least.max(1e-3) {
        true => Axis::log((least.max(1e-3), most * 1.1), chart.y_span(), ms_text),
        false => Axis::linear(most, chart.y_span(), ms_text),
    };
    (chart, Axis::nines(x_most, X_SPAN), y)
}

/// Up to this ratio of the slowest to the fastest an axis from zero shows more.
const LINEAR_RANGE_MAX: f64 = 8.0;

fn throughput(whole: &Reading) -> String {
    let (chart, x, y) = throughput_chart(whole);
    chart.draw(&x, &y)
}

fn throughput_chart(whole: &Reading) -> (Chart, Axis, Axis) {
    let seconds = |flow: &Flow| flow.rates.len() as f64 * flow.step_seconds;
    let longest = whole.flows.iter().map(seconds).fold(0.0, f64::max);
    let series = whole.flows.iter().map(|flow| {
        let count = flow.rates.len().div_ceil(PLOT_POINTS_MAX).max(1);
        let width = flow.step_seconds * count as f64;
        let bins: Vec<f64> = flow.rates.chunks(count).map(mean).collect();
        // A point stands in the middle of its time.
        let points = bins
            .iter()
            .zip(0..)
            .map(|(&rate, number)| ((f64::from(number) + 0.5) * width, rate));
        let least = bins.iter().copied().fold(f64::INFINITY, f64::min);
        let most = bins.iter().copied().fold(0.0, f64::max);
        Series {
            name: flow.name.clone(),
            points: points.collect(),
            dots: Vec::new(),
            cells: [least, mean(&flow.rates), most].map(three_digits).to_vec(),
        }
    });
    let series: Vec<Series> = series.collect();
    let most = series.iter().flat_map(|series| &series.points);
    let most = most.map(|point| point.1).fold(0.0, f64::max);
    let chart = Chart {
        title: whole.title("Throughput over time"),
        subtitle: whole.question.clone(),
        columns: vec!["least MB/s", "mean MB/s", "most MB/s"],
        series,
        x_title: "seconds of the part that counts".to_owned(),
        y_title: "MB/s of values".to_owned(),
        small_print: whole.small_print.clone(),
    };
    let y = Axis::linear(most, chart.y_span(), three_digits);
    (chart, Axis::time(longest, X_SPAN), y)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use corelog::bench::{hgrm as hgrm_of, histogram};

    use super::chart::collisions;
    use super::reading::Curve;
    use super::*;

    /// A reading with so many series whose latencies go from the first to the second.
    fn reading(series: usize, range: (f64, f64), count: u64) -> Reading {
        let name = "a broker with a rather long name 1.2.3-SNAPSHOT, sync, to the consumer";
        let (least, most) = range;
        let curve = |number: usize| {
            let at =
                |quantile: f64| least + (most - least) * quantile * (1.0 + number as f64 / 9.0);
            Curve {
                name: name.to_owned(),
                spectrum: [0.0, 0.5, 0.9, 0.99, 0.999, 0.99999, 1.0]
                    .map(|quantile| (quantile, at(quantile)))
                    .to_vec(),
                marks_us: MARKS.map(|(quantile, _)| at(quantile)),
                max_us: at(1.0),
                count,
            }
        };
        let flow = |number: usize| Flow {
            name: name.to_owned(),
            step_seconds: 0.1,
            rates: (0..1000).map(|step| (step * (number + 1)) as f64).collect(),
        };
        Reading {
            workload: Some("W2-something-long".to_owned()),
            question: "Which latency do users see at a rate that the broker can hold? ".repeat(3),
            curves: (0..series).map(curve).collect(),
            flows: (0..series).map(flow).collect(),
            small_print: vec!["connections 4, partitions 100 and many more words ".repeat(9)],
            ..Reading::default()
        }
    }

    #[test]
    fn no_words_cover_others() {
        for series in 1..=PLOT_SERIES_MAX {
            for range in [(100.0, 400.0), (3.0, 9e6), (400.0, 401.0), (0.0, 0.0)] {
                for count in [1, 90, 12_345, 123_456_789] {
                    let reading = reading(series, range, count);
                    let spectrum = spectrum_chart(&reading, &Heading::default());
                    for (chart, x, y) in [spectrum, throughput_chart(&reading)] {
                        let (spots, height) = chart.spots(&x, &y);
                        let found = collisions(&spots, height);
                        assert!(found.is_empty(), "{series} {range:?} {count}: {found:#?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_line_ends_where_single_requests_are_told_apart() {
        let reading = reading(1, (100.0, 500.0), 1000);
        let (chart, ..) = spectrum_chart(&reading, &Heading::default());
        let series = &chart.series[0];
        assert_eq!(series.points.last(), Some(&(3.0, 500.0)));
        assert_eq!(series.dots.len(), 3);
        assert_eq!(series.cells, ["300 µs", "496 µs", "500 µs", "–", "500 µs"]);
    }

    /// A list of so many times around one that is slower towards the end.
    fn list(us: f64, count: u64) -> String {
        let mut times = histogram();
        for number in 0..count {
            let share = (number as f64 + 0.5) / count as f64;
            let ns = us * 1000.0 * (1.0 - share).powf(-0.4);
            times.record(ns as u64).expect("within bounds");
        }
        hgrm_of(&times)
    }

    #[test]
    fn two_lists_of_percentiles_are_one_picture() {
        let named = |name: &str, us| Source::Percentiles(name.to_owned(), list(us, 1_000_000));
        let sources = [named("corelog", 400.0), named("Apache Kafka", 900.0)];
        let nothing_said = spectrum_of(&sources, &Heading::default());
        let problem = nothing_said.expect_err("a picture without what it must be read with");
        assert!(problem.to_string().contains("--title"), "{problem}");
        let heading = Heading {
            title: Some("Latency at 20 MB/s, durability sync".to_owned()),
            subtitle: Some("4 CPUs".to_owned()),
        };
        let svg = spectrum_of(&sources, &heading).expect("a picture");
        assert!(svg.len() < PICTURE_BYTES_MAX, "{} bytes", svg.len());
        for words in [
            ">Latency at 20 MB/s, durability sync<",
            ">4 CPUs<",
            ">corelog<",
            ">Apache Kafka<",
            ">latency in ms, from the intended send time<",
            ">99.99 %<",
            ">0.5<",
            "prefers-color-scheme: dark",
        ] {
            assert!(svg.contains(words), "{words} is not in:\n{svg}");
        }
        assert_eq!(svg.matches("<path ").count(), 4, "lines, and their legend");
        let whole = read(&sources, &heading).expect("they can be read");
        let (chart, x, y) = spectrum_chart(&whole, &heading);
        let (spots, height) = chart.spots(&x, &y);
        let found = collisions(&spots, height);
        assert!(found.is_empty(), "{found:#?}");
        let ends: Vec<f64> = chart
            .series
            .iter()
            .map(|series| series.points[0].1)
            .collect();
        assert!(ends[0] < ends[1], "the faster one is lower: {ends:?}");
    }

    /// As large as a picture may be, however many points its curves have.
    const PICTURE_BYTES_MAX: usize = 40 << 10;

    #[test]
    fn many_points_of_many_curves_are_a_small_picture() {
        let mut whole = reading(PLOT_SERIES_MAX, (100.0, 90_000.0), 100_000_000);
        for curve in &mut whole.curves {
            curve.spectrum = (0..10_000)
                .map(|number| (f64::from(number) / 1e4, f64::from(number)))
                .collect();
        }
        let svg = spectrum(&whole, &Heading::default());
        assert!(svg.len() < PICTURE_BYTES_MAX, "{} bytes", svg.len());
    }

    #[test]
    fn many_steps_become_fewer_points() {
        let (chart, ..) = throughput_chart(&reading(1, (1.0, 2.0), 1));
        let points = &chart.series[0].points;
        assert!(points.len() <= PLOT_POINTS_MAX);
        assert_eq!(chart.series[0].cells[1], "500");
        assert!(points[0].0 > 0.0 && points[points.len() - 1].0 < 100.0);
    }
}
