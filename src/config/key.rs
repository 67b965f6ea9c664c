//! What one configuration key is: its type, default, bounds, and what the broker does with it.

use std::fmt;

/// One row of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Kafka's name, or ours under `corelog.`.
    pub name: &'static str,
    /// How its text is read.
    pub kind: Kind,
    /// Its value when no layer sets it, in canonical text; `None` is unset.
    pub default: Option<&'static str>,
    /// Which values are allowed.
    pub valid: Valid,
    /// Where it may change while the broker runs.
    pub update: Update,
    /// What the broker does with it.
    pub effect: Effect,
    /// How much attention it deserves, in Kafka's three steps.
    pub importance: Importance,
    /// For a topic's key: the broker keys that give its default, the strongest first.
    /// For a broker's key: the keys that stand in for it when it is unset.
    pub synonyms: &'static [Synonym],
    /// Hidden from DescribeConfigs, as Kafka hides its internal keys.
    pub internal: bool,
    /// What it means, for people.
    pub doc: &'static str,
}

/// The type of a value. The order and the numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 16 bits.
    Short,
    /// A whole number of 64 bits.
    Long,
    /// A decimal number.
    Double,
    /// Texts separated by commas.
    List,
    /// The name of a plug-in's class.
    Class,
    /// Text that is never shown.
    Password,
}

impl Kind {
    /// The number of the type in DescribeConfigs (KIP-569).
    pub fn wire(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }

    /// The type's name in documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::String => "string",
            Kind::Int => "int",
            Kind::Short => "short",
            Kind::Long => "long",
            Kind::Double => "double",
            Kind::List => "list",
            Kind::Class => "class",
            Kind::Password => "password",
        }
    }
}

/// Which values are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    /// Whatever the type allows.
    Any,
    /// This or more.
    AtLeast(i64),
    /// From the first to the second, both included.
    Between(i64, i64),
    /// From the first to the second, both included, or the third alone.
    BetweenOr(i64, i64, i64),
    /// A decimal number from the first to the second, both included.
    Fraction(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A list of some of these words, at least one.
    SomeOf(&'static [&'static str]),
    /// Not the empty text.
    NotEmpty,
    /// `*`, or `partition:broker` pairs.
    ThrottledReplicas,
}

impl fmt::Display for Valid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Valid::Any => f.write_str("any"),
            Valid::AtLeast(least) => write!(f, "at least {least}"),
            Valid::Between(least, most) => write!(f, "from {least} to {most}"),
            Valid::BetweenOr(least, most, other) => {
                write!(f, "from {least} to {most}, or {other}")
            }
            Valid::Fraction(least, most) if *most == f64::MAX => write!(f, "at least {least}"),
            Valid::Fraction(least, most) => write!(f, "from {least} to {most}"),
            Valid::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Valid::OneOfAnyCase(words) => write!(f, "one of {} in any case", words.join(", ")),
            Valid::SomeOf(words) => write!(f, "a list of some of {}", words.join(", ")),
            Valid::NotEmpty => f.write_str("not empty"),
            Valid::ThrottledReplicas => {
                f.write_str("* or a list of partition:broker, for example 0:1,1:1")
            }
        }
    }
}

/// Where a key may change while the broker runs, in Kafka's three classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// At start only.
    ReadOnly,
    /// For one broker, by its id.
    PerBroker,
    /// For one broker or for all.
    ClusterWide,
}

impl Update {
    /// The class's name in documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Update::ReadOnly => "read-only",
            Update::PerBroker => "per-broker",
            Update::ClusterWide => "cluster-wide",
        }
    }
}

/// What the broker does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What Kafka does, or for our own keys what the documentation says.
    Full,
    /// Nothing, because this broker is built so that nothing is needed. The text says how.
    Informational(&'static str),
    /// Nothing, because what it belongs to is not here. The text says what is missing.
    Ignored(&'static str),
    /// Any value but the default is refused. The text says why and what to do.
    DefaultOnly(&'static str),
}

/// Kafka's three steps of importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// Look at it before production.
    High,
    /// Worth knowing.
    Medium,
    /// For special cases.
    Low,
}

impl Importance {
    /// The name in documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Importance::High => "high",
            Importance::Medium => "medium",
            Importance::Low => "low",
        }
    }
}

/// Another key that gives this one's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The other key.
    pub name: &'static str,
    /// What its number is multiplied by: hours and minutes become milliseconds.
    pub scale: i64,
}

