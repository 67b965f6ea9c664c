//! The free chunks of one shard: taken, recycled, removed.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::io::fs;

use super::chunk::{Chunk, ChunkHeader, ChunkId, FRAMES_POSITION};
use super::store::ChunkStore;

/// A chunk that belongs to nobody; its header may still name a former owner who has dropped it
/// durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FreeChunk {
    pub(super) id: ChunkId,
    /// Of its latest life; the next one gets the next.
    pub(super) generation: u64,
    pub(super) size_bytes: u64,
    /// From its start up to here every block was written, if only with zeros. A synced write to
    /// such blocks costs less than to those that are merely allocated.
    pub(super) written_bytes: u64,
}

/// The free chunks of one size.
#[derive(Debug, Default)]
struct Shelf {
    written: Vec<FreeChunk>,
    /// Not written to the end; the last one is the one that is being written.
    unwritten: Vec<FreeChunk>,
}

/// The free chunks by size, and those that readers still hold. Owned by one core.
#[derive(Debug, Default)]
pub(super) struct FreeChunks {
    by_size: BTreeMap<u64, Shelf>,
    bytes: u64,
    /// Dropped by their logs. Free when nobody but this list holds them: a chunk is never
    /// recycled under a reader.
    retired: Vec<Retired>,
    /// The id of the next chunk to be created, and the distance to the one after.
    pub(super) next_id: u64,
    pub(super) id_step: u64,
}

/// A chunk that may still have readers.
#[derive(Debug)]
struct Retired {
    chunk: Rc<Chunk>,
    /// What its header on the disk says now.
    generation: u64,
}

impl FreeChunks {
    /// No chunks; those to be created are numbered from `first_id` in steps.
    pub(super) fn numbered(first_id: u64, id_step: u64) -> FreeChunks {
        FreeChunks {
            next_id: first_id,
            id_step,
            ..FreeChunks::default()
        }
    }

    /// A chunk of exactly `wanted` bytes, or, if `any`, the smallest of at least `least` bytes.
    /// One that is written is preferred.
    pub(super) fn take(&mut self, wanted: u64, least: u64, any: bool) -> Option<FreeChunk> {
        self.reclaim();
        let size = match self.by_size.get(&wanted) {
            Some(shelf) if shelf.count() > 0 => wanted,
            _ if any => {
                *self
                    .by_size
                    .range(least..)
                    .find(|(_, shelf)| shelf.count() > 0)?
                    .0
            }
            _ => return None,
        };
        let chunk = self.by_size.get_mut(&size)?.pop()?;
        self.bytes -= chunk.size_bytes;
        Some(chunk)
    }

    /// A chunk of this size that is not written to its end.
    pub(super) fn take_unwritten(&mut self, size_bytes: u64) -> Option<FreeChunk> {
        let chunk = self.by_size.get_mut(&size_bytes)?.unwritten.pop()?;
        self.bytes -= chunk.size_bytes;
        Some(chunk)
    }

    pub(super) fn put(&mut self, chunk: FreeChunk) {
        self.bytes += chunk.size_bytes;
        let shelf = self.by_size.entry(chunk.size_bytes).or_default();
        match chunk.is_written() {
            true => shelf.written.push(chunk),
            false => shelf.unwritten.push(chunk),
        }
    }

    /// Takes back a chunk that its log has dropped durably.
    pub(super) fn retire(&mut self, chunk: Rc<Chunk>, generation: u64) {
        self.retired.push(Retired { chunk, generation });
    }

    /// Moves the retired chunks that no reader holds any more to the free ones.
    pub(super) fn reclaim(&mut self) {
        let unread = |retired: &mut Retired| Rc::strong_count(&retired.chunk) == 1;
        let unread: Vec<Retired> = self.retired.extract_if(.., unread).collect();
        for Retired { chunk, generation } in unread {
            let (id, size_bytes) = (chunk.id, chunk.size_bytes);
            self.put(FreeChunk::used(id, generation, size_bytes));
        }
    }

    /// How many free chunks of this size there are.
    pub(super) fn count(&self, size_bytes: u64) -> usize {
        self.by_size.get(&size_bytes).map_or(0, Shelf::count)
    }

    /// How many of them are written.
    pub(super) fn written_count(&self, size_bytes: u64) -> usize {
        let shelf = self.by_size.get(&size_bytes);
        shelf.map_or(0, |shelf| shelf.written.len())
    }

    /// The bytes of all free chunks.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Free chunks of all sizes.
    pub(super) fn total_count(&self) -> usize {
        self.by_size.values().map(Shelf::count).sum()
    }

    /// Those of all sizes that are written.
    pub(super) fn total_written_count(&self) -> usize {
        self.by_size.values().map(|shelf| shelf.written.len()).sum()
    }

    /// Whether one of them is of at least `least` bytes.
    pub(super) fn has_at_least(&self, least: u64) -> bool {
        let mut large = self.by_size.range(least..);
        large.any(|(_, shelf)| shelf.count() > 0)
    }

    /// Takes out what exceeds `bytes_max`, largest first: these files are to be removed.
    pub(super) fn surplus(&mut self, bytes_max: u64) -> Vec<FreeChunk> {
        let mut surplus = Vec::new();
        while self.bytes > bytes_max {
            let largest = self.by_size.values_mut().rev().find_map(Shelf::pop);
            let chunk = largest.expect("bytes counts what by_size holds");
            self.bytes -= chunk.size_bytes;
            surplus.push(chunk);
        }
        surplus
    }

