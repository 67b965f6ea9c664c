//! docs/configuration.md, from the registry. A test checks that the file is up to date.

use std::fmt::Write;

use super::describe::documentation;
use super::key::{Effect, Key, Valid};
use super::keys::engine::ENGINE_KEYS;
use super::keys::log::{GROUP_KEYS, LOG_KEYS};
use super::keys::network::NETWORK_KEYS;
use super::keys::topics::TOPIC_KEYS;
use super::keys::without_effect::KEYS_WITHOUT_EFFECT;

const INTRODUCTION: &str = "\
# Configuration

This page is generated from the registry of keys in `src/config/`; `cargo test config::document`
checks it and says how to write it again.

## Where values come from

Each layer wins over those above it.

1. Defaults, as below. A broker that is started without a file also has
   `listeners=PLAINTEXT://127.0.0.1:9092`, so that it serves this machine only, and
   `group.initial.rebalance.delay.ms=0`, as the `server.properties` that Kafka ships.
2. The file: `corelog start FILE`, in the form of Kafka's `server.properties`.
3. The environment: `KAFKA_NODE_ID` is `node.id`. `_` stands for `.`, `__` for `_`, `___` for `-`.
4. The command line: `--override key=value`, as often as needed.
5. What clients set while the broker runs, for all brokers, and then for one:
   `corelog config alter`, or `kafka-configs.sh --entity-type brokers`. It is kept in the
   metadata log.

A topic's own configurations win over all of these: `corelog topic alter --config key=value`, or
`kafka-configs.sh --entity-type topics`.

Each value that is not allowed stops the start with exit code 78 and a line that names key, value
and what is allowed. A key that nobody knows gets a warning and the nearest known name. A key
without effect gets one line that says why.

## The columns

*Changes*: read-only keys are read at the start; per-broker and cluster-wide keys may also be
changed while the broker runs, for one broker or for all.
";

/// The whole page.
fn document() -> String {
    let mut page = String::from(INTRODUCTION);
    let sections = [
        ("Keys of our own", ENGINE_KEYS),
        ("Identity, listeners, connections", NETWORK_KEYS),
        ("The log, and the defaults of topics", LOG_KEYS),
        ("Groups and their offsets", GROUP_KEYS),
    ];
    for (title, keys) in sections {
        let _ = write!(page, "\n## {title}\n\n{BROKER_HEADING}");
        for key in sorted(keys) {
            let shown = [
                shown_default(key),
                allowed(key),
                key.update.as_str().to_string(),
            ];
            row(&mut page, key, &shown);
        }
    }
    let _ = write!(
        page,
        "\n## Topics\n\n*Default from* names the broker keys that give a topic its default, the \
         strongest first.\n\n{TOPIC_HEADING}"
    );
    for key in sorted(TOPIC_KEYS) {
        let from = key
            .synonyms
            .iter()
            .map(|synonym| format!("`{}`", synonym.name));
        let from = from.collect::<Vec<_>>().join(", ");
        row(&mut page, key, &[shown_default(key), allowed(key), from]);
    }
    let _ = write!(
        page,
        "\n## Kafka's keys without effect\n\nThey are accepted, so that an existing file works, \
         and described to tools.\n\n| key | default | why |\n|---|---|---|\n"
    );
    for key in sorted(KEYS_WITHOUT_EFFECT) {
        let why = documentation(key);
        let _ = writeln!(page, "| `{}` | {} | {why} |", key.name, shown_default(key));
    }
    page
}

const BROKER_HEADING: &str = "\
| key | type | default | allowed | changes | meaning |
|---|---|---|---|---|---|
";

const TOPIC_HEADING: &str = "\
| key | type | default | allowed | default from | meaning |
|---|---|---|---|---|---|
";

fn sorted(keys: &'static [Key]) -> Vec<&'static Key> {
    let mut keys: Vec<_> = keys.iter().collect();
    keys.sort_by_key(|key| key.name);
    keys
}

fn row(page: &mut String, key: &Key, columns: &[String; 3]) {
    let kind = match key.unit() {
        Some(unit) => format!("{}, {unit}", key.kind.as_str()),
        None => key.kind.as_str().to_string(),
    };
    let [default, allowed, third] = columns;
    let meaning = documentation(key);
    let _ = writeln!(
        page,
        "| `{}` | {kind} | {default} | {allowed} | {third} | {meaning} |",
        key.name
    );
}

fn shown_default(key: &Key) -> String {
    match key.default {
        None => "unset".to_string(),
        Some("") => "empty".to_string(),
        Some("2147483647" | "9223372036854775807" | "1.7976931348623157E308") => {
            "no limit".to_string()
        }
        Some(text) => format!("`{text}`"),
    }
}

fn allowed(key: &Key) -> String {
    match (key.effect, key.valid) {
        (Effect::DefaultOnly(_), _) => "the default".to_string(),
        (Effect::Full | Effect::Informational(_) | Effect::Ignored(_), Valid::Any) => String::new(),
        (Effect::Full | Effect::Informational(_) | Effect::Ignored(_), valid) => valid.to_string(),
    }
}

/// Set it, and the test writes the page instead of checking it.
const WRITE: &str = "CORELOG_WRITE_DOCS";

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "it writes a source file, on demand only"
)]
fn the_page_is_up_to_date() {
    let page = document();
    if std::env::var_os(WRITE).is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        std::fs::write(path, &page).expect("the page is written");
        return;
    }
    let found = include_str!("../../docs/configuration.md");
    assert!(
        found == page,
        "docs/configuration.md is old: {WRITE}=1 cargo test config::document"
    );
}
