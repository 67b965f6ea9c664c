//! The scan at start: every chunk's header and every checkpoint, once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use crate::frame::FrameHeader;
use crate::io::{self, AlignedBuf, ErrorKind, File, Open, fs};
use crate::limits::{FRAME_ALIGNMENT_BYTES, SCAN_READS_MAX};
use crate::model::{CoreId, PartitionId};

use super::checkpoint::{self, CHECKPOINTS_DIR, Remembered};
use super::chunk::{ChunkHeader, ChunkId, ChunkRole, FRAMES_POSITION};
use super::journal::{self, Debt, Journaled, Owed, RoundHeader};
use super::pool::FreeChunk;
use super::store::{CHUNKS_DIR, Directory};

/// What a data directory holds, by partition. Made once at start, then taken apart: each partition
/// by the core that owns it, the free chunks by the core that their number names.
#[derive(Debug)]
pub struct Inventory {
    partitions: BTreeMap<PartitionId, Found>,
    free: Vec<FreeChunk>,
    unreadable: Vec<ChunkId>,
    journals: Vec<ChunkHeader>,
    owed: Arc<Owed>,
    last_id: u64,
    directory: Arc<Directory>,
}

/// What the scan has found of one partition; empty for a new one.
#[derive(Debug, Default)]
pub struct Found {
    pub(super) chunks: Vec<ChunkHeader>,
    pub(super) remembered: Option<Arc<Remembered>>,
    /// What journals hold of it, in the order of the writes.
    pub(super) journaled: Vec<Journaled>,
    pub(super) debt: Option<Debt>,
}

/// The free chunks of one core, and the numbers of those that it will create.
#[derive(Debug)]
pub struct Pool {
    pub(super) free: Vec<FreeChunk>,
    pub(super) first_id: u64,
    pub(super) id_step: u64,
    pub(super) directory: Arc<Directory>,
    /// The chunks of earlier journals; core 0 gives them back.
    pub(super) journals: Vec<ChunkHeader>,
    pub(super) owed: Arc<Owed>,
}

/// Why a data directory could not be scanned. Nothing was changed, and nothing may be concluded
/// from what could be read: a log without its last chunk would end early and give its offsets
/// again.
#[derive(Debug)]
pub struct ScanError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot read {}: {}.\n  likely cause: a failing disk (dmesg | tail), too few open \
             files (ulimit -n 1048576), or a file of another user (ls -l)\n  nothing was changed: \
             start again when the file can be read",
            self.path.display(),
            self.error
        )
    }
}

impl std::error::Error for ScanError {}

