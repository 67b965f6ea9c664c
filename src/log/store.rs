//! The chunk store of one shard: what all of the shard's logs share.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::io::sync::{Notify, Semaphore};
use crate::io::{self, Instant};
use crate::limits::{
    CHUNK_WRITES_MAX, CHUNKS_CREATING_MAX, CHUNKS_FREE_BYTES_MAX, COLD_READS_MAX,
    LOG_PENDING_BYTES_MAX, RECOVERIES_MAX, SEALS_MAX, STORAGE_RETRY_MS, WRITING_MS,
};
use crate::metrics;
use crate::model::{CoreId, PartitionId};

use super::ahead::Ahead;
use super::cache::IndexCache;
use super::checkpoint::Remembered;
use super::chunk::{Chunk, frame_capacity};
use super::create::{CreateError, Naming};
use super::files::Files;
use super::handle::Log;
use super::hot::HotTails;
use super::journal::Journal;
use super::pool::{FreeChunk, FreeChunks};
use super::prewrite::Prewriting;
use super::scan::{Found, Pool};
use super::settings::StoreConfig;

/// The directory of the pool, below the data directory.
pub(super) const CHUNKS_DIR: &str = "chunks";

/// The chunk files, open files, buffers and budgets of one shard.
///
/// Owned by one core and never sent. It holds no record itself; a crash loses nothing of it that
/// the chunk headers do not say.
pub struct ChunkStore {
    dir: PathBuf,
    core: CoreId,
    pub(super) config: StoreConfig,
    pub(super) files: Files,
    pub(super) free: RefCell<FreeChunks>,
    pub(super) creating: Semaphore,
    pub(super) naming: Naming,
    pub(super) indexes: IndexCache,
    pub(super) hot: HotTails,
    pub(super) journal: Journal,
    pub(super) cold_reads: Semaphore,
    pub(super) writes: Semaphore,
    seals: Arc<Semaphore>,
    pub(super) recoveries: Semaphore,
    /// The turn to write the checkpoint.
    pub(super) checkpoints: Semaphore,
    /// What the start has found in checkpoints of partitions that this core's file says nothing
    /// newer of.
    pub(super) remembered: RefCell<BTreeMap<PartitionId, Arc<Remembered>>>,
    directory: Arc<Directory>,
    pub(super) prewriting: Prewriting,
    pub(super) ahead: Ahead,
    full: Cell<bool>,
    /// While there is no space: the smallest chunk that would help anybody, in bytes.
    least_needed: Cell<u64>,
    probing: Cell<bool>,
    space_returned: Notify,
    space_ran_out: Notify,
    pending_bytes: Cell<usize>,
    last_write: Cell<Option<Instant>>,
    room: Notify,
    /// Logs with an unsealed tail, by the time at which they were appended to last, or earlier.
    unsealed: RefCell<VecDeque<(Instant, Weak<Log>)>>,
    me: Weak<ChunkStore>,
}

/// What all shards of one data directory share: whether it still takes writes, and has space.
#[derive(Debug, Default)]
pub(super) struct Directory {
    stopped: AtomicBool,
    /// Shards that have no space. While there are any, nobody keeps free chunks: each shard has
    /// its own, and what lies in one's pool is of no use to another.
    full_count: AtomicUsize,
    /// Bytes of chunks that are being created now.
    allocating_bytes: AtomicU64,
    /// Some shard is writing zeros ahead of need.
    pub(super) prewriting: AtomicBool,
}

impl Directory {
    /// The bytes of all allocations that are under way now.
    pub(super) fn allocating_bytes(&self) -> u64 {
        self.allocating_bytes.load(Ordering::Relaxed)
    }
}

/// An allocation that was begun; over when it is dropped.
pub(super) struct Allocation {
    directory: Arc<Directory>,
    size_bytes: u64,
}

impl Allocation {
    /// The bytes of all allocations that are under way now, this one included.
    pub(super) fn total_bytes(&self) -> u64 {
        self.directory.allocating_bytes()
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        let bytes = &self.directory.allocating_bytes;
        bytes.fetch_sub(self.size_bytes, Ordering::Relaxed);
    }
}

/// The data directory takes no writes any more: one failed, or could not be synced. It is never
/// tried again, because a failed sync says nothing about what it covered; reads go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the data directory has stopped taking writes")
    }
}

impl std::error::Error for Stopped {}

