//! Chunks before they are needed: a log that will soon have filled its own says so, and there is
//! one for it.
//!
//! A new chunk takes two syncs and as many changes of a directory (`kernel-notes/new-files.md`),
//! and logs that are appended to alike fill theirs at the same time. So the store counts the logs
//! that will need a chunk of a size within a moment, and creates until so many of that size are
//! free; at least one of each size that logs have taken. None belongs to a log before it is taken:
//! a log that stops growing leaves nothing behind but its count, which ends with `Foretold`
//! (`docs/decisions/2026-11-23-chunks-ahead.md`).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Weak;
use std::time::Duration;

use futures_util::future::join_all;

use crate::io;
use crate::limits::{
    CHUNK_AHEAD_MS, CHUNK_AHEAD_SIZE_MAX, CHUNKS_AHEAD_AT_ONCE, CHUNKS_AHEAD_BYTES_MAX,
    CHUNKS_AHEAD_SPACE_SHARE,
};
use crate::model::Timestamp;

use super::chunk::{FRAMES_POSITION, Room, frames_end};
use super::state::{LogChunk, Phase, State};
use super::store::ChunkStore;

/// What one shard knows of the chunks that its logs will take.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Logs that will soon need a chunk, by its size.
    awaited: RefCell<BTreeMap<u64, usize>>,
    /// Sizes of which chunks are being created.
    creating: RefCell<BTreeSet<u64>>,
}

/// A log will soon need a chunk of this size. Over when it is dropped.
pub(super) struct Foretold {
    store: Weak<ChunkStore>,
    pub(super) size_bytes: u64,
}

impl Drop for Foretold {
    fn drop(&mut self) {
        let Some(store) = self.store.upgrade() else {
            return;
        };
        let mut awaited = store.ahead.awaited.borrow_mut();
        if let Some(count) = awaited.get_mut(&self.size_bytes) {
            *count -= 1;
            if *count == 0 {
                awaited.remove(&self.size_bytes);
            }
        }
    }
}

impl State {
    /// Says so, once, when the last chunk will be full within a moment, and takes it back when it
    /// will not.
    pub(super) fn foretell(&mut self, store: &ChunkStore, now: Timestamp) {
        // What closes, seals or deletes a log is written, too, and asks for nothing.
        let grows = self.phase == Phase::Open
            && io::now() - self.last_append < Duration::from_millis(CHUNK_AHEAD_MS);
        let last = self.chunks.back().filter(|last| fills_soon(last, now));
        match last {
            Some(last) if grows && !self.allocating && self.ready.is_empty() => {
                if self.foretold.is_none() {
                    let size = store.next_class(Some(last), self.config.segment_bytes, now);
                    let worth_it = size <= CHUNK_AHEAD_SIZE_MAX;
                    self.foretold = worth_it.then(|| store.foretell(size));
                }
            }
            _ => self.foretold = None,
        }
    }
}

/// Whether the second half of the chunk is being filled, and will be full within
/// `CHUNK_AHEAD_MS` at the rate of all before.
fn fills_soon(chunk: &LogChunk, now: Timestamp) -> bool {
    let used = chunk.end_position.saturating_sub(FRAMES_POSITION);
    let end = frames_end(chunk.chunk.size_bytes, Room::Ordinary);
    let left = end.saturating_sub(chunk.end_position);
    let passed_ms = now.0.saturating_sub(chunk.stamped.0).max(0) as u64;
    left < used && left.saturating_mul(passed_ms) < used.saturating_mul(CHUNK_AHEAD_MS)
}

impl ChunkStore {
    fn foretell(&self, size_bytes: u64) -> Foretold {
        let mut awaited = self.ahead.awaited.borrow_mut();
        *awaited.entry(size_bytes).or_default() += 1;
        drop(awaited);
        self.refill(size_bytes);
        Foretold {
            store: self.weak(),
            size_bytes,
        }
    }

    /// Sees to it that enough chunks of this size are free, off the path of any append.
    pub(super) fn refill(&self, size_bytes: u64) {
        let needed = self.lacking(size_bytes) > 0
            && self.free_bytes_max() > 0
            && !self.is_stopped()
            && self.ahead.creating.borrow_mut().insert(size_bytes);
        if needed {
            io::spawn(create_ahead(self.weak(), size_bytes)).detach();
        }
    }

    /// Whether chunks of this size are being created ahead of need.
    pub(super) fn is_refilling(&self, size_bytes: u64) -> bool {
        self.ahead.creating.borrow().contains(&size_bytes)
    }

    /// How many chunks of this size should be free that are not.
    fn lacking(&self, size_bytes: u64) -> usize {
        let awaited = self.ahead.awaited.borrow().get(&size_bytes).copied();
        let wanted = awaited.unwrap_or(0).max(1);
        wanted.saturating_sub(self.free.borrow().count(size_bytes))
    }

    /// Creates the next few of those that are lacking. Says whether to look again.
    async fn create_some(&self, size_bytes: u64) -> bool {
        let lacking = self.lacking(size_bytes).min(CHUNKS_AHEAD_AT_ONCE);
        if lacking == 0 || self.free_bytes_max() == 0 || self.is_stopped() {
            return false;
        }
        // The first one is worth any space; more of them only a part of what is spare.
        let spare = self.spare_bytes().await.unwrap_or(0);
        let spare = spare.saturating_sub(self.directory().allocating_bytes());
        let most = CHUNKS_AHEAD_BYTES_MAX.min(spare / CHUNKS_AHEAD_SPACE_SHARE);
        let (free_bytes, none) = {
            let free = self.free.borrow();
            (free.bytes(), free.count(size_bytes) == 0)
        };
        let fitting = (most.saturating_sub(free_bytes) / size_bytes) as usize;
        let count = lacking.min(fitting.max(usize::from(none)));
        if count == 0 {
            return false;
        }
        let created = join_all((0..count).map(|_| self.create_chunk(size_bytes, false))).await;
        let mut all = true;
        for created in created {
            match created {
                Ok(chunk) => self.return_chunk(chunk),
                Err(_) => all = false,
            }
        }
        all
    }
}

async fn create_ahead(store: Weak<ChunkStore>, size_bytes: u64) {
    let Some(store) = store.upgrade() else { return };
    while store.create_some(size_bytes).await {}
    store.ahead.creating.borrow_mut().remove(&size_bytes);
    store.prewrite_ahead();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChunkStamp, Incarnation};
    use crate::log::chunk::{ChunkHeader, ChunkId};

    /// A chunk of 1 MiB that was begun at 10 s and is filled up to `end_position` at `now_ms`.
    fn check(end_position: u64, now_ms: i64, expected: bool) {
        let header = ChunkHeader {
            stamped: Timestamp(10_000),
            incarnation: Incarnation(1),
            ..ChunkHeader::free(ChunkId(1), ChunkStamp::default(), 1 << 20)
        };
        let mut chunk = LogChunk::new(&header);
        chunk.end_position = end_position;
        let soon = fills_soon(&chunk, Timestamp(now_ms));
        assert_eq!(soon, expected, "{end_position} at {now_ms}");
    }

    #[test]
    fn a_chunk_fills_soon_if_its_rest_takes_less_than_a_second() {
        let three_quarters = 3 << 18;
        check(three_quarters, 12_000, true);
        check(three_quarters, 14_000, false);
        check(three_quarters, 100_000, false);
        check(1_000_000, 24_000, true);
        // However fast the first half was.
        check(500_000, 10_000, false);
        check(540_000, 10_000, true);
        // A clock that went back.
        check(three_quarters, 9_000, true);
        check(1 << 20, i64::MAX, true);
    }
}
