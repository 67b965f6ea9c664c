//! Records that prove themselves: each carries its number and a checksum, so that loss,
//! duplication, reordering and damage are seen by whoever reads them.

use crate::frame::Record;
use crate::model::Offset;

/// Bytes of a value before its filling: the record's number, and the checksum of all the rest.
const PROOF_BYTES: usize = 8 + 4;

/// Makes records, going round the partitions.
#[derive(Debug)]
pub(super) struct Maker {
    value: Vec<u8>,
    partition_count: i32,
    made_count: u64,
}

impl Maker {
    /// Values of `value_bytes`, which is at least the proof's size.
    pub(super) fn new(value_bytes: usize, partition_count: i32) -> Maker {
        let mut value = vec![0; value_bytes.max(PROOF_BYTES)];
        // Filling that does not compress to nothing: the bytes of a linear congruence.
        let mut state = 1u32;
        for byte in &mut value {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        Maker {
            value,
            partition_count,
            made_count: 0,
        }
    }

    /// The next record: its partition and its value.
    pub(super) fn next(&mut self) -> (i32, &[u8]) {
        let number = self.made_count;
        self.made_count += 1;
        self.value[..8].copy_from_slice(&number.to_be_bytes());
        let checksum = checksum(&self.value);
        self.value[8..PROOF_BYTES].copy_from_slice(&checksum.to_be_bytes());
        let partition = number % self.partition_count as u64;
        (partition as i32, &self.value)
    }

    pub(super) fn made_count(&self) -> u64 {
        self.made_count
    }

    pub(super) fn partition_count(&self) -> i32 {
        self.partition_count
    }
}

/// CRC-32C of a value without the place where it stands.
fn checksum(value: &[u8]) -> u32 {
    let number = crc32c::crc32c(&value[..8]);
    crc32c::crc32c_append(number, &value[PROOF_BYTES..])
}

/// What is wrong with a record that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The value is not one of ours, or damaged.
    Damaged,
    /// Another record was expected here: one is missing, doubled or out of order.
    Misplaced { expected: u64, found: u64 },
    /// The partition ended early.
    Missing { expected: u64 },
    /// An offset was not the one after the last.
    Offset { expected: Offset, found: Offset },
}

/// The first wrong record of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    partition: i32,
    wrong: Wrong,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "partition {}: ", self.partition)?;
        match self.wrong {
            Wrong::Damaged => write!(f, "a record is damaged"),
            Wrong::Misplaced { expected, found } => {
                write!(f, "record {found} stands where record {expected} belongs")
            }
            Wrong::Missing { expected } => write!(f, "record {expected} is missing"),
            Wrong::Offset { expected, found } => {
                write!(f, "offset {found} stands where offset {expected} belongs")
            }
        }
    }
}

/// Reads records back and remembers the first that is wrong.
#[derive(Debug)]
pub(super) struct Checker {
    /// The next record's number, and its offset, by partition.
    next: Vec<(u64, Offset)>,
    count: u64,
    verdict: Option<Verdict>,
}

impl Checker {
    pub(super) fn new(partition_count: i32) -> Checker {
        let next = (0..partition_count as u64)
            .map(|number| (number, Offset::ZERO))
            .collect();
        Checker {
            next,
            count: 0,
            verdict: None,
        }
    }

    /// Takes the next record of a partition.
    pub(super) fn check(&mut self, partition: i32, record: &Record<'_>) {
        self.count += 1;
        self.take(partition, record.offset, record.value);
    }

    fn take(&mut self, partition: i32, offset: Offset, value: Option<&[u8]>) {
        let step = self.next.len() as u64;
        let (expected, expected_offset) = self.next[partition as usize];
        let wrong = match read(value) {
            None => Wrong::Damaged,
            Some(found) if found != expected => Wrong::Misplaced { expected, found },
            Some(_) if offset != expected_offset => Wrong::Offset {
                expected: expected_offset,
                found: offset,
            },
            Some(_) => {
                self.next[partition as usize] = (expected + step, expected_offset.next());
                return;
            }
        };
        self.verdict.get_or_insert(Verdict { partition, wrong });
    }

    /// Records taken so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether all that was made came back, once, in order, intact.
    pub(super) fn finish(&self, maker: &Maker) -> Result<(), Verdict> {
        if let Some(verdict) = self.verdict {
            return Err(verdict);
        }
        let short = self
            .next
            .iter()
            .zip(0..)
            .find(|((number, _), _)| *number < maker.made_count());
        match short {
            None => Ok(()),
            Some(((expected, _), partition)) => Err(Verdict {
                partition,
                wrong: Wrong::Missing {
                    expected: *expected,
                },
            }),
        }
    }
}

/// The number of a record that is intact.
fn read(value: Option<&[u8]>) -> Option<u64> {
    let value = value.filter(|value| value.len() >= PROOF_BYTES)?;
    let number = u64::from_be_bytes(*value.first_chunk()?);
    let found = u32::from_be_bytes(*value[8..].first_chunk()?);
    (found == checksum(value)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What came back of 6 records in 2 partitions, after `change` of what was sent.
    fn check(change: impl Fn(&mut Vec<(i32, Offset, Vec<u8>)>), expected: Result<(), Verdict>) {
        let mut maker = Maker::new(32, 2);
        let mut sent = Vec::new();
        for number in 0..6 {
            let (partition, value) = maker.next();
            sent.push((partition, Offset(number / 2), value.to_vec()));
        }
        change(&mut sent);
        let mut checker = Checker::new(2);
        for (partition, offset, value) in &sent {
            checker.take(*partition, *offset, Some(value));
        }
        assert_eq!(checker.finish(&maker), expected);
    }

    fn wrong(partition: i32, wrong: Wrong) -> Result<(), Verdict> {
        Err(Verdict { partition, wrong })
    }

    #[test]
    fn what_came_back_whole_passes() {
        check(|_| {}, Ok(()));
    }

    #[test]
    fn loss_doubles_disorder_and_damage_are_found() {
        check(
            |sent| drop(sent.remove(5)),
            wrong(1, Wrong::Missing { expected: 5 }),
        );
        let misplaced = |expected, found| wrong(0, Wrong::Misplaced { expected, found });
        check(|sent| drop(sent.remove(0)), misplaced(0, 2));
        check(|sent| sent.insert(1, sent[0].clone()), misplaced(2, 0));
        check(|sent| sent.swap(0, 2), misplaced(0, 2));
        check(|sent| sent[2].2[20] ^= 1, wrong(0, Wrong::Damaged));
        check(|sent| sent[2].2.truncate(5), wrong(0, Wrong::Damaged));
        let skipped = Wrong::Offset {
            expected: Offset(1),
            found: Offset(2),
        };
        check(|sent| sent[2].1 = Offset(2), wrong(0, skipped));
    }
}
