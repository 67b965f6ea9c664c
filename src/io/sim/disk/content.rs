//! What one file holds: what a reader sees, what is durable, and the writes between the two.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::loss::Loss;
use crate::io::sim::chance::Chance;

/// The unit that a crash keeps or loses whole, in bytes: a sector is never torn.
pub(super) const SECTOR_BYTES: u64 = 512;
/// The unit in which content is held in memory, in bytes.
pub(super) const BLOCK_BYTES: u64 = 4096;

/// A file's bytes and its size. A block that was never written reads as zeros. Clones share.
#[derive(Clone, Default)]
pub(super) struct Content {
    size: u64,
    blocks: Arc<BTreeMap<u64, Bytes>>,
}

/// A write, or a growth of the size, that reached the device's volatile cache: visible, and lost
/// or kept by a power loss as it pleases.
#[derive(Clone)]
struct Pending {
    /// The order of completion, over the whole disk.
    seq: u64,
    offset: u64,
    data: Bytes,
    /// The size that the file took with it.
    size: u64,
    /// A sync of it failed: no later sync makes it durable (the kernel has dropped the error and
    /// the dirty mark), though readers go on seeing it.
    poisoned: bool,
}

/// One file.
///
/// Invariant: `durable` overlaid with `pending` in order is `current`, but for sectors whose
/// sync was lost. A crash replaces `current` by a state that `durable` and `pending` allow.
#[derive(Clone, Default)]
pub(super) struct FileState {
    current: Content,
    durable: Content,
    pending: Vec<Pending>,
}

impl FileState {
    pub(super) fn size(&self) -> u64 {
        self.current.size
    }

    /// Fills `buf` from `offset` and returns how much there was before the end of the file.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        self.current.read(offset, buf)
    }

    /// Applies a completed write.
    pub(super) fn write(&mut self, seq: u64, offset: u64, data: &Bytes, durable: bool) {
        let end = offset + data.len() as u64;
        self.current.write(offset, data);
        self.current.size = self.current.size.max(end);
        if durable {
            self.settle(seq, offset, data, end);
        } else {
            self.push(seq, offset, data.clone(), self.current.size);
        }
    }

    /// Makes a write visible and pending sector by sector, as `keep` says of each sector's index
    /// within the write: what a write did that was cut, or that a reader overtook.
    pub(super) fn write_partly(
        &mut self,
        seq: u64,
        offset: u64,
        data: &Bytes,
        mut keep: impl FnMut(u64) -> bool,
    ) {
        for (index, at, sector) in sectors(offset, data) {
            if keep(index) {
                self.write(seq, at, &sector, false);
            }
        }
    }

    /// Sets the size to `size` if the file is smaller, with what the new blocks hold at first.
    pub(super) fn allocate(
        &mut self,
        seq: u64,
        size: u64,
        mut fill: impl FnMut() -> Option<Bytes>,
    ) {
        if size <= self.current.size {
            return;
        }
        for block in self.current.size.div_ceil(BLOCK_BYTES)..size.div_ceil(BLOCK_BYTES) {
            if let Some(stale) = fill() {
                self.durable.blocks_mut().insert(block, stale.clone());
                self.current.blocks_mut().insert(block, stale);
            }
        }
        self.current.size = size;
        self.push(seq, 0, Bytes::new(), size);
    }

    /// Makes everything that completed up to `through` durable.
    pub(super) fn sync(&mut self, through: u64) {
        let settled: Vec<Pending> = self
            .pending
            .extract_if(.., |pending| pending.seq <= through && !pending.poisoned)
            .collect();
        for write in settled {
            self.settle(write.seq, write.offset, &write.data, write.size);
        }
    }

    /// A sync up to `through` failed.
    pub(super) fn poison(&mut self, through: u64) {
        for pending in &mut self.pending {
            pending.poisoned |= pending.seq <= through;
        }
    }

    /// Power is lost: each pending sector is kept or lost as `loss` draws it.
    pub(super) fn lose_power(&mut self, loss: &mut Loss) {
        for write in std::mem::take(&mut self.pending) {
            let mut fate = loss.fate_of(write.seq);
            if write.size > self.durable.size && fate.keeps_size() {
                self.durable.size = write.size;
            }
            for (index, at, sector) in sectors(write.offset, &write.data) {
                if fate.keeps(index) {
                    self.durable.write(at, &sector);
                }
            }
        }
        self.durable.cut_beyond_size();
        self.current = self.durable.clone();
    }

    /// Flips one bit of the medium, for good.
    pub(super) fn flip(&mut self, offset: u64, bit: u32) {
        self.current.flip(offset, bit);
        self.durable.flip(offset, bit);
    }

    /// Whether a power loss now could change what a reader sees.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Bytes of the medium that the file takes up.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.current.size.next_multiple_of(BLOCK_BYTES)
    }

    /// Up to `max` of its blocks, for whoever is given the space next.
    pub(super) fn some_blocks(&self, max: usize) -> impl Iterator<Item = Bytes> {
        self.current.blocks.values().take(max).cloned()
    }

    fn push(&mut self, seq: u64, offset: u64, data: Bytes, size: u64) {
        self.pending.push(Pending {
            seq,
            offset,
            data,
            size,
            poisoned: false,
        });
    }

    /// `data` is durable now: older versions of its sectors can no longer come back.
    fn settle(&mut self, seq: u64, offset: u64, data: &Bytes, size: u64) {
        self.durable.write(offset, data);
        self.durable.size = self.durable.size.max(size);
        let end = offset + data.len() as u64;
        if self.pending.iter().any(|older| older.seq < seq) {
            let pending = std::mem::take(&mut self.pending);
            for older in pending {
                if older.seq < seq {
                    self.pending.extend(older.without(offset, end));
                } else {
                    self.pending.push(older);
                }
            }
        }
    }
}

