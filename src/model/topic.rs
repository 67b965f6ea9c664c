//! Topic names and the pair of a topic name and a partition index.

use std::fmt;
use std::sync::Arc;

/// The topic that holds consumer groups and their committed offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A topic's name: 1 to 249 of `[a-zA-Z0-9._-]`, neither "." nor "..".
///
/// Shared by reference count; a clone costs no allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a string is not a topic name, in the words of Kafka's own `Topic.validate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicNameError {
    /// The name has no characters.
    Empty,
    /// The name is "." or "..".
    Dots,
    /// The name has more than 249 characters.
    TooLong,
    /// A character is outside `[a-zA-Z0-9._-]`.
    BadCharacter,
}

/// The longest topic name, in characters.
const TOPIC_NAME_LENGTH_MAX: usize = 249;

impl TopicName {
    /// Checks and takes a name.
    pub fn new(name: &str) -> Result<TopicName, TopicNameError> {
        if name.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if name == "." || name == ".." {
            return Err(TopicNameError::Dots);
        }
        if name.len() > TOPIC_NAME_LENGTH_MAX {
            return Err(TopicNameError::TooLong);
        }
        let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        if !name.bytes().all(legal) {
            return Err(TopicNameError::BadCharacter);
        }
        Ok(TopicName(Arc::from(name)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the broker itself owns the topic; Metadata tells clients so.
    pub fn is_internal(&self) -> bool {
        matches!(self.as_str(), OFFSETS_TOPIC | "__transaction_state")
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A partition as people and clients name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: TopicName,
    /// The partition's index within its topic, from 0.
    pub index: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Result<(), TopicNameError>) {
        assert_eq!(TopicName::new(name).map(|_| ()), expected, "{name:?}");
    }

    #[test]
    fn names_are_checked_as_kafka_checks_them() {
        check("a", Ok(()));
        check("A-b_c.9", Ok(()));
        check(&"x".repeat(249), Ok(()));
        check(&"x".repeat(250), Err(TopicNameError::TooLong));
        check("", Err(TopicNameError::Empty));
        check(".", Err(TopicNameError::Dots));
        check("..", Err(TopicNameError::Dots));
        check("a b", Err(TopicNameError::BadCharacter));
        check("ä", Err(TopicNameError::BadCharacter));
    }
}
