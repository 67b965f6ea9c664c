//! Documents: links between code and notes, links among documents, dates, plain words.

use std::collections::BTreeSet;

use crate::lexer::Source;
use crate::{Finding, SourceFile, Tree};

/// A note under kernel-notes/ names the code that relies on it, and that code names the note.
pub(crate) fn check_kernel_notes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.product() {
        for comment in Source::read(&file.text).comments {
            for note in paths_in(&comment.text, "kernel-notes/", ".md") {
                match tree.file(&note) {
                    None => {
                        let what = format!("{note} does not exist");
                        findings.push(Finding::new(&file.path, comment.line, what));
                    }
                    Some(text) if !text.text.contains(&file.path) => {
                        let what = format!("{note} does not name {} in return", file.path);
                        findings.push(Finding::new(&file.path, comment.line, what));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    let is_note = |file: &&SourceFile| file.path.starts_with("kernel-notes/") && file.is_markdown();
    for note in tree
        .markdown()
        .filter(is_note)
        .filter(|note| !note.path.ends_with("README.md"))
    {
        let cited = paths_in(&note.text, "src/", ".rs");
        if cited.is_empty() {
            findings.push(Finding::new(
                &note.path,
                1,
                "names no code that relies on it",
            ));
        }
        for path in cited {
            let names_note = |file: &SourceFile| file.text.contains(&note.path);
            if !tree.file(&path).is_some_and(names_note) {
                let what = format!("{path} is missing or does not name this note");
                findings.push(Finding::new(&note.path, 1, what));
            }
        }
    }
    findings
}

/// Paths in a text that start and end as asked.
fn paths_in(text: &str, prefix: &str, suffix: &str) -> BTreeSet<String> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
    text.match_indices(prefix)
        .filter_map(|(at, _)| {
            let rest = &text[at..];
            let length = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
            let end = rest[..length].rfind(suffix)? + suffix.len();
            Some(rest[..end].to_string())
        })
        .collect()
}

/// Relative links of markdown files lead to files that exist.
pub(crate) fn check_links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.markdown() {
        for (index, line) in file.text.lines().enumerate() {
            for target in line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
            {
                let target = target.split('#').next().unwrap_or("");
                if target.is_empty() || target.contains("://") {
                    continue;
                }
                if !exists(tree, &resolve(&file.path, target)) {
                    let what = format!("the link to {target} leads nowhere");
                    findings.push(Finding::new(&file.path, index + 1, what));
                }
            }
        }
    }
    findings
}

fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn exists(tree: &Tree, path: &str) -> bool {
    let below = format!("{path}/");
    let at_root = ["LICENSE", "Cargo.toml", "clippy.toml", "rustfmt.toml"];
    tree.files
        .iter()
        .any(|file| file.path == path || file.path.starts_with(&below))
        || at_root.contains(&path)
}

/// A decision's page carries its date near its top.
pub(crate) fn check_decisions(tree: &Tree) -> Vec<Finding> {
    let pages = tree
        .markdown()
        .filter(|file| file.path.starts_with("docs/decisions/"));
    pages
        .filter(|page| !page.path.ends_with("README.md"))
        .filter(|page| !has_date(&page.path) && !page.text.lines().take(6).any(has_date))
        .map(|page| Finding::new(&page.path, 1, "a decision without a date (2026-11-22)"))
        .collect()
}

fn has_date(text: &str) -> bool {
    text.as_bytes().windows(10).any(|window| {
        window.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    })
}

/// What a reader elsewhere cannot use: paths of one machine, numbers of one tracker, boasting.
const WORDS: [&str; 14] = [
    "/work/",
    "/home/",
    "/root/",
    "issue #",
    "blazing",
    "seamless",
    "cutting-edge",
    "world-class",
    "state-of-the-art",
    "revolutionary",
    "game-chang",
    "lorem ipsum",
    "tbd",
    "coming soon",
];

pub(crate) fn check_words(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_list = |file: &SourceFile| file.path == "tests/tidy/documents.rs";
    for file in tree.files.iter().filter(|file| !is_list(file)) {
        for (index, line) in file.text.lines().enumerate() {
            let lower = line.to_lowercase();
            let words = |word: &&&str| has_word(&lower, word);
            if let Some(word) = WORDS.iter().find(words) {
                let what = format!("`{}` has no place here", word.trim());
                findings.push(Finding::new(&file.path, index + 1, what));
            }
        }
    }
    findings
}

/// Whether the line has the word, not merely as the end of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let is_short = word.len() <= 3;
        let ends = !is_short || !after.is_some_and(char::is_alphanumeric);
        ends && !before.is_some_and(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&Tree) -> Vec<Finding>;

    fn check(check: Check, files: &[(&str, &str)], expected: &[&str]) {
        let found: Vec<String> = check(&Tree::of(files))
            .iter()
            .map(Finding::to_string)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn one_sided_citations_are_found() {
        let code = ("src/io/a.rs", "//! Why: kernel-notes/sync.md.");
        let note = ("kernel-notes/sync.md", "# Sync\nRelied on by src/io/a.rs.");
        check(check_kernel_notes, &[code, note], &[]);
        check(
            check_kernel_notes,
            &[code],
            &["src/io/a.rs:1: kernel-notes/sync.md does not exist"],
        );
        check(
            check_kernel_notes,
            &[code, ("kernel-notes/sync.md", "src/io/b.rs")],
            &[
                "src/io/a.rs:1: kernel-notes/sync.md does not name src/io/a.rs in return",
                "kernel-notes/sync.md:1: src/io/b.rs is missing or does not name this note",
            ],
        );
        let lonely = ["kernel-notes/sync.md:1: names no code that relies on it"];
        check(
            check_kernel_notes,
            &[("kernel-notes/sync.md", "# Sync")],
            &lonely,
        );
    }

    #[test]
    fn dead_links_are_found() {
        let page = (
            "docs/a.md",
            "[b](decisions/b.md) [c](../README.md#x) [d](https://d) [e](#e)",
        );
        check(
            check_links,
            &[page, ("docs/decisions/b.md", ""), ("README.md", "")],
            &[],
        );
        let dead = ["docs/a.md:1: the link to decisions/b.md leads nowhere"];
        check(check_links, &[page, ("README.md", "")], &dead);
    }

    #[test]
    fn undated_decisions_are_found() {
        check(
            check_decisions,
            &[("docs/decisions/2026-11-22-a.md", "# A")],
            &[],
        );
        check(
            check_decisions,
            &[("docs/decisions/a.md", "# A\n\nDate: 2026-11-22")],
            &[],
        );
        let undated = ["docs/decisions/a.md:1: a decision without a date (2026-11-22)"];
        check(
            check_decisions,
            &[("docs/decisions/a.md", "# A\n20261122")],
            &undated,
        );
    }

    #[test]
    fn words_without_use_to_a_reader_are_found() {
        check(
            check_words,
            &[("docs/a.md", "a network/work/x and outbound")],
            &[],
        );
        check(
            check_words,
            &[("docs/a.md", "in /work/x")],
            &["docs/a.md:1: `/work/` has no place here"],
        );
        check(
            check_words,
            &[("src/a.rs", "// Blazing fast")],
            &["src/a.rs:1: `blazing` has no place here"],
        );
        check(
            check_words,
            &[("ci/a", "\nsee issue #7")],
            &["ci/a:2: `issue #` has no place here"],
        );
    }
}
