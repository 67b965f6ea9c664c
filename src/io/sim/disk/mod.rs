//! The disk as a value: operations begin, finish in any order, and a crash decides the rest.
//!
//! Pure: it knows no clock, no task and no thread. A clone is a snapshot, including what is in
//! flight, and costs one reference per file; so one prefix of a run can be crashed in many ways.
//! What it models, and what not, is written at the head of `sim/mod.rs`.

mod apply;
mod content;
mod crash;
mod errno;
mod fault;
mod loss;
mod namespace;
mod op;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::content::FileState;
use self::namespace::{Namespace, Node};
use crate::io::sim::chance::Chance;
use crate::limits::SIM_STALE_BLOCKS_MAX;

pub use self::errno::Errno;
pub use self::fault::{Effect, Fault};
pub(crate) use self::op::{Done, Op};
pub use self::op::{OpInfo, OpKind};

/// A file or a directory, whatever its name is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct InodeId(pub(crate) u64);

/// An operation in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OpId(u64);

/// What the machine's disk is like when nothing goes wrong.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// What direct I/O wants offsets, lengths and memory to be multiples of, in bytes.
    pub alignment_bytes: usize,
    /// Whether the file system takes O_DIRECT; where not, opening a file is `Unsupported`.
    pub direct_io: bool,
    /// How much fits; ENOSPC beyond.
    pub capacity_bytes: u64,
    /// Space that a file is given holds what was there before, instead of zeros.
    pub stale_allocation: bool,
    /// How long operations take.
    pub latency: Latency,
}

/// How long operations of the disk take: drawn evenly between two bounds, now and then a stall.
#[derive(Clone, Debug)]
pub struct Latency {
    /// The shortest, for all operations.
    pub min: Duration,
    /// The longest of an operation that syncs nothing.
    pub max: Duration,
    /// The longest of an operation that syncs.
    pub sync_max: Duration,
    /// How often an operation stalls, in a million.
    pub stall_ppm: u32,
    /// How long it stalls at most.
    pub stall_max: Duration,
}

impl Default for DiskOptions {
    fn default() -> DiskOptions {
        DiskOptions {
            alignment_bytes: 512,
            direct_io: true,
            capacity_bytes: 1 << 40,
            stale_allocation: false,
            latency: Latency {
                min: Duration::from_micros(10),
                max: Duration::from_micros(200),
                sync_max: Duration::from_micros(600),
                stall_ppm: 10_000,
                stall_max: Duration::from_millis(20),
            },
        }
    }
}

/// How many operations have finished since the disk was made, over all crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// All of them; the k-th is what `CrashPoint::DiskOp(k)` names.
    pub ops: u64,
    /// Sync points: writes with data sync, file syncs, directory syncs. The k-th is what
    /// `CrashPoint::Sync(k)` names.
    pub syncs: u64,
    /// Reads of files.
    pub reads: u64,
    /// Writes of files.
    pub writes: u64,
    /// Bytes that reads gave.
    pub read_bytes: u64,
    /// Bytes that writes took.
    pub written_bytes: u64,
    /// Operations that a fault struck.
    pub faults: u64,
}

/// The disk of one machine: survives its crashes, loses what a crash may take.
#[derive(Clone)]
pub struct Disk {
    options: DiskOptions,
    names: Namespace,
    files: BTreeMap<InodeId, Inode>,
    in_flight: BTreeMap<OpId, Op>,
    faults: Vec<Fault>,
    counts: DiskCounts,
    /// Blocks of files that are gone, for `stale_allocation`.
    stale: VecDeque<Bytes>,
    next_id: u64,
    /// The order of completions.
    seq: u64,
    chance: Chance,
}

/// A file with what the kernel knows about it.
#[derive(Clone)]
struct Inode {
    state: Arc<FileState>,
    /// The path it was created or last renamed to, for faults and traces.
    path: String,
    open_count: u32,
    /// Whether a name leads to it, as processes see it.
    named: bool,
}

impl Disk {
    /// An empty disk.
    pub fn new(seed: u64, options: DiskOptions) -> Disk {
        assert!(options.alignment_bytes.is_power_of_two());
        Disk {
            options,
            names: Namespace::new(),
            files: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            faults: Vec::new(),
            counts: DiskCounts::default(),
            stale: VecDeque::new(),
            next_id: 1,
            seq: 0,
            chance: Chance::new(seed, "disk"),
        }
    }

    // What a test may look at and do.

    /// Adds a fault.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Takes all faults away: the disk is well again. What they have damaged stays damaged.
    pub fn heal(&mut self) {
        self.faults.clear();
    }

    /// What has been done so far.
    pub fn counts(&self) -> DiskCounts {
        self.counts
    }

    /// The disk's properties; they may be changed between two operations.
    pub fn options_mut(&mut self) -> &mut DiskOptions {
        &mut self.options
    }

    /// Bytes that are taken.
    pub fn used_bytes(&self) -> u64 {
        let alive = self
            .files
            .values()
            .filter(|file| file.named || file.open_count > 0);
        alive.map(|file| file.state.allocated_bytes()).sum()
    }

    /// Bytes that are free.
    pub fn free_bytes(&self) -> u64 {
        self.options
            .capacity_bytes
            .saturating_sub(self.used_bytes())
    }

