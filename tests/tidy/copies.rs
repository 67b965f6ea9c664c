//! Payload is copied once, through the counter: no raw copies in the files of the hot path.

use crate::lexer::{Kind, Source};
use crate::rooms::test_files;
use crate::{Finding, Tree, listed_below};

const STYLE: &str = "docs/style.md";
const HEADING: &str = "Hot files";

/// Calls that copy bytes. `clone` is not among them: what hot files clone are reference counts,
/// because the type that would copy when cloned, `Vec<u8>`, may not stand in them.
const COPIES: [&str; 10] = [
    "copy_from_slice",
    "clone_from_slice",
    "extend_from_slice",
    "copy_nonoverlapping",
    "copy_within",
    "extend_from_within",
    "to_vec",
    "put_slice",
    "into_vec",
    "concat",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let style = tree.file(STYLE).map_or("", |file| &file.text);
    let tests = test_files(tree);
    let mut findings = Vec::new();
    for (_, path) in listed_below(style, HEADING) {
        // A hot file that is not written yet has nothing to copy.
        let Some(file) = tree.file(&path).filter(|file| !tests.contains(&file.path)) else {
            continue;
        };
        let source = Source::read(&file.text);
        for (at, token) in source
            .tokens
            .iter()
            .enumerate()
            .filter(|(_, token)| !token.in_test)
        {
            let is_call = source.matches(at + 1, &["("]) || source.matches(at + 1, &["::", "<"]);
            let copies = token.kind == Kind::Ident && COPIES.contains(&token.text.as_str());
            if copies && is_call {
                let what = format!("`{}` in a hot file: copy through the counter", token.text);
                findings.push(Finding::new(&file.path, token.line, what));
            }
            if source.matches(at, &["Vec", "<", "u8", ">"]) {
                let what = "`Vec<u8>` in a hot file: payload is `Bytes`, which clones for free";
                findings.push(Finding::new(&file.path, token.line, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "## Hot files\n- `src/log/append.rs`: why\n- `src/log/read.rs`\n";

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let found = check(&Tree::of(&[(STYLE, LIST), (path, text)]));
        found.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn raw_copies_in_hot_files_are_found() {
        assert_eq!(
            lines(
                "src/log/append.rs",
                "fn a() {\n b.copy_from_slice(c);\n d.to_vec() }"
            ),
            [2, 3]
        );
        assert_eq!(
            lines(
                "src/log/append.rs",
                "fn a() { BytesMut::extend_from_slice(b, c) }"
            ),
            [1]
        );
        assert_eq!(lines("src/log/append.rs", "struct A { b: Vec<u8> }"), [1]);
        assert_eq!(
            lines(
                "src/log/append.rs",
                "fn a() { copy_payload(b, c); d.clone() }"
            ),
            [0; 0]
        );
        assert_eq!(
            lines(
                "src/log/append.rs",
                "#[cfg(test)] mod t { fn a() { b.to_vec() } }"
            ),
            [0; 0]
        );
        assert_eq!(lines("src/log/index.rs", "fn a() { b.to_vec() }"), [0; 0]);
    }
}
