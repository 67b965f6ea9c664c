//! From groups to the disk: one write at a time, a second one only when much waits.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::frame::{ChunkStamp, FrameHeader, FrameKind, Incarnation};
use crate::io::{self, AlignedBuf, Sync};
use crate::limits::{
    CHUNK_FILL_FAST_MS, CHUNK_FILL_SLOW_MS, FRAME_ALIGNMENT_BYTES, JOURNAL_ENTRY_BYTES_MAX,
    LOG_GROUP_BYTES_MAX, LOG_SECOND_WRITE_BYTES, LOG_WRITES_IN_FLIGHT_MAX, SEGMENT_REST_SHARE,
    STORAGE_RETRY_MS,
};
use crate::metrics::{self, Counter, Gauge, Stage};
use crate::model::{Offset, PartitionId, Timestamp};

use super::chunk::{
    Chunk, ChunkHeader, ChunkRole, FRAMES_POSITION, Room, frame_capacity, header_blocks,
};
use super::create::CreateError;
use super::group::{Group, frame_bytes};
use super::handle::{Log, LogEvent};
use super::index::footer_bytes;
use super::pool::FreeChunk;
use super::settings::Durability;
use super::state::{Boundary, Flight, FlyingFrame, LogChunk, State};
use super::store::{ChunkStore, Stopped};

/// What the log wants of the disk next.
enum Step {
    /// Nothing, until more is appended or a write completes.
    Wait,
    /// A chunk of `wanted` bytes, or in need one of at least `least`.
    NeedChunk { wanted: u64, least: u64 },
    /// A sync of what was only written: the next frame stands behind a loss, and says that all
    /// before it is durable.
    Sync,
    /// These writes, all at once.
    Write(Vec<Write>),
}

/// One write.
struct Write {
    /// The flight that it completes; `None` for a footer, which nobody waits for.
    flight: Option<u64>,
    chunk: Rc<Chunk>,
    /// One behind the other.
    slices: Vec<Bytes>,
    position: u64,
    sync: Sync,
    /// A small group that somebody waits for: one that others could share a round with.
    small: bool,
}

/// What a frame's header and a chunk's header say beside what the state knows.
struct Writer {
    partition: PartitionId,
    incarnation: Incarnation,
    durability: Durability,
    now: Timestamp,
}

impl Log {
    /// Starts every write that may start now; what is small may wait for a round of the journal.
    pub(super) fn kick(&self) {
        self.start_writes(!self.is_metadata());
    }

    /// The same, without the journal.
    pub(super) fn kick_direct(&self) {
        self.start_writes(false);
    }

    fn start_writes(&self, may_journal: bool) {
        loop {
            if self.store.is_stopped() {
                self.give_up();
                return;
            }
            let writer = Writer {
                partition: self.id,
                incarnation: self.incarnation,
                durability: self.durability(),
                now: io::wall_clock(),
            };
            let mut state = self.state.borrow_mut();
            if may_journal && self.store.journal.suits(&state) {
                drop(state);
                self.join_journal();
                return;
            }
            let step = state.next_step(&self.store, &writer);
            if matches!(step, Step::Write(_)) {
                state.foretell(&self.store, writer.now);
            }
            drop(state);
            match step {
                Step::Wait => return,
                Step::NeedChunk { wanted, least } => {
                    io::spawn(self.rc().fetch_chunk(wanted, least)).detach();
                    return;
                }
                Step::Sync => {
                    io::spawn(self.rc().sync_before_loss()).detach();
                    return;
                }
                Step::Write(writes) => {
                    for write in writes {
                        self.count_small(&write, 1);
                        io::spawn(self.rc().run_write(write)).detach();
                    }
                }
            }
        }
    }

    async fn sync_before_loss(self: Rc<Log>) {
        let synced = self.sync_released().await;
        self.state.borrow_mut().syncing_before_loss = false;
        if synced.is_ok() {
            self.kick();
        }
    }

    fn rc(&self) -> Rc<Log> {
        self.me.upgrade().expect("a method of it is running")
    }

