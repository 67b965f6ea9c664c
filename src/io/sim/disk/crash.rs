//! What stopping the machine does to its disk.

use std::sync::Arc;

use bytes::Bytes;

use super::content::SECTOR_BYTES;
use super::loss::Loss;
use super::{Disk, InodeId, Op};
use crate::io::sim::chance::Chance;

impl Disk {
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
                let sectors = (data.len() as u64).div_ceil(SECTOR_BYTES);
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

    pub(super) fn lose(&mut self, mut loss: Loss) {
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
}

/// What becomes of writes in flight when the machine stops.
#[derive(Clone, Copy)]
enum CutWrites {
    /// All reach the volatile cache; the power loss that follows takes what it takes.
    LeftToTheLoss,
    /// Each for itself: whole, not at all, a prefix, or scattered sectors.
    AsDrawn,
}
