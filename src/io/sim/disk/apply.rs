//! How operations begin, take effect, and fail.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::content::{self, BLOCK_BYTES, FileState};
use super::namespace::Node;
use super::{Disk, Done, Effect, Errno, Inode, InodeId, Op, OpId, OpInfo};

impl Disk {
    /// Takes an operation in, with how long it is to take.
    pub(crate) fn begin(&mut self, mut op: Op) -> (OpId, Duration) {
        match &mut op {
            Op::Sync { through, .. }
            | Op::SyncDir { through, .. }
            | Op::SyncFileSystem { through, .. } => *through = self.seq,
            _ => {}
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

    pub(super) fn apply(&mut self, op: Op) -> Result<Done, Errno> {
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
                self.link(&path, Node::Dir(inode))?;
                Ok(Done::Unit)
            }
            Op::Rename { from, to } => {
                let seq = self.next_seq();
                self.names.rename(seq, &from, &to)?;
                if let Some(inode) = self.file_at(&to) {
                    self.inode(inode).path = to.display().to_string();
                }
                self.update_names();
                Ok(Done::Unit)
            }
            Op::Remove { path } => {
                let seq = self.next_seq();
                self.names.unlink(seq, &path)?;
                self.update_names();
                Ok(Done::Unit)
            }
            Op::SyncDir { path, through } => {
                self.names.sync(&path, through)?;
                self.collect();
                Ok(Done::Unit)
            }
            Op::SyncFileSystem { path, through } => {
                self.names.find(&path)?;
                for file in self.files.values_mut() {
                    Arc::make_mut(&mut file.state).sync(through);
                }
                self.names.sync_all(through);
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
            Op::SyncFileSystem { through, .. } => {
                for file in self.files.values_mut() {
                    Arc::make_mut(&mut file.state).poison(through);
                }
            }
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
        // Summing up what is free is not for every overwrite.
        match wants > 0 && wants > self.free_bytes() {
            true => Err(Errno::NO_SPACE),
            false => Ok(()),
        }
    }

    pub(super) fn link(&mut self, path: &Path, node: Node) -> Result<(), Errno> {
        let seq = self.next_seq();
        self.names.link(seq, path, node)
    }

    pub(super) fn create(&mut self, path: &Path) -> Result<InodeId, Errno> {
        let inode = self.new_inode();
        self.link(path, Node::File(inode))?;
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
}
