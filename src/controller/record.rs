//! What the metadata log holds.
//!
//! A record is the value of one Kafka record: a version byte, then the rkyv archive. All records
//! of one change stand in one batch, and a batch is durable as a whole or not at all.

use crate::frame::{self, BatchBuilder, Codec};
use crate::limits::METADATA_BATCH_BYTES_MAX;
use crate::model::Timestamp;

/// The version of the layout of `Record`.
const RECORD_VERSION: u8 = 1;

/// One change of the metadata. Never changed once released; new variants go to the end.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum Record {
    /// The records that follow in this batch are the whole image; what came before is void.
    Snapshot {
        /// How often the node has started.
        starts_count: u32,
        /// The slot that the next partition gets.
        next_slot: u32,
        /// The first producer id that no block contains.
        next_producer_id: i64,
    },
    /// The node has started: every partition's leader epoch rises by one.
    Started,
    /// A topic with all of its partitions and its own configurations.
    TopicCreated {
        /// Its identity.
        id: [u8; 16],
        /// Its name.
        name: String,
        /// One for each partition.
        partitions: Vec<PartitionRecord>,
        /// What differs from the broker's defaults.
        configs: Vec<(String, String)>,
    },
    /// More partitions of a topic.
    PartitionsAdded {
        /// The topic.
        id: [u8; 16],
        /// One for each new partition.
        partitions: Vec<PartitionRecord>,
    },
    /// A topic is gone, and its records with it.
    TopicDeleted {
        /// The topic.
        id: [u8; 16],
    },
    /// A topic's own configurations, all of them.
    TopicConfigs {
        /// The topic.
        id: [u8; 16],
        /// What differs from the broker's defaults.
        configs: Vec<(String, String)>,
    },
    /// Dynamic broker configurations, all of them.
    BrokerConfigs {
        /// The broker; `None` is the default of all brokers.
        node_id: Option<i32>,
        /// The keys that are set.
        configs: Vec<(String, String)>,
    },
    /// A block of producer ids was given away, up to this one exclusively.
    ProducerIds {
        /// The first id that is still free.
        next_producer_id: i64,
    },
}

/// A partition in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct PartitionRecord {
    /// Decides the core: `slot % cores`.
    pub slot: u32,
    /// The node's count of starts when the partition was made; its leader epoch counts from here.
    pub born_at_start: u32,
}

/// Why a batch of the metadata log could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// Not a batch of records.
    Batch,
    /// A record's version is not known: the directory was written by a newer corelog.
    Version(u8),
    /// A record's bytes are not an archive.
    Archive,
}

/// The batch that makes `records` durable together.
pub(super) fn to_batch(records: &[Record], now: Timestamp) -> Vec<u8> {
    let mut batch = BatchBuilder::new(Codec::None);
    for record in records {
        let archive = rkyv::to_bytes::<rkyv::rancor::Error>(record)
            .expect("memory is the only thing that archiving needs");
        let mut value = Vec::with_capacity(1 + archive.len());
        value.push(RECORD_VERSION);
        value.extend_from_slice(&archive);
        batch.push(now, None, Some(&value));
    }
    batch.build()
}

/// The records of a batch.
pub(super) fn from_batch(batch: &[u8]) -> Result<Vec<Record>, RecordError> {
    let records =
        frame::records(batch, METADATA_BATCH_BYTES_MAX).map_err(|_| RecordError::Batch)?;
    let mut out = Vec::new();
    for record in records.iter() {
        let record = record.map_err(|_| RecordError::Batch)?;
        let (version, archive) = record
            .value
            .and_then(<[u8]>::split_first)
            .ok_or(RecordError::Archive)?;
        if *version != RECORD_VERSION {
            return Err(RecordError::Version(*version));
        }
        // An archive is read in place at an aligned address; in a batch it stands anywhere.
        let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(archive.len());
        aligned.extend_from_slice(archive);
        let read = rkyv::from_bytes::<Record, rkyv::rancor::Error>(&aligned);
        out.push(read.map_err(|_| RecordError::Archive)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_its_records_back() {
        let records = vec![
            Record::Snapshot {
                starts_count: 3,
                next_slot: 9,
                next_producer_id: 1000,
            },
            Record::Started,
            Record::TopicCreated {
                id: [7; 16],
                name: "a".into(),
                partitions: vec![
                    PartitionRecord {
                        slot: 1,
                        born_at_start: 2
                    };
                    3
                ],
                configs: vec![("retention.ms".into(), "1".into())],
            },
            Record::BrokerConfigs {
                node_id: None,
                configs: Vec::new(),
            },
        ];
        assert_eq!(from_batch(&to_batch(&records, Timestamp(5))), Ok(records));
    }

    #[test]
    fn a_record_that_is_none_is_refused() {
        let check = |value: Option<&[u8]>, expected| {
            let mut batch = BatchBuilder::new(Codec::None);
            batch.push(Timestamp(0), None, value);
            assert_eq!(from_batch(&batch.build()), Err(expected));
        };
        check(None, RecordError::Archive);
        check(Some(&[]), RecordError::Archive);
        check(Some(&[9, 1, 2]), RecordError::Version(9));
        check(Some(&[RECORD_VERSION, 1, 2, 3]), RecordError::Archive);
        assert_eq!(from_batch(&[0; 70]), Err(RecordError::Batch));
    }
}