    async fn run_write(self: Rc<Log>, write: Write) {
        let began = io::now();
        let length: usize = write.slices.iter().map(Bytes::len).sum();
        let slices = write.slices.clone();
        let written = self
            .store
            .write(&write.chunk, slices, write.position, write.sync)
            .await;
        self.count_small(&write, -1);
        if let Err(error) = written {
            let file = write.chunk.id.file_name();
            self.store
                .stop(&format!("write of {length} bytes to {file}: {error}"));
            self.give_up();
            return;
        }
        let Some(flight) = write.flight else { return };
        metrics::record(Stage::Sync, io::now() - began);
        let released = self.state.borrow_mut().complete(flight, self.durability());
        self.carry_out(released);
        self.kick();
    }

    fn count_small(&self, write: &Write, change: isize) {
        if write.small && !self.is_metadata() {
            let small_writes = &self.store.journal.small_writes;
            small_writes.set(small_writes.get().saturating_add_signed(change));
        }
    }

    /// What "durable" means here. Metadata is always synced: a topic that a power cut takes back
    /// would leave its records without an owner.
    fn durability(&self) -> Durability {
        match self.is_metadata() {
            true => Durability::Sync,
            false => self.store.config.durability,
        }
    }

    /// Gets the chunk that `next_step` asked for, however long there is no space for it.
    async fn fetch_chunk(self: Rc<Log>, wanted: u64, least: u64) {
        let mut told = false;
        loop {
            // What makes room behind a loss has no place but in a chunk of its own.
            let makes_room = self.state.borrow().waits_to_make_room();
            let wanted = if makes_room { least } else { wanted };
            let privileged = makes_room || self.is_metadata();
            match self.store.allocate(wanted, least, privileged).await {
                Ok(chunk) => {
                    let mut state = self.state.borrow_mut();
                    state.allocating = false;
                    state.ready.push(chunk);
                    drop(state);
                    break;
                }
                Err(CreateError::Full) => {
                    if !std::mem::replace(&mut told, true) {
                        self.tell(LogEvent::StorageFull);
                    }
                    self.kick();
                    // Others may have no space while there is enough for this log, now or later.
                    let retry = Duration::from_millis(STORAGE_RETRY_MS);
                    let tries = self.is_metadata() || self.state.borrow().is_behind_a_loss();
                    match tries {
                        true => drop(io::timeout(retry, self.store.wait_space()).await),
                        false => self.store.wait_space().await,
                    }
                }
                Err(CreateError::Stopped) => {
                    self.state.borrow_mut().allocating = false;
                    break;
                }
            }
        }
        self.kick();
    }

    /// Writes have stopped: whoever waits is told so, what is not on the disk is dropped. What is
    /// durable in the journal stays, for readers.
    pub(super) fn give_up(&self) {
        let mut state = self.state.borrow_mut();
        let waiters = std::mem::take(&mut state.waiters);
        let waiting = state.queued.iter().chain(&state.open);
        let waiting: usize = waiting.map(|group| group.unjournaled_bytes()).sum();
        let durable = state.durable_offset();
        // A round in flight may still make what it holds durable, and then it is read from here.
        let in_round = state.journaling;
        let stays = |group: &Group| {
            group.base_offset < durable || (in_round && group.journaled_end() > group.base_offset)
        };
        state.queued.retain(stays);
        state.open.take_if(|group| !stays(group));
        let State { queued, open, .. } = &mut *state;
        queued.iter_mut().chain(open).for_each(Group::settle);
        let tell = !std::mem::replace(&mut state.told_stopped, true);
        drop(state);
        self.store.sub_pending(waiting);
        for (_, waiter) in waiters {
            let _ = waiter.send(Err(Stopped));
        }
        if tell {
            self.tell(LogEvent::Stopped);
        }
    }

    /// Syncs one chunk's file, or stops the data directory.
    pub(super) async fn sync_chunk(&self, chunk: &Chunk) -> Result<(), Stopped> {
        let synced = async { self.store.files.get(chunk.id).await?.sync().await };
        metrics::add(Counter::Syncs, 1);
        synced.await.map_err(|error| {
            self.store
                .stop(&format!("sync of {}: {error}", chunk.id.file_name()));
            self.give_up();
            Stopped
        })
    }
}

