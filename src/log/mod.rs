//! The durable, append-only log of one partition, and the chunk files that all logs of a shard
//! share.
//!
//! What it promises: a record that was reported durable is never lost, an offset that was reported
//! durable is never given to another record, every byte served passed its CRC, and the log start
//! never moves back. What it does not do: decide who may append, assign offsets, know the high
//! watermark or producers; that is `partition`.
//!
//! # The door
//!
//! ```text
//! // start-up, once per data directory (any core)
//! log::scan(dir).await                       -> Result<Inventory, ScanError>   // Send
//! inventory.partitions()                     -> impl Iterator<Item = PartitionId>
//! inventory.take(PartitionId)                -> Found                      // Send; empty if new
//! inventory.pool(CoreId, cores)              -> Pool                       // Send; once per core
//! inventory.unreadable()                     -> &[ChunkId]  // left alone; adopt no orphans
//!
//! // one per shard; StoreConfig says what durable means: Durability::Sync or Written
//! ChunkStore::open(dir, CoreId, Pool, StoreConfig) -> Rc<ChunkStore>
//! store.adopt(Found)                         // chunks of a topic that no longer exists: recycle
//! store.is_stopped(), store.is_full()        // a write or sync failed; no space
//! store.wait_room().await                    // back-pressure: until the shard may append again
//! store.pending_bytes()                      // appended, not yet durable
//!
//! // one per partition
//! Log::open(&store, PartitionId, Found, LogConfig, Incarnation, replay: impl FnMut(Replay)).await
//!                                            -> Result<Rc<Log>, OpenError>
//!     // Replay::State(&[u8]): the owner's opaque state, in place of all before it;
//!     // Replay::Batch(&BatchHeader) for every batch that the last state does not cover.
//! log.recovery()                             -> &Recovery: cut tail, quarantined ranges
//! log.set_listener(Box<dyn Fn(LogEvent)>)    // Durable(Offset) | StorageFull | Stopped
//! log.set_config(LogConfig)                  // live
//! log.append(&[u8], base_offset, LeaderEpoch, max_timestamp) -> Result<(), AppendError>
//!     // synchronous; base_offset must be end_offset(); AppendError: StorageFull | Stopped |
//!     // TooLarge | Busy. An accepted batch is never taken back.
//! log.append_own(...)                        // a batch that the broker made: never Busy
//! log.start_offset(), log.end_offset(), log.durable_offset()   // all exclusive ends but start
//! log.wait_durable(Offset).await             -> Result<(), Stopped>
//! log.flush().await                          -> Result<(), Stopped>   // survives a power cut
//! log.read(from, upto, max_bytes, at_least_one).await -> Result<Slices, ReadError>
//!     // Slices { batches: Vec<Bytes>, bytes, next_offset }; whole batches below
//!     // min(upto, durable_offset()); the first contains `from`.
//!     // ReadError: OutOfRange | Corrupt { from, to } | Io
//! log.max_timestamp()                        -> Timestamp (NONE if empty); what is durable
//! log.max_timestamp_from(Offset).await       -> Result<Timestamp, ReadError>
//! log.find_timestamp(Timestamp).await        -> Result<Option<Bytes>, ReadError>   // first batch
//!                                            // whose max timestamp is at or above it
//! log.epoch_end(LeaderEpoch)                 -> Option<(LeaderEpoch, Offset)>  // KIP-101/279
//! log.latest_epoch()                         -> Option<LeaderEpoch>
//! log.set_start_offset(Offset, owner_state).await     -> Result<(), Stopped>
//!     // durable on return, with what owner_state: FnOnce() -> Vec<u8> gives
//! log.enforce_retention(Timestamp, owner_state).await -> Result<Offset, Stopped>
//!     // the new log start
//! log.size_bytes()                           // logical bytes, as DescribeLogDirs counts
//! log.delete().await                         // durable on return; chunks go back to the pool
//! log.close().await                          // no more appends; everything durable, sealed;
//!                                            // but for what there is no space for
//!
//! // checkpoints: bound what a restart replays
//! log.checkpoint(state: Vec<u8>)             -> checkpoint::Entry   // state of end_offset(), now
//! checkpoint::write(&store, entries).await   // waits until every entry's state is durable
//! ```
//!
//! An idle log seals itself and gives its buffers and its file back; nobody has to ask.
//!
//! # The files, in reading order
//!
//! `append` copies a batch into a `group`; `write` makes the group a frame of a chunk and submits
//! it; `state` releases what has completed, in order. Small groups of many logs first share a round
//! of the core's `journal`, and become frames later. `read` serves from the `hot` buffers or the
//! disk, `find` by timestamp. `retention` and `lifecycle` move the log's start, seal, delete.
//! `checkpoint`, `scan` and `recover` are the start; what belongs to a log after a crash is decided
//! in `link` alone. Under all of them lies the `store` of one shard: `pool` of free `chunk`s, how
//! they are made (`create`), how many (`ahead`), and which with zeros in them (`prewrite`), open
//! `files`, `cache` of indexes.

mod handle;
mod settings;

mod append;
mod batch;
mod group;
mod state;
mod write;

mod journal;

mod find;
mod hot;
mod read;

mod lifecycle;
mod retention;

pub mod checkpoint;
mod recover;
mod scan;

mod epochs;
mod index;
mod link;

mod ahead;
mod cache;
mod chunk;
mod create;
mod files;
mod pool;
mod prewrite;
mod reader;
mod store;

pub use crate::frame::Incarnation;
pub use append::AppendError;
pub use batch::{Batch, PlacedBatch};
pub use chunk::ChunkId;
pub use handle::{Log, LogEvent};
pub use read::{ReadError, Slices};
pub use recover::{OpenError, Recovery, Replay};
pub use scan::{Found, Inventory, Pool, ScanError, scan};
pub use settings::{Durability, LogConfig, StoreConfig};
pub use store::{ChunkStore, Stopped};
