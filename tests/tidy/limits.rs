//! Sizes, widths and names of files.

use crate::{Finding, SourceFile, Tree};

const FILE_LINES_MAX: usize = 1000;
const LINE_WIDTH_MAX: usize = 100;

/// Names that say nothing about what a file holds.
const EMPTY_NAMES: [&str; 12] = [
    "common", "util", "utils", "helper", "helpers", "manager", "managers", "misc", "base", "types",
    "shared", "stuff",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        findings.extend(check_size(file));
        findings.extend(check_width(file));
    }
    for file in &tree.files {
        findings.extend(check_name(file));
    }
    findings
}

fn check_size(file: &SourceFile) -> Option<Finding> {
    let lines = file.text.lines().count();
    let what = format!("{lines} lines; at most {FILE_LINES_MAX}: split it by what it does");
    (lines > FILE_LINES_MAX).then(|| Finding::new(&file.path, lines, what))
}

fn check_width(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let width = line.chars().count();
        // A link, a row of a table and a text are not broken into two lines.
        let comment = line
            .trim_start()
            .trim_start_matches(['/', '!'])
            .trim_start();
        let is_comment = line.trim_start().starts_with("//");
        let is_whole = is_comment && (line.contains("://") || comment.starts_with('|'));
        let has_text = !is_comment && line.contains('"');
        if width > LINE_WIDTH_MAX && !is_whole && !has_text {
            let what = format!("{width} columns; at most {LINE_WIDTH_MAX}");
            findings.push(Finding::new(&file.path, index + 1, what));
        }
    }
    findings
}

fn check_name(file: &SourceFile) -> Option<Finding> {
    let parts = file
        .path
        .split('/')
        .map(|part| part.split('.').next().unwrap_or(part));
    let empty = parts
        .flat_map(name_words)
        .find(|word| EMPTY_NAMES.contains(word))?;
    let what = format!("the name `{empty}` says nothing: name the noun that it holds");
    Some(Finding::new(&file.path, 1, what))
}

/// The words of a name that must mean something: `base_offset` may say base, `base` alone not.
fn name_words(part: &str) -> Vec<&str> {
    let words: Vec<&str> = part.split(['_', '-']).collect();
    if words.len() == 1 {
        return words;
    }
    words
        .into_iter()
        .filter(|word| word.starts_with("manager") || word.starts_with("util"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)]))
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn long_files_and_lines_are_found() {
        assert_eq!(found("src/a.rs", &"x\n".repeat(1000)), [""; 0]);
        assert_eq!(found("src/a.rs", &"x\n".repeat(1001)).len(), 1);
        assert_eq!(found("src/a.rs", &"ä".repeat(100)), [""; 0]);
        assert_eq!(
            found("src/a.rs", &"x".repeat(101)),
            ["101 columns; at most 100"]
        );
        assert_eq!(
            found("src/a.rs", &format!("// see https://{}", "x".repeat(100))),
            [""; 0]
        );
        assert_eq!(
            found("src/a.rs", &format!("//! | {} |", "x".repeat(100))),
            [""; 0]
        );
        assert_eq!(
            found("src/a.rs", &format!("//! {}", "x".repeat(100))).len(),
            1
        );
        assert_eq!(
            found("src/a.rs", &format!("  \"{}\",", "x".repeat(100))),
            [""; 0]
        );
        assert_eq!(found("docs/a.md", &"x".repeat(101)), [""; 0]);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        for path in [
            "src/common/mod.rs",
            "src/log/util.rs",
            "ci/helpers.sh",
            "src/types.rs",
        ] {
            assert_eq!(found(path, "").len(), 1, "{path}");
        }
        assert_eq!(found("src/offset_manager.rs", "").len(), 1);
        assert_eq!(found("src/base_offset.rs", ""), [""; 0]);
    }
}