impl ChunkStore {
    /// One write to a chunk, counted.
    pub(super) async fn write(
        &self,
        chunk: &Chunk,
        slices: Vec<Bytes>,
        position: u64,
        sync: Sync,
    ) -> io::Result<()> {
        let length: usize = slices.iter().map(Bytes::len).sum();
        let _permit = self.writes.acquire().await.expect("never closed");
        let file = self.files.get(chunk.id).await?;
        self.note_write();
        metrics::raise(Gauge::WritesInFlight, 1);
        metrics::add(Counter::GroupWrites, 1);
        metrics::add(Counter::WrittenBytes, length as u64);
        metrics::add(Counter::Syncs, u64::from(sync == Sync::Data));
        let written = file.write_all_at(slices, position, sync).await;
        metrics::lower(Gauge::WritesInFlight, 1);
        written
    }

    /// The size of the next chunk: the class after the one that filled fast, before the one that
    /// filled slowly, not larger than a segment unless that is smaller than any.
    pub(super) fn next_class(
        &self,
        last: Option<&LogChunk>,
        segment_bytes: u64,
        now: Timestamp,
    ) -> u64 {
        let classes = &self.config.chunk_bytes;
        let index = match last {
            None => 0,
            Some(last) => {
                let size = last.chunk.size_bytes;
                let index = classes.partition_point(|class| *class < size);
                let filled_in_ms = now.0.saturating_sub(last.stamped.0);
                if filled_in_ms < CHUNK_FILL_FAST_MS {
                    index + 1
                } else if filled_in_ms > CHUNK_FILL_SLOW_MS {
                    index.saturating_sub(1)
                } else {
                    index
                }
            }
        };
        let within_segment = classes.partition_point(|class| *class <= segment_bytes);
        let largest = within_segment.saturating_sub(1);
        let class = |index: usize| classes[index.min(largest)];
        // A log that has filled its last chunk fast will fill this one soon.
        let fast =
            last.is_some_and(|last| now.0.saturating_sub(last.stamped.0) < CHUNK_FILL_FAST_MS);
        self.foresee(class(index), fast.then(|| class(index + 1)));
        class(index)
    }

    /// The smallest class that takes a frame of `frame_bytes`.
    fn least_class(&self, frame_bytes: u64) -> u64 {
        let classes = self.config.chunk_bytes.iter();
        let fitting = classes
            .copied()
            .find(|class| frame_capacity(*class) >= frame_bytes);
        fitting.expect("append refuses a batch that no class takes")
    }
}

impl State {
    fn next_step(&mut self, store: &ChunkStore, writer: &Writer) -> Step {
        let writes_in_flight = self.writes_in_flight();
        let waiting = self.queued.iter().chain(&self.open);
        let waiting_bytes: usize = waiting.map(|group| group.frame_bytes()).sum();
        let Some(group) = self.queued.front().or(self.unsettled()) else {
            return Step::Wait;
        };
        if group.is_behind_a_loss {
            if !self.in_flight.is_empty() || self.syncing_before_loss {
                return Step::Wait;
            }
            if self.synced.sequence < self.released.sequence {
                self.syncing_before_loss = true;
                return Step::Sync;
            }
            self.pass_loss();
        }
        let Some(group) = self.queued.front().or(self.open.as_ref()) else {
            return Step::Wait;
        };
        let second = writes_in_flight > 0;
        if writes_in_flight >= LOG_WRITES_IN_FLIGHT_MAX
            || (second && waiting_bytes < LOG_SECOND_WRITE_BYTES)
        {
            return Step::Wait;
        }
        let room = room_of(group);
        let frame_bytes = group.frame_bytes() as u64;
        let is_data = group.kind == FrameKind::Data;
        let rolls = self.must_roll(group, writer.now);
        if !rolls && self.has_place(frame_bytes, room) {
            return Step::Write(vec![self.build_waiting(writer)]);
        }
        if group.is_seal {
            // Behind batches it has a place. It is not worth a chunk where it has none: behind
            // marks that have taken both, or behind a loss. The end stays ambiguous until more is
            // appended.
            self.queued.pop_front();
            self.sealed = self.queued.is_empty() && self.open.is_none();
            return Step::Write(Vec::new());
        }
        let rolls = rolls || (is_data && self.is_segment_nearly_full());
        self.next_step_in_a_new_chunk(store, writer, frame_bytes, rolls)
    }

    /// The open group, if it has something that only its own frame can make durable.
    fn unsettled(&self) -> Option<&Group> {
        let open = self.open.as_ref();
        open.filter(|group| group.unjournaled_bytes() > 0)
    }

