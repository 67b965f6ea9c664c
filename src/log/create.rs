//! New chunk files: allocated, formatted, named, and durable before anybody gets one.

use std::cell::Cell;

use crate::frame::ChunkStamp;
use crate::io::sync::Semaphore;
use crate::io::{self, ErrorKind, File, Open, Sync, fs};

use super::chunk::{ChunkHeader, ChunkId, FRAMES_POSITION, header_blocks};
use super::pool::FreeChunk;
use super::store::ChunkStore;

/// Why no chunk could be created.
#[derive(Debug)]
pub(super) enum CreateError {
    /// No space, or too many open files: worth trying again later.
    Full,
    /// A write or a sync failed, or the disk cannot be used: the data directory has stopped.
    Stopped,
}

/// How many chunk files got their names, and how many of these names are durable.
#[derive(Debug)]
pub(super) struct Naming {
    given: Cell<u64>,
    durable: Cell<u64>,
    turn: Semaphore,
}

impl Naming {
    pub(super) fn new() -> Naming {
        Naming {
            given: Cell::new(0),
            durable: Cell::new(0),
            turn: Semaphore::new(1),
        }
    }
}

impl ChunkStore {
    /// Creates a chunk file: allocated, formatted and synced under a name that a restart removes,
    /// then renamed. So a file with a chunk's name always has a header, and one whose header
    /// cannot be read is damaged, not new.
    pub(super) async fn create_chunk(
        &self,
        size_bytes: u64,
        privileged: bool,
    ) -> Result<FreeChunk, CreateError> {
        let _permit = self.creating.acquire().await.expect("never closed");
        if self.is_stopped() {
            return Err(CreateError::Stopped);
        }
        // What others are about to take counts as taken: the reserve must not fall to a rush.
        let begun = self.begin_allocation(size_bytes);
        if !privileged && !self.has_space(begun.total_bytes()).await {
            return Err(CreateError::Full);
        }
        let id = self.free.borrow_mut().new_id();
        let unfinished = self.files.dir().join(id.unfinished_name());
        let file = match allocated(&unfinished, size_bytes).await {
            Ok(file) => file,
            // Whatever refused it (no space, no quota, no file handle), nothing was promised yet.
            Err(error) => {
                tracing::warn!("no chunk of {size_bytes} bytes could be allocated: {error}");
                let _ = fs::remove_file(&unfinished).await;
                return Err(CreateError::Full);
            }
        };
        match self.finish_chunk(&file, id, size_bytes).await {
            Ok(()) => Ok(FreeChunk::unused(id, size_bytes)),
            Err(error) => {
                self.stop(&format!(
                    "chunk {} could not be formatted: {error}",
                    id.file_name()
                ));
                Err(CreateError::Stopped)
            }
        }
    }

    async fn finish_chunk(&self, file: &File, id: ChunkId, size_bytes: u64) -> io::Result<()> {
        if file.alignment() > FRAMES_POSITION as usize / 2 {
            return Err(ErrorKind::Unsupported.into());
        }
        let header = ChunkHeader::free(id, ChunkStamp::default(), size_bytes);
        file.write_at(header_blocks(&header), 0, Sync::None).await?;
        file.sync().await?;
        let dir = self.files.dir();
        fs::rename(dir.join(id.unfinished_name()), dir.join(id.file_name())).await?;
        self.sync_names().await
    }

    /// Makes the names of all chunks durable that have theirs by now; one sync serves all who wait
    /// (`kernel-notes/new-files.md`).
    async fn sync_names(&self) -> io::Result<()> {
        let mine = self.naming.given.get() + 1;
        self.naming.given.set(mine);
        let _turn = self.naming.turn.acquire().await.expect("never closed");
        if self.naming.durable.get() >= mine {
            return Ok(());
        }
        // The sync before this one may have failed. It is not tried again.
        if self.is_stopped() {
            return Err(ErrorKind::Other.into());
        }
        let covered = self.naming.given.get();
        if let Err(error) = fs::sync_dir(self.files.dir()).await {
            self.stop(&format!("the names of chunks could not be synced: {error}"));
            return Err(error);
        }
        self.naming.durable.set(covered);
        Ok(())
    }

    /// Whether all allocations that were begun leave the reserve alone.
    async fn has_space(&self, size_bytes: u64) -> bool {
        let spare = self.spare_bytes().await;
        // Where it is not known the allocation itself will tell.
        spare.is_none_or(|spare| spare >= size_bytes)
    }

    /// What the file system has left above the reserve; `None` if it does not say.
    pub(super) async fn spare_bytes(&self) -> Option<u64> {
        let space = fs::space(self.files.dir()).await.ok()?;
        let reserve = self.config.reserve_bytes;
        Some(space.available_bytes.saturating_sub(reserve))
    }
}

async fn allocated(path: &std::path::Path, size_bytes: u64) -> io::Result<File> {
    let file = File::open(path, Open::CreateNew).await?;
    file.allocate(size_bytes).await?;
    Ok(file)
}