impl Pending {
    /// What is left of it when `from..to` is taken out: nothing, one or two pieces.
    fn without(self, from: u64, to: u64) -> impl Iterator<Item = Pending> {
        let (start, end) = (self.offset, self.offset + self.data.len() as u64);
        let (low, high) = (from.clamp(start, end), to.clamp(start, end));
        let untouched = self.data.is_empty() || low >= high;
        let pieces = if untouched {
            [Some(self), None]
        } else {
            let piece = |from: u64, to: u64| {
                (from < to).then(|| Pending {
                    offset: from,
                    data: self
                        .data
                        .slice((from - start) as usize..(to - start) as usize),
                    ..self.clone()
                })
            };
            [piece(start, low), piece(high, end)]
        };
        pieces.into_iter().flatten()
    }
}

impl Content {
    fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let length = (self.size.saturating_sub(offset)).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let within = (at % BLOCK_BYTES) as usize;
            let count = (BLOCK_BYTES as usize - within).min(length - done);
            match self.blocks.get(&(at / BLOCK_BYTES)) {
                Some(block) => {
                    buf[done..done + count].copy_from_slice(&block[within..within + count])
                }
                None => buf[done..done + count].fill(0),
            }
            done += count;
        }
        length
    }

    fn write(&mut self, offset: u64, data: &Bytes) {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let within = (at % BLOCK_BYTES) as usize;
            let count = (BLOCK_BYTES as usize - within).min(data.len() - done);
            let piece = data.slice(done..done + count);
            let number = at / BLOCK_BYTES;
            if count == BLOCK_BYTES as usize {
                self.blocks_mut().insert(number, piece);
            } else {
                let mut block = self.block(number);
                block[within..within + count].copy_from_slice(&piece);
                self.blocks_mut().insert(number, Bytes::from(block));
            }
            done += count;
        }
    }

    fn flip(&mut self, offset: u64, bit: u32) {
        if offset < self.size {
            let mut block = self.block(offset / BLOCK_BYTES);
            block[(offset % BLOCK_BYTES) as usize] ^= 1 << (bit % 8);
            self.blocks_mut()
                .insert(offset / BLOCK_BYTES, Bytes::from(block));
        }
    }

    fn blocks_mut(&mut self) -> &mut BTreeMap<u64, Bytes> {
        Arc::make_mut(&mut self.blocks)
    }

    /// A copy of one block, to be changed.
    fn block(&self, number: u64) -> Vec<u8> {
        match self.blocks.get(&number) {
            Some(block) => block.to_vec(),
            None => vec![0; BLOCK_BYTES as usize],
        }
    }

    /// What lies beyond the size is not there for who extends the file later.
    fn cut_beyond_size(&mut self) {
        let (last, within) = (self.size / BLOCK_BYTES, (self.size % BLOCK_BYTES) as usize);
        if within > 0 && self.blocks.contains_key(&last) {
            let mut block = self.block(last);
            block[within..].fill(0);
            self.blocks_mut().insert(last, Bytes::from(block));
        }
        let end = self.size.div_ceil(BLOCK_BYTES);
        if self
            .blocks
            .last_key_value()
            .is_some_and(|(last, _)| *last >= end)
        {
            self.blocks_mut().split_off(&end);
        }
    }
}

/// The sectors of a write: index within the write, offset in the file, bytes. The first and the
/// last are partial where a write is not aligned (buffered small files).
fn sectors(offset: u64, data: &Bytes) -> impl Iterator<Item = (u64, u64, Bytes)> {
    let end = offset + data.len() as u64;
    let first = offset / SECTOR_BYTES;
    (first..end.div_ceil(SECTOR_BYTES)).filter_map(move |sector| {
        let from = (sector * SECTOR_BYTES).max(offset);
        let to = ((sector + 1) * SECTOR_BYTES).min(end);
        (from < to).then(|| {
            let bytes = data.slice((from - offset) as usize..(to - offset) as usize);
            (sector - first, from, bytes)
        })
    })
}