impl ChunkStore {
    /// Opens the store of one shard of the data directory `dir`, with the chunks that the scan
    /// found free for it. Starts the task that seals idle logs.
    pub fn open(dir: &Path, core: CoreId, pool: Pool, config: StoreConfig) -> Rc<ChunkStore> {
        let mut free = FreeChunks::numbered(pool.first_id, pool.id_step);
        for chunk in pool.free {
            free.put(chunk);
        }
        assert!(
            !config.chunk_bytes.is_empty(),
            "there is at least one size of chunk"
        );
        assert!(config.chunk_bytes.is_sorted(), "sizes of chunks ascend");
        let store = Rc::new_cyclic(|me| ChunkStore {
            dir: dir.to_owned(),
            core,
            files: Files::new(dir.join(CHUNKS_DIR), config.files_open_max),
            free: RefCell::new(free),
            creating: Semaphore::new(CHUNKS_CREATING_MAX),
            naming: Naming::new(),
            indexes: IndexCache::new(),
            hot: HotTails::new(config.hot_bytes),
            journal: Journal::new(config.journal_chunk_bytes()),
            cold_reads: Semaphore::new(COLD_READS_MAX),
            writes: Semaphore::new(CHUNK_WRITES_MAX),
            seals: Arc::new(Semaphore::new(SEALS_MAX)),
            recoveries: Semaphore::new(RECOVERIES_MAX),
            checkpoints: Semaphore::new(1),
            remembered: RefCell::default(),
            directory: pool.directory,
            prewriting: Prewriting::default(),
            ahead: Ahead::default(),
            full: Cell::new(false),
            least_needed: Cell::new(u64::MAX),
            probing: Cell::new(false),
            space_returned: Notify::new(),
            space_ran_out: Notify::new(),
            pending_bytes: Cell::new(0),
            last_write: Cell::new(None),
            room: Notify::new(),
            unsealed: RefCell::default(),
            me: me.clone(),
            config,
        });
        io::spawn(seal_idle_logs(
            Rc::downgrade(&store),
            store.config.seal_idle,
        ))
        .detach();
        if !pool.journals.is_empty() {
            let given_back =
                ChunkStore::give_back_replayed(Rc::downgrade(&store), pool.journals, pool.owed);
            io::spawn(given_back).detach();
        }
        store
    }

    /// Whose it is.
    pub(super) fn core(&self) -> CoreId {
        self.core
    }

    /// Whether a write or a sync of the data directory failed, on whichever core.
    pub fn is_stopped(&self) -> bool {
        self.directory.stopped.load(Ordering::Relaxed)
    }

    /// Whether the last chunk that was needed could not be had.
    pub fn is_full(&self) -> bool {
        self.full.get()
    }