    /// The group that goes out next stands behind records that are damaged. They keep a sequence of
    /// their own, and the frames behind them begin in another chunk: so each start finds the gap,
    /// and that it is none of a torn write. That takes a claim that the loss is durable, which none
    /// can make before all frames in front of it are.
    fn pass_loss(&mut self) {
        assert!(self.in_flight.is_empty(), "all before a loss is released");
        let next = self.queued.front_mut().or(self.open.as_mut());
        let next = next.expect("the caller has seen it");
        next.is_behind_a_loss = false;
        let base_offset = next.base_offset;
        if let Some(last) = self.chunks.back_mut() {
            last.is_left = true;
            last.end_offset = base_offset;
        }
        self.released.sequence = self.next_sequence;
        self.released.end_offset = base_offset;
        self.synced = self.released;
        self.next_sequence += 1;
    }

    fn next_step_in_a_new_chunk(
        &mut self,
        store: &ChunkStore,
        writer: &Writer,
        frame_bytes: u64,
        rolls: bool,
    ) -> Step {
        if self.allocating {
            // What makes room must not wait for what needs it.
            let mark = match store.is_full() {
                true => self.take_mark_that_fits(),
                false => None,
            };
            return match mark {
                Some(mark) => {
                    let flight = self.new_flight();
                    Step::Write(vec![self.build(mark, flight, writer)])
                }
                None => Step::Wait,
            };
        }
        let least = store.least_class(frame_bytes);
        let class = match self.foretold.take() {
            Some(foretold) => foretold.size_bytes,
            None => store.next_class(self.chunks.back(), self.config.segment_bytes, writer.now),
        };
        let wanted = class.max(least);
        let fits = |ready: &FreeChunk| ready.size_bytes >= least;
        let ready = self.ready.iter().position(fits);
        let ready = ready.map(|index| self.ready.swap_remove(index));
        let Some(free) = ready.or_else(|| store.try_take(wanted, least)) else {
            self.allocating = true;
            return Step::NeedChunk { wanted, least };
        };
        let mut writes = Vec::with_capacity(3);
        writes.extend(self.footer());
        writes.push(self.start_chunk(free, frame_bytes, rolls, writer));
        writes.push(self.build_waiting(writer));
        Step::Write(writes)
    }

    /// The group that goes out next; the open one only if none is queued before it.
    fn take_group(&mut self) -> Group {
        if self.queued.is_empty() {
            self.close_group(false);
        }
        self.queued
            .pop_front()
            .expect("the caller has seen that there is one")
    }

    /// Takes a move of the log's start out of the queue, ahead of the groups that wait for a chunk:
    /// it holds no record, so it may stand anywhere in the chain. Only without the owner's state,
    /// which covers those groups.
    fn take_mark_that_fits(&mut self) -> Option<Group> {
        let told = self.start_told();
        let moves = |group: &Group| group.is_start() && group.log_start_offset > told;
        let index = self.queued.iter().position(moves)?;
        if !self.has_place(frame_bytes(0) as u64, Room::Mark) {
            return None;
        }
        let mut mark = self.queued.remove(index)?;
        mark.drop_state();
        mark.base_offset = self.chunks.back()?.end_offset;
        mark.end_offset = mark.base_offset;
        // Those that it overtakes tell of the move too. The mark's own chunk may be given back when
        // they are durable, and then nothing else does: recovery would miss what was passed.
        for group in &mut self.queued {
            group.log_start_offset = group.log_start_offset.max(mark.log_start_offset);
        }
        Some(mark)
    }

    /// Whether a chunk of the reserve may be taken: a move of the log's start, which gives chunks
    /// back, has no place in the last chunk, because that is left behind a loss.
    fn waits_to_make_room(&self) -> bool {
        let told = self.start_told();
        let moves = |group: &Group| group.is_start() && group.log_start_offset > told;
        self.is_behind_a_loss() && self.queued.iter().any(moves)
    }

    fn is_behind_a_loss(&self) -> bool {
        self.chunks.back().is_some_and(|last| last.is_left)
    }

    /// Where the log starts by the frames that were built.
    fn start_told(&self) -> Offset {
        let frames = self.in_flight.iter().filter_map(|f| f.frame.as_ref());
        let flying = frames.map(|frame| frame.log_start_offset);
        let released = self.starts.iter().map(|start| start.offset);
        flying.chain(released).fold(self.start_offset, Offset::max)
    }

