//! An answer as a tree of named values, and what is replaced before two answers are compared.
//!
//! Trees are read from the `Debug` text of the decoded structures, so that every field of every
//! response takes part in the comparison without a line of code for each.

use std::collections::HashMap;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Tree {
    Scalar(String),
    List(Vec<Tree>),
    Fields(Vec<(String, Tree)>),
}

impl Tree {
    pub(crate) fn of(value: &impl fmt::Debug) -> Tree {
        let text = format!("{value:?}");
        let mut parser = Parser {
            rest: text.as_str(),
        };
        let tree = parser.value();
        assert!(parser.rest.is_empty(), "not understood: {}", parser.rest);
        tree
    }

    /// Every error code that is not 0, which is what makes an answer an error.
    pub(crate) fn error_codes(&self) -> Vec<i16> {
        let mut codes = Vec::new();
        self.walk("", &mut |name, value| {
            if name == "error_code" && value != "0" {
                codes.extend(value.parse::<i16>());
            }
        });
        codes
    }

    fn walk(&self, name: &str, visit: &mut impl FnMut(&str, &str)) {
        match self {
            Tree::Scalar(value) => visit(name, value),
            Tree::List(items) => items.iter().for_each(|item| item.walk(name, visit)),
            Tree::Fields(fields) => fields.iter().for_each(|(n, value)| value.walk(n, visit)),
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Tree> {
        match self {
            Tree::Fields(fields) => fields.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            Tree::Scalar(_) | Tree::List(_) => None,
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tree::Scalar(value) => f.write_str(value),
            Tree::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Tree::Fields(fields) => {
                f.write_str("{")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Reads what `derive(Debug)` writes.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn value(&mut self) -> Tree {
        if self.rest.starts_with('"') || self.rest.starts_with("b\"") {
            return Tree::Scalar(self.quoted());
        }
        if self.skip("[") {
            return Tree::List(self.items("]"));
        }
        if self.skip("{") {
            return Tree::List(self.items("}"));
        }
        let end = self.rest.find([',', ' ', '(', ')', ']', '}', ':']);
        let word = self.rest[..end.unwrap_or(self.rest.len())].to_string();
        self.rest = &self.rest[word.len()..];
        if self.skip(" { ") {
            return Tree::Fields(self.fields());
        }
        // `Some(x)` and the tuple structures around ids are what they hold.
        if self.skip("(") {
            let mut items = self.items(")");
            return if items.len() == 1 {
                items.remove(0)
            } else {
                Tree::List(items)
            };
        }
        Tree::Scalar(word)
    }

    fn items(&mut self, end: &str) -> Vec<Tree> {
        let mut items = Vec::new();
        while !self.skip(end) {
            let item = self.value();
            // A map's entry: the key is part of the value's name nowhere in the protocol.
            items.push(if self.skip(": ") {
                Tree::Fields(vec![("key".into(), item), ("value".into(), self.value())])
            } else {
                item
            });
            self.skip(", ");
        }
        items
    }

    fn fields(&mut self) -> Vec<(String, Tree)> {
        let mut fields = Vec::new();
        while !self.skip(" }") {
            let colon = self.rest.find(": ").expect("a field has a name");
            let name = self.rest[..colon].to_string();
            self.rest = &self.rest[colon + 2..];
            fields.push((name, self.value()));
            self.skip(", ");
        }
        fields
    }

    fn quoted(&mut self) -> String {
        let start = self.rest.find('"').expect("starts with a quote") + 1;
        let mut escaped = false;
        let end = self.rest[start..]
            .find(|c| match (escaped, c) {
                (true, _) => {
                    escaped = false;
                    false
                }
                (false, '\\') => {
                    escaped = true;
                    false
                }
                (false, c) => c == '"',
            })
            .expect("a quoted text ends");
        let (text, rest) = self.rest.split_at(start + end + 1);
        self.rest = rest;
        text.to_string()
    }

    fn skip(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

/// Fields that two brokers fill with different values that mean the same, with the values that
/// must be equal all the same because they say "none". The first value that a broker gives becomes
/// `<field 1>`, the next one `<field 2>`, so equal stays equal and different stays different.
const NAMED: &[(&str, &[&str])] = &[
    ("port", &["-1", "0"]),
    ("cluster_id", &["None"]),
    ("topic_id", &["00000000-0000-0000-0000-000000000000"]),
    ("member_id", &["\"\""]),
    ("leader", &["\"\""]),
    ("producer_id", &["-1"]),
    ("session_id", &["0"]),
];

/// Fields whose values belong to the machine or to the wording. What is compared is whether they
/// say anything.
const PRESENT: &[(&str, &[&str])] = &[
    ("error_message", &["None", "\"\""]),
    ("batch_index_error_message", &["None", "\"\""]),
    ("finalized_features_epoch", &["-1"]),
    ("log_dir", &["None", "\"\""]),
    ("total_bytes", &["-1", "0"]),
    ("usable_bytes", &["-1", "0"]),
    ("documentation", &["None", "\"\""]),
];

/// Lists in which the order is part of the answer.
const ORDERED: &[&str] = &["synonyms"];

/// How far from now a number may be that is taken for the time of day.
const NOW_MS: i64 = 3_600_000;

/// What one broker's own values are called.
#[derive(Default)]
pub(crate) struct Names {
    given: HashMap<(&'static str, String), String>,
    counts: HashMap<&'static str, usize>,
}

impl Names {
    /// Gives a topic id the topic's name, whatever order ids appear in.
    pub(crate) fn topic(&mut self, id: uuid::Uuid, name: &str) {
        let said = format!("<id of {name}>");
        self.given.insert(("topic_id", id.to_string()), said);
    }

    /// Starts the numbering again, so that what differs in one scenario does not show in the next.
    pub(crate) fn forget(&mut self) {
        self.given
            .retain(|(_, _), name| name.starts_with("<id of "));
        self.counts.clear();
    }

    fn name(&mut self, field: &'static str, value: &str) -> String {
        let key = (field, value.to_string());
        if let Some(name) = self.given.get(&key) {
            return name.clone();
        }
        let count = self.counts.entry(field).or_default();
        *count += 1;
        let name = format!("<{field} {count}>");
        self.given.insert(key, name.clone());
        name
    }

    /// The tree as it is compared.
    pub(crate) fn canonical(&mut self, mut tree: Tree) -> Tree {
        tree = sorted("", tree);
        self.rename("", tree)
    }

    fn rename(&mut self, name: &str, tree: Tree) -> Tree {
        match tree {
            Tree::List(items) => {
                Tree::List(items.into_iter().map(|t| self.rename(name, t)).collect())
            }
            Tree::Fields(fields) => Tree::Fields(
                fields
                    .into_iter()
                    .filter(|(n, v)| n != "unknown_tagged_fields" || *v != Tree::List(vec![]))
                    .map(|(n, v)| {
                        let value = self.rename(&n, v);
                        (n, value)
                    })
                    .collect(),
            ),
            Tree::Scalar(value) => {
                if let Some((field, none)) = NAMED.iter().find(|(n, _)| *n == name)
                    && !none.contains(&value.as_str())
                {
                    // A group's leader is one of its members.
                    let field = if *field == "leader" {
                        "member_id"
                    } else {
                        field
                    };
                    return Tree::Scalar(self.name(field, &value));
                }
                Tree::Scalar(impersonal(name, value))
            }
        }
    }
}

fn impersonal(name: &str, value: String) -> String {
    if let Some((field, none)) = PRESENT.iter().find(|(n, _)| *n == name)
        && !none.contains(&value.as_str())
    {
        return format!("<{field}>");
    }
    if value.len() == 13
        && let Ok(number) = value.parse::<i64>()
        && (number - now_ms()).abs() < NOW_MS
    {
        return "<now>".to_string();
    }
    value
}

pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is past 1970").as_millis() as i64
}

/// Sorts the lists that are sets, by what their elements say apart from a broker's own values.
fn sorted(name: &str, tree: Tree) -> Tree {
    match tree {
        Tree::List(items) => {
            let mut items: Vec<Tree> = items.into_iter().map(|t| sorted(name, t)).collect();
            if !ORDERED.contains(&name) {
                items.sort_by_cached_key(|item| {
                    let mut key = String::new();
                    item.walk("", &mut |field, value| {
                        if !NAMED.iter().any(|(n, _)| *n == field) {
                            key.push_str(&impersonal(field, value.to_string()));
                            key.push('\n');
                        }
                    });
                    key
                });
            }
            Tree::List(items)
        }
        Tree::Fields(fields) => Tree::Fields(
            fields
                .into_iter()
                .map(|(n, value)| {
                    let value = sorted(&n, value);
                    (n, value)
                })
                .collect(),
        ),
        Tree::Scalar(_) => tree,
    }
}
