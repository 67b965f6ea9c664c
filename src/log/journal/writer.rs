//! Rounds and the chunks that they go to: gathering, writing, writing back, giving back.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use crate::frame::{ChunkStamp, Incarnation};
use crate::io::{self, Instant, Sync};
use crate::limits::{
    JOURNAL_CHUNKS_MAX, JOURNAL_ENTRY_BYTES_MAX, JOURNAL_GROUPS_BYTES_MAX, JOURNAL_REPLAY_LOOK_MS,
    JOURNAL_ROUND_BYTES_MAX, JOURNAL_WRITE_BACKS_MAX, STORAGE_RETRY_MS,
};
use crate::metrics::{self, Counter, Gauge};
use crate::model::{Offset, PartitionId, TopicId};

use super::super::chunk::{Chunk, ChunkHeader, ChunkRole, FRAMES_POSITION, header_blocks};
use super::super::handle::Log;
use super::super::pool::FreeChunk;
use super::super::state::{Goal, Phase, Released, State};
use super::super::store::{ChunkStore, Stopped};
use super::replay::Owed;
use super::round::{RoundBuilder, RoundHeader, round_bytes};

/// The journal of one core. Owned by its `ChunkStore`, never sent; a crash leaves its chunks, from
/// which the next start takes what had not reached the segments.
pub(in crate::log) struct Journal {
    /// The size of its chunks; 0: there is no journal.
    chunk_bytes: u64,
    /// Logs that have something small for the next round.
    waiting: RefCell<VecDeque<Rc<Log>>>,
    /// Rounds are being written; what is put into `waiting` is seen.
    running: Cell<bool>,
    /// Logs that were appended to and not looked at yet.
    pub(in crate::log) woken_count: Cell<usize>,
    /// Small frames of logs in flight to their own chunks.
    pub(in crate::log) small_writes: Cell<usize>,
    /// Buffers of the groups that stay open, in bytes.
    open_bytes: Rc<Cell<usize>>,
    /// Oldest first; rounds are added to the last one.
    chunks: RefCell<VecDeque<JournalChunk>>,
    /// A chunk for the next turn.
    spare: RefCell<Option<FreeChunk>>,
    fetching: Cell<bool>,
    retry_at: Cell<Option<Instant>>,
    writing_back: Cell<bool>,
    giving_back: Cell<bool>,
    next_sequence: Cell<u64>,
}

/// A chunk of the journal.
struct JournalChunk {
    chunk: Rc<Chunk>,
    end_position: u64,
    held: Held,
}

/// Whom a chunk of the journal holds records of, and up to where.
enum Held {
    /// It is being written to.
    Open(BTreeMap<PartitionId, Holder>),
    /// It is full; holders go when they need it no more.
    Full(Vec<(PartitionId, Holder)>),
}

struct Holder {
    log: Weak<Log>,
    end_offset: Offset,
}

/// The buffer of a group that stays open for the journal's sake, as long as it does.
pub(in crate::log) struct HeldOpen {
    bytes: usize,
    total: Rc<Cell<usize>>,
}

impl Drop for HeldOpen {
    fn drop(&mut self) {
        self.total.set(self.total.get() - self.bytes);
    }
}

/// What one log has in a round.
struct Part {
    log: Rc<Log>,
    bytes: usize,
    end_offset: Offset,
}

impl Journal {
    /// A journal whose chunks are of this size; none if that is 0.
    pub(in crate::log) fn new(chunk_bytes: u64) -> Journal {
        Journal {
            chunk_bytes,
            waiting: RefCell::default(),
            running: Cell::new(false),
            woken_count: Cell::new(0),
            small_writes: Cell::new(0),
            open_bytes: Rc::default(),
            chunks: RefCell::default(),
            spare: RefCell::default(),
            fetching: Cell::new(false),
            retry_at: Cell::new(None),
            writing_back: Cell::new(false),
            giving_back: Cell::new(false),
            next_sequence: Cell::new(1),
        }
    }

    /// The chunk that waits for its turn: others need the space.
    pub(in crate::log) fn take_spare(&self) -> Vec<FreeChunk> {
        self.spare.take().into_iter().collect()
    }