    fn has_place(&self, frame_bytes: u64, room: Room) -> bool {
        let last = self.chunks.back();
        last.is_some_and(|last| last.has_place(frame_bytes, room))
    }

    /// Whether the group begins a new segment, by size or by age.
    fn must_roll(&self, group: &Group, now: Timestamp) -> bool {
        let Some((bytes, began)) = self.last_segment() else {
            return false;
        };
        let grown = bytes + group.payload_bytes() as u64 > self.config.segment_bytes;
        let aged = now.0.saturating_sub(began.0) >= self.config.segment_ms;
        group.kind == FrameKind::Data && bytes > 0 && (grown || aged)
    }

    /// Whether what is left of the last segment is not worth a chunk of its own.
    fn is_segment_nearly_full(&self) -> bool {
        let full = self.config.segment_bytes - self.config.segment_bytes / SEGMENT_REST_SHARE;
        self.last_segment().is_some_and(|(bytes, _)| bytes >= full)
    }

    /// The bytes of the last segment's batches, and when it began.
    fn last_segment(&self) -> Option<(u64, Timestamp)> {
        let last = self.chunks.back()?;
        let segment = self
            .chunks
            .iter()
            .filter(|chunk| chunk.segment == last.segment);
        let (mut bytes, mut began) = (0, last.stamped);
        for chunk in segment {
            bytes += chunk.payload_bytes;
            began = began.min(chunk.stamped);
        }
        Some((bytes, began))
    }

    /// The footer of the last chunk, which gets no more frames; its index leaves memory.
    fn footer(&mut self) -> Option<Write> {
        let last = self.chunks.back_mut()?;
        let index = std::mem::take(&mut last.index);
        let end = last.frames_end();
        if index.begins_at() != FRAMES_POSITION {
            // Known in part only, since a recovery; readers rebuild it.
            return None;
        }
        let size = last.chunk.size_bytes;
        let bytes = footer_bytes(size);
        let mut footer = AlignedBuf::zeroed(bytes as usize);
        let fits = index.write_footer(&last.chunk.stamp, end, &mut footer);
        fits.then(|| Write {
            flight: None,
            chunk: last.chunk.clone(),
            slices: vec![footer.freeze()],
            position: size - bytes,
            sync: Sync::None,
            small: false,
        })
    }

    /// Makes a free chunk the last one of this log. Its header is written together with the first
    /// frame, not before: neither is released without the other.
    fn start_chunk(&mut self, free: FreeChunk, frame: u64, rolls: bool, writer: &Writer) -> Write {
        let segment = self
            .chunks
            .back()
            .map_or(0, |last| last.segment + u64::from(rolls));
        let header = ChunkHeader {
            id: free.id,
            role: ChunkRole::Segment,
            stamp: ChunkStamp {
                generation: free.generation + 1,
                nonce: io::random_bytes(),
            },
            size_bytes: free.size_bytes,
            frame_bytes_max: frame.max(LOG_GROUP_BYTES_MAX as u64) as u32,
            partition: writer.partition,
            segment,
            base_offset: self
                .chunks
                .back()
                .map_or(self.released.end_offset, |last| last.end_offset),
            first_sequence: self.next_sequence,
            previous_crc: self.previous_crc,
            incarnation: writer.incarnation,
            incarnation_start: self.incarnation_start,
            stamped: writer.now,
        };
        self.chunks.push_back(LogChunk::new(&header));
        let chunk = self.chunks.back().expect("just pushed").chunk.clone();
        let flight = self.new_flight();
        self.take_off(flight, None);
        Write {
            flight: Some(flight),
            chunk,
            slices: vec![header_blocks(&header)],
            position: 0,
            sync: Sync::Data,
            small: false,
        }
    }

    /// Builds the group that waits first, and those behind it that fit into the same write.
    fn build_waiting(&mut self, writer: &Writer) -> Write {
        let first = self.take_group();
        let mut bytes = first.frame_bytes();
        let flight = self.new_flight();
        let mut write = self.build(first, flight, writer);
        while let Some(next) = self.queued.front().or(self.unsettled()) {
            bytes += next.frame_bytes();
            let joins = next.kind == FrameKind::Data
                && !next.is_behind_a_loss
                && bytes <= LOG_GROUP_BYTES_MAX
                && write.sync == self.sync_of(next.kind, writer)
                && !self.must_roll(next, writer.now)
                && self.has_place(next.frame_bytes() as u64, Room::Ordinary);
            if !joins {
                break;
            }
            let next = self.take_group();
            let more = self.build(next, flight, writer);
            write.small &= more.small;
            write.slices.extend(more.slices);
        }
        write
    }

