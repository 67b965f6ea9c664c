//! Where `unsafe`, conditional compilation and the outside world may stand; nothing unfinished.

use crate::lexer::{Kind, Source, Token, group_end};
use crate::rooms::test_files;
use crate::{Finding, SourceFile, Tree, listed_below};

const STYLE: &str = "docs/style.md";
const UNSAFE_HEADING: &str = "Files that may hold unsafe code";

pub(crate) fn check_unsafe(tree: &Tree) -> Vec<Finding> {
    let style = tree.file(STYLE).map_or("", |file| &file.text);
    let listed = listed_below(style, UNSAFE_HEADING);
    let mut findings = Vec::new();
    for (line, path) in &listed {
        if !path.starts_with("src/io/") && !path.starts_with("src/frame/") {
            findings.push(Finding::new(
                STYLE,
                *line,
                "unsafe code belongs to io and frame",
            ));
        }
        let holds = tree
            .file(path)
            .is_some_and(|file| !unsafe_tokens(file).is_empty());
        if !holds {
            let what = format!("{path} holds no unsafe code (any more): unlist it");
            findings.push(Finding::new(STYLE, *line, what));
        }
    }
    for file in tree.rust() {
        let may = listed.iter().any(|(_, path)| *path == file.path);
        let lines: Vec<&str> = file.text.lines().collect();
        for token in unsafe_tokens(file) {
            if file.is_product() && !may {
                let what = format!("unsafe code in a file that {STYLE} does not list");
                findings.push(Finding::new(&file.path, token.line, what));
            }
            if !is_justified(&lines, token.line - 1) {
                let what = "no `// SAFETY:` (or `# Safety`) right above this";
                findings.push(Finding::new(&file.path, token.line, what));
            }
        }
    }
    findings
}

fn unsafe_tokens(file: &SourceFile) -> Vec<Token> {
    let source = Source::read(&file.text);
    let mut found = Vec::new();
    let mut trait_impl_end = 0;
    for (at, token) in source.tokens.iter().enumerate() {
        if token.text == "impl" && !token.in_body {
            let head = source.tokens[at..]
                .iter()
                .take_while(|token| token.text != "{");
            let words: Vec<&str> = head.map(|token| token.text.as_str()).collect();
            if words.contains(&"for") {
                trait_impl_end = group_end(&source.tokens, at + words.len());
            }
        }
        // What an unsafe method of a trait asks of its caller is said where the trait is.
        let is_trait_method = at < trait_impl_end && source.matches(at + 1, &["fn"]);
        if token.kind == Kind::Ident && token.text == "unsafe" && !is_trait_method {
            found.push(token.clone());
        }
    }
    found
}

/// Whether a comment with the reason stands on the statement's line or right above its start.
fn is_justified(lines: &[&str], at: usize) -> bool {
    let says_why = |line: &str| line.contains("SAFETY:") || line.contains("# Safety");
    if says_why(lines[at]) {
        return true;
    }
    let mut in_comment = false;
    for line in lines[..at].iter().rev().map(|line| line.trim()) {
        let is_comment = line.starts_with("//");
        let is_attribute = line.starts_with("#[");
        if is_comment && says_why(line) {
            return true;
        }
        let starts_other = line.is_empty() || line.ends_with([';', '{', '}']);
        if !is_comment && !is_attribute && (in_comment || starts_other) {
            return false;
        }
        in_comment |= is_comment;
    }
    false
}

/// `cfg(feature)` stands in `io` only, but for test modules; `cfg(test)` in no function's body.
pub(crate) fn check_conditions(tree: &Tree) -> Vec<Finding> {
    let tests = test_files(tree);
    let mut findings = Vec::new();
    for file in tree
        .product()
        .filter(|file| !file.path.starts_with("src/io/"))
    {
        let source = Source::read(&file.text);
        for (at, token) in source.tokens.iter().enumerate() {
            let is_cfg = token.kind == Kind::Ident && token.text.starts_with("cfg");
            if !is_cfg || token.in_test || tests.contains(&file.path) {
                continue;
            }
            let open = at + 1 + usize::from(source.matches(at + 1, &["!"]));
            if !source.matches(open, &["("]) {
                continue;
            }
            let end = group_end(&source.tokens, open);
            let names = |word: &str| source.tokens[open..end].iter().any(|t| t.text == word);
            if names("feature") {
                let what = "only `io` asks which features are compiled in";
                findings.push(Finding::new(&file.path, token.line, what));
            } else if names("test") && token.in_body {
                let what = "a function that behaves differently under test tests something else";
                findings.push(Finding::new(&file.path, token.line, what));
            }
        }
    }
    findings
}

