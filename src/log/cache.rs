//! The indexes of sealed chunks: loaded when a cold read needs one, kept in a bounded cache.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::io;
use crate::limits::INDEX_CACHE_BYTES_MAX;
use crate::model::PartitionId;

use super::chunk::{Chunk, ChunkId, FRAMES_POSITION};
use super::index::{FramesEnd, Index, footer_bytes};
use super::reader::ChunkReader;
use super::store::ChunkStore;

/// Indexes by chunk; the ones loaded first go first.
#[derive(Default)]
pub(super) struct IndexCache {
    cached: RefCell<Cached>,
}

/// One life of one chunk: what is known of it is wrong in the next.
type Life = (ChunkId, u64);

fn life_of(chunk: &Chunk) -> Life {
    (chunk.id, chunk.stamp.generation)
}

#[derive(Default)]
struct Cached {
    indexes: HashMap<Life, Rc<Index>>,
    order: VecDeque<Life>,
    bytes: usize,
}

impl IndexCache {
    pub(super) fn new() -> IndexCache {
        IndexCache::default()
    }

    fn get(&self, chunk: &Chunk) -> Option<Rc<Index>> {
        self.cached.borrow().indexes.get(&life_of(chunk)).cloned()
    }

    fn put(&self, chunk: &Chunk, index: Rc<Index>) {
        self.forget(chunk);
        let mut cached = self.cached.borrow_mut();
        cached.bytes += index.memory_bytes();
        cached.indexes.insert(life_of(chunk), index);
        cached.order.push_back(life_of(chunk));
        while cached.bytes > INDEX_CACHE_BYTES_MAX && cached.order.len() > 1 {
            let oldest = cached.order.pop_front().expect("there are two at least");
            let index = cached
                .indexes
                .remove(&oldest)
                .expect("ordered means cached");
            cached.bytes -= index.memory_bytes();
        }
    }

    /// The chunk is not read any more.
    pub(super) fn forget(&self, chunk: &Chunk) {
        let life = life_of(chunk);
        let mut cached = self.cached.borrow_mut();
        if let Some(index) = cached.indexes.remove(&life) {
            cached.bytes -= index.memory_bytes();
            cached.order.retain(|other| *other != life);
        }
    }
}

impl ChunkStore {
    /// The index of a sealed chunk whose frames end at `end`: from memory, from its
    /// footer, or from its frames.
    pub(super) async fn index_of(
        &self,
        partition: PartitionId,
        chunk: &Chunk,
        end: FramesEnd,
    ) -> io::Result<Rc<Index>> {
        if let Some(index) = self.indexes.get(chunk) {
            return Ok(index);
        }
        let index = match self.read_footer(chunk, end).await? {
            Some(index) => index,
            None => self.scan_index(partition, chunk, end.position).await?,
        };
        let index = Rc::new(index);
        self.indexes.put(chunk, index.clone());
        Ok(index)
    }

    async fn read_footer(&self, chunk: &Chunk, end: FramesEnd) -> io::Result<Option<Index>> {
        let length = footer_bytes(chunk.size_bytes);
        let mut reader = ChunkReader::open(self, chunk, length as usize).await?;
        let bytes = reader
            .at(chunk.size_bytes - length, length as usize)
            .await?;
        Ok(Index::read_footer(&chunk.stamp, end, bytes))
    }

    /// Builds the index of the frames that end at `end_position` by walking over their headers.
    pub(super) async fn scan_index(
        &self,
        partition: PartitionId,
        chunk: &Chunk,
        end_position: u64,
    ) -> io::Result<Index> {
        let mut index = Index::known_from(FRAMES_POSITION);
        let window = super::reader::SCAN_WINDOW_BYTES;
        let mut reader = ChunkReader::open(self, chunk, window).await?;
        let mut position = FRAMES_POSITION;
        while position < end_position {
            match reader.frame_header(position, partition).await? {
                Some(frame) => {
                    index.note(chunk.size_bytes, position, &frame);
                    position += u64::from(frame.frame_bytes);
                }
                None => position += FRAMES_POSITION / 2,
            }
        }
        Ok(index)
    }
}
