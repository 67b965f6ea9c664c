//! Is the code arranged as docs/architecture.md and docs/style.md say?
//!
//! Each check takes the tree of source files and gives findings; on this repository it must give
//! none. Next to each check stands a test that shows it finding something, so that a check which
//! went blind is noticed.

mod copies;
mod documents;
mod figures;
mod handlers;
mod lexer;
mod limits;
mod rooms;
mod safety;

use std::fmt;
use std::path::{Path, PathBuf};

/// Every text file of the repository that a check reads, sorted by path.
pub(crate) struct Tree {
    pub(crate) files: Vec<SourceFile>,
}

/// One file: its path from the repository's root, with `/`, and its text.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// One breach of a rule, printed as a compiler prints its errors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding {
            path: path.to_string(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

impl SourceFile {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// Whether the file is part of the broker, as opposed to its tests, benches and scripts.
    pub(crate) fn is_product(&self) -> bool {
        self.path.starts_with("src/") && self.is_rust()
    }
}

impl Tree {
    /// The repository that this test was built from.
    fn of_repository() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = Vec::new();
        for name in [
            "src",
            "tests",
            "benches",
            "perf",
            "ci",
            "docs",
            "kernel-notes",
        ] {
            collect(&root.join(name), &mut paths);
        }
        paths.push(root.join("README.md"));
        let mut files: Vec<SourceFile> = paths
            .into_iter()
            .filter_map(|path| {
                let text = std::fs::read_to_string(&path).ok()?;
                let path = path.strip_prefix(root).expect("below the root");
                Some(SourceFile {
                    path: path.to_str().expect("a UTF-8 path").to_string(),
                    text,
                })
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(files.len() > 20, "the walk found the repository");
        Tree { files }
    }

    /// A tree made up for a test.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        Tree {
            files: files
                .iter()
                .map(|(path, text)| SourceFile {
                    path: path.to_string(),
                    text: text.to_string(),
                })
                .collect(),
        }
    }

    pub(crate) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.is_rust())
    }

    pub(crate) fn product(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.is_product())
    }

    pub(crate) fn markdown(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.is_markdown())
    }
}

/// Files below `dir`, without what builds and package managers leave there.
fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if name == "target" || name == "node_modules" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// The list items below a heading of a markdown text, as the first `code span` of each, with lines.
pub(crate) fn listed_below(markdown: &str, heading: &str) -> Vec<(usize, String)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (index, line) in markdown.lines().enumerate() {
        if line.starts_with('#') {
            inside = line.trim_start_matches('#').trim() == heading;
        } else if inside && line.starts_with("- ") {
            let code = line.split('`').nth(1);
            found.extend(code.map(|code| (index + 1, code.to_string())));
        }
    }
    found
}

fn expect_clean(findings: Vec<Finding>) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} findings:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

#[test]
fn rooms_use_only_what_the_table_lists() {
    expect_clean(rooms::check(&Tree::of_repository()));
}

#[test]
fn files_keep_to_size_width_and_names() {
    expect_clean(limits::check(&Tree::of_repository()));
}

#[test]
fn unsafe_stands_in_listed_files_and_says_why_it_is_sound() {
    expect_clean(safety::check_unsafe(&Tree::of_repository()));
}

#[test]
fn conditional_code_stays_in_io() {
    expect_clean(safety::check_conditions(&Tree::of_repository()));
}

#[test]
fn the_outside_world_is_reached_through_io() {
    expect_clean(safety::check_outside_world(&Tree::of_repository()));
}

#[test]
fn nothing_is_left_unfinished() {
    expect_clean(safety::check_unfinished(&Tree::of_repository()));
}

#[test]
fn hot_files_copy_only_through_the_counter() {
    expect_clean(copies::check(&Tree::of_repository()));
}

#[test]
fn each_api_has_a_file_that_says_its_versions() {
    expect_clean(handlers::check(&Tree::of_repository()));
}

#[test]
fn the_walks_name_functions_that_exist() {
    expect_clean(handlers::check_walks(&Tree::of_repository()));
}

#[test]
fn each_figure_is_counted() {
    expect_clean(figures::check(&Tree::of_repository()));
}

#[test]
fn code_and_kernel_notes_cite_each_other() {
    expect_clean(documents::check_kernel_notes(&Tree::of_repository()));
}

#[test]
fn links_lead_somewhere() {
    expect_clean(documents::check_links(&Tree::of_repository()));
}

#[test]
fn decisions_are_dated() {
    expect_clean(documents::check_decisions(&Tree::of_repository()));
}

#[test]
fn words_are_plain() {
    expect_clean(documents::check_words(&Tree::of_repository()));
}

#[test]
fn list_items_are_found_below_their_heading_only() {
    let text = "# A\n- `x`\n## B\n\n- `src/a.rs`: why\n- no code\n## C\n- `y`\n";
    assert_eq!(listed_below(text, "B"), vec![(5, "src/a.rs".to_string())]);
}
