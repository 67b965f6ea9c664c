//! What the metadata log holds: changes, and the pieces of snapshots.
//!
//! Each is the value of one Kafka record, in batches of our own log: a version byte, then the
//! entry in rkyv's form. One change is one record, so a crash keeps all of it or nothing.
//! docs/formats/metadata-log.md draws it.

use std::fmt;

use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize, rancor};

/// The version of the entries' form; other versions are refused.
const ENTRY_VERSION: u8 = 1;

/// One change of the cluster's metadata. Applied in the order of the log, on every shard.
///
/// A change says what is so, not what was asked: applying it needs no clock, no chance and no
/// configuration.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Record {
    /// The node started. Every partition's leader epoch rises by one.
    Start,
    /// A topic exists, with all of its partitions and configurations.
    TopicCreated {
        /// Its identity, never used before.
        id: [u8; 16],
        /// Its name.
        name: String,
        /// Its partitions, in order of their indices.
        runs: Vec<PartitionRun>,
        /// Its own configurations.
        configs: Vec<Setting>,
    },
    /// A topic has more partitions.
    PartitionsAdded {
        /// The topic's identity.
        id: [u8; 16],
        /// The new partitions, in order, after those that it had.
        run: PartitionRun,
    },
    /// A topic is gone, with its partitions and configurations.
    TopicDeleted {
        /// The topic's identity.
        id: [u8; 16],
    },
    /// Configurations of a topic changed.
    TopicConfigChanged {
        /// The topic's identity.
        id: [u8; 16],
        /// What changed.
        changes: Vec<SettingChange>,
    },
    /// Dynamic configurations of brokers changed.
    BrokerConfigChanged {
        /// Which broker's; none for all brokers.
        node: Option<i32>,
        /// What changed.
        changes: Vec<SettingChange>,
    },
    /// Producer ids were given out: those from `first` on, `count` of them, belong to one core.
    ProducerIdsTaken {
        /// The first of the block.
        first: i64,
        /// How many.
        count: i32,
    },
}

/// Partitions that were created together: consecutive indices and consecutive slots.
///
/// Consecutive slots go round robin over the cores, since a partition's core is its slot modulo
/// the number of cores.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PartitionRun {
    /// How many partitions.
    pub count: u32,
    /// The slot of the first one.
    pub first_slot: u32,
    /// How many starts the log had seen when they were created. The leader epoch of a partition
    /// is the number of starts since then.
    pub created_at_start: u64,
    /// The nodes that hold each of them; the first leads.
    pub replicas: Vec<i32>,
}

/// One configuration that is set.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub name: String,
    /// Its value, as text.
    pub value: String,
}

/// One configuration that is set, or given back to its default.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The key.
    pub name: String,
    /// Its value, as text; none gives it back to the default.
    pub value: Option<String>,
}

/// A piece of a snapshot. Between `Begin` and `End` stands the whole image; without its `End` a
/// snapshot counts for nothing.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) enum SnapshotPiece {
    Begin {
        starts: u64,
        next_slot: u32,
        next_producer_id: i64,
    },
    Topic {
        id: [u8; 16],
        name: String,
        runs: Vec<PartitionRun>,
        configs: Vec<Setting>,
    },
    BrokerConfig {
        node: Option<i32>,
        configs: Vec<Setting>,
    },
    End,
}

/// One record's value.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Change(Record),
    Snapshot(SnapshotPiece),
}

/// Why a record's value is not an entry that this version knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// The record has no value.
    Empty,
    /// A later version of corelog wrote it.
    Version(u8),
    /// Its bytes are not an entry.
    Damaged,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryError::Empty => f.write_str("a record without a value"),
            EntryError::Version(version) => {
                write!(
                    f,
                    "an entry of version {version}; this corelog knows {ENTRY_VERSION}"
                )
            }
            EntryError::Damaged => f.write_str("bytes that are not an entry"),
        }
    }
}

impl Entry {
    /// The value of the record that holds this entry.
    pub(super) fn encode(&self) -> Vec<u8> {
        let archived = rkyv::to_bytes::<rancor::Error>(self).expect("writing to memory");
        let mut value = Vec::with_capacity(1 + archived.len());
        value.push(ENTRY_VERSION);
        value.extend_from_slice(&archived);
        value
    }

    /// Reads a record's value; every byte of it is checked first.
    pub(super) fn decode(value: Option<&[u8]>) -> Result<Entry, EntryError> {
        let (version, archived) = value
            .and_then(<[u8]>::split_first)
            .ok_or(EntryError::Empty)?;
        if *version != ENTRY_VERSION {
            return Err(EntryError::Version(*version));
        }
        // The record lies anywhere in its batch; rkyv reads in place, so it needs alignment.
        let mut aligned = AlignedVec::<16>::with_capacity(archived.len());
        aligned.extend_from_slice(archived);
        rkyv::from_bytes::<Entry, rancor::Error>(&aligned).map_err(|_| EntryError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(record: Record) {
        let entry = Entry::Change(record);
        assert_eq!(Entry::decode(Some(&entry.encode())), Ok(entry));
    }

    fn run() -> PartitionRun {
        PartitionRun {
            count: 3,
            first_slot: 9,
            created_at_start: 2,
            replicas: vec![1],
        }
    }

    #[test]
    fn every_kind_reads_back() {
        let id = [7; 16];
        let value = Some("1".to_string());
        let changes = vec![
            SettingChange {
                name: "retention.ms".to_string(),
                value,
            },
            SettingChange {
                name: "segment.ms".to_string(),
                value: None,
            },
        ];
        let configs = vec![Setting {
            name: "a".to_string(),
            value: "b".to_string(),
        }];
        check(Record::Start);
        check(Record::TopicCreated {
            id,
            name: "t".to_string(),
            runs: vec![run()],
            configs,
        });
        check(Record::PartitionsAdded { id, run: run() });
        check(Record::TopicDeleted { id });
        check(Record::TopicConfigChanged {
            id,
            changes: changes.clone(),
        });
        check(Record::BrokerConfigChanged {
            node: None,
            changes: changes.clone(),
        });
        check(Record::BrokerConfigChanged {
            node: Some(3),
            changes,
        });
        check(Record::ProducerIdsTaken {
            first: 1000,
            count: 1000,
        });
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        assert_eq!(Entry::decode(None), Err(EntryError::Empty));
        assert_eq!(Entry::decode(Some(&[])), Err(EntryError::Empty));
        assert_eq!(Entry::decode(Some(&[2, 0, 0])), Err(EntryError::Version(2)));
        assert_eq!(Entry::decode(Some(&[1])), Err(EntryError::Damaged));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            bytes[0] = ENTRY_VERSION;
            let _ = Entry::decode(Some(&bytes));
        }

        #[test]
        fn no_flipped_byte_makes_it_panic(at in any::<prop::sample::Index>(), mask in 1u8..) {
            let configs = vec![Setting { name: "a".to_string(), value: "long enough to be out of line".to_string() }];
            let record = Record::TopicCreated { id: [1; 16], name: "t".to_string(), runs: vec![run()], configs };
            let mut bytes = Entry::Change(record).encode();
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
            let _ = Entry::decode(Some(&bytes));
        }
    }
}
