//! The disk as a value: operations begin, finish in any order, and a crash decides the rest.
//!
//! Pure: it knows no clock, no task and no thread. A clone is a snapshot, including what is in
//! flight, and costs one reference per file; so one prefix of a run can be crashed in many ways.
//! What it models, and what not, is written at the head of `sim/mod.rs`.

mod content;
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

use self::content::{BLOCK_BYTES, FileState};
use self::loss::Loss;
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
                let linked = self.names.link(dir, Node::Dir(inode));
                assert!(
                    linked.is_ok(),
                    "{} cannot be made: {linked:?}",
                    dir.display()
                );
            }
        }
        self.names.sync_all();
    }

    /// Puts a file there, durably, in the place of what had the name: how a test damages a file
    /// at will.
    pub fn put(&mut self, path: &Path, content: &[u8]) {
        if let Some(parent) = path.parent() {
            self.make_dirs(parent);
        }
        if self.names.find(path).is_ok() {
            let removed = self.names.unlink(path);
            assert!(removed.is_ok(), "{} is a directory", path.display());
        }
        let inode = self
            .create(path)
            .expect("the name is free and its directory exists");
        let seq = self.next_seq();
        self.state(inode)
            .write(seq, 0, &Bytes::copy_from_slice(content), true);
        self.names.sync_all();
        self.update_names();
        self.collect();
    }

    /// Flips one bit of a file's medium, for good.
    pub fn flip_bit(&mut self, path: &Path, offset: u64, bit: u32) {
        let inode = self.file_at(path).expect("the file to damage exists");
        self.state(inode).flip(offset, bit);
    }

    /// Whether a power loss now could lose anything.
    pub fn has_volatile(&self) -> bool {
        self.names.has_pending()
            || !self.in_flight.is_empty()
            || self.files.values().any(|file| file.state.has_pending())
    }

    /// The machine loses its power: unsynced sectors, sizes and names are kept or lost as `seed`
    /// draws it, operations in flight are cut anywhere.
    pub fn lose_power(&mut self, seed: u64) {
        let first_seq = self.seq.saturating_sub(32);
        let mut chance = Chance::new(seed, "power loss");
        self.cut_in_flight(&mut chance, CutWrites::LeftToTheLoss);
        let loss = Loss::drawn(Chance::new(seed, "loss"), first_seq, self.seq);
        self.lose(loss);
    }

    /// The machine loses its power and everything that was not durable.
    pub fn lose_all_volatile(&mut self) {
        self.in_flight.clear();
        self.lose(Loss::all_lost());
    }

    /// The process is killed: what had completed stays visible (and stays volatile), operations
    /// in flight are cut at a sector, or complete, or never happen.
    pub fn kill_process(&mut self, seed: u64) {
        self.cut_in_flight(&mut Chance::new(seed, "kill"), CutWrites::AsDrawn);
        self.forget_handles();
    }

    // What the backend does.

    pub(crate) fn alignment_bytes(&self) -> usize {
        self.options.alignment_bytes
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

    /// Takes an operation in, with how long it is to take.
    pub(crate) fn begin(&mut self, mut op: Op) -> (OpId, Duration) {
        if let Op::Sync { through, .. } = &mut op {
            *through = self.seq;
        }
        let latency = &self.options.latency;
        let longest = if op.is_sync() {
            latency.sync_max
        } else {
            latency.max
        };
        let ns = |duration: Duration| duration.as_nanos() as u64;
        let mut takes = self
            .chance
            .between(ns(latency.min), ns(longest.max(latency.min)));
        if self.chance.ppm(latency.stall_ppm) {
            takes += self.chance.below(ns(latency.stall_max).max(1));
        }
        self.next_id += 1;
        let id = OpId(self.next_id);
        self.in_flight.insert(id, op);
        (id, Duration::from_nanos(takes))
    }

    /// What an operation in flight is; `number` is what its completion will count as.
    pub(crate) fn info(&self, id: OpId) -> OpInfo {
        let op = &self.in_flight[&id];
        let path = match op.inode() {
            Some(inode) => self
                .files
                .get(&inode)
                .map_or("", |file| &file.path)
                .to_owned(),
            None => op
                .path()
                .map_or_else(String::new, |path| path.display().to_string()),
        };
        OpInfo {
            number: self.counts.ops + 1,
            sync_number: op.is_sync().then_some(self.counts.syncs + 1),
            kind: op.kind(),
            path,
            offset: op.offset(),
            len: op.len(),
        }
    }

    /// Completes an operation: its effect, its count, its result.
    pub(crate) fn finish(&mut self, id: OpId) -> Result<Done, Errno> {
        let info = self.info(id);
        let op = self
            .in_flight
            .remove(&id)
            .expect("an operation finishes once");
        self.count(&op);
        let effect = self.strike(&info);
        match effect {
            None => self.apply(op),
            Some(Effect::Error(errno)) => {
                self.fail(op);
                Err(Errno(errno))
            }
            Some(Effect::Lost) => Ok(op.done_without_effect()),
            Some(Effect::Flip) => self.apply_flipped(op),
        }
    }

    fn strike(&mut self, info: &OpInfo) -> Option<Effect> {
        let chance = &mut self.chance;
        let mut faults = self.faults.iter_mut();
        let effect = faults.find_map(|fault| fault.strikes(info.kind, &info.path, chance));
        if effect.is_some() {
            self.counts.faults += 1;
            self.faults.retain(|fault| !fault.is_spent());
        }
        effect
    }

    fn count(&mut self, op: &Op) {
        self.counts.ops += 1;
        self.counts.syncs += u64::from(op.is_sync());
        match op {
            Op::Write { data, .. } => {
                self.counts.writes += 1;
                self.counts.written_bytes += data.len() as u64;
            }
            Op::Read { len, .. } => {
                self.counts.reads += 1;
                self.counts.read_bytes += *len as u64;
            }
            _ => {}
        }
    }

    fn apply(&mut self, op: Op) -> Result<Done, Errno> {
        match op {
            Op::Open { path } => match self.names.find(&path)? {
                Node::Dir(_) => Err(Errno::IS_A_DIRECTORY),
                Node::File(inode) => Ok(self.opened(inode)),
            },
            Op::Create { path } => {
                let inode = self.create(&path)?;
                Ok(self.opened(inode))
            }
            Op::Read { inode, offset, len } => Ok(Done::Data(self.read(inode, offset, len))),
            Op::Write {
                inode,
                offset,
                data,
                sync,
            } => {
                self.make_room(inode, offset + data.len() as u64)?;
                let seq = self.next_seq();
                self.state(inode).write(seq, offset, &data, sync);
                Ok(Done::Unit)
            }
            Op::Allocate { inode, len } => self.allocate(inode, len),
            Op::Sync { inode, through } => {
                self.state(inode).sync(through);
                Ok(Done::Unit)
            }
            Op::CreateDir { path } => {
                let inode = self.new_inode();
                self.names.link(&path, Node::Dir(inode))?;
                Ok(Done::Unit)
            }
            Op::Rename { from, to } => {
                self.names.rename(&from, &to)?;
                if let Some(inode) = self.file_at(&to) {
                    self.inode(inode).path = to.display().to_string();
                }
                self.update_names();
                Ok(Done::Unit)
            }
            Op::Remove { path } => {
                self.names.unlink(&path)?;
                self.update_names();
                Ok(Done::Unit)
            }
            Op::SyncDir { path } => {
                self.names.sync(&path)?;
                self.collect();
                Ok(Done::Unit)
            }
            Op::List { path } => {
                let names = self.names.list(&path)?;
                Ok(Done::Names(
                    names.into_iter().map(|(name, _)| name).collect(),
                ))
            }
        }
    }

    /// What an operation leaves behind that fails.
    fn fail(&mut self, op: Op) {
        match op {
            Op::Write {
                inode,
                offset,
                data,
                ..
            } => {
                let seq = self.next_seq();
                let mut chance = self.chance.clone();
                self.chance.next_u64();
                self.state(inode)
                    .write_partly(seq, offset, &data, |_| chance.coin());
            }
            Op::Sync { inode, through } => self.state(inode).poison(through),
            _ => {}
        }
    }

    fn apply_flipped(&mut self, op: Op) -> Result<Done, Errno> {
        let bit = self.chance.below(8) as u32;
        match op {
            Op::Read { inode, offset, len } => {
                let mut data = self.read(inode, offset, len);
                if !data.is_empty() {
                    let at = self.chance.index(data.len());
                    data[at] ^= 1 << bit;
                }
                Ok(Done::Data(data))
            }
            Op::Write {
                inode,
                offset,
                ref data,
                ..
            } => {
                let len = data.len() as u64;
                let done = self.apply(op)?;
                if len > 0 {
                    let at = offset + self.chance.below(len);
                    self.state(inode).flip(at, bit);
                }
                Ok(done)
            }
            other => self.apply(other),
        }
    }

    /// Reads as the device does: of a write that is in flight, any sectors may be seen already.
    fn read(&mut self, inode: InodeId, offset: u64, len: usize) -> Vec<u8> {
        let end = offset.saturating_add(len as u64);
        let overlapping: Vec<(u64, Bytes)> = self
            .in_flight
            .values()
            .filter_map(|op| op.write_to(inode))
            .filter(|(at, data)| *at < end && offset < *at + data.len() as u64)
            .collect();
        for (at, data) in overlapping {
            if self.chance.coin() && at + data.len() as u64 <= self.len(inode) {
                let seq = self.next_seq();
                let mut chance = self.chance.clone();
                self.chance.next_u64();
                self.state(inode)
                    .write_partly(seq, at, &data, |_| chance.coin());
            }
        }
        let state = &self.files[&inode].state;
        let there = state.size().saturating_sub(offset).min(len as u64);
        let mut bytes = vec![0; there as usize];
        state.read(offset, &mut bytes);
        bytes
    }

    fn allocate(&mut self, inode: InodeId, len: u64) -> Result<Done, Errno> {
        self.make_room(inode, len)?;
        let seq = self.next_seq();
        let stale = self.options.stale_allocation;
        let mut chance = self.chance.clone();
        self.chance.next_u64();
        let noise = content::noise(&mut chance);
        let mut left = std::mem::take(&mut self.stale);
        self.state(inode).allocate(seq, len, || match stale {
            true => Some(left.pop_front().unwrap_or_else(|| noise.clone())),
            false => None,
        });
        self.stale = left;
        Ok(Done::Unit)
    }

    /// Whether a file may grow to `size`.
    fn make_room(&mut self, inode: InodeId, size: u64) -> Result<(), Errno> {
        if size > i64::MAX as u64 {
            return Err(Errno::TOO_LARGE);
        }
        let has = self.files[&inode].state.allocated_bytes();
        let wants = size.next_multiple_of(BLOCK_BYTES).saturating_sub(has);
        match wants > self.free_bytes() {
            true => Err(Errno::NO_SPACE),
            false => Ok(()),
        }
    }

    fn create(&mut self, path: &Path) -> Result<InodeId, Errno> {
        let inode = self.new_inode();
        self.names.link(path, Node::File(inode))?;
        let file = Inode {
            state: Arc::new(FileState::default()),
            path: path.display().to_string(),
            open_count: 0,
            named: true,
        };
        self.files.insert(inode, file);
        Ok(inode)
    }

    fn opened(&mut self, inode: InodeId) -> Done {
        self.inode(inode).open_count += 1;
        Done::Opened(inode)
    }

    fn cut_in_flight(&mut self, chance: &mut Chance, writes: CutWrites) {
        let mut ops: Vec<Op> = std::mem::take(&mut self.in_flight).into_values().collect();
        while !ops.is_empty() {
            let op = ops.swap_remove(chance.index(ops.len()));
            match op {
                Op::Write {
                    inode,
                    offset,
                    data,
                    ..
                } => self.cut_write(inode, offset, &data, chance, writes),
                // It has happened or not; whether it succeeded, nobody has been told.
                other if chance.coin() => drop(self.apply(other)),
                _ => {}
            }
        }
    }

    fn cut_write(
        &mut self,
        inode: InodeId,
        offset: u64,
        data: &Bytes,
        chance: &mut Chance,
        writes: CutWrites,
    ) {
        let seq = self.next_seq();
        let state = self.state(inode);
        match writes {
            CutWrites::LeftToTheLoss => state.write(seq, offset, data, false),
            CutWrites::AsDrawn => {
                let sectors = (data.len() as u64).div_ceil(content::SECTOR_BYTES);
                let (way, count) = (chance.below(4), chance.below(sectors + 1));
                state.write_partly(seq, offset, data, |index| match way {
                    0 => true,
                    1 => false,
                    2 => index < count,
                    _ => chance.coin(),
                });
            }
        }
    }

    fn lose(&mut self, mut loss: Loss) {
        self.names.lose_power(&mut || loss.keeps_change());
        for file in self
            .files
            .values_mut()
            .filter(|file| file.state.has_pending())
        {
            Arc::make_mut(&mut file.state).lose_power(&mut loss);
        }
        self.forget_handles();
    }

    fn forget_handles(&mut self) {
        for file in self.files.values_mut() {
            file.open_count = 0;
        }
        self.update_names();
        self.collect();
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

/// What becomes of writes in flight when the machine stops.
#[derive(Clone, Copy)]
enum CutWrites {
    /// All reach the volatile cache; the power loss that follows takes what it takes.
    LeftToTheLoss,
    /// Each for itself: whole, not at all, a prefix, or scattered sectors.
    AsDrawn,
}

#[cfg(test)]
mod tests;