/// Scans the data directory `dir`, creating what is missing in it. The caller has locked it.
///
/// Everything that is there is made durable first: after a mere kill of the process, what it wrote
/// may still be in a volatile cache, and what recovery accepts is visible at once and must stay.
pub async fn scan(dir: &Path) -> Result<Inventory, ScanError> {
    let chunks_dir = dir.join(CHUNKS_DIR);
    let checkpoints_dir = dir.join(CHECKPOINTS_DIR);
    for path in [&chunks_dir, &checkpoints_dir] {
        match fs::create_dir(path).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(failed(path, error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    let synced = fs::sync_file_system(dir).await;
    synced.map_err(|error| failed(dir, error))?;
    let mut inventory = Inventory {
        partitions: BTreeMap::new(),
        free: Vec::new(),
        unreadable: Vec::new(),
        journals: Vec::new(),
        owed: Arc::default(),
        last_id: 0,
        directory: Arc::default(),
    };
    inventory.scan_chunks(&chunks_dir).await?;
    inventory.read_journals(&chunks_dir).await?;
    inventory.scan_checkpoints(&checkpoints_dir).await?;
    Ok(inventory)
}

fn failed(path: &Path, error: io::Error) -> ScanError {
    ScanError {
        path: path.to_owned(),
        error,
    }
}

impl Inventory {
    /// The partitions that have chunks.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + '_ {
        let with_chunks = self
            .partitions
            .iter()
            .filter(|(_, found)| !found.chunks.is_empty() || !found.journaled.is_empty());
        with_chunks.map(|(partition, _)| *partition)
    }

    /// Takes out what was found of one partition, for `Log::open` or `ChunkStore::adopt`.
    pub fn take(&mut self, partition: PartitionId) -> Found {
        self.partitions.remove(&partition).unwrap_or_default()
    }

    /// Chunks whose header is destroyed and cannot be told from their first frame either. They are
    /// left as they are: they may hold records, of whatever partition. As long as there are any,
    /// what looks like a deleted topic's may be one whose deletion was never asked for.
    pub fn unreadable(&self) -> &[ChunkId] {
        &self.unreadable
    }

    /// Takes out the part of one core, of `cores`; each core's once.
    pub fn pool(&mut self, core: CoreId, cores: u16) -> Pool {
        let (core, cores) = (u64::from(core.0), u64::from(cores));
        assert!(core < cores, "cores are numbered from 0");
        let past = self.last_id + 1;
        let first_id = past + (core + cores - past % cores) % cores;
        Pool {
            free: self
                .free
                .extract_if(.., |chunk| chunk.id.0 % cores == core)
                .collect(),
            first_id,
            id_step: cores,
            directory: self.directory.clone(),
            journals: match core {
                0 => std::mem::take(&mut self.journals),
                _ => Vec::new(),
            },
            owed: self.owed.clone(),
        }
    }

    async fn read_journals(&mut self, dir: &Path) -> Result<(), ScanError> {
        let read = journal::read_journals(dir, &self.journals).await;
        for (partition, journaled) in read.map_err(|error| failed(dir, error))? {
            let found = self.partitions.entry(partition).or_default();
            found.journaled = journaled;
            found.debt = Some(Debt::new(&self.owed));
        }
        Ok(())
    }

    async fn scan_chunks(&mut self, dir: &Path) -> Result<(), ScanError> {
        let mut ids = Vec::new();
        let names = fs::list_dir(dir).await;
        for name in names.map_err(|error| failed(dir, error))? {
            match ChunkId::of_file_name(&name) {
                Some(id) => ids.push(id),
                // A chunk that was not finished when the power went.
                None if name.ends_with(".new") => {
                    let path = dir.join(&name);
                    let removed = fs::remove_file(&path).await;
                    removed.map_err(|error| failed(&path, error))?;
                }
                None => tracing::warn!("{}/{name} is not a chunk", dir.display()),
            }
        }
        self.last_id = ids.iter().map(|id| id.0).max().unwrap_or(0);
        let headers = stream::iter(ids)
            .map(|id| async move { (id, read_header(dir, id).await) })
            .buffered(SCAN_READS_MAX);
        let mut headers = std::pin::pin!(headers);
        while let Some((id, header)) = headers.next().await {
            let path = || dir.join(id.file_name());
            let header = header.map_err(|error| failed(&path(), error))?;
            self.note_chunk(id, header);
        }
        Ok(())
    }

    fn note_chunk(&mut self, id: ChunkId, header: Option<ChunkHeader>) {
        match header {
            Some(header) if header.role == ChunkRole::Journal => self.journals.push(header),
            Some(header) if header.role == ChunkRole::Segment => {
                self.partitions
                    .entry(header.partition)
                    .or_default()
                    .chunks
                    .push(header);
            }
            // Zeros may have been written to it; nothing says so, and they are written again.
            Some(header) if header.stamp.generation == 0 => {
                self.free.push(FreeChunk::unused(id, header.size_bytes));
            }
            Some(header) => {
                let generation = header.stamp.generation;
                let chunk = FreeChunk::used(id, generation, header.size_bytes);
                self.free.push(chunk);
            }
            None => {
                tracing::error!("the header of chunk {} is damaged", id.file_name());
                self.unreadable.push(id);
            }
        }
    }

    async fn scan_checkpoints(&mut self, dir: &Path) -> Result<(), ScanError> {
        let names = fs::list_dir(dir).await;
        for name in names.map_err(|error| failed(dir, error))? {
            if !name.starts_with("core-") || name.ends_with(".tmp") {
                continue;
            }
            let path = dir.join(&name);
            let bytes = match fs::read_small(&path).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!("{} cannot be read: {error}", path.display());
                    continue;
                }
            };
            match checkpoint::decode(&bytes) {
                Ok(entries) => self.note_checkpoint(entries),
                Err(error) => tracing::warn!(
                    "{} is not used: {error}. Logs are read from their beginnings now, no record \
                     is lost, and the next checkpoint takes its place; nothing is to be done",
                    path.display()
                ),
            }
        }
        Ok(())
    }

    /// Of two checkpoints of one partition (it was another core's before) the later one counts.
    fn note_checkpoint(&mut self, entries: Vec<(PartitionId, Remembered)>) {
        for (partition, remembered) in entries {
            let found = self.partitions.entry(partition).or_default();
            let age = |of: &Remembered| (of.durable.incarnation, of.durable.sequence);
            let newer = found
                .remembered
                .as_ref()
                .is_none_or(|other| age(&remembered) > age(other));
            if newer {
                found.remembered = Some(Arc::new(remembered));
            }
        }
    }
}

