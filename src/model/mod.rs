//! The nouns of the broker, as newtypes that every other room shares.
//!
//! Nothing here does I/O, allocates per record, or knows a wire format.
//! A value of one of these types is always valid; parsing happens at its constructor.

mod ids;
mod offset;
mod topic;

pub use ids::{CoreId, LeaderEpoch, NodeId, PartitionId, ProducerEpoch, ProducerId, TopicId};
pub use offset::{Offset, Timestamp};
pub use topic::{OFFSETS_TOPIC, TopicName, TopicNameError, TopicPartition};
