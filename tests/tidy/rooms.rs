//! The room table of docs/architecture.md against the `crate::` paths of src.

use std::collections::{BTreeMap, BTreeSet};

use crate::lexer::{Kind, Source, group_end};
use crate::{Finding, SourceFile, Tree};

const TABLE: &str = "docs/architecture.md";

/// One row of the table.
struct Room {
    name: String,
    line: usize,
    may_use: Vec<String>,
    /// Crates that the row says this room alone knows, as they are written in paths.
    alone_knows: Vec<String>,
}

/// The rooms in table order, and the modules that stand outside, usable by all.
struct House {
    rooms: Vec<Room>,
    outside: BTreeSet<String>,
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(table) = tree.file(TABLE) else {
        return vec![Finding::new(TABLE, 1, "the room table is missing")];
    };
    let house = House::read(&table.text);
    let mut findings = house.check_table(tree);
    let tests = test_files(tree);
    for file in tree.product() {
        if !tests.contains(&file.path) {
            findings.extend(house.check_file(file));
        }
    }
    findings
}

/// Files that a `#[cfg(test)] mod name;` makes a test as a whole.
pub(crate) fn test_files(tree: &Tree) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in tree.product() {
        let dir = match file.path.strip_suffix("/mod.rs") {
            Some(dir) => dir.to_string(),
            None => file.path.trim_end_matches(".rs").to_string(),
        };
        for name in Source::read(&file.text).test_files {
            let prefix = format!("{dir}/{name}/");
            found.insert(format!("{dir}/{name}.rs"));
            let below = tree.product().filter(|f| f.path.starts_with(&prefix));
            found.extend(below.map(|f| f.path.clone()));
        }
    }
    found
}