    /// Whether a log does better to wait for the next round than to write what it has to its own
    /// chunk: not if nobody would share the round.
    pub(in crate::log) fn suits(&self, state: &State) -> bool {
        if self.chunk_bytes == 0 {
            return false;
        }
        // The log itself may have been woken again.
        let others_woken = self.woken_count.get() > usize::from(state.wake_scheduled);
        let shared = self.running.get() || others_woken || self.small_writes.get() > 0;
        let memory_bytes = state
            .open
            .as_ref()
            .map_or(0, |group| group.memory_to_hold_bytes());
        let fits = self.open_bytes.get() + memory_bytes <= JOURNAL_GROUPS_BYTES_MAX;
        shared && fits && state.journal_bytes().is_some()
    }

    fn round_bytes_max(&self) -> usize {
        let room = usize::try_from(self.chunk_bytes - FRAMES_POSITION).unwrap_or(usize::MAX);
        room.min(JOURNAL_ROUND_BYTES_MAX)
    }

    /// The partition was deleted durably: nobody wants its records any more.
    pub(in crate::log) fn forget(&self, partition: PartitionId) {
        for chunk in self.chunks.borrow_mut().iter_mut() {
            match &mut chunk.held {
                Held::Open(holders) => drop(holders.remove(&partition)),
                Held::Full(holders) => holders.retain(|(other, _)| *other != partition),
            }
        }
    }

    /// Whether no other log is about to join the only one that waits.
    fn is_alone(&self) -> bool {
        let waiting = self.waiting.borrow();
        let woken = |log: &&Rc<Log>| log.state.borrow().wake_scheduled;
        let woken_count = waiting.iter().filter(woken).count();
        waiting.len() < 2 && self.woken_count.get() <= woken_count && self.small_writes.get() == 0
    }

    /// How long the next round may be in the chunk that is being written to.
    fn room_bytes(&self) -> usize {
        let chunks = self.chunks.borrow();
        let room = chunks
            .back()
            .map_or(0, |last| last.chunk.size_bytes - last.end_position);
        self.round_bytes_max().min(room as usize)
    }

    fn note_chunks(&self) {
        metrics::set(Gauge::JournalChunks, self.chunks.borrow().len() as u64);
    }
}

impl State {
    /// Bytes of the open group that the journal may take now, or when the round in flight is done.
    /// It continues what is durable, and nothing else: who waits for a frame waits for it.
    pub(in crate::log) fn journal_bytes(&self) -> Option<usize> {
        let group = self.open.as_ref()?;
        let bytes = group.unjournaled_bytes();
        let small = bytes > 0 && bytes < JOURNAL_ENTRY_BYTES_MAX;
        let next = self.journaling || group.journaled_end() == self.durable_offset();
        let able = self.phase == Phase::Open && self.queued.is_empty();
        (small && next && able).then_some(bytes)
    }
}

impl Log {
    /// Lets the log's open group take part in the next round.
    pub(in crate::log) fn join_journal(&self) {
        if std::mem::replace(&mut self.state.borrow_mut().waits_for_round, true) {
            return;
        }
        let journal = &self.store.journal;
        let me = self.me.upgrade().expect("a method of it is running");
        journal.waiting.borrow_mut().push_back(me);
        if !journal.running.replace(true) {
            io::spawn(self.store.clone().write_rounds(self.incarnation)).detach();
        }
    }

    /// The round with the log's entry is durable.
    fn journaled(&self, part: &Part) {
        let mut state = self.state.borrow_mut();
        let mut done = Released {
            payload_bytes: part.bytes,
            ..Released::default()
        };
        state.journaling = false;
        if state.phase != Phase::Deleted {
            let before = state.durable_offset();
            state.journaled_end = state.journaled_end.max(part.end_offset);
            done.advanced = state.durable_offset() > before;
        }
        drop(state);
        self.carry_out(done);
    }

    /// The round with the log's entry could not be written.
    fn journal_failed(&self, part: &Part) {
        self.state.borrow_mut().journaling = false;
        self.store.sub_pending(part.bytes);
        self.give_up();
    }

    /// Sees to it that the frames reach `offset`, and waits until they do.
    async fn write_back(&self, offset: Offset) -> Result<(), Stopped> {
        {
            let mut state = self.state.borrow_mut();
            if state
                .open
                .as_ref()
                .is_some_and(|group| group.base_offset < offset)
            {
                state.close_group(false);
            }
        }
        self.kick();
        self.wait(Goal::Framed(offset)).await
    }
}

