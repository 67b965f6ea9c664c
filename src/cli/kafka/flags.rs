//! The command lines of Kafka's tools: `--name value` or `--name=value`, in any order.

use std::fmt;

/// A flag of a tool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    name: &'static str,
    takes: Takes,
    about: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    One,
    /// A value may follow.
    Maybe,
    /// All words up to the next flag.
    Many,
    /// Kafka has it and this has not; `about` is what to use instead.
    Refused,
}

/// A flag without a value.
pub(super) const fn switch(name: &'static str, about: &'static str) -> Flag {
    let takes = Takes::Nothing;
    Flag { name, takes, about }
}

/// A flag with a value.
pub(super) const fn value(name: &'static str, about: &'static str) -> Flag {
    let takes = Takes::One;
    Flag { name, takes, about }
}

/// A flag with or without a value.
pub(super) const fn maybe(name: &'static str, about: &'static str) -> Flag {
    let takes = Takes::Maybe;
    Flag { name, takes, about }
}

/// A flag with one value or several.
pub(super) const fn many(name: &'static str, about: &'static str) -> Flag {
    let takes = Takes::Many;
    Flag { name, takes, about }
}

/// A flag of Kafka's that does nothing here, and what to use instead.
pub(super) const fn refused(name: &'static str, instead: &'static str) -> Flag {
    Flag {
        name,
        takes: Takes::Refused,
        about: instead,
    }
}

/// What a command line says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Given(Vec<(&'static str, Option<String>)>);

impl Given {
    /// Whether a flag is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| *given == name)
    }

    /// A flag's last value.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        let same = |given: &&(&str, Option<String>)| given.0 == name;
        self.0
            .iter()
            .filter(same)
            .filter_map(|(_, value)| value.as_deref())
            .next_back()
    }

    /// All values of a flag, in order.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = move |given: &&(&str, Option<String>)| given.0 == name;
        self.0
            .iter()
            .filter(same)
            .filter_map(|(_, value)| value.as_deref())
    }

    /// Values `key=value` of several flags, in the order in which they were given.
    pub(super) fn properties(&self, names: &[&str]) -> Result<Vec<(&str, &str)>, Refusal> {
        let meant = self.0.iter().filter(|(given, _)| names.contains(given));
        meant
            .filter_map(|(_, value)| value.as_deref())
            .map(|text| {
                let pair = text.split_once('=');
                pair.ok_or_else(|| Refusal::said(format!("Invalid property: {text}")))
            })
            .collect()
    }
}

/// Why a command line is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    what: String,
    instead: Option<String>,
}

impl Refusal {
    /// In Kafka's words.
    pub(super) fn said(what: impl Into<String>) -> Refusal {
        Refusal {
            what: what.into(),
            instead: None,
        }
    }

    /// With what to use.
    pub(super) fn instead(mut self, instead: impl Into<String>) -> Refusal {
        self.instead = Some(instead.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        match &self.instead {
            Some(instead) => writeln!(f, "  try: {instead}"),
            None => writeln!(f, "  try: --help"),
        }
    }
}

/// Reads a command line.
pub(super) fn parse(flags: &'static [Flag], words: &[String]) -> Result<Given, Refusal> {
    let mut given = Given::default();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--") else {
            return Err(Refusal::said(format!("{word} is no option")));
        };
        let (name, inline) = match name.split_once('=') {
            Some((name, inline)) => (name, Some(inline.to_string())),
            None => (name, None),
        };
        let flag = find(flags, name)?;
        // A value may begin with one dash: -1 is a number.
        let mut next = || words.next_if(|word| !word.starts_with("--")).cloned();
        let value = match flag.takes {
            Takes::Nothing => None,
            Takes::Maybe => inline.or_else(next),
            Takes::One | Takes::Many => Some(
                inline
                    .or_else(&mut next)
                    .ok_or_else(|| Refusal::said(format!("Option {name} requires an argument")))?,
            ),
            Takes::Refused => {
                let what = format!("--{name} does nothing with corelog, so it is refused");
                return Err(Refusal::said(what).instead(flag.about));
            }
        };
        given.0.push((flag.name, value));
        if flag.takes == Takes::Many {
            while let Some(word) = words.next_if(|word| !word.starts_with("--")) {
                given.0.push((flag.name, Some(word.clone())));
            }
        }
    }
    Ok(given)
}

fn find(flags: &'static [Flag], name: &str) -> Result<&'static Flag, Refusal> {
    let found = flags.iter().find(|flag| flag.name == name);
    found.ok_or_else(|| {
        let refusal = Refusal::said(format!("{name} is not a recognized option"));
        // What begins alike may have been meant.
        let near = flags
            .iter()
            .filter(|flag| flag.takes != Takes::Refused)
            .find(|flag| flag.name.starts_with(name) || name.starts_with(flag.name));
        match near {
            Some(near) => refusal.instead(format!("--{}", near.name)),
            None => refusal,
        }
    })
}

/// All flags that do something, one a line.
pub(super) fn help(tool: &str, flags: &[Flag]) -> String {
    let mut text = format!("{tool} of corelog {}\n\n", env!("CARGO_PKG_VERSION"));
    for flag in flags.iter().filter(|flag| flag.takes != Takes::Refused) {
        let value = match flag.takes {
            Takes::Nothing | Takes::Refused => "",
            Takes::One => " VALUE",
            Takes::Maybe => " [VALUE]",
            Takes::Many => " VALUE...",
        };
        let named = format!("--{}{value}", flag.name);
        text.push_str(&format!("  {named:34} {}\n", flag.about));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        switch("list", "List"),
        value("topic", "The topic"),
        maybe("codec", "The codec"),
        many("props", "Properties"),
        refused("zookeeper", "--bootstrap-server"),
    ];

    fn read(line: &str) -> Result<Given, Refusal> {
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        parse(FLAGS, &words)
    }

    #[test]
    fn values_follow_or_stand_behind_an_equals_sign() {
        let given = read("--topic a --list --topic=b --codec --props x=1 y=2=3").expect("read");
        assert_eq!(given.one("topic"), Some("b"));
        assert_eq!(given.all("topic").count(), 2);
        assert!(given.has("list") && given.has("codec"));
        assert_eq!(given.one("codec"), None);
        let properties = given.properties(&["props"]).expect("pairs");
        assert_eq!(properties, [("x", "1"), ("y", "2=3")]);
        assert_eq!(read("--topic -1").expect("read").one("topic"), Some("-1"));
    }

    #[test]
    fn what_is_not_served_says_what_to_use() {
        let check = |line: &str, expected: &str| {
            let refusal = read(line).expect_err(line).to_string();
            assert!(refusal.starts_with(expected), "{line}: {refusal}");
        };
        check("--frob", "frob is not a recognized option\n  try: --help");
        check("--top a", "top is not a recognized option\n  try: --topic");
        check("--topic --list", "Option topic requires an argument\n");
        check(
            "--zookeeper h",
            "--zookeeper does nothing with corelog, so it is refused\n  try: --b",
        );
        check("word", "word is no option\n");
        assert!(help("kafka-x", FLAGS).contains("--topic VALUE"));
        assert!(!help("kafka-x", FLAGS).contains("zookeeper"));
    }
}
