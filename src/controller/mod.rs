//! The metadata log: topics, ids, configurations, leader epochs, producer-id blocks.
//!
//! `Record` is a change, `Image` what the changes so far amount to; `Image::apply` is
//! deterministic and the same on every shard.

mod image;
mod record;

pub use image::{Image, PartitionImage, TopicImage, Touched};
pub use record::{EntryError, PartitionRun, Record, Setting, SettingChange};