impl ChunkStore {
    /// Writes rounds, one after the other, until no log waits.
    async fn write_rounds(self: Rc<ChunkStore>, incarnation: Incarnation) {
        let journal = &self.journal;
        loop {
            self.reclaim_journal();
            let wanted = self.wanted_bytes();
            let alone = journal.is_alone();
            if self.is_stopped()
                || wanted == 0
                || alone
                || !self.begin_chunk(wanted, incarnation).await
            {
                let waiting = std::mem::take(&mut *journal.waiting.borrow_mut());
                for log in waiting {
                    log.state.borrow_mut().waits_for_round = false;
                    log.kick_direct();
                }
            } else {
                let round = self.gather(incarnation);
                if let Some((round, position, parts)) = round {
                    self.write_round(round, position, parts).await;
                }
            }
            if journal.waiting.borrow().is_empty() {
                journal.running.set(false);
                return;
            }
        }
    }

    /// The length of a round that takes all that waits, as far as one may.
    fn wanted_bytes(&self) -> usize {
        let waiting = self.journal.waiting.borrow();
        let bytes = waiting.iter().map(|log| log.state.borrow().journal_bytes());
        let payload_bytes: usize = bytes.map(Option::unwrap_or_default).sum();
        match payload_bytes {
            0 => 0,
            _ => round_bytes(waiting.len(), payload_bytes).min(self.journal.round_bytes_max()),
        }
    }

    /// Copies what the waiting logs have into one round, as far as it has room. Those that have
    /// nothing for it any more are looked at again.
    fn gather(&self, incarnation: Incarnation) -> Option<(Bytes, u64, Vec<Part>)> {
        let journal = &self.journal;
        let mut logs = Vec::new();
        let (mut payload_bytes, max) = (0, journal.room_bytes());
        let mut passed = Vec::new();
        loop {
            let next = journal.waiting.borrow_mut().pop_front();
            let Some(log) = next else { break };
            let bytes = log.state.borrow().journal_bytes();
            match bytes {
                Some(bytes) if round_bytes(logs.len() + 1, payload_bytes + bytes) > max => {
                    journal.waiting.borrow_mut().push_front(log);
                    break;
                }
                Some(bytes) => {
                    payload_bytes += bytes;
                    logs.push(log);
                }
                None => passed.push(log),
            }
        }
        for log in passed {
            log.state.borrow_mut().waits_for_round = false;
            log.kick();
        }
        if logs.is_empty() {
            return None;
        }
        let mut chunks = journal.chunks.borrow_mut();
        let last = chunks.back_mut().expect("the caller has begun one");
        let mut builder = RoundBuilder::new(logs.len(), payload_bytes);
        let mut parts = Vec::with_capacity(logs.len());
        for log in logs {
            let mut state = log.state.borrow_mut();
            state.waits_for_round = false;
            state.journaling = true;
            let group = state.open.as_mut().expect("looked at above");
            let offsets = group.journaled_end()..group.end_offset;
            let bytes = group.unjournaled_bytes();
            builder.push(
                log.id,
                group.leader_epoch,
                offsets.clone(),
                group.unjournaled(),
            );
            group.settle();
            group.hold_open(|bytes| {
                journal.open_bytes.set(journal.open_bytes.get() + bytes);
                let total = journal.open_bytes.clone();
                HeldOpen { bytes, total }
            });
            drop(state);
            last.hold(&log, offsets.end);
            let end_offset = offsets.end;
            parts.push(Part {
                log,
                bytes,
                end_offset,
            });
        }
        let sequence = journal.next_sequence.get();
        journal.next_sequence.set(sequence + 1);
        let round = builder.finish(RoundHeader {
            sequence,
            // One at a time: the one before is durable.
            durable_through: sequence - 1,
            chunk: last.chunk.stamp,
            incarnation,
            core: u32::from(self.core().0),
            entry_count: 0,
            round_bytes: 0,
        });
        let position = last.end_position;
        last.end_position += round.len() as u64;
        assert!(
            last.end_position <= last.chunk.size_bytes,
            "the caller has seen to room"
        );
        Some((round, position, parts))
    }

    async fn write_round(&self, round: Bytes, position: u64, parts: Vec<Part>) {
        let chunk = {
            let chunks = self.journal.chunks.borrow();
            chunks.back().expect("it was gathered for it").chunk.clone()
        };
        metrics::add(Counter::JournalRounds, 1);
        metrics::add(Counter::JournalEntries, parts.len() as u64);
        metrics::add(Counter::JournalBytes, round.len() as u64);
        let written = self.write(&chunk, vec![round], position, Sync::Data).await;
        if let Err(error) = &written {
            let file = chunk.id.file_name();
            self.stop(&format!("write of a round to {file}: {error}"));
        }
        for part in &parts {
            match written {
                Ok(()) => part.log.journaled(part),
                Err(_) => part.log.journal_failed(part),
            }
        }
        for part in parts {
            part.log.kick();
        }
    }