impl Synonym {
    /// A key with the same unit.
    pub const fn same(name: &'static str) -> Synonym {
        Synonym { name, scale: 1 }
    }

    /// A key in minutes for one in milliseconds.
    pub const fn minutes(name: &'static str) -> Synonym {
        Synonym {
            name,
            scale: 60_000,
        }
    }

    /// A key in hours for one in milliseconds.
    pub const fn hours(name: &'static str) -> Synonym {
        Synonym {
            name,
            scale: 3_600_000,
        }
    }
}

/// The builders: a row of a table is a chain of these.
impl Key {
    /// A read-only key of medium importance with any value, unset, in full effect.
    pub const fn new(kind: Kind, name: &'static str) -> Key {
        Key {
            name,
            kind,
            default: None,
            valid: Valid::Any,
            update: Update::ReadOnly,
            effect: Effect::Full,
            importance: Importance::Medium,
            synonyms: &[],
            internal: false,
            doc: "",
        }
    }

    /// The value when no layer sets one.
    pub const fn default(self, text: &'static str) -> Key {
        Key {
            default: Some(text),
            ..self
        }
    }

    /// The allowed values.
    pub const fn valid(self, valid: Valid) -> Key {
        Key { valid, ..self }
    }

    /// May change for one broker or for all while running.
    pub const fn cluster_wide(self) -> Key {
        Key {
            update: Update::ClusterWide,
            ..self
        }
    }

    /// What the broker does with it.
    pub const fn effect(self, effect: Effect) -> Key {
        Key { effect, ..self }
    }

    /// Of high importance.
    pub const fn high(self) -> Key {
        Key {
            importance: Importance::High,
            ..self
        }
    }

    /// Of low importance.
    pub const fn low(self) -> Key {
        Key {
            importance: Importance::Low,
            ..self
        }
    }

    /// The keys that give the value when this one does not.
    pub const fn synonyms(self, synonyms: &'static [Synonym]) -> Key {
        Key { synonyms, ..self }
    }

    /// Hidden from DescribeConfigs.
    pub const fn internal(self) -> Key {
        Key {
            internal: true,
            ..self
        }
    }

    /// What it means.
    pub const fn doc(self, doc: &'static str) -> Key {
        Key { doc, ..self }
    }

    /// The unit of the value, read from the end of the name, as Kafka's names have it.
    pub fn unit(&self) -> Option<&'static str> {
        const UNITS: &[(&str, &str)] = &[
            (".ms", "milliseconds"),
            (".millis", "milliseconds"),
            (".us", "microseconds"),
            (".seconds", "seconds"),
            (".secs", "seconds"),
            (".minutes", "minutes"),
            (".hours", "hours"),
            (".bytes.per.second", "bytes per second"),
            (".bytes", "bytes"),
            (".buffer.size", "bytes"),
            (".receive.size", "bytes"),
            (".bytes.between.snapshots", "bytes"),
        ];
        match self.kind {
            Kind::Int | Kind::Short | Kind::Long | Kind::Double => UNITS
                .iter()
                .find(|(end, _)| self.name.ends_with(end))
                .map(|(_, unit)| *unit),
            Kind::Boolean | Kind::String | Kind::List | Kind::Class | Kind::Password => None,
        }
    }

    /// Whether DescribeConfigs must hide the value.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }
}

/// A key whose value is a boolean.
pub(super) const fn boolean(name: &'static str) -> Key {
    Key::new(Kind::Boolean, name)
}

/// A key whose value is text.
pub(super) const fn string(name: &'static str) -> Key {
    Key::new(Kind::String, name)
}

/// A key whose value is a whole number of 32 bits.
pub(super) const fn int(name: &'static str) -> Key {
    Key::new(Kind::Int, name)
}

/// A key whose value is a whole number of 16 bits.
pub(super) const fn short(name: &'static str) -> Key {
    Key::new(Kind::Short, name)
}

/// A key whose value is a whole number of 64 bits.
pub(super) const fn long(name: &'static str) -> Key {
    Key::new(Kind::Long, name)
}

/// A key whose value is a decimal number.
pub(super) const fn double(name: &'static str) -> Key {
    Key::new(Kind::Double, name)
}

/// A key whose value is a list.
pub(super) const fn list(name: &'static str) -> Key {
    Key::new(Kind::List, name)
}
