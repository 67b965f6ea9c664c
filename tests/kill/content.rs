//! Records whose content follows from who wrote them, so that a reader knows what must be there.

use corelog::frame::{BatchBuilder, Record};
use corelog::model::{Timestamp, TopicId};

use crate::chance::mix;

/// Who wrote a record, and as which one: a producer counts the records that it sends to a
/// partition from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) producer: u32,
    pub(crate) counter: u64,
}

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) topic_id: TopicId,
    pub(crate) index: i32,
}

const KEY_BYTES: usize = 16;

/// Adds a record with a value of `length` bytes.
pub(crate) fn push(
    builder: &mut BatchBuilder,
    place: Place,
    author: Author,
    length: usize,
    timestamp: Timestamp,
) {
    let mut value = vec![0; length];
    fill(&mut value, place, author);
    builder.push(timestamp, Some(&key(place, author)), Some(&value));
}

/// The record's author, if it is exactly what that author wrote to this place.
pub(crate) fn author(record: &Record<'_>, place: Place) -> Result<Author, String> {
    let offset = record.offset.0;
    let (Some(found), Some(value)) = (record.key, record.value) else {
        return Err(format!("the record at {offset} has no key or no value"));
    };
    if found.len() != KEY_BYTES {
        return Err(format!(
            "the record at {offset} has a key of {} bytes",
            found.len()
        ));
    }
    let word = |range: std::ops::Range<usize>| {
        found[range]
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    let author = Author {
        producer: word(0..4) as u32,
        counter: word(8..16),
    };
    if found != key(place, author) {
        return Err(format!(
            "the record at {offset} belongs to partition {}",
            word(4..8)
        ));
    }
    let mut expected = vec![0; value.len()];
    fill(&mut expected, place, author);
    if expected != value {
        return Err(format!(
            "the record at {offset} by {author:?} holds what it did not write"
        ));
    }
    Ok(author)
}

fn key(place: Place, author: Author) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[0..4].copy_from_slice(&author.producer.to_be_bytes());
    key[4..8].copy_from_slice(&place.index.to_be_bytes());
    key[8..16].copy_from_slice(&author.counter.to_be_bytes());
    key
}

fn fill(value: &mut [u8], place: Place, author: Author) {
    let topic = place
        .topic_id
        .0
        .iter()
        .fold(0, |word, byte| word << 8 | u64::from(*byte));
    let place = mix(topic ^ (place.index as u64) << 40);
    let seed = mix(place ^ u64::from(author.producer) << 48 ^ author.counter);
    for (number, bytes) in value.chunks_mut(8).enumerate() {
        let word = mix(seed.wrapping_add(number as u64)).to_le_bytes();
        bytes.copy_from_slice(&word[..bytes.len()]);
    }
}
