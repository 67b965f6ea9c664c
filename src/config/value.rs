//! From text to a typed value, with the key's bounds, and back to canonical text.

use std::fmt;

use super::key::{Key, Kind, Valid};

/// A value that was read and is within its key's bounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number, within the range of its key's type.
    Number(i64),
    /// A decimal number.
    Decimal(f64),
    /// Text; also the name of a class, and a password.
    Text(String),
    /// A list, in order.
    List(Vec<String>),
}

/// Why a text is not a value of its key. Displays as a sentence that names key, value, and what
/// is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadValue {
    /// The key.
    pub key: &'static str,
    /// The text; empty for a password.
    pub value: String,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Invalid value {} for configuration {}: {}",
            self.value, self.key, self.reason
        )
    }
}

impl Value {
    /// Reads a text as a value of `key` and checks the key's bounds.
    pub(super) fn parse(key: &Key, text: &str) -> Result<Value, BadValue> {
        let value = read(key.kind, text).and_then(|value| match allowed(&key.valid, &value) {
            true => Ok(value),
            false => Err(format!("allowed is {}", describe_allowed(key))),
        });
        value.map_err(|reason| BadValue {
            key: key.name,
            value: if key.is_sensitive() {
                String::new()
            } else {
                text.trim().to_string()
            },
            reason,
        })
    }

    /// The canonical text, as DescribeConfigs shows it.
    pub(super) fn canonical(&self) -> String {
        match self {
            Value::Boolean(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::Decimal(value) => decimal(*value),
            Value::Text(value) => value.clone(),
            Value::List(values) => values.join(","),
        }
    }

    /// The number; the registry's types make any other use a broken invariant.
    pub(super) fn number(&self) -> i64 {
        let Value::Number(value) = self else {
            panic!("not a number: {self:?}")
        };
        *value
    }

    /// The boolean; the registry's types make any other use a broken invariant.
    pub(super) fn boolean(&self) -> bool {
        let Value::Boolean(value) = self else {
            panic!("not a boolean: {self:?}")
        };
        *value
    }

    /// The text; the registry's types make any other use a broken invariant.
    pub(super) fn text(&self) -> &str {
        let Value::Text(value) = self else {
            panic!("not a text: {self:?}")
        };
        value
    }

    /// The list; the registry's types make any other use a broken invariant.
    pub(super) fn list(&self) -> &[String] {
        let Value::List(values) = self else {
            panic!("not a list: {self:?}")
        };
        values
    }
}

/// A decimal number as Java prints a double, in the range where both agree; the largest double
/// is the one value outside of it that has a use, as "no limit".
fn decimal(value: f64) -> String {
    if value == f64::MAX {
        return "1.7976931348623157E308".to_string();
    }
    format!("{value:?}")
}

fn read(kind: Kind, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    match kind {
        Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
        Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
        Kind::Boolean => Err("allowed is true or false".to_string()),
        Kind::Int => read_number(trimmed, i32::MIN.into(), i32::MAX.into(), "32"),
        Kind::Short => read_number(trimmed, i16::MIN.into(), i16::MAX.into(), "16"),
        Kind::Long => read_number(trimmed, i64::MIN, i64::MAX, "64"),
        Kind::Double => match trimmed.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Value::Decimal(value)),
            Ok(_) | Err(_) => Err("allowed is a decimal number".to_string()),
        },
        Kind::String | Kind::Class => Ok(Value::Text(trimmed.to_string())),
        // A password may begin or end with a space.
        Kind::Password => Ok(Value::Text(text.to_string())),
        Kind::List if trimmed.is_empty() => Ok(Value::List(Vec::new())),
        Kind::List => Ok(Value::List(
            trimmed
                .split(',')
                .map(|item| item.trim().to_string())
                .collect(),
        )),
    }
}

fn read_number(text: &str, least: i64, most: i64, bits: &str) -> Result<Value, String> {
    match text.parse::<i64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(Value::Number(value)),
        Ok(_) | Err(_) => Err(format!("allowed is a whole number of {bits} bits")),
    }
}