    /// Gives a group its place, its sequence and its link: from here on it is a frame.
    fn build(&mut self, group: Group, flight: u64, writer: &Writer) -> Write {
        let last = self
            .chunks
            .back_mut()
            .expect("the caller has seen to a chunk");
        let position = last.end_position;
        let memory_bytes = group.memory_bytes();
        let pending_bytes = group.unjournaled_bytes();
        metrics::add(Counter::JournalWriteBacks, u64::from(group.is_journaled()));
        let mut header = group.header(FrameHeader {
            kind: group.kind,
            batch_count: 0,
            frame_bytes: 0,
            payload_bytes: 0,
            batches_crc: 0,
            previous_crc: self.previous_crc,
            sequence: self.next_sequence,
            durable_through: self.synced.sequence,
            partition: writer.partition,
            leader_epoch: group.leader_epoch,
            base_offset: group.base_offset,
            end_offset: group.end_offset,
            max_timestamp: group.max_timestamp,
            log_start_offset: group.log_start_offset,
            chunk: last.chunk.stamp,
            incarnation: writer.incarnation,
            incarnation_start: self.incarnation_start,
            segment: last.segment,
            written: writer.now,
            crc: 0,
        });
        let (frame, crc) = group.into_frame(&header);
        header.crc = crc;
        last.note(&header);
        let after = Boundary {
            sequence: header.sequence,
            crc,
            incarnation: header.incarnation,
            incarnation_start: header.incarnation_start,
            end_offset: header.end_offset,
            first_sequence: last.first_sequence,
            position: last.end_position,
            payload_bytes: last.payload_bytes,
            max_timestamp: last.max_timestamp,
        };
        let chunk = last.chunk.clone();
        self.next_sequence += 1;
        self.previous_crc = crc;
        self.take_off(
            flight,
            Some(FlyingFrame {
                kind: header.kind,
                chunk: chunk.clone(),
                base_offset: header.base_offset,
                log_start_offset: header.log_start_offset,
                durable_through: header.durable_through,
                after,
                payload: payload_of(&frame, &header),
                pending_bytes,
                memory_bytes,
            }),
        );
        let sync = self.sync_of(header.kind, writer);
        Write {
            flight: Some(flight),
            chunk,
            slices: vec![frame],
            position,
            sync,
            small: pending_bytes > 0 && pending_bytes < JOURNAL_ENTRY_BYTES_MAX,
        }
    }

    fn sync_of(&self, kind: FrameKind, writer: &Writer) -> Sync {
        match kind == FrameKind::Data && writer.durability == Durability::Written {
            true => Sync::None,
            false => Sync::Data,
        }
    }

    fn new_flight(&mut self) -> u64 {
        self.next_flight += 1;
        self.next_flight - 1
    }

    fn take_off(&mut self, id: u64, frame: Option<FlyingFrame>) {
        self.in_flight.push_back(Flight {
            id,
            done: false,
            frame,
        });
    }

    /// Writes of frames in flight; the frames of one stand side by side.
    fn writes_in_flight(&self) -> usize {
        let frames = self
            .in_flight
            .iter()
            .filter(|flight| flight.frame.is_some());
        let count = |(count, last), flight: &Flight| match last == Some(flight.id) {
            true => (count, last),
            false => (count + 1, Some(flight.id)),
        };
        frames.fold((0, None), count).0
    }
}

/// What part of a chunk a group's frame may use.
fn room_of(group: &Group) -> Room {
    match group.kind {
        FrameKind::Tombstone => Room::Tombstone,
        FrameKind::Mark if group.frame_bytes() <= FRAME_ALIGNMENT_BYTES => Room::Mark,
        FrameKind::Data | FrameKind::Mark => Room::Ordinary,
    }
}

/// The batches of a frame, or what a mark carries.
fn payload_of(frame: &Bytes, header: &FrameHeader) -> Bytes {
    let start = crate::frame::FRAME_HEADER_BYTES;
    frame.slice(start..start + header.payload_bytes as usize)
}
