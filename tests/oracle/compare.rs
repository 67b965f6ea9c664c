//! Two transcripts side by side, and the differences that are allowed.

use std::collections::BTreeMap;

use crate::session::{Entry, Outcome};
use crate::tree::Tree;

pub(crate) struct Difference {
    /// Scenario, label and version.
    pub(crate) place: String,
    /// The path of the field inside the answer.
    pub(crate) field: String,
    pub(crate) kafka: String,
    pub(crate) corelog: String,
}

impl Difference {
    /// Without what stands in every name that the run made.
    pub(crate) fn make_readable(&mut self, prefix: &str) {
        let prefix = format!("{prefix}-");
        for text in [&mut self.field, &mut self.kafka, &mut self.corelog] {
            *text = text.replace(&prefix, "");
        }
    }
}

/// Pairs the entries of each scenario by their places, the first of a place with the first.
pub(crate) fn differences(kafka: &[Entry], corelog: &[Entry]) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut theirs = placed(corelog);
    let ended: Vec<&str> = corelog
        .iter()
        .filter(|e| matches!(e.outcome, Outcome::Broken(_)))
        .map(|e| e.scenario)
        .collect();
    for (place, entries) in placed(kafka) {
        let others = theirs.remove(&place).unwrap_or_default();
        for i in 0..entries.len().max(others.len()) {
            match (entries.get(i), others.get(i)) {
                (Some(a), Some(b)) => compare(&place, &a.outcome, &b.outcome, &mut found),
                // The scenario's end says why.
                (Some(a), None) if ended.contains(&a.scenario) => {}
                (a, b) => found.push(only_one(&place, a.or(b).expect("one of them"), a.is_some())),
            }
        }
    }
    for (place, entries) in theirs {
        found.extend(entries.iter().map(|e| only_one(&place, e, false)));
    }
    found
}

/// By place, sorted by it; scenarios and versions stand together.
fn placed(entries: &[Entry]) -> BTreeMap<String, Vec<&Entry>> {
    let mut placed: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        placed.entry(entry.place()).or_default().push(entry);
    }
    placed
}

fn only_one(place: &str, entry: &Entry, at_kafka: bool) -> Difference {
    let (said, nothing) = (entry.outcome.to_string(), "(not reached)".to_string());
    let (kafka, corelog) = if at_kafka {
        (said, nothing)
    } else {
        (nothing, said)
    };
    Difference {
        place: place.into(),
        field: "(course of the scenario)".into(),
        kafka,
        corelog,
    }
}

fn compare(place: &str, kafka: &Outcome, corelog: &Outcome, found: &mut Vec<Difference>) {
    match (kafka, corelog) {
        (Outcome::Answer(a), Outcome::Answer(b)) => compare_trees(place, "", a, b, found),
        (a, b) if a == b => {}
        (a, b) => found.push(Difference {
            place: place.into(),
            field: "(answer)".into(),
            kafka: a.to_string(),
            corelog: b.to_string(),
        }),
    }
}