    /// Makes room for a round of `bytes`: in the present chunk, or in another one whose header is
    /// durable before any round in it. False if there is none to be had now.
    async fn begin_chunk(&self, bytes: usize, incarnation: Incarnation) -> bool {
        let journal = &self.journal;
        if bytes <= journal.room_bytes() {
            return true;
        }
        self.write_back_oldest();
        let free = journal.spare.borrow_mut().take();
        let Some(free) = free else {
            self.fetch_spare();
            return false;
        };
        if journal.chunks.borrow().len() >= JOURNAL_CHUNKS_MAX {
            *journal.spare.borrow_mut() = Some(free);
            return false;
        }
        let header = self.journal_header(&free, incarnation);
        let chunk = Rc::new(Chunk {
            id: free.id,
            stamp: header.stamp,
            size_bytes: free.size_bytes,
        });
        let blocks = header_blocks(&header);
        if let Err(error) = self.write(&chunk, vec![blocks], 0, Sync::Data).await {
            let file = free.id.file_name();
            self.stop(&format!("write of the header of {file}: {error}"));
            return false;
        }
        let mut chunks = journal.chunks.borrow_mut();
        if let Some(last) = chunks.back_mut() {
            last.fill();
        }
        chunks.push_back(JournalChunk {
            chunk,
            end_position: FRAMES_POSITION,
            held: Held::Open(BTreeMap::new()),
        });
        drop(chunks);
        journal.note_chunks();
        self.fetch_spare();
        true
    }

    fn journal_header(&self, free: &FreeChunk, incarnation: Incarnation) -> ChunkHeader {
        let stamp = ChunkStamp {
            generation: free.generation + 1,
            nonce: io::random_bytes(),
        };
        ChunkHeader {
            role: ChunkRole::Journal,
            partition: PartitionId {
                topic_id: TopicId::ZERO,
                index: i32::from(self.core().0),
            },
            first_sequence: self.journal.next_sequence.get(),
            incarnation,
            stamped: io::wall_clock(),
            ..ChunkHeader::free(free.id, stamp, free.size_bytes)
        }
    }

    /// Gets a chunk for the next turn, off the path of any append.
    fn fetch_spare(&self) {
        let journal = &self.journal;
        let now = io::now();
        let idle = self.is_stopped()
            || self.free_bytes_max() == 0
            || journal.spare.borrow().is_some()
            || journal.retry_at.get().is_some_and(|at| now < at);
        if idle || journal.fetching.replace(true) {
            return;
        }
        let store = self.weak();
        io::spawn(async move {
            let Some(store) = store.upgrade() else { return };
            let journal = &store.journal;
            let bytes = journal.chunk_bytes;
            let taken = store.try_take(bytes, bytes);
            let chunk = match taken {
                Some(chunk) => Ok(chunk),
                None => store.create_chunk(bytes, false).await,
            };
            journal.fetching.set(false);
            match chunk {
                Ok(chunk) => *journal.spare.borrow_mut() = Some(chunk),
                Err(_) => {
                    let retry = Duration::from_millis(STORAGE_RETRY_MS);
                    journal.retry_at.set(Some(io::now() + retry));
                }
            }
        })
        .detach();
    }

    /// Lets the logs write what the oldest chunk holds to their own, when half of the chunks are
    /// in use: it is to be free before the last one is full.
    fn write_back_oldest(&self) {
        let journal = &self.journal;
        if journal.chunks.borrow().len() < JOURNAL_CHUNKS_MAX / 2
            || journal.writing_back.replace(true)
        {
            return;
        }
        let holders: Vec<(Rc<Log>, Offset)> = {
            let chunks = journal.chunks.borrow();
            let oldest = chunks.front().expect("there are some");
            oldest.holders()
        };
        let store = self.weak();
        io::spawn(async move {
            let writes = holders.iter().map(|(log, offset)| log.write_back(*offset));
            stream::iter(writes)
                .buffer_unordered(JOURNAL_WRITE_BACKS_MAX)
                // One that has stopped keeps its chunk of the journal.
                .for_each(|_| std::future::ready(()))
                .await;
            if let Some(store) = store.upgrade() {
                store.journal.writing_back.set(false);
                store.reclaim_journal();
            }
        })
        .detach();
    }