/// A block of noise that looks like what another file left behind.
pub(super) fn noise(chance: &mut Chance) -> Bytes {
    let mut block = vec![0u8; BLOCK_BYTES as usize];
    chance.fill(&mut block);
    Bytes::from(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECTOR_BYTES;

    fn sector_of(byte: u8, count: u64) -> Bytes {
        Bytes::from(vec![byte; (count * S) as usize])
    }

    /// The first byte of each sector a reader sees.
    fn seen(file: &FileState) -> Vec<u8> {
        let mut bytes = vec![0xee; file.size() as usize];
        assert_eq!(file.read(0, &mut bytes), bytes.len());
        bytes.chunks(S as usize).map(|sector| sector[0]).collect()
    }

    enum Step {
        /// From sector, count, byte, with data sync.
        Write(u64, u64, u8, bool),
        /// To this many sectors.
        Allocate(u64),
        Sync,
        FailSync,
    }
    use Step::{Allocate, FailSync, Sync, Write};

    fn check(what: &str, steps: &[Step], all_lost: &[u8], all_kept: &[u8]) {
        let mut file = FileState::default();
        for (seq, step) in steps.iter().enumerate() {
            let seq = seq as u64 + 1;
            match *step {
                Write(from, count, byte, sync) => {
                    file.write(seq, from * S, &sector_of(byte, count), sync);
                }
                Allocate(sectors) => file.allocate(seq, sectors * S, || None),
                Sync => file.sync(seq),
                FailSync => file.poison(seq),
            }
        }
        let mut lost = file.clone();
        lost.lose_power(&mut Loss::all_lost());
        assert_eq!(seen(&lost), all_lost, "{what}: all lost");
        let before = seen(&file);
        file.lose_power(&mut Loss::all_kept());
        assert_eq!(seen(&file), all_kept, "{what}: all kept");
        assert_eq!(before, all_kept, "{what}: before the crash");
    }

    #[test]
    fn what_a_power_loss_may_take() {
        check("nothing synced", &[Write(0, 2, 1, false)], &[], &[1, 1]);
        check("data sync", &[Write(0, 2, 1, true)], &[1, 1], &[1, 1]);
        check(
            "a data sync covers its own range only",
            &[Allocate(4), Write(0, 1, 1, false), Write(2, 1, 2, true)],
            &[0, 0, 2],
            &[1, 0, 2, 0],
        );
        check(
            "a file sync covers all that completed",
            &[
                Allocate(3),
                Write(0, 1, 1, false),
                Sync,
                Write(1, 1, 2, false),
            ],
            &[1, 0, 0],
            &[1, 2, 0],
        );
        check(
            "an overwrite with data sync takes the older version's place for good",
            &[
                Allocate(3),
                Sync,
                Write(0, 3, 1, false),
                Write(1, 1, 2, true),
            ],
            &[0, 2, 0],
            &[1, 2, 1],
        );
        check(
            "what a failed sync covered stays volatile after a later sync",
            &[
                Allocate(2),
                Sync,
                Write(0, 1, 1, false),
                FailSync,
                Write(1, 1, 2, false),
                Sync,
            ],
            &[0, 2],
            &[1, 2],
        );
    }

    #[test]
    fn a_sector_is_kept_or_lost_whole_and_each_outcome_occurs() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let mut file = FileState::default();
            file.write(1, 0, &sector_of(1, 3), true);
            file.write(2, 0, &sector_of(2, 3), false);
            file.lose_power(&mut Loss::drawn(Chance::new(seed, "crash"), 2, 2));
            let mut bytes = vec![0; 3 * S as usize];
            file.read(0, &mut bytes);
            assert!(
                bytes
                    .chunks(S as usize)
                    .all(|s| s.iter().all(|b| *b == s[0]))
            );
            outcomes.insert(seen(&file));
        }
        assert_eq!(outcomes.len(), 8, "{outcomes:?}");
    }

    #[test]
    fn bytes_beyond_a_lost_size_are_gone() {
        let mut file = FileState::default();
        file.write(1, 0, &sector_of(1, 1), true);
        file.write(2, S, &sector_of(2, 9), false);
        file.lose_power(&mut Loss::all_lost());
        assert_eq!(file.size(), S);
        file.allocate(3, 10 * S, || None);
        assert_eq!(seen(&file), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn unaligned_content_reads_back() {
        let mut file = FileState::default();
        file.write(1, 0, &Bytes::from_static(b"hello"), false);
        file.write(2, 5, &Bytes::from(vec![b'x'; 9000]), false);
        let mut bytes = [0; 8];
        assert_eq!(file.read(2, &mut bytes), 8);
        assert_eq!(&bytes, b"lloxxxxx");
        assert_eq!(file.read(9001, &mut bytes), 4);
        assert_eq!(file.read(9005, &mut bytes), 0);
    }
}