async fn read_header(dir: &Path, id: ChunkId) -> io::Result<Option<ChunkHeader>> {
    let file = File::open(dir.join(id.file_name()), Open::Read).await?;
    let length = file.len().await?;
    let wanted = FRAMES_POSITION.min(length) as usize;
    let (read, start) = file.read_at(AlignedBuf::zeroed(wanted), 0).await;
    let start = &start[..read?];
    let header = ChunkHeader::newest(start, id, length);
    if header.is_some() || !ChunkHeader::is_destroyed(start) {
        return Ok(header);
    }
    let block = AlignedBuf::zeroed(FRAME_ALIGNMENT_BYTES);
    let (read, block) = file.read_at(block, FRAMES_POSITION).await;
    let first = &block[..read?];
    let derived = match FrameHeader::read(first) {
        Ok(frame) => Some(ChunkHeader::of_first_frame(id, length, &frame)),
        Err(_) => first_round(&file, length, first)
            .await?
            .map(|round| round.chunk_header(id, length)),
    };
    if derived.is_none() {
        return Ok(None);
    }
    tracing::warn!(
        "both copies of the header of chunk {} are damaged; it is taken from its first frame",
        id.file_name()
    );
    Ok(derived)
}

/// The first round of a chunk, if its first block begins one.
async fn first_round(file: &File, length: u64, block: &[u8]) -> io::Result<Option<RoundHeader>> {
    let Some(round) = RoundHeader::peek(block) else {
        return Ok(None);
    };
    let rest = length.saturating_sub(FRAMES_POSITION) as usize;
    let table = round.table_bytes().next_multiple_of(FRAME_ALIGNMENT_BYTES);
    let buffer = AlignedBuf::zeroed(table.min(rest));
    let (read, buffer) = file.read_at(buffer, FRAMES_POSITION).await;
    Ok(RoundHeader::read(&buffer[..read?]).map(|(round, _)| round))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(last_id: u64, free: &[u64]) -> Inventory {
        let free = free.iter().map(|id| FreeChunk::used(ChunkId(*id), 1, 100));
        Inventory {
            partitions: BTreeMap::new(),
            free: free.collect(),
            unreadable: Vec::new(),
            journals: Vec::new(),
            owed: Arc::default(),
            last_id,
            directory: Arc::default(),
        }
    }

    #[test]
    fn cores_never_create_the_same_chunk() {
        for last_id in 0..10 {
            for cores in 1..5u16 {
                let mut inventory = inventory(last_id, &[1, 2, 3, 4, 5, 6, 7]);
                let mut free = 0;
                for core in 0..cores {
                    let pool = inventory.pool(CoreId(core), cores);
                    assert!(pool.first_id > last_id);
                    assert_eq!(pool.first_id % u64::from(cores), u64::from(core));
                    assert_eq!(pool.id_step, u64::from(cores));
                    free += pool.free.len();
                }
                assert_eq!(free, 7);
            }
        }
    }
}