    /// Gives back the oldest chunks that no log needs any more.
    pub(in crate::log) fn reclaim_journal(&self) {
        let journal = &self.journal;
        if journal.giving_back.get() || self.is_stopped() {
            return;
        }
        let free =
            |chunks: &mut VecDeque<JournalChunk>| chunks.len() > 1 && chunks[0].is_unneeded();
        if !free(&mut journal.chunks.borrow_mut()) {
            return;
        }
        journal.giving_back.set(true);
        let store = self.weak();
        io::spawn(async move {
            let Some(store) = store.upgrade() else { return };
            let journal = &store.journal;
            // In their order: what is left is the journal's end, without a gap.
            while free(&mut journal.chunks.borrow_mut()) {
                let oldest = journal.chunks.borrow()[0].chunk.clone();
                if store.stamp_free(&oldest).await.is_err() {
                    break;
                }
                journal.chunks.borrow_mut().pop_front();
                journal.note_chunks();
                store.retire(oldest.clone(), oldest.stamp.generation + 1);
            }
            journal.giving_back.set(false);
        })
        .detach();
    }

    /// Gives back the chunks of earlier journals when all logs have what they hold.
    pub(in crate::log) async fn give_back_replayed(
        store: Weak<ChunkStore>,
        mut chunks: Vec<ChunkHeader>,
        owed: std::sync::Arc<Owed>,
    ) {
        chunks.sort_by_key(|chunk| (chunk.incarnation, chunk.first_sequence));
        while !chunks.is_empty() {
            io::sleep(Duration::from_millis(JOURNAL_REPLAY_LOOK_MS)).await;
            let Some(store) = store.upgrade() else { return };
            if !owed.is_nothing() {
                continue;
            }
            for header in chunks.drain(..) {
                let chunk = Rc::new(Chunk {
                    id: header.id,
                    stamp: header.stamp,
                    size_bytes: header.size_bytes,
                });
                if store.is_stopped() || store.stamp_free(&chunk).await.is_err() {
                    return;
                }
                let generation = chunk.stamp.generation + 1;
                store.retire(chunk, generation);
            }
        }
    }

    /// Says on the disk that the chunk is nobody's.
    async fn stamp_free(&self, chunk: &Chunk) -> Result<(), Stopped> {
        let stamp = ChunkStamp {
            generation: chunk.stamp.generation + 1,
            ..chunk.stamp
        };
        let header = ChunkHeader::free(chunk.id, stamp, chunk.size_bytes);
        let written = self
            .write(chunk, vec![header_blocks(&header)], 0, Sync::Data)
            .await;
        written.map_err(|error| {
            let name = chunk.id.file_name();
            self.stop(&format!("{name} could not be given back: {error}"));
            Stopped
        })
    }
}

impl JournalChunk {
    fn hold(&mut self, log: &Rc<Log>, end_offset: Offset) {
        let holder = Holder {
            log: Rc::downgrade(log),
            end_offset,
        };
        match &mut self.held {
            Held::Open(holders) => drop(holders.insert(log.id, holder)),
            Held::Full(_) => unreachable!("a full chunk gets no rounds"),
        }
    }

    /// It gets no more rounds.
    fn fill(&mut self) {
        if let Held::Open(holders) = &mut self.held {
            self.held = Held::Full(std::mem::take(holders).into_iter().collect());
        }
    }

    /// The logs that may need it, and up to where.
    fn holders(&self) -> Vec<(Rc<Log>, Offset)> {
        let there = |holder: &Holder| Some((holder.log.upgrade()?, holder.end_offset));
        match &self.held {
            Held::Open(holders) => holders.values().filter_map(there).collect(),
            Held::Full(holders) => holders.iter().filter_map(|(_, one)| there(one)).collect(),
        }
    }

    /// Whether every log has what it holds in frames that survive a power cut. Looks at as many as
    /// need it no more, and one.
    fn is_unneeded(&mut self) -> bool {
        let Held::Full(holders) = &mut self.held else {
            return false;
        };
        while let Some((_, holder)) = holders.last() {
            let has = |log: Rc<Log>| log.state.borrow().synced.end_offset >= holder.end_offset;
            // A log that was dropped and not deleted has it here only.
            if !holder.log.upgrade().is_some_and(has) {
                return false;
            }
            holders.pop();
        }
        true
    }
}
