//! The metadata log itself, and the one place where metadata changes.
//!
//! Lives on shard 0. Changes are made one after the other: decided on the image, appended as one
//! batch, durable, applied, and only then given to the shards. A crash anywhere before durability
//! leaves the old metadata; anywhere after it the new.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::decide::{
    ConfigChange, ConfigOwner, NewPartitions, NewTopic, Refused, RefusedReason, Rules, TopicRef,
    refused,
};
use super::image::{Image, TopicMeta};
use super::record::{self, Record, RecordError};
use crate::config::{BrokerIds, SharedConfig};
use crate::frame::BatchHeader;
use crate::io;
use crate::limits::{METADATA_READ_BYTES, METADATA_RECORDS_BEFORE_SNAPSHOT};
use crate::log::{Log, ReadError};
use crate::metrics::{self, Counter};
use crate::model::{LeaderEpoch, Offset, TopicId};

/// Why the metadata log cannot be used.
#[derive(Debug)]
pub enum JournalError {
    /// Its bytes cannot be read.
    Read(ReadError),
    /// A batch of it is not what this version writes.
    Record(Offset, RecordError),
    /// It takes no more.
    Append,
}

/// The controller of a single node, on shard 0, which makes one call at a time: the second is
/// decided on what the first has made.
pub struct Controller {
    log: Rc<Log>,
    image: RefCell<Image>,
    /// Of this start.
    cores_count: usize,
}

/// Records that are durable and applied here, for the shards to apply.
pub type Deltas = Arc<[Record]>;

impl Controller {
    /// Replays the metadata log and records, durably, that the node has started, on so many cores.
    pub async fn open(log: Rc<Log>, cores_count: usize) -> Result<Controller, JournalError> {
        let (image, records_count) = replay(&log).await?;
        let controller = Controller {
            log,
            image: RefCell::new(image),
            cores_count,
        };
        controller.commit(vec![Record::Started]).await?;
        if records_count > METADATA_RECORDS_BEFORE_SNAPSHOT {
            controller.shorten().await?;
        }
        Ok(controller)
    }

    /// Everything, for a shard that starts.
    pub fn snapshot(&self) -> Deltas {
        self.image.borrow().snapshot().into()
    }

