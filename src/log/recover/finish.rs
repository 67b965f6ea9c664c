//! From the chain that was found to the state that a log begins with.

use std::collections::VecDeque;

use crate::frame::{FrameKind, Incarnation};
use crate::io;
use crate::model::{Offset, Timestamp};

use super::super::epochs::Epochs;
use super::super::group::GroupSize;
use super::super::index::Index;
use super::super::link::Chain;
use super::super::pool::FreeChunk;
use super::super::settings::LogConfig;
use super::super::state::{Boundary, LogChunk, Phase, State, is_stated_before};
use super::{Recovery, Replay, Run};

impl<R: FnMut(Replay<'_>)> Run<'_, R> {
    /// The state of the log as it was found.
    pub(super) fn finish(mut self, config: LogConfig) -> (State, Recovery) {
        if self.last_kind == FrameKind::Tombstone {
            self.passed_by.extend(self.ahead.drain(..));
            for chunk in self.chunks.drain(..) {
                let generation = chunk.chunk.stamp.generation;
                self.store.retire(chunk.chunk, generation);
            }
            self.chain = Chain {
                incarnation: self.chain.incarnation,
                ..Chain::empty()
            };
            self.start_offset = Offset::ZERO;
            self.stated = 0;
            self.epochs = Epochs::default();
            self.recovery = Recovery::default();
        } else {
            self.account_for_everything();
        }
        self.passed_by.extend(self.ahead.drain(..));
        let passed_by = self.passed_by.iter().map(FreeChunk::recycled).collect();
        let mut state = self.state(config);
        match self.known_end > Offset::ZERO {
            true => state.witnesses = Some(passed_by),
            false => self.store.give_back(passed_by),
        }
        (state, self.recovery)
    }

    /// Chunks below the log's start go; offsets that no chunk covers are damage.
    fn account_for_everything(&mut self) {
        if let Some(floor) = self.floor
            && self.chunks.is_empty()
            && floor.sequence > 0
        {
            // Not a single chunk is left of a log that had some.
            self.quarantine(self.start_offset..floor.end_offset);
            self.chain.next_sequence = floor.sequence + 1;
            self.chain.previous_crc = floor.crc;
            self.chain.end_offset = floor.end_offset;
        }
        let end_offset = self.chain.end_offset.max(self.journal_end);
        self.start_offset = self.start_offset.min(end_offset);
        while self.known_end == Offset::ZERO
            && self.chunks.len() > 1
            && self.chunks[0].end_offset <= self.start_offset
            && !is_stated_before(self.stated, self.chunks[1].first_sequence)
        {
            let chunk = self
                .chunks
                .pop_front()
                .expect("there are two at least")
                .chunk;
            let generation = chunk.stamp.generation;
            self.store.retire(chunk, generation);
        }
        let mut expected = self.start_offset;
        let mut gaps = Vec::new();
        for chunk in &self.chunks {
            gaps.push(expected..chunk.base_offset);
            expected = expected.max(chunk.end_offset);
        }
        gaps.push(expected..self.chain.end_offset);
        gaps.into_iter().for_each(|gap| self.quarantine(gap));
        let start = self.start_offset;
        self.recovery.quarantined.retain_mut(|range| {
            range.start = range.start.max(start);
            !range.is_empty()
        });
        self.recovery.quarantined.sort_by_key(|range| range.start);
        // Most gaps were met on the way, or known before.
        self.recovery.quarantined.dedup_by(|next, before| {
            let meets = next.start < before.end;
            if meets {
                before.end = before.end.max(next.end);
            }
            meets
        });
        self.epochs.end_at(self.chain.end_offset);
        if let Some(last) = self.chunks.back_mut()
            && start >= last.end_offset
        {
            last.payload_bytes = 0;
            last.max_timestamp = Timestamp::NONE;
        }
    }

    /// A chunk that was begun and got no frame is begun anew by the next frame: its header is of
    /// an older start, behind which a chunk is cut off. Until then it is not given away, because
    /// it may be all that is left to tell where the log ends.
    fn take_empty_chunk(&mut self) -> Option<FreeChunk> {
        let empty = |last: &mut LogChunk| last.first_sequence == self.chain.next_sequence;
        let chunk = self.chunks.pop_back_if(empty)?.chunk;
        if let Some(last) = self.chunks.back_mut() {
            // It gets frames again; readers complete what its index lacks.
            last.index = Index::known_from(last.end_position);
        }
        let generation = chunk.stamp.generation;
        Some(FreeChunk::used(chunk.id, generation, chunk.size_bytes))
    }

    fn state(&mut self, config: LogConfig) -> State {
        let ready = self.take_empty_chunk();
        let last = self.chunks.back();
        let reached = Boundary {
            sequence: self.chain.next_sequence - 1,
            crc: self.chain.previous_crc,
            incarnation: self.chain.incarnation,
            incarnation_start: self.start_of(self.chain.incarnation),
            end_offset: self.chain.end_offset,
            first_sequence: last.map_or(0, |last| last.first_sequence),
            position: last.map_or(0, |last| last.end_position),
            payload_bytes: last.map_or(0, |last| last.payload_bytes),
            max_timestamp: last.map_or(Timestamp::NONE, |last| last.max_timestamp),
        };
        let sealed = last.is_none()
            || (self.last_kind != FrameKind::Data && self.last_claim + 1 == reached.sequence);
        State {
            config,
            phase: Phase::Open,
            end_offset: reached.end_offset,
            open: None,
            queued: VecDeque::new(),
            group_size: GroupSize::new(),
            epochs: std::mem::take(&mut self.epochs),
            last_append: io::now(),
            next_sequence: self.chain.next_sequence,
            incarnation_start: self.chain.next_sequence,
            previous_crc: self.chain.previous_crc,
            chunks: std::mem::take(&mut self.chunks),
            in_flight: VecDeque::new(),
            next_flight: 0,
            ready: ready.into_iter().collect(),
            foretold: None,
            allocating: false,
            syncing_before_loss: false,
            journaled_end: reached.end_offset,
            journaling: false,
            waits_for_round: false,
            debt: None,
            witnesses: None,
            released: reached,
            synced: reached,
            unsynced: Vec::new(),
            start_offset: self.start_offset,
            stated: self.stated,
            start_requested: self.start_offset,
            starts: VecDeque::new(),
            hot: VecDeque::new(),
            waiters: Vec::new(),
            sealed,
            quarantined: self.recovery.quarantined.clone(),
            wake_scheduled: false,
            seal_scheduled: !sealed,
            told_stopped: false,
        }
    }

    fn start_of(&self, incarnation: Incarnation) -> u64 {
        self.chain.starts.get(&incarnation).copied().unwrap_or(1)
    }
}
