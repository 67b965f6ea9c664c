//! What `/metrics` shows is counted somewhere: each figure that `src/metrics.rs` lists is named by
//! a file outside of metrics and admin.

use crate::{Finding, Tree};

const FIGURES: &str = "src/metrics.rs";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let text = tree.file(FIGURES).map_or("", |file| &file.text);
    let mut findings = Vec::new();
    let mut kind = None;
    let mut figures = 0;
    for (line, number) in text.lines().zip(1..) {
        if line.starts_with('}') {
            kind = None;
        }
        let line = line.trim();
        if let Some(name) = line.strip_suffix(" {")
            && ["Counter", "Gauge", "Stage"].contains(&name)
        {
            kind = Some(name);
        }
        let (Some(kind), Some((name, _))) = (kind, line.split_once(" = \"")) else {
            continue;
        };
        figures += 1;
        let figure = format!("{kind}::{name}");
        let mut sources = tree.rust().filter(|file| is_source(&file.path));
        if !sources.any(|file| names(&file.text, &figure)) {
            let what = format!("{figure} is shown and never counted");
            findings.push(Finding::new(FIGURES, number, what));
        }
    }
    if figures == 0 {
        findings.push(Finding::new(FIGURES, 1, "no figure is found"));
    }
    findings
}

fn is_source(path: &str) -> bool {
    path.starts_with("src/") && !path.starts_with("src/metrics") && !path.starts_with("src/admin")
}

fn names(text: &str, figure: &str) -> bool {
    text.match_indices(figure).any(|(at, _)| {
        let next = text[at + figure.len()..].chars().next();
        !next.is_some_and(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_nobody_counts_is_found() {
        let list = "figures! {\n    Gauge {\n        Files = \"files\",\n        Cores = \"cores\",\n    }\n}\n";
        let source = "metrics::set(Gauge::FilesOpen, 1); metrics::set(Gauge::Cores, 1)";
        let files = [(FIGURES, list), ("src/io/mod.rs", source)];
        let found: Vec<String> = check(&Tree::of(&files))
            .iter()
            .map(Finding::to_string)
            .collect();
        let what = "Gauge::Files is shown and never counted";
        assert_eq!(found, [format!("{FIGURES}:3: {what}")]);
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }
}