    /// Makes topics; one result for each, in order. With `validate_only` nothing changes.
    pub async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
        config: &SharedConfig,
    ) -> (Vec<Result<TopicMeta, Refused>>, Option<Deltas>) {
        let decided = self.decide(topics, config, |rules, topic| {
            rules.create(&topic, new_topic_id(rules.image))
        });
        let (results, records) = self.apply_or_look(decided, validate_only).await;
        let metas = results.into_iter().map(|result| {
            let record = result?;
            Ok(TopicMeta::created(&record).expect("the record that makes a topic"))
        });
        (metas.collect(), records)
    }

    /// Adds partitions; one result for each request, in order.
    pub async fn add_partitions(
        &self,
        requests: Vec<NewPartitions>,
        validate_only: bool,
        config: &SharedConfig,
    ) -> (Vec<Result<(), Refused>>, Option<Deltas>) {
        let decided = self.decide(requests, config, |rules, request| {
            rules.add_partitions(&request)
        });
        let (results, records) = self.apply_or_look(decided, validate_only).await;
        (
            results
                .into_iter()
                .map(|result| result.map(|_| ()))
                .collect(),
            records,
        )
    }

    /// Deletes topics; one result for each, in order: what the topic was.
    pub async fn delete_topics(
        &self,
        topics: Vec<TopicRef>,
        config: &SharedConfig,
    ) -> (Vec<Result<TopicMeta, Refused>>, Option<Deltas>) {
        let mut metas = Vec::new();
        let decided = self.decide(topics, config, |rules, topic| {
            if !config.topics.delete_enable {
                return refused(
                    RefusedReason::DeletionDisabled,
                    "Topic deletion is disabled (delete.topic.enable=false).",
                );
            }
            let (record, meta) = rules.delete(&topic)?;
            metas.push(meta);
            Ok(record)
        });
        let (results, records) = self.apply_or_look(decided, false).await;
        let mut metas = metas.into_iter();
        let results = results.into_iter().map(|result| {
            // A meta stands for every record decided, whether it became durable or not.
            result.map(|_| metas.next().expect("one for each deletion"))
        });
        (results.collect(), records)
    }

    /// Changes configurations; one result for each, in order.
    pub async fn configure(
        &self,
        changes: Vec<(ConfigOwner, ConfigChange)>,
        validate_only: bool,
        config: &SharedConfig,
    ) -> (Vec<Result<(), Refused>>, Option<Deltas>) {
        let decided = self.decide(changes, config, |rules, (owner, change)| {
            rules.configure(&owner, change)
        });
        let (results, records) = self.apply_or_look(decided, validate_only).await;
        (
            results
                .into_iter()
                .map(|result| result.map(|_| ()))
                .collect(),
            records,
        )
    }

    /// Gives away a block of producer ids; returns the first.
    pub async fn producer_ids(&self, config: &SharedConfig) -> Result<i64, Refused> {
        let mut first = 0;
        let decided = self.decide(vec![()], config, |rules, ()| {
            let (record, block) = rules.producer_ids();
            first = block;
            Ok(record)
        });
        let (results, _) = self.apply_or_look(decided, false).await;
        results.into_iter().next().expect("one result")?;
        Ok(first)
    }

    /// Decides one request after the other, each on the image that those before it make.
    fn decide<Q>(
        &self,
        requests: Vec<Q>,
        config: &SharedConfig,
        mut decide: impl FnMut(&Rules<'_>, Q) -> Result<Record, Refused>,
    ) -> Vec<Result<Record, Refused>> {
        let mode = config.network.listener_mode;
        let brokers = BrokerIds::new(mode, config.node_id, self.cores_count);
        let current = self.image.borrow();
        let mut image = Cow::Borrowed(&*current);
        let last = requests.len().saturating_sub(1);
        let mut decided = Vec::with_capacity(requests.len());
        for (at, request) in requests.into_iter().enumerate() {
            let rules = Rules {
                config,
                image: &image,
                brokers,
            };
            let result = decide(&rules, request);
            if at < last
                && let Ok(record) = &result
            {
                image.to_mut().apply(record);
            }
            decided.push(result);
        }
        decided
    }

    /// Makes what was decided durable and applies it, unless only a look was wanted. If the log
    /// takes no more, every change is refused and nothing is applied.
    async fn apply_or_look(
        &self,
        decided: Vec<Result<Record, Refused>>,
        look: bool,
    ) -> (Vec<Result<Record, Refused>>, Option<Deltas>) {
        let records: Vec<Record> = decided.iter().flatten().cloned().collect();
        if look || records.is_empty() {
            return (decided, None);
        }
        let said: Vec<String> = {
            let image = self.image.borrow();
            records
                .iter()
                .filter_map(|record| image.describe(record))
                .collect()
        };
        match self.commit(records).await {
            Ok(records) => {
                for text in said {
                    tracing::info!("{text}");
                }
                (decided, Some(records))
            }
            Err(_) => {
                let storage =
                    || refused(RefusedReason::Storage, "the metadata log cannot be written");
                let failed = decided
                    .into_iter()
                    .map(|result| result.and_then(|_| storage()));
                (failed.collect(), None)
            }
        }
    }

    /// Appends records as one batch, waits until they are durable, applies them.
    async fn commit(&self, records: Vec<Record>) -> Result<Deltas, JournalError> {
        self.append(&records).await?;
        let mut image = self.image.borrow_mut();
        for record in &records {
            image.apply(record);
        }
        Ok(records.into())
    }

    async fn append(&self, records: &[Record]) -> Result<Offset, JournalError> {
        let now = io::wall_clock();
        let batch = record::to_batch(records, now);
        let base_offset = self.log.end_offset();
        let appended = self
            .log
            .append_own(&batch, base_offset, LeaderEpoch(0), now);
        appended.map_err(|_| JournalError::Append)?;
        metrics::add(Counter::PayloadOwnBytes, batch.len() as u64);
        let end = base_offset + records.len() as i64;
        self.log
            .wait_durable(end)
            .await
            .map_err(|_| JournalError::Append)?;
        Ok(base_offset)
    }

    /// Writes the image as one batch and lets go of what came before. A crash in between leaves
    /// both, and the snapshot wins.
    async fn shorten(&self) -> Result<(), JournalError> {
        let snapshot = self.image.borrow().snapshot();
        let start = self.append(&snapshot).await?;
        self.log
            // What this log's owner knows is all in the snapshot.
            .set_start_offset(start, Vec::new)
            .await
            .map_err(|_| JournalError::Append)
    }

    /// Makes everything durable and ends the log's use.
    pub async fn close(&self) {
        // A data directory that has stopped has said so.
        let _ = self.log.close().await;
    }
}

/// Reads the log from its start; returns the image and the number of records read.
async fn replay(log: &Log) -> Result<(Image, usize), JournalError> {
    let mut image = Image::default();
    let mut records_count = 0;
    let mut offset = log.start_offset();
    let end = log.end_offset();
    while offset < end {
        let read = log
            .read(offset, end, METADATA_READ_BYTES, true)
            .await
            .map_err(JournalError::Read)?;
        for batch in read.batches.iter().flat_map(split) {
            for record in
                record::from_batch(&batch).map_err(|error| JournalError::Record(offset, error))?
            {
                image.apply(&record);
                records_count += 1;
            }
        }
        assert!(
            read.next_offset > offset,
            "a read below the end makes progress"
        );
        offset = read.next_offset;
    }
    Ok((image, records_count))
}

/// The batches of a slice that holds several.
fn split(slice: &Bytes) -> Vec<Bytes> {
    let mut batches = Vec::new();
    let mut rest = slice.clone();
    while let Some(bytes) = BatchHeader::read(&rest).and_then(|header| header.total_bytes()) {
        batches.push(rest.split_to(bytes.min(rest.len())));
    }
    batches
}

/// A random id that is not taken and not one of the reserved ones.
fn new_topic_id(image: &Image) -> TopicId {
    loop {
        let mut bytes = io::random_bytes::<16>();
        // A random UUID (RFC 9562, version 4), as Kafka's are.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let id = TopicId(bytes);
        // Kafka keeps ids whose text starts with a dash out of command lines.
        if image.topic(id).is_none() && !id.to_string().starts_with('-') {
            return id;
        }
    }
}
