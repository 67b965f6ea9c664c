//! One file per API in `handlers`, which states its key and versions on its first line; and the
//! walks of docs/architecture.md name functions that are there.

use crate::{Finding, Tree};

const APIS: &str = "src/protocol/api.rs";
const WALKS: &str = "docs/architecture.md";

/// One row of the table of APIs: `Name = key, first..=last, flexible n;`.
struct Api {
    line: usize,
    name: String,
    key: u32,
    first: u32,
    last: u32,
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(table) = tree.file(APIS) else {
        return vec![Finding::new(APIS, 1, "the table of APIs is missing")];
    };
    let apis: Vec<Api> = table.text.lines().zip(1..).filter_map(read_row).collect();
    let mut findings = Vec::new();
    if apis.is_empty() {
        findings.push(Finding::new(
            APIS,
            1,
            "no row of the table of APIs is understood",
        ));
    }
    for api in apis {
        let path = format!("src/handlers/{}.rs", snake_case(&api.name));
        let Some(file) = tree.file(&path) else {
            let what = format!("{} is listed, but there is no {path}", api.name);
            findings.push(Finding::new(APIS, api.line, what));
            continue;
        };
        let expected = first_line(&api);
        if !file.text.starts_with(&expected) {
            let what = format!("the first line is not `{expected}`");
            findings.push(Finding::new(&path, 1, what));
        }
    }
    findings
}

fn read_row((line, number): (&str, usize)) -> Option<Api> {
    let (name, rest) = line.trim().split_once(" = ")?;
    let (key, rest) = rest.split_once(", ")?;
    let (versions, _) = rest.split_once(", flexible")?;
    let (first, last) = versions.split_once("..=")?;
    Some(Api {
        line: number,
        name: name.to_string(),
        key: key.parse().ok()?,
        first: first.parse().ok()?,
        last: last.parse().ok()?,
    })
}

fn first_line(api: &Api) -> String {
    let Api {
        name,
        key,
        first,
        last,
        ..
    } = api;
    match last - first {
        0 => format!("//! {name} (key {key}), version {first}."),
        1 => format!("//! {name} (key {key}), versions {first} and {last}."),
        _ => format!("//! {name} (key {key}), versions {first} to {last}."),
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// Each `file::function` in the second column of a walk is below src.
pub(crate) fn check_walks(tree: &Tree) -> Vec<Finding> {
    let text = tree.file(WALKS).map_or("", |file| &file.text);
    let mut findings = Vec::new();
    let mut in_walk = false;
    let mut steps = 0;
    for (line, number) in text.lines().zip(1..) {
        if line.starts_with('#') {
            in_walk = line.ends_with(", walked");
        }
        let cells: Vec<&str> = line.split('|').collect();
        let [_, _, places, _] = cells[..] else {
            continue;
        };
        for place in places.split('`').skip(1).step_by(2).filter(|_| in_walk) {
            steps += 1;
            if !is_there(tree, place) {
                let what = format!("the walk leads to src/{place}, which does not exist");
                findings.push(Finding::new(WALKS, number, what));
            }
        }
    }
    if steps == 0 {
        findings.push(Finding::new(
            WALKS,
            1,
            "no walk of a produce or a fetch is found",
        ));
    }
    findings
}

fn is_there(tree: &Tree, place: &str) -> bool {
    let Some((path, function)) = place.split_once("::") else {
        return false;
    };
    let declared = |line: &str| {
        let (_, rest) = line.split_once("fn ")?;
        rest.strip_prefix(function)?.chars().next()
    };
    tree.file(&format!("src/{path}")).is_some_and(|file| {
        let mut lines = file.text.lines();
        lines.any(|line| matches!(declared(line), Some('(' | '<')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "apis! {\n    Fetch = 1, 4..=18, flexible 12;\n    OffsetDelete = 47, 0..=0, flexible 0x7fff; // NEVER\n}";

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files = [&[(APIS, TABLE)], files].concat();
        check(&Tree::of(&files))
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    #[test]
    fn handlers_that_are_missing_or_say_something_else_are_found() {
        let fetch = (
            "src/handlers/fetch.rs",
            "//! Fetch (key 1), versions 4 to 18.\n",
        );
        let delete = (
            "src/handlers/offset_delete.rs",
            "//! OffsetDelete (key 47), version 0.\n",
        );
        assert_eq!(found(&[fetch, delete]), [""; 0]);
        let missing = "OffsetDelete is listed, but there is no src/handlers/offset_delete.rs";
        assert_eq!(found(&[fetch]), [format!("{APIS}:3: {missing}")]);
        let old = (
            "src/handlers/fetch.rs",
            "//! Fetch (key 1), versions 4 to 17.\n",
        );
        let what = "the first line is not `//! Fetch (key 1), versions 4 to 18.`";
        assert_eq!(
            found(&[old, delete]),
            [format!("src/handlers/fetch.rs:1: {what}")]
        );
        let none = check(&Tree::of(&[(APIS, "")]));
        assert_eq!(none.len(), 1);
    }

    #[test]
    fn walks_that_lead_nowhere_are_found() {
        let text = "# Rooms\n| a | `no/file.rs` |\n## One fetch, walked\n\n\
            | read | `net/a.rs::read`, `net/a.rs::rea`, `net/b.rs::read`, `net/a.rs` |\n";
        let source = "pub(super) async fn read<T>(a: T) {}";
        let found = check_walks(&Tree::of(&[(WALKS, text), ("src/net/a.rs", source)]));
        let lines: Vec<String> = found.iter().map(Finding::to_string).collect();
        let what =
            |place| format!("{WALKS}:5: the walk leads to src/net/{place}, which does not exist");
        assert_eq!(lines, ["a.rs::rea", "b.rs::read", "a.rs"].map(what));
        assert_eq!(check_walks(&Tree::of(&[(WALKS, "# Rooms")])).len(), 1);
    }
}
