//! Prometheus' text format 0.0.4: families of samples with labels.

use std::fmt::{Display, Write};

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows; the name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// A page of metrics while it is written. A family is opened once and its samples follow it.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    family: String,
}

impl Page {
    /// Opens a family.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        debug_assert!(is_name(name), "{name}");
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.family = name.to_string();
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample to the open family.
    pub(super) fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.suffixed("", labels, value);
    }

    /// Adds a sample whose name is the family's with a suffix: a histogram's parts.
    pub(super) fn suffixed(
        &mut self,
        suffix: &str,
        labels: &[(&str, &dyn Display)],
        value: impl Display,
    ) {
        self.text.push_str(&self.family);
        self.text.push_str(suffix);
        for (index, (name, label)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let label = label.to_string();
            let label = label
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.text, "{name}=\"{label}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    /// A family with one sample and no labels.
    pub(super) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// The whole page.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(legal) && !name.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_samples_and_labels_are_written_as_the_format_says() {
        let mut page = Page::default();
        page.single("a_total", Kind::Counter, "One\nline.", 7);
        page.family("b", Kind::Gauge, "b\\c");
        page.sample(&[("core", &0), ("topic", &"q\"u\\o\nt")], 1.5);
        page.family("c", Kind::Histogram, "c");
        page.suffixed("_bucket", &[("le", &"+Inf")], 3);
        let expected = "# HELP a_total One\\nline.\n# TYPE a_total counter\na_total 7\n\
            # HELP b b\\\\c\n# TYPE b gauge\nb{core=\"0\",topic=\"q\\\"u\\\\o\\nt\"} 1.5\n\
            # HELP c c\n# TYPE c histogram\nc_bucket{le=\"+Inf\"} 3\n";
        assert_eq!(page.finish(), expected);
    }
}