    pub(super) fn new_id(&mut self) -> ChunkId {
        let id = self.next_id;
        self.next_id += self.id_step;
        ChunkId(id)
    }
}

impl FreeChunk {
    /// A chunk that records were in. It counts as written, whether or not they filled it.
    pub(super) fn used(id: ChunkId, generation: u64, size_bytes: u64) -> FreeChunk {
        FreeChunk {
            id,
            generation,
            size_bytes,
            written_bytes: size_bytes,
        }
    }

    /// A chunk whose header still names an owner that does not use it any more.
    pub(super) fn recycled(header: &ChunkHeader) -> FreeChunk {
        FreeChunk::used(header.id, header.stamp.generation, header.size_bytes)
    }

    /// A chunk that nobody has had yet: only its header is written, as far as is known.
    pub(super) fn unused(id: ChunkId, size_bytes: u64) -> FreeChunk {
        FreeChunk {
            id,
            generation: 0,
            size_bytes,
            written_bytes: FRAMES_POSITION.min(size_bytes),
        }
    }

    /// Whether all of its blocks were written.
    pub(super) fn is_written(&self) -> bool {
        self.written_bytes >= self.size_bytes
    }
}

impl Shelf {
    fn count(&self) -> usize {
        self.written.len() + self.unwritten.len()
    }

    fn pop(&mut self) -> Option<FreeChunk> {
        self.written.pop().or_else(|| self.unwritten.pop())
    }
}

impl ChunkStore {
    /// Removes the files of free chunks beyond the bound. Needs no sync: a file that comes back
    /// after a crash is a free chunk again.
    pub(super) async fn remove_surplus(&self) {
        let surplus = self.free.borrow_mut().surplus(self.free_bytes_max());
        for chunk in surplus {
            self.files.forget(chunk.id);
            let path = self.files.dir().join(chunk.id.file_name());
            if let Err(error) = fs::remove_file(&path).await {
                tracing::warn!("{} could not be removed: {error}", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::ChunkStamp;
    use crate::limits::CHUNKS_FREE_BYTES_MAX;

    fn free(id: u64, size_bytes: u64) -> FreeChunk {
        FreeChunk::used(ChunkId(id), 1, size_bytes)
    }

    #[test]
    fn a_written_chunk_is_taken_before_one_that_is_not() {
        let mut pool = FreeChunks::default();
        let unused = FreeChunk::unused(ChunkId(2), 1 << 20);
        pool.put(free(1, 1 << 20));
        pool.put(unused);
        assert_eq!((pool.count(1 << 20), pool.written_count(1 << 20)), (2, 1));
        assert_eq!(pool.take(1 << 20, 1 << 20, false), Some(free(1, 1 << 20)));
        let mut half = pool.take_unwritten(1 << 20).expect("it is there");
        assert_eq!((half, pool.total_count()), (unused, 0));
        half.written_bytes = 1 << 19;
        pool.put(half);
        assert_eq!((pool.total_count(), pool.total_written_count()), (1, 0));
        assert_eq!(pool.take_unwritten(1 << 20), Some(half));
        half.written_bytes = 1 << 20;
        pool.put(half);
        assert_eq!(
            (pool.take_unwritten(1 << 20), pool.total_written_count()),
            (None, 1)
        );
    }

    #[test]
    fn the_wanted_size_is_taken_and_another_only_in_need() {
        let mut pool = FreeChunks::default();
        pool.put(free(1, 100));
        pool.put(free(2, 400));
        assert_eq!(pool.take(200, 150, false), None);
        assert_eq!(pool.take(200, 150, true), Some(free(2, 400)));
        assert_eq!(pool.take(200, 150, true), None);
        assert_eq!(pool.take(100, 100, false), Some(free(1, 100)));
        assert_eq!(pool.bytes, 0);
    }

    #[test]
    fn a_retired_chunk_is_free_when_its_last_reader_is_gone() {
        let mut pool = FreeChunks::default();
        let stamp = ChunkStamp {
            generation: 1,
            nonce: [0; 16],
        };
        let chunk = Rc::new(Chunk {
            id: ChunkId(1),
            stamp,
            size_bytes: 100,
        });
        let reader = chunk.clone();
        pool.retire(chunk, 1);
        assert_eq!(pool.take(100, 100, true), None);
        drop(reader);
        assert_eq!(pool.take(100, 100, true), Some(free(1, 100)));
    }

    #[test]
    fn more_free_chunks_than_the_bound_are_given_up() {
        let mut pool = FreeChunks::default();
        let size = CHUNKS_FREE_BYTES_MAX / 4;
        for id in 0..6 {
            pool.put(free(id, size));
        }
        assert_eq!(pool.surplus(CHUNKS_FREE_BYTES_MAX).len(), 2);
        assert_eq!(pool.surplus(CHUNKS_FREE_BYTES_MAX).len(), 0);
        assert_eq!(pool.count(size), 4);
        assert_eq!(pool.total_count(), 4);
        assert!(pool.has_at_least(size) && !pool.has_at_least(size + 1));
        assert_eq!(pool.surplus(0).len(), 4);
        assert!(!pool.has_at_least(0));
    }
}
