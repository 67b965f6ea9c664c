//! Lists of percentiles as `--hdr` writes them: HdrHistogram's, values in microseconds. Pure.

use corelog::bench::Problem;

use super::MARKS;
use super::reading::{Curve, Reading};

/// A list as something that can be drawn. What it must be read with it does not say.
pub(crate) fn read(name: &str, text: &str) -> Result<Reading, Problem> {
    let wrong = |line: &str| Problem::new(format!("no line of a list of percentiles: {line:?}"));
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    if head.split_whitespace().take(3).ne(HEAD) {
        return Err(wrong(head));
    }
    let (mut spectrum, mut count) = (Vec::new(), 0);
    for line in lines {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let mut number = || {
            let number: f64 = words.next()?.parse().ok()?;
            (number.is_finite() && number >= 0.0).then_some(number)
        };
        let row = number().zip(number()).zip(number());
        let ((us, quantile), total) = row.ok_or_else(|| wrong(line))?;
        let last = spectrum.last().copied().unwrap_or_default();
        if quantile > 1.0 || (quantile, us) < last || us < last.1 {
            return Err(wrong(line));
        }
        spectrum.push((quantile, us));
        count = total as u64;
    }
    // The last row is that of all values.
    let Some(&(_, max_us)) = spectrum.last().filter(|(quantile, _)| *quantile == 1.0) else {
        return Err(Problem::new("a list of percentiles that ends before 1"));
    };
    // The first that is not below: no percentile looks better than it is.
    let at = |wanted: f64| {
        let found = spectrum.iter().find(|(quantile, _)| *quantile >= wanted);
        found.map_or(max_us, |(_, us)| *us)
    };
    let curve = Curve {
        name: name.to_owned(),
        marks_us: MARKS.map(|(quantile, _)| at(quantile)),
        max_us,
        count,
        spectrum,
    };
    Ok(Reading {
        curves: vec![curve],
        ..Reading::default()
    })
}

const HEAD: [&str; 3] = ["Value", "Percentile", "TotalCount"];

#[cfg(test)]
mod tests {
    use corelog::bench::{hgrm, histogram};

    use super::*;

    fn list() -> String {
        let mut times = histogram();
        for us in 1..=10_000 {
            times.record(us * 1000).expect("within bounds");
        }
        hgrm(&times)
    }

    #[test]
    fn a_list_is_read_as_it_is_written() {
        let reading = read("corelog", &list()).expect("a list");
        let curve = &reading.curves[0];
        assert_eq!((curve.name.as_str(), curve.count), ("corelog", 10_000));
        assert!((curve.max_us - 10_000.0).abs() < 10.0, "{}", curve.max_us);
        let expected = [5000.0, 9900.0, 9990.0, 9999.0];
        for (us, expected) in curve.marks_us.iter().zip(expected) {
            assert!((expected..expected * 1.01).contains(us), "{us} {expected}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let check = |text: &str| assert!(read("x", text).is_err(), "{text}");
        check("");
        check("{}");
        let list = list();
        check(list.split_once("1.000000000000").expect("an end").0);
        check(&list.replace("0.500000000000", "x"));
        check(&list.replace("0.500000000000", "0.1"));
        check(&list.replace("0.500000000000", "-1"));
        check(&list.replace("0.500000000000", "inf"));
    }
}