/// Paths that reach around `io`; clippy.toml forbids the calls, this the imports.
const AROUND_IO: [(&[&str], &str); 9] = [
    (&["std", "::", "fs"], "files are opened through io"),
    (&["thread", "::", "spawn"], "threads are started through io"),
    (
        &["thread", "::", "Builder"],
        "threads are started through io",
    ),
    (&["thread", "::", "sleep"], "use io::sleep"),
    (&["Instant", "::", "now"], "use io::now"),
    (&["SystemTime"], "use io::wall_clock"),
    (
        &["TcpListener", "::", "bind", "(", "(", "\""],
        "sockets are opened through io",
    ),
    (&["std", "::", "net", "::", "TcpStream"], "use io::blocking"),
    (
        &["allow", "(", "clippy", "::", "disallowed_methods"],
        "only io may call what clippy.toml lists",
    ),
];

pub(crate) fn check_outside_world(tree: &Tree) -> Vec<Finding> {
    let tests = test_files(tree);
    let mut findings = Vec::new();
    let files = tree
        .product()
        .filter(|file| !file.path.starts_with("src/io/"));
    for file in files.filter(|file| !tests.contains(&file.path)) {
        let source = Source::read(&file.text);
        for (at, token) in source
            .tokens
            .iter()
            .enumerate()
            .filter(|(_, token)| !token.in_test)
        {
            if token.kind != Kind::Ident {
                continue;
            }
            for (pattern, why) in AROUND_IO {
                if source.matches(at, pattern) {
                    findings.push(Finding::new(&file.path, token.line, why));
                }
            }
        }
    }
    findings
}

