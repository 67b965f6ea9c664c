//! What an owner sets of a log and of a shard's chunk store.

use std::time::Duration;

use crate::limits::{
    CHUNK_BYTES, CHUNK_FILES_OPEN_MAX, HOT_TAIL_BYTES_MAX, JOURNAL_CHUNK_BYTES, LOG_SEAL_IDLE_MS,
    LOG_TAIL_UNREAD_MS, STORAGE_RESERVE_BYTES,
};

/// What "durable" means: `corelog.durability`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The data sync has completed: survives a power cut.
    Sync,
    /// The write has completed: survives the process, not a power cut.
    Written,
}

/// What an owner may set per log; all of it may change while the log is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Payload of a segment before a new one begins, in bytes (`segment.bytes`).
    pub segment_bytes: u64,
    /// Age of a segment before a new one begins, in ms (`segment.ms`), jitter subtracted.
    pub segment_ms: i64,
    /// Oldest segments go while the log is larger, in bytes (`retention.bytes`); `None`: never.
    pub retention_bytes: Option<u64>,
    /// Segments go when their newest record is older, in ms (`retention.ms`); `None`: never.
    pub retention_ms: Option<i64>,
}

impl Default for LogConfig {
    /// Kafka's defaults: 1 GiB, 7 days, no limit by size, 7 days.
    fn default() -> LogConfig {
        const WEEK_MS: i64 = 7 * 24 * 3_600 * 1_000;
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: WEEK_MS,
            retention_bytes: None,
            retention_ms: Some(WEEK_MS),
        }
    }
}

/// What an owner sets per shard, once.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// What acknowledgements wait for.
    pub durability: Durability,
    /// The size classes of chunk files, in bytes, ascending; tests make them a few blocks.
    pub chunk_bytes: Vec<u64>,
    /// Written buffers kept for readers of the tail, in bytes.
    pub hot_bytes: usize,
    /// The least size of a chunk of the journal, in bytes; 0: small groups go to their own chunks.
    pub journal_bytes: u64,
    /// Space left for the metadata log, in bytes.
    pub reserve_bytes: u64,
    /// Chunk files kept open.
    pub files_open_max: usize,
    /// Whether free chunks are written with zeros ahead of need.
    pub prewrite: bool,
    /// How long a log gets nothing before it is sealed.
    pub seal_idle: Duration,
    /// How long nobody reads an idle log's tail before its memory is given back.
    pub tail_unread: Duration,
}

impl StoreConfig {
    /// The size of a journal's chunk: a class of the pool; 0 if there is no journal. Where writes
    /// are not synced one by one, a shared one saves little, and a power cut could take a log's
    /// frames and leave the later entries.
    pub(super) fn journal_chunk_bytes(&self) -> u64 {
        let mut classes = self.chunk_bytes.iter().copied();
        let class = classes.find(|class| *class >= self.journal_bytes);
        match self.durability {
            Durability::Sync if self.journal_bytes > 0 => class.unwrap_or(0),
            Durability::Sync | Durability::Written => 0,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            durability: Durability::Sync,
            chunk_bytes: CHUNK_BYTES.to_vec(),
            hot_bytes: HOT_TAIL_BYTES_MAX,
            journal_bytes: JOURNAL_CHUNK_BYTES,
            reserve_bytes: STORAGE_RESERVE_BYTES,
            files_open_max: CHUNK_FILES_OPEN_MAX,
            prewrite: true,
            seal_idle: Duration::from_millis(LOG_SEAL_IDLE_MS),
            tail_unread: Duration::from_millis(LOG_TAIL_UNREAD_MS),
        }
    }
}