fn allowed(valid: &Valid, value: &Value) -> bool {
    match (valid, value) {
        (Valid::Any, _) => true,
        (Valid::AtLeast(least), Value::Number(value)) => value >= least,
        (Valid::Between(least, most), Value::Number(value)) => (least..=most).contains(&value),
        (Valid::BetweenOr(least, most, other), Value::Number(value)) => {
            (least..=most).contains(&value) || value == other
        }
        (Valid::Fraction(least, most), Value::Decimal(value)) => (least..=most).contains(&value),
        (Valid::OneOf(words), Value::Text(value)) => words.contains(&value.as_str()),
        (Valid::OneOfAnyCase(words), Value::Text(value)) => {
            words.iter().any(|word| word.eq_ignore_ascii_case(value))
        }
        (Valid::SomeOf(words), Value::List(values)) => {
            !values.is_empty() && values.iter().all(|value| words.contains(&value.as_str()))
        }
        (Valid::NotEmpty, Value::Text(value)) => !value.is_empty(),
        (Valid::NotEmpty, Value::List(values)) => values.iter().any(|value| !value.is_empty()),
        (Valid::ThrottledReplicas, Value::List(values)) => throttled_replicas(values),
        (valid, value) => panic!("the registry gives {value:?} the bounds {valid:?}"),
    }
}

fn throttled_replicas(values: &[String]) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    values.is_empty()
        || values == ["*"]
        || values.iter().all(|pair| {
            pair.split_once(':')
                .is_some_and(|(index, broker)| digits(index) && digits(broker))
        })
}

fn describe_allowed(key: &Key) -> String {
    match key.unit() {
        Some(unit) => format!("{}, in {unit}", key.valid),
        None => key.valid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::{boolean, double, int, list, long, short, string};
    use super::*;

    fn check(key: Key, text: &str, expected: Result<&str, &str>) {
        let found = Value::parse(&key, text);
        let found = found
            .map(|value| value.canonical())
            .map_err(|bad| bad.to_string());
        let expected = expected.map(str::to_string).map_err(str::to_string);
        assert_eq!(found, expected, "{} = {text:?}", key.name);
    }

    #[test]
    fn texts_become_canonical_values() {
        check(boolean("b"), " TRUE ", Ok("true"));
        check(int("i"), " 0042 ", Ok("42"));
        check(
            long("l"),
            "-9223372036854775808",
            Ok("-9223372036854775808"),
        );
        check(double("d"), "0.50", Ok("0.5"));
        check(
            double("d"),
            "1.7976931348623157E308",
            Ok("1.7976931348623157E308"),
        );
        check(string("s"), " a b ", Ok("a b"));
        check(list("l"), " a , b,c", Ok("a,b,c"));
        check(list("l"), "  ", Ok(""));
        check(
            list("l").valid(Valid::SomeOf(&["a", "b"])),
            "b,a",
            Ok("b,a"),
        );
        check(
            list("t").valid(Valid::ThrottledReplicas),
            "0:1,1:22",
            Ok("0:1,1:22"),
        );
        check(list("t").valid(Valid::ThrottledReplicas), "*", Ok("*"));
    }

    #[test]
    fn a_bad_value_names_key_value_and_what_is_allowed() {
        check(
            boolean("b"),
            "yes",
            Err("Invalid value yes for configuration b: allowed is true or false"),
        );
        check(
            short("s"),
            "40000",
            Err("Invalid value 40000 for configuration s: allowed is a whole number of 16 bits"),
        );
        check(
            int("retention.ms").valid(Valid::AtLeast(-1)),
            "-2",
            Err("Invalid value -2 for configuration retention.ms: \
                 allowed is at least -1, in milliseconds"),
        );
        check(
            int("level").valid(Valid::BetweenOr(1, 9, -1)),
            "0",
            Err("Invalid value 0 for configuration level: allowed is from 1 to 9, or -1"),
        );
        check(
            string("s").valid(Valid::OneOf(&["a", "b"])),
            "A",
            Err("Invalid value A for configuration s: allowed is one of a, b"),
        );
        check(
            list("s").valid(Valid::SomeOf(&["a", "b"])),
            "",
            Err("Invalid value  for configuration s: allowed is a list of some of a, b"),
        );
    }

    #[test]
    fn a_password_never_shows_in_an_error() {
        let key = Key::new(Kind::Password, "p").valid(Valid::NotEmpty);
        let bad = Value::parse(&key, "");
        assert!(bad.is_err());
        assert_eq!(
            Value::parse(&key, " x ").map(|value| value.canonical()),
            Ok(" x ".into())
        );
    }
}