fn compare_trees(
    place: &str,
    path: &str,
    kafka: &Tree,
    corelog: &Tree,
    found: &mut Vec<Difference>,
) {
    let differ = |field: String, kafka: String, corelog: String| Difference {
        place: place.into(),
        field,
        kafka,
        corelog,
    };
    let absent = || "(absent)".to_string();
    match (kafka, corelog) {
        (Tree::Fields(a), Tree::Fields(b)) => {
            for (name, value) in a {
                let path = join(path, name);
                match corelog.field(name) {
                    Some(other) => compare_trees(place, &path, value, other, found),
                    None => found.push(differ(path, value.to_string(), absent())),
                }
            }
            for (name, value) in b {
                if kafka.field(name).is_none() {
                    found.push(differ(join(path, name), absent(), value.to_string()));
                }
            }
        }
        (Tree::List(a), Tree::List(b)) => {
            // Elements that have a name are compared by it, so that one that is missing shows as
            // one difference and not as a shift of all that follow.
            let (left, right) = match (element_names(a), element_names(b)) {
                (Some(left), Some(right)) => (left, right),
                _ => {
                    let counted = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
                    (counted(a.len()), counted(b.len()))
                }
            };
            for (i, item) in a.iter().enumerate() {
                let path = format!("{path}[{}]", left[i]);
                match right.iter().position(|n| *n == left[i]) {
                    Some(j) => compare_trees(place, &path, item, &b[j], found),
                    None => found.push(differ(path, item.to_string(), absent())),
                }
            }
            for (j, item) in b.iter().enumerate() {
                if !left.contains(&right[j]) {
                    let path = format!("{path}[{}]", right[j]);
                    found.push(differ(path, absent(), item.to_string()));
                }
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(differ(path.into(), a.to_string(), b.to_string())),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.into()
    } else {
        format!("{path}.{name}")
    }
}

/// A name for each element; none if they are not all different.
fn element_names(items: &[Tree]) -> Option<Vec<String>> {
    let names: Option<Vec<String>> = items.iter().map(element_name).collect();
    let names = names?;
    let different: std::collections::HashSet<&String> = names.iter().collect();
    (different.len() == names.len()).then_some(names)
}

/// What tells an element of a list from its neighbours.
fn element_name(element: &Tree) -> Option<String> {
    const NAMES: &[&str] = &[
        "key",
        "api_key",
        "name",
        "topic",
        "topic_id",
        "group_id",
        "resource_name",
        "partition_index",
        "partition",
        "index",
        "node_id",
        "broker_id",
        "member_id",
    ];
    NAMES.iter().find_map(|name| match element.field(name) {
        Some(Tree::Scalar(value)) if value != "\"\"" && value != "None" => {
            Some(value.trim_matches('"').to_string())
        }
        _ => None,
    })
}

/// One line of the reviewed list: a pattern for each column, and the reason.
pub(crate) struct Allowed {
    line: usize,
    patterns: [String; 4],
    uses: usize,
}

pub(crate) struct AllowedList {
    entries: Vec<Allowed>,
}

impl AllowedList {
    /// Lines are `place | field | kafka | corelog`, `*` standing for any text. A comment above a
    /// line, or above a block of lines, says why; an entry without one is refused.
    pub(crate) fn read(list: &str) -> AllowedList {
        let mut entries = Vec::new();
        let mut reason = false;
        for (number, line) in list.lines().map(str::trim).enumerate() {
            if line.is_empty() {
                reason = false;
            } else if line.starts_with('#') {
                reason = true;
            } else {
                assert!(
                    reason,
                    "allowed.txt:{}: an entry without a reason",
                    number + 1
                );
                let columns: Vec<String> = line.split('|').map(|c| c.trim().to_string()).collect();
                let patterns = columns
                    .try_into()
                    .unwrap_or_else(|_| panic!("allowed.txt:{}: want 4 columns", number + 1));
                entries.push(Allowed {
                    line: number + 1,
                    patterns,
                    uses: 0,
                });
            }
        }
        AllowedList { entries }
    }

    pub(crate) fn allows(&mut self, found: &Difference) -> bool {
        let columns = [&found.place, &found.field, &found.kafka, &found.corelog];
        for entry in &mut self.entries {
            if std::iter::zip(&entry.patterns, columns).all(|(p, text)| matches(p, text)) {
                entry.uses += 1;
                return true;
            }
        }
        false
    }

    /// Entries that no difference needed any more.
    pub(crate) fn unused(&self) -> Vec<String> {
        let unused = self.entries.iter().filter(|e| e.uses == 0);
        unused
            .map(|e| format!("allowed.txt:{}: {}", e.line, e.patterns.join(" | ")))
            .collect()
    }
}

/// Whether `text` is what `pattern` says, `*` standing for any run of characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
