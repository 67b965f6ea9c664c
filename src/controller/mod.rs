//! The metadata log: topics, ids, configurations, leader epochs, producer-id blocks.
//!
//! `record` is what the log holds, `image` what applying it gives, `decide` the pure step from a
//! request and an image to records, `journal` the log itself. Each change is one batch of
//! records, so a crash leaves all of it or nothing. One voter now: this node.
//!
//! Every shard has its own `Image` and applies the same records in the same order; the image of
//! the controller is the one that decisions are made on.

mod decide;
mod directory;
mod image;
mod journal;
mod record;

#[cfg(test)]
mod tests;

pub use decide::{
    ConfigChange, ConfigOwner, NewPartitions, NewTopic, Refused, RefusedReason, TopicRef,
};
pub use directory::{DirectoryError, DirectoryIdentity, claim};
pub use image::{Change, Image, PartitionMeta, TopicMeta};
pub use journal::{Controller, Deltas, JournalError};
pub use record::{PartitionRecord, Record, RecordError};