    /// A file's whole content as a reader would see it now.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = &self.files[&self.file_at(path)?].state;
        let mut bytes = vec![0; state.size() as usize];
        state.read(0, &mut bytes);
        Some(bytes)
    }

    /// The paths of all files, sorted.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let mut dirs = vec![String::new()];
        while let Some(dir) = dirs.pop() {
            let names = self
                .names
                .list(Path::new(&format!("/{dir}")))
                .unwrap_or_default();
            for (name, node) in names {
                match node {
                    Node::File(_) => paths.push(format!("{dir}/{name}")),
                    Node::Dir(_) => dirs.push(format!("{dir}/{name}")),
                }
            }
        }
        paths.sort();
        paths
    }

    /// Makes a directory and those above it, durably: what was there before the first run.
    pub fn make_dirs(&mut self, path: &Path) {
        let above: Vec<&Path> = path.ancestors().collect();
        for dir in above.into_iter().rev() {
            if self.names.find(dir).is_err() {
                let inode = self.new_inode();
                let linked = self.link(dir, Node::Dir(inode));
                assert!(linked.is_ok(), "{}: {linked:?}", dir.display());
            }
        }
        self.sync_way_to(path);
    }

    /// Puts a file there, durably, in the place of what had the name: how a test damages a file
    /// at will. The names beside it and above it become durable with it.
    pub fn put(&mut self, path: &Path, content: &[u8]) {
        self.make_dirs(path.parent().expect("a file lies in a directory"));
        if self.names.find(path).is_ok() {
            let seq = self.next_seq();
            let removed = self.names.unlink(seq, path);
            assert!(removed.is_ok(), "{} is a directory", path.display());
        }
        let inode = self
            .create(path)
            .expect("the name is free and its directory exists");
        let (seq, content) = (self.next_seq(), Bytes::copy_from_slice(content));
        self.state(inode).write(seq, 0, &content, true);
        self.sync_way_to(path);
        self.update_names();
        self.collect();
    }

    /// Makes the names of the directories above a path durable.
    fn sync_way_to(&mut self, path: &Path) {
        for dir in path.ancestors().skip(1) {
            let synced = self.names.sync(dir, u64::MAX);
            assert!(synced.is_ok(), "{}: {synced:?}", dir.display());
        }
    }

    /// Flips one bit of a file's medium, for good.
    pub fn flip_bit(&mut self, path: &Path, offset: u64, bit: u32) {
        let inode = self.file_at(path).expect("the file to damage exists");
        self.state(inode).flip(offset, bit);
    }

    // What the backend does.

    pub(crate) fn alignment_bytes(&self) -> usize {
        self.options.alignment_bytes
    }

    pub(crate) fn direct_io(&self) -> bool {
        self.options.direct_io
    }

    pub(crate) fn capacity_bytes(&self) -> u64 {
        self.options.capacity_bytes
    }

    /// Whether a path leads anywhere.
    pub(crate) fn check_exists(&self, path: &Path) -> Result<(), Errno> {
        self.names.find(path).map(drop)
    }

    /// Whether operations are in flight.
    pub(crate) fn is_busy(&self) -> bool {
        !self.in_flight.is_empty()
    }

    pub(crate) fn len(&self, inode: InodeId) -> u64 {
        self.files[&inode].state.size()
    }

    /// The last handle of a file may be gone.
    pub(crate) fn close(&mut self, inode: InodeId) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.open_count = file.open_count.saturating_sub(1);
            if !file.named {
                self.collect();
            }
        }
    }

    /// Forgets files that no name leads to, now or after a crash, and that nobody has open.
    fn collect(&mut self) {
        let reachable = self.names.reachable();
        let busy: Vec<InodeId> = self.in_flight.values().filter_map(Op::inode).collect();
        let gone = self.files.extract_if(.., |inode, file| {
            file.open_count == 0 && !reachable.contains(inode) && !busy.contains(inode)
        });
        let room = SIM_STALE_BLOCKS_MAX - self.stale.len();
        let blocks: Vec<Bytes> = gone
            .flat_map(|(_, file)| file.state.some_blocks(room).collect::<Vec<_>>())
            .collect();
        self.stale.extend(blocks.into_iter().take(room));
    }

    /// Brings `named` up to date after a name went away.
    fn update_names(&mut self) {
        let named = self.names.named_files();
        for (inode, file) in &mut self.files {
            file.named = named.contains(inode);
        }
    }

    fn file_at(&self, path: &Path) -> Option<InodeId> {
        match self.names.find(path) {
            Ok(Node::File(inode)) => Some(inode),
            Ok(Node::Dir(_)) | Err(_) => None,
        }
    }

    fn inode(&mut self, inode: InodeId) -> &mut Inode {
        self.files
            .get_mut(&inode)
            .expect("an open file is not forgotten")
    }

    fn state(&mut self, inode: InodeId) -> &mut FileState {
        Arc::make_mut(&mut self.inode(inode).state)
    }

    fn new_inode(&mut self) -> InodeId {
        self.next_id += 1;
        InodeId(self.next_id)
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }
}

#[cfg(test)]
mod tests;
