//! Zeros ahead of need: free chunks are written once before a log gets them.
//!
//! A synced write to blocks that were merely allocated has to journal that they are written now,
//! and takes two thirds longer than one to blocks that were (`kernel-notes/rwf-dsync.md`). So each
//! core keeps a few free chunks of the sizes that its logs ask for written to their end. This is
//! work for when the disk has nothing better to do: one piece at a time, none while batches wait,
//! nothing before the first log of the core has begun a chunk, and nothing once the reserve is
//! full. A log that outruns it takes a chunk as it is; it never waits for zeros.
//!
//! The zeros go to chunks whose header says that they are nobody's, behind that header. A crash
//! leaves such a chunk: free, with zeros or without.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::io::sync::Notify;
use crate::io::{self, AlignedBuf, ErrorKind, File, Sync};
use crate::limits::{
    FRAME_ALIGNMENT_BYTES, PREWRITE_BYTES, PREWRITE_PAUSE_MS, PREWRITE_PAUSE_MS_MAX,
    PREWRITE_PENDING_BYTES_MAX, PREWRITTEN_BYTES_MAX, PREWRITTEN_COUNT, PREWRITTEN_SMALLEST_COUNT,
    PREWRITTEN_SPACE_SHARE,
};
use crate::metrics::{self, Counter};

use super::pool::{FreeChunk, FreeChunks};
use super::store::{ChunkStore, Directory};

/// What one shard knows of its reserve. Lost in a crash, and learned anew from what logs take.
#[derive(Debug, Default)]
pub(super) struct Prewriting {
    /// Sizes of chunk that logs have asked for, or will soon.
    foreseen: RefCell<BTreeSet<u64>>,
    running: Cell<bool>,
    /// The size of the chunk that is out of the pool while a piece of it is written.
    held_bytes: Cell<Option<u64>>,
    returned: Notify,
    /// The device makes no zeros itself: they are written.
    zeros_are_sent: Cell<bool>,
}

/// What is to be done for the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Create a chunk of this size.
    Create(u64),
    /// Write to a free chunk of this size.
    Write(u64),
}

/// The turn of one shard to write zeros; over when it is dropped.
struct Turn<'a>(&'a Directory);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.prewriting.store(false, Ordering::Relaxed);
    }
}

impl ChunkStore {
    /// A log begins a chunk of `size_bytes`, and will want one of `next_bytes` soon, if that is
    /// known.
    pub(super) fn foresee(&self, size_bytes: u64, next_bytes: Option<u64>) {
        let mut foreseen = self.prewriting.foreseen.borrow_mut();
        foreseen.insert(self.config.chunk_bytes[0]);
        foreseen.insert(size_bytes);
        foreseen.extend(next_bytes);
    }

    /// Sees to it that the reserve is filled, if anything is missing.
    pub(super) fn prewrite_ahead(&self) {
        let wanted = self.config.prewrite && self.prewrite_task().is_some();
        if wanted && !self.prewriting.running.replace(true) {
            io::spawn(fill_reserve(self.weak())).detach();
        }
    }

    /// Waits for the piece that is being written to a chunk of this size, if there is one: that is
    /// sooner done than a chunk is created. False if there is none.
    pub(super) async fn wait_for_piece(&self, size_bytes: u64) -> bool {
        let returned = self.prewriting.returned.notified();
        let held = self.prewriting.held_bytes.get() == Some(size_bytes);
        if held {
            returned.await;
        }
        held
    }

    fn prewrite_task(&self) -> Option<Task> {
        let foreseen = self.prewriting.foreseen.borrow();
        let smallest = self.config.chunk_bytes[0];
        next_task(&foreseen, smallest, &self.free.borrow())
    }

    /// Whether a chunk of this size may be created for the reserve.
    async fn may_create(&self, size_bytes: u64) -> bool {
        let reserve_bytes = {
            let free = self.free.borrow();
            let foreseen = self.prewriting.foreseen.borrow();
            let smallest = self.config.chunk_bytes[0];
            let kept = |size: &u64| {
                let count = free.count(*size).min(goal(*size, smallest));
                count as u64 * size
            };
            foreseen.iter().map(kept).sum::<u64>()
        };
        let after_bytes = reserve_bytes + size_bytes;
        let spare = self.spare_bytes().await.unwrap_or(0);
        after_bytes <= PREWRITTEN_BYTES_MAX && after_bytes <= spare / PREWRITTEN_SPACE_SHARE
    }

    /// Does one piece of the work. False if there is nothing to do, or it cannot be done now.
    async fn prewrite_once(&self, zeros: &Bytes) -> bool {
        match self.prewrite_task() {
            None => false,
            // One is on its way already, and is written then.
            Some(Task::Create(size)) if self.is_refilling(size) => false,
            Some(Task::Create(size)) => {
                if !self.may_create(size).await {
                    return false;
                }
                let created = self.create_chunk(size, false).await;
                created.is_ok_and(|chunk| {
                    self.return_chunk(chunk);
                    true
                })
            }
            Some(Task::Write(size)) => {
                let chunk = self.free.borrow_mut().take_unwritten(size);
                let chunk = chunk.expect("the task says that there is one");
                self.prewriting.held_bytes.set(Some(size));
                let written = self.write_piece(chunk, zeros).await;
                self.prewriting.held_bytes.set(None);
                match &written {
                    Ok(chunk) => self.return_chunk(*chunk),
                    // The chunk is not used any more; its file stays as a free one.
                    Err(error) => {
                        let name = chunk.id.file_name();
                        self.stop(&format!("zeros could not be written to {name}: {error}"));
                    }
                }
                self.prewriting.returned.notify_waiters();
                written.is_ok()
            }
        }
    }