    /// Bytes of batches appended and not yet durable.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes.get()
    }

    /// Waits until the shard's logs may be appended to again: the back-pressure of the disk. Ends
    /// too when the disk is full or the data directory stops, as `append` will say.
    pub async fn wait_room(&self) {
        loop {
            let room = self.room.notified();
            if self.has_room() || self.is_full() || self.is_stopped() {
                return;
            }
            room.await;
        }
    }

    /// Recycles the chunks of a partition that the metadata log no longer knows. The caller must be
    /// sure that it was deleted: its records are gone with this.
    pub fn adopt(&self, found: Found) {
        self.give_back(found.chunks.iter().map(FreeChunk::recycled).collect());
        if let Some(debt) = found.debt {
            debt.paid();
        }
    }

    /// Keeps what checkpoints know of a partition, until one of this core knows more: also of one
    /// that is not opened, or cannot be.
    pub fn remember(&self, id: PartitionId, found: &Found) {
        if let Some(known) = &found.remembered {
            self.remembered.borrow_mut().insert(id, known.clone());
        }
    }

    /// The partition was deleted.
    pub(super) fn forget(&self, id: PartitionId) {
        self.remembered.borrow_mut().remove(&id);
        self.journal.forget(id);
    }

    /// Takes chunks that nobody uses and nobody has read.
    pub(super) fn give_back(&self, chunks: Vec<FreeChunk>) {
        if chunks.is_empty() {
            return;
        }
        for chunk in chunks {
            self.free.borrow_mut().put(chunk);
        }
        self.tidy_pool();
    }

    /// The files that are open now.
    pub fn open_files(&self) -> usize {
        self.files.open_count()
    }

    /// The bytes of written buffers that are kept for readers of the tail.
    pub fn hot_bytes(&self) -> usize {
        self.hot.bytes()
    }

    /// The longest frame that any chunk takes.
    pub(super) fn frame_bytes_max(&self) -> u64 {
        let largest = self
            .config
            .chunk_bytes
            .last()
            .expect("asserted when opened");
        frame_capacity(*largest)
    }

    /// Whether the shard may append; `wait_room` waits for it.
    pub fn has_room(&self) -> bool {
        self.pending_bytes.get() < LOG_PENDING_BYTES_MAX
    }

    /// A write to a chunk begins.
    pub(super) fn note_write(&self) {
        self.last_write.set(Some(io::now()));
    }

    /// Whether one began a moment ago.
    pub(super) fn is_writing(&self) -> bool {
        let last = self.last_write.get();
        last.is_some_and(|last| io::now() - last < Duration::from_millis(WRITING_MS))
    }

    pub(super) fn add_pending(&self, bytes: usize) {
        self.pending_bytes.set(self.pending_bytes.get() + bytes);
    }

    pub(super) fn sub_pending(&self, bytes: usize) {
        let had_room = self.has_room();
        self.pending_bytes.set(self.pending_bytes.get() - bytes);
        if !had_room && self.has_room() {
            self.room.notify_waiters();
        }
    }

    /// A chunk of this size is about to be allocated.
    pub(super) fn begin_allocation(&self, size_bytes: u64) -> Allocation {
        let directory = self.directory.clone();
        directory
            .allocating_bytes
            .fetch_add(size_bytes, Ordering::Relaxed);
        Allocation {
            directory,
            size_bytes,
        }
    }

    /// Stops writes, for good and on every core.
    pub(super) fn stop(&self, cause: &str) {
        if !self.directory.stopped.swap(true, Ordering::Relaxed) {
            tracing::error!("the data directory stops taking writes: {cause}");
        }
        self.wake_all();
    }

    /// Lets everybody see that the data directory has stopped.
    fn wake_all(&self) {
        self.space_returned.notify_waiters();
        self.space_ran_out.notify_waiters();
        self.room.notify_waiters();
    }

    /// A free chunk, if there is one; others are created ahead when too few are left of its size.
    pub(super) fn try_take(&self, wanted: u64, least: u64) -> Option<FreeChunk> {
        let chunk = self.free.borrow_mut().take(wanted, least, self.full.get());
        if let Some(chunk) = chunk {
            self.count_taken(&chunk);
            self.refill(wanted);
        }
        self.publish_free();
        chunk
    }

    /// A log has got this chunk.
    fn count_taken(&self, chunk: &FreeChunk) {
        let unwritten = u64::from(!chunk.is_written());
        metrics::add(metrics::Counter::UnwrittenChunksTaken, unwritten);
        self.prewrite_ahead();
    }

    /// Tells how many chunks wait for use.
    pub(super) fn publish_free(&self) {
        let free = self.free.borrow();
        metrics::set(metrics::Gauge::FreeChunks, free.total_count() as u64);
        let written = free.total_written_count() as u64;
        metrics::set(metrics::Gauge::PrewrittenChunks, written);
    }

    /// A chunk of `wanted` bytes, or in need any of at least `least`. `Full` once per call: the
    /// caller says so to whom it may concern and then waits for space.
    pub(super) async fn allocate(
        &self,
        wanted: u64,
        least: u64,
        privileged: bool,
    ) -> Result<FreeChunk, CreateError> {
        if let Some(chunk) = self.try_take(wanted, least) {
            return Ok(chunk);
        }
        metrics::add(metrics::Counter::ChunkWaits, 1);
        if self.wait_for_piece(wanted).await
            && let Some(chunk) = self.try_take(wanted, least)
        {
            return Ok(chunk);
        }
        let mut result = self.create_chunk(wanted, privileged).await;
        if matches!(result, Err(CreateError::Full)) && least < wanted {
            result = self.create_chunk(least, privileged).await;
        }
        match result {
            // What comes from the reserve says nothing of space for others.
            Ok(_) if privileged => {}
            Ok(_) => self.found_space(),
            Err(CreateError::Full) => {
                self.lack_space(least);
                // Also when another size helps for now: only the probe ends the lack.
                self.probe_for_space();
                if let Some(chunk) = self.try_take(wanted, least) {
                    return Ok(chunk);
                }
            }
            Err(CreateError::Stopped) => {}
        }
        if let Ok(chunk) = &result {
            self.count_taken(chunk);
        }
        result
    }

    /// Waits until a chunk may be had again, or the data directory stops.
    pub(super) async fn wait_space(&self) {
        loop {
            let returned = self.space_returned.notified();
            if !self.full.get() || self.is_stopped() {
                return;
            }
            returned.await;
        }
    }

    /// Waits until there is no space and `concerns` says that it matters, or the data directory
    /// stops.
    pub(super) async fn wait_full(&self, concerns: impl Fn() -> bool) {
        loop {
            let ran_out = self.space_ran_out.notified();
            if (self.full.get() && concerns()) || self.is_stopped() {
                return;
            }
            ran_out.await;
        }
    }

    /// The file of this core's checkpoint.
    pub(super) fn checkpoint_path(&self) -> PathBuf {
        super::checkpoint::path_of(&self.dir, self.core)
    }

    /// Takes back a chunk that its log has dropped durably; it is recycled when its readers are
    /// done.
    pub(super) fn retire(&self, chunk: Rc<Chunk>, generation: u64) {
        self.files.forget(chunk.id);
        self.indexes.forget(&chunk);
        self.free.borrow_mut().retire(chunk, generation);
        self.tidy_pool();
    }

    /// The log has a tail that is to be sealed when it stays idle.
    pub(super) fn note_unsealed(&self, log: Weak<Log>) {
        self.unsealed.borrow_mut().push_back((io::now(), log));
    }

    /// The next log that was noted `idle` ago or earlier.
    fn next_idle(&self, idle: Duration) -> Option<Weak<Log>> {
        let mut unsealed = self.unsealed.borrow_mut();
        let (since, _) = unsealed.front()?;
        let due = io::now() - *since >= idle;
        due.then(|| unsealed.pop_front())?.map(|(_, log)| log)
    }

    /// Gives what was recycled to whoever waits for it, and removes what is too much.
    fn tidy_pool(&self) {
        self.free.borrow_mut().reclaim();
        if self.full.get() && self.has_needed() {
            self.found_space();
        }
        let store = self.me.clone();
        io::spawn(async move {
            if let Some(store) = store.upgrade() {
                store.remove_surplus().await;
            }
        })
        .detach();
    }

    /// Whether a free chunk would help one of those who wait for space.
    fn has_needed(&self) -> bool {
        self.free.borrow().has_at_least(self.least_needed.get())
    }

    /// What all shards of the data directory share.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// This store, for a task of its own.
    pub(super) fn weak(&self) -> Weak<ChunkStore> {
        self.me.clone()
    }

    /// Free chunks to keep, in bytes.
    pub(super) fn free_bytes_max(&self) -> u64 {
        match self.directory.full_count.load(Ordering::Relaxed) {
            0 => CHUNKS_FREE_BYTES_MAX,
            _ => 0,
        }
    }

    fn lack_space(&self, least: u64) {
        self.least_needed.update(|needed| needed.min(least));
        if !self.full.replace(true) {
            self.directory.full_count.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                "core {}: there is no chunk to be had in {}, {} bytes being kept in reserve; \
                 records are refused until retention, a deletion or an operator makes space",
                self.core.0,
                self.dir.display(),
                self.config.reserve_bytes
            );
        }
        self.space_ran_out.notify_waiters();
        self.room.notify_waiters();
    }

    fn found_space(&self) {
        self.least_needed.set(u64::MAX);
        if self.full.replace(false) {
            self.directory.full_count.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!("core {}: there is space again", self.core.0);
        }
        self.space_returned.notify_waiters();
    }

    /// Tries again, now and then, until there is space.
    fn probe_for_space(&self) {
        if self.probing.replace(true) {
            return;
        }
        let store = self.me.clone();
        io::spawn(async move {
            loop {
                io::sleep(Duration::from_millis(STORAGE_RETRY_MS)).await;
                let Some(store) = store.upgrade() else { return };
                if store.is_stopped() {
                    store.wake_all();
                } else if store.full.get() && !store.probe_once().await {
                    continue;
                }
                store.probing.set(false);
                return;
            }
        })
        .detach();
    }

    async fn probe_once(&self) -> bool {
        self.free.borrow_mut().reclaim();
        if !self.has_needed() {
            // Smaller ones make room for one that helps.
            self.remove_surplus().await;
            let classes = self.config.chunk_bytes.iter();
            let least = self.least_needed.get();
            let helps = classes.copied().find(|class| *class >= least);
            let class = helps.unwrap_or(self.config.chunk_bytes[0]);
            match self.create_chunk(class, false).await {
                Ok(chunk) => self.free.borrow_mut().put(chunk),
                Err(CreateError::Full | CreateError::Stopped) => return false,
            }
        }
        self.found_space();
        true
    }

    /// What a shard must see that nothing tells it: that another one has stopped the data
    /// directory, or has no space.
    fn look_around(&self) {
        self.reclaim_journal();
        if self.is_stopped() {
            self.wake_all();
        } else if self.free_bytes_max() == 0 {
            self.give_back(self.journal.take_spare());
            self.tidy_pool();
        }
    }
}

/// Seals the logs that got nothing for `idle`, as long as the store lives; a few at a time, because
/// after a start they may be all of them. Looks around in between.
async fn seal_idle_logs(store: Weak<ChunkStore>, idle: Duration) {
    loop {
        io::sleep(idle).await;
        if let Some(store) = store.upgrade() {
            store.look_around();
        }
        while let Some(store) = store.upgrade() {
            let Some(log) = store.next_idle(idle) else {
                break;
            };
            let permit = store.seals.clone().acquire_owned().await;
            let Some(log) = log.upgrade() else { continue };
            io::spawn(async move {
                log.seal_if_idle().await;
                drop(permit);
            })
            .detach();
        }
        if store.strong_count() == 0 {
            return;
        }
    }
}