/// Macros, attributes and marks of unfinished work.
pub(crate) fn check_unfinished(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let source = Source::read(&file.text);
        for (at, token) in source.tokens.iter().enumerate() {
            let is_macro = source.matches(at + 1, &["!"]);
            let unfinished = matches!(token.text.as_str(), "todo" | "unimplemented" | "dbg");
            if token.kind == Kind::Ident && is_macro && unfinished {
                let what = format!("`{}!` is unfinished work", token.text);
                findings.push(Finding::new(&file.path, token.line, what));
            }
            if source.matches(at, &["#", "[", "ignore"]) {
                let what = "a test that does not run proves nothing";
                findings.push(Finding::new(&file.path, token.line, what));
            }
        }
        for comment in source.comments {
            let mut words = comment.text.split(|c: char| !c.is_alphanumeric());
            if words.any(|word| ["TODO", "FIXME", "XXX"].contains(&word)) {
                let what = "a mark of unfinished work";
                findings.push(Finding::new(&file.path, comment.line, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&Tree) -> Vec<Finding>;

    fn check(check: Check, files: &[(&str, &str)], expected_lines: &[usize]) {
        let found = check(&Tree::of(files));
        let lines: Vec<usize> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, expected_lines, "{files:?}: {found:?}");
    }

    const LIST: &str = "## Files that may hold unsafe code\n- `src/io/a.rs`\n";

    #[test]
    fn unsafe_code_without_a_reason_or_a_listing_is_found() {
        let good = "// SAFETY: a is valid.\nlet x = unsafe { *a };\n";
        check(check_unsafe, &[(STYLE, LIST), ("src/io/a.rs", good)], &[]);
        let two_lines = "// SAFETY: a\n// is valid.\nlet x =\n    unsafe { *a };\n";
        check(
            check_unsafe,
            &[(STYLE, LIST), ("src/io/a.rs", two_lines)],
            &[],
        );
        let method = "/// # Safety\n/// Only once.\n#[inline]\npub unsafe fn a() {}\n";
        check(check_unsafe, &[(STYLE, LIST), ("src/io/a.rs", method)], &[]);
        let method =
            "// SAFETY: a\nunsafe impl A for B {\n\n unsafe fn a() { unsafe { b() } }\n}\n";
        check(
            check_unsafe,
            &[(STYLE, LIST), ("src/io/a.rs", method)],
            &[4],
        );
        let bare = "let y = 1;\nlet x = unsafe { *a };\n";
        check(check_unsafe, &[(STYLE, LIST), ("src/io/a.rs", bare)], &[2]);
        let far = "// SAFETY: a\nlet y = 1;\nunsafe { *a };\n";
        check(check_unsafe, &[(STYLE, LIST), ("src/io/a.rs", far)], &[3]);
        check(check_unsafe, &[(STYLE, ""), ("src/io/a.rs", good)], &[2]);
        check(
            check_unsafe,
            &[(STYLE, LIST), ("src/io/a.rs", "fn a() {}")],
            &[2],
        );
        let elsewhere = "## Files that may hold unsafe code\n- `src/log/a.rs`\n";
        check(
            check_unsafe,
            &[(STYLE, elsewhere), ("src/log/a.rs", good)],
            &[2],
        );
    }

    #[test]
    fn conditional_code_outside_io_is_found() {
        check(
            check_conditions,
            &[("src/io/a.rs", "#[cfg(feature = \"sim\")] mod a;")],
            &[],
        );
        check(
            check_conditions,
            &[("src/log/a.rs", "#[cfg(feature = \"sim\")] mod a;")],
            &[1],
        );
        check(
            check_conditions,
            &[("src/log/a.rs", "fn a() { if cfg!(test) {} }")],
            &[1],
        );
        check(
            check_conditions,
            &[("src/log/a.rs", "fn a() { #[cfg(test)] b(); }")],
            &[1],
        );
        check(
            check_conditions,
            &[("src/log/a.rs", "#[cfg(test)] mod tests { fn a() {} }")],
            &[],
        );
        let on_test = "#[cfg(all(test, feature = \"sim\"))] mod tests { fn a() {} }";
        check(check_conditions, &[("src/log/a.rs", on_test)], &[]);
        check(
            check_conditions,
            &[("src/log/a.rs", "fn a() { #[cfg(unix)] b(); }")],
            &[],
        );
    }

    #[test]
    fn paths_around_io_are_found() {
        check(check_outside_world, &[("src/io/a.rs", "use std::fs;")], &[]);
        check(
            check_outside_world,
            &[("src/log/a.rs", "use std::fs;")],
            &[1],
        );
        check(
            check_outside_world,
            &[("src/log/a.rs", "\nfn a() { Instant::now() }")],
            &[2],
        );
        check(
            check_outside_world,
            &[("src/log/a.rs", "use std::time::Duration;")],
            &[],
        );
        let allowed = "#![allow(clippy::disallowed_methods)]";
        check(check_outside_world, &[("src/log/a.rs", allowed)], &[1]);
    }

    #[test]
    fn unfinished_work_is_found() {
        check(
            check_unfinished,
            &[("src/a.rs", "fn a() { todo!() }")],
            &[1],
        );
        check(
            check_unfinished,
            &[("src/a.rs", "fn a() {\n unimplemented!() }")],
            &[2],
        );
        check(
            check_unfinished,
            &[("tests/a.rs", "#[test]\n#[ignore]\nfn a() {}")],
            &[2],
        );
        let mark = ["// TO", "DO: b"].concat();
        check(check_unfinished, &[("src/a.rs", &mark)], &[1]);
        check(check_unfinished, &[("src/a.rs", "// \\uXXXX")], &[]);
        check(
            check_unfinished,
            &[("src/a.rs", "const A: &str = \"todo!()\";")],
            &[],
        );
    }
}