    /// Writes the next piece of zeros to a chunk that was taken out of the pool.
    async fn write_piece(&self, mut chunk: FreeChunk, zeros: &Bytes) -> io::Result<FreeChunk> {
        let file = self.files.get(chunk.id).await?;
        let rest = chunk.size_bytes - chunk.written_bytes;
        let length = rest.min(zeros.len() as u64);
        self.zero(&file, chunk.written_bytes, zeros.slice(..length as usize))
            .await?;
        metrics::add(Counter::PrewrittenBytes, length);
        chunk.written_bytes += length;
        if chunk.is_written() {
            // What says that the blocks are written is journaled now, not with the first record.
            metrics::add(Counter::Syncs, 1);
            file.sync().await?;
        }
        Ok(chunk)
    }

    /// Has the device make the zeros, or sends them to it
    /// (`kernel-notes/fallocate-write-zeroes.md`).
    async fn zero(&self, file: &File, position: u64, piece: Bytes) -> io::Result<()> {
        if !self.prewriting.zeros_are_sent.get() {
            match file.write_zeroes(position, piece.len() as u64).await {
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    self.prewriting.zeros_are_sent.set(true);
                }
                made => return made,
            }
        }
        file.write_at(piece, position, Sync::None).await
    }

    /// Puts a chunk into the pool that was out of it, or is new.
    pub(super) fn return_chunk(&self, chunk: FreeChunk) {
        // Whoever lacks space, on whichever core, may have come to need it meanwhile.
        match self.free_bytes_max() {
            0 => self.give_back(vec![chunk]),
            _ => self.free.borrow_mut().put(chunk),
        }
        self.publish_free();
    }

    /// Whether the disk has better to do.
    fn is_busy(&self) -> bool {
        self.pending_bytes() > PREWRITE_PENDING_BYTES_MAX
    }

    fn turn_to_prewrite(&self) -> Option<Turn<'_>> {
        let directory = self.directory();
        let taken = directory.prewriting.swap(true, Ordering::Relaxed);
        (!taken).then_some(Turn(directory))
    }
}

/// Works until the reserve is full, or cannot be filled now. What logs take starts it again.
async fn fill_reserve(store: Weak<ChunkStore>) {
    let zeros = AlignedBuf::zeroed(PREWRITE_BYTES).freeze();
    let mut pause_ms = PREWRITE_PAUSE_MS;
    loop {
        io::sleep(Duration::from_millis(pause_ms)).await;
        let Some(store) = store.upgrade() else { return };
        pause_ms = match step(&store, &zeros).await {
            Step::Done => break store.prewriting.running.set(false),
            Step::Went => PREWRITE_PAUSE_MS,
            Step::Waits => (pause_ms * 2).min(PREWRITE_PAUSE_MS_MAX),
        };
    }
}

enum Step {
    Went,
    /// For the disk, or for another shard.
    Waits,
    Done,
}

async fn step(store: &Rc<ChunkStore>, zeros: &Bytes) -> Step {
    // What logs take when there is space again starts it anew.
    if store.is_stopped() || store.free_bytes_max() == 0 {
        return Step::Done;
    }
    if store.is_busy() {
        return Step::Waits;
    }
    let Some(_turn) = store.turn_to_prewrite() else {
        return Step::Waits;
    };
    match store.prewrite_once(zeros).await {
        true => Step::Went,
        false => Step::Done,
    }
}

/// Written chunks of a size that are kept ready.
fn goal(size_bytes: u64, smallest_bytes: u64) -> usize {
    match size_bytes == smallest_bytes {
        true => PREWRITTEN_SMALLEST_COUNT,
        false => PREWRITTEN_COUNT,
    }
}

/// What the reserve lacks, the smallest chunks first.
fn next_task(foreseen: &BTreeSet<u64>, smallest_bytes: u64, free: &FreeChunks) -> Option<Task> {
    let lacking = |size: &u64| free.written_count(*size) < goal(*size, smallest_bytes);
    let size = foreseen.iter().copied().find(lacking)?;
    Some(match free.count(size) > free.written_count(size) {
        true => Task::Write(size),
        false => Task::Create(size),
    })
}

const _: () = assert!(PREWRITE_BYTES.is_multiple_of(FRAME_ALIGNMENT_BYTES));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::ChunkId;

    #[test]
    fn what_logs_ask_for_is_written_smallest_first_until_there_is_enough() {
        let mut free = FreeChunks::default();
        let check = |free: &FreeChunks, foreseen: &[u64], expected| {
            let foreseen = foreseen.iter().copied().collect();
            assert_eq!(next_task(&foreseen, 256, free), expected);
        };
        check(&free, &[], None);
        check(&free, &[256, 1024], Some(Task::Create(256)));
        for id in 0..PREWRITTEN_SMALLEST_COUNT as u64 {
            free.put(FreeChunk::used(ChunkId(id), 1, 256));
        }
        check(&free, &[256], None);
        check(&free, &[256, 1024], Some(Task::Create(1024)));
        let mut half = FreeChunk::used(ChunkId(100), 0, 1024);
        half.written_bytes = 512;
        free.put(half);
        check(&free, &[256, 1024], Some(Task::Write(1024)));
        // One that nobody has asked for is left as it is.
        check(&free, &[256, 4096], Some(Task::Create(4096)));
        free.take_unwritten(1024);
        half.written_bytes = 1024;
        free.put(half);
        check(&free, &[256, 1024], None);
    }
}