impl House {
    fn read(text: &str) -> House {
        let mut rooms = Vec::new();
        let mut outside = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            if line.starts_with("Outside the rooms") {
                let list = line.split("; ").flat_map(|part| part.split(". ")).next();
                outside = code_spans(list.unwrap_or(""))
                    .map(|name| name.trim_end_matches(".rs").to_string())
                    .collect();
            }
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, number, name, responsibility, may_use, _] = cells[..] else {
                continue;
            };
            if number.parse::<u32>().is_err() {
                continue;
            }
            rooms.push(Room {
                name: name.trim_matches('`').to_string(),
                line: index + 1,
                may_use: names(may_use),
                alone_knows: responsibility
                    .split_once("alone knows ")
                    .map(|(_, list)| names(list))
                    .unwrap_or_default()
                    .iter()
                    .map(|name| name.replace('-', "_"))
                    .collect(),
            });
        }
        House { rooms, outside }
    }

    fn room(&self, name: &str) -> Option<&Room> {
        self.rooms.iter().find(|room| room.name == name)
    }

    /// The table agrees with itself and with the directories; edges lead down only.
    fn check_table(&self, tree: &Tree) -> Vec<Finding> {
        let mut findings = Vec::new();
        let order: BTreeMap<&str, usize> = self
            .rooms
            .iter()
            .map(|r| r.name.as_str())
            .zip(0..)
            .collect();
        for room in &self.rooms {
            let mut report = |what: String| findings.push(Finding::new(TABLE, room.line, what));
            if tree.file(&format!("src/{}/mod.rs", room.name)).is_none() {
                report(format!(
                    "room `{}` has no src/{}/mod.rs",
                    room.name, room.name
                ));
            }
            for used in &room.may_use {
                match order.get(used.as_str()) {
                    None => report(format!(
                        "`{}` may use `{used}`, which is no room",
                        room.name
                    )),
                    Some(at) if *at <= order[room.name.as_str()] => {
                        report(format!(
                            "`{}` may not use `{used}`, which stands above",
                            room.name
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        if self.rooms.is_empty() || self.outside.is_empty() {
            findings.push(Finding::new(
                TABLE,
                1,
                "no room table, or nothing outside the rooms",
            ));
        }
        findings
    }

    fn check_file(&self, file: &SourceFile) -> Vec<Finding> {
        let mut parts = file.path.split('/').skip(1);
        let first = parts.next().unwrap_or("").trim_end_matches(".rs");
        if first == "main" || first == "lib" {
            return Vec::new();
        }
        let room = self.room(first);
        if room.is_none() && !self.outside.contains(first) {
            let what = format!("`{first}` is neither in the room table nor outside the rooms");
            return vec![Finding::new(&file.path, 1, what)];
        }
        let source = Source::read(&file.text);
        let mut findings = Vec::new();
        for (line, target) in targets(file, &source) {
            let what = match (room, target) {
                (_, Target::Hidden(why)) => why.to_string(),
                (_, Target::Module(name)) if name == first || self.outside.contains(&name) => {
                    continue;
                }
                // What all may use must not lean on any room but the nouns, or it closes a circle.
                (None, Target::Module(name)) if name == "model" => continue,
                (Some(room), Target::Module(name)) if room.may_use.contains(&name) => continue,
                (_, Target::Module(name)) => format!("`{first}` may not use `{name}`"),
            };
            findings.push(Finding::new(&file.path, line, what));
        }
        for owner in self.rooms.iter().filter(|owner| owner.name != first) {
            findings.extend(foreign_crates(file, &source, owner));
        }
        findings
    }
}

enum Target {
    Module(String),
    Hidden(&'static str),
}

/// What the file's paths reach at the root of the crate, outside its tests.
fn targets(file: &SourceFile, source: &Source) -> Vec<(usize, Target)> {
    let depth = module_depth(&file.path);
    let mut found = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        if token.in_test || token.kind != Kind::Ident {
            continue;
        }
        if token.text == "crate" && source.matches(at + 1, &["::"]) {
            first_segments(source, at + 2, &mut found);
        } else if source.matches(at, &["use", "crate", "as"]) {
            found.push((
                token.line,
                Target::Hidden("the crate under another name hides edges"),
            ));
        } else if token.text == "super" && !(at >= 2 && source.matches(at - 2, &["super", "::"])) {
            let mut count = 1;
            while source.matches(at + 2 * count - 1, &["::", "super"]) {
                count += 1;
            }
            if count >= depth + token.mod_depth {
                let why = "a `super` path that leaves the room: write it from `crate`";
                found.push((token.line, Target::Hidden(why)));
            }
        }
    }
    found
}

/// How many `super` lead from the file to the root: 1 for src/log/mod.rs and src/limits.rs.
fn module_depth(path: &str) -> usize {
    let below_src = path.split('/').count() - 1;
    if path.ends_with("/mod.rs") {
        below_src - 1
    } else {
        below_src
    }
}

/// The names right after `crate::`, one or a braced group of them.
fn first_segments(source: &Source, at: usize, found: &mut Vec<(usize, Target)>) {
    let Some(token) = source.tokens.get(at) else {
        return;
    };
    if token.kind == Kind::Ident && token.text != "self" {
        found.push((token.line, Target::Module(token.text.clone())));
        return;
    }
    if token.text != "{" {
        found.push((
            token.line,
            Target::Hidden("`crate::*` and `crate::self` hide edges"),
        ));
        return;
    }
    let end = group_end(&source.tokens, at);
    let mut item = at + 1;
    while item + 1 < end {
        first_segments(source, item, found);
        while item + 1 < end && source.tokens[item].text != "," {
            item = if source.tokens[item].text == "{" {
                group_end(&source.tokens, item)
            } else {
                item + 1
            };
        }
        item += 1;
    }
}

fn foreign_crates(file: &SourceFile, source: &Source, owner: &Room) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let is_path = source.matches(at + 1, &["::"]);
        let starts = at == 0 || !matches!(source.tokens[at - 1].text.as_str(), "::" | ".");
        let named = owner.alone_knows.contains(&token.text);
        if token.kind == Kind::Ident && is_path && starts && named && !token.in_test {
            let what = format!("only `{}` knows the crate `{}`", owner.name, token.text);
            findings.push(Finding::new(&file.path, token.line, what));
        }
    }
    findings
}

fn names(list: &str) -> Vec<String> {
    list.split(',')
        .map(|name| name.trim().trim_matches('`').to_string())
        .filter(|name| !name.is_empty() && name != "nothing")
        .collect()
}

fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: &str = "\
| # | room | one-line responsibility | may use |
|---|---|---|---|
| 1 | `net` | accept | io, model |
| 2 | `io` | clock; alone knows io-uring, libc | model |
| 3 | `model` | the nouns | nothing |

Outside the rooms, usable by all: `config`, `limits.rs`. `main.rs` starts.
";

    fn findings_of(path: &str, text: &str) -> Vec<String> {
        let mut files = vec![
            (TABLE, HOUSE),
            ("src/net/mod.rs", ""),
            ("src/io/mod.rs", ""),
        ];
        files.push(("src/model/mod.rs", ""));
        files.retain(|(known, _)| *known != path);
        files.push((path, text));
        check(&Tree::of(&files))
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    fn check_edge(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(findings_of(path, text), expected, "{path}: {text}");
    }

    #[test]
    fn edges_of_the_table_pass_and_others_are_found() {
        check_edge(
            "src/net/mod.rs",
            "use crate::io::now; use crate::limits::X;",
            &[],
        );
        check_edge(
            "src/net/a.rs",
            "use crate::{io::{a, b}, model::{self, c}, net::d};",
            &[],
        );
        check_edge(
            "src/net/a.rs",
            "// crate::zoo\nconst A: &str = \"crate::zoo\";",
            &[],
        );
        check_edge(
            "src/net/a.rs",
            "#[cfg(test)] mod tests { use crate::zoo; }",
            &[],
        );
        check_edge("src/net/a.rs", "pub(crate) fn a() { super::b(); }", &[]);
        let found = ["src/io/mod.rs:1: `io` may not use `net`"];
        check_edge("src/io/mod.rs", "use crate::net::x;", &found);
        check_edge("src/io/mod.rs", "use crate::{model::{a, b}, net};", &found);
        check_edge("src/io/mod.rs", "fn a() { crate::net::x() }", &found);
        check_edge("src/config.rs", "use crate::model::Offset;", &[]);
        let found = ["src/config.rs:1: `config` may not use `io`"];
        check_edge("src/config.rs", "use crate::io::now;", &found);
    }

    #[test]
    fn ways_around_the_table_are_found() {
        let hidden = ["src/io/mod.rs:1: `crate::*` and `crate::self` hide edges"];
        check_edge("src/io/mod.rs", "use crate::*;", &hidden);
        check_edge("src/io/mod.rs", "use crate::{self as all};", &hidden);
        let hidden = ["src/io/mod.rs:1: the crate under another name hides edges"];
        check_edge("src/io/mod.rs", "use crate as all;", &hidden);
        let left = "a `super` path that leaves the room: write it from `crate`";
        check_edge(
            "src/io/mod.rs",
            "use super::net;",
            &[&format!("src/io/mod.rs:1: {left}")],
        );
        check_edge(
            "src/io/a.rs",
            "use super::super::net;",
            &[&format!("src/io/a.rs:1: {left}")],
        );
        check_edge("src/io/a.rs", "mod b { use super::super::c; }", &[]);
        check_edge(
            "src/zoo/mod.rs",
            "",
            &["src/zoo/mod.rs:1: `zoo` is neither in the room table nor outside the rooms"],
        );
    }

    #[test]
    fn crates_that_one_room_keeps_to_itself_are_found_elsewhere() {
        check_edge(
            "src/io/a.rs",
            "use libc::c_int; use io_uring::IoUring;",
            &[],
        );
        let found = ["src/net/a.rs:1: only `io` knows the crate `libc`"];
        check_edge("src/net/a.rs", "use libc::c_int;", &found);
        check_edge("src/net/a.rs", "fn a() { self.libc::<u8>() }", &[]);
    }

    #[test]
    fn files_of_test_modules_are_left_alone() {
        let files = [
            (TABLE, HOUSE),
            ("src/net/mod.rs", "#[cfg(test)] mod tests;"),
            ("src/net/tests.rs", "use crate::zoo;"),
            ("src/io/mod.rs", ""),
            ("src/model/mod.rs", ""),
        ];
        assert_eq!(check(&Tree::of(&files)), []);
    }

    #[test]
    fn a_table_with_upward_edges_or_missing_rooms_is_found() {
        let table = "| 1 | `io` | x | zoo |\n| 2 | `model` | y | io |\nOutside the rooms: `a`.";
        let found = check(&Tree::of(&[(TABLE, table), ("src/io/mod.rs", "")]));
        let found: Vec<String> = found.iter().map(|f| f.what.clone()).collect();
        assert_eq!(
            found,
            [
                "`io` may use `zoo`, which is no room",
                "room `model` has no src/model/mod.rs",
                "`model` may not use `io`, which stands above",
            ]
        );
    }
}
