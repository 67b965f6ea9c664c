//! What one log knows of itself in memory, and what becomes of a frame when its write is done.
//! Decisions only: no I/O, no awaiting.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use crate::frame::{BatchHeader, FrameHeader, FrameKind, Incarnation, split_batch};
use crate::io::Instant;
use crate::io::sync::oneshot;
use crate::limits::{JOURNAL_GROUP_BYTES_MAX, LOG_GROUP_BYTES_MAX, OWNER_STATE_BYTES_MAX};
use crate::model::{LeaderEpoch, Offset, Timestamp};

use super::ahead::Foretold;
use super::chunk::{Chunk, ChunkHeader, Room, frames_end};
use super::epochs::Epochs;
use super::group::{Group, GroupSize};
use super::hot::HotFrame;
use super::index::{FramesEnd, Index};
use super::journal::Debt;
use super::pool::FreeChunk;
use super::settings::{Durability, LogConfig};
use super::store::Stopped;

/// One chunk of one log, oldest first in `State::chunks`; frames are added to the last one only.
#[derive(Debug)]
pub(super) struct LogChunk {
    pub(super) chunk: Rc<Chunk>,
    pub(super) segment: u64,
    pub(super) frame_bytes_max: u64,
    pub(super) base_offset: Offset,
    /// The offset after the last record built into it; the next chunk's base offset.
    pub(super) end_offset: Offset,
    pub(super) first_sequence: u64,
    /// Where the next frame goes.
    pub(super) end_position: u64,
    /// No frame goes there but a tombstone: records are missing behind it, and the next frame
    /// begins another chunk.
    pub(super) is_left: bool,
    /// The CRC of the last frame's header; 0 if there is none.
    pub(super) last_crc: u32,
    /// Batches in it, above what the log's start has passed, in bytes.
    pub(super) payload_bytes: u64,
    pub(super) max_timestamp: Timestamp,
    pub(super) stamped: Timestamp,
    /// The index of the last chunk; those of the others are in the store's cache or on disk.
    pub(super) index: Index,
}

/// A point between two frames. Everything before it is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary {
    /// Of the frame before the point.
    pub(super) sequence: u64,
    pub(super) crc: u32,
    pub(super) incarnation: Incarnation,
    pub(super) incarnation_start: u64,
    pub(super) end_offset: Offset,
    /// The chunk that the point lies in, by its first sequence (0: no chunk yet), and where in it.
    pub(super) first_sequence: u64,
    pub(super) position: u64,
    pub(super) payload_bytes: u64,
    pub(super) max_timestamp: Timestamp,
}

/// The header of a chunk, or a frame, that was submitted and has not been released. The frames of
/// one write have the same id, and stand side by side.
///
/// Released in the order of submission, whatever order the completions come in: an acknowledged
/// frame must have everything before it on the disk, or recovery would not find it.
pub(super) struct Flight {
    pub(super) id: u64,
    pub(super) done: bool,
    pub(super) frame: Option<FlyingFrame>,
}

/// The frame of a `Flight`.
pub(super) struct FlyingFrame {
    pub(super) kind: FrameKind,
    pub(super) chunk: Rc<Chunk>,
    pub(super) base_offset: Offset,
    pub(super) log_start_offset: Offset,
    pub(super) durable_through: u64,
    /// The point behind the frame.
    pub(super) after: Boundary,
    pub(super) payload: Bytes,
    /// Of that, what the journal was not handed: it counts as waiting until the frame is released.
    pub(super) pending_bytes: usize,
    pub(super) memory_bytes: usize,
}

/// Where a frame says that the log starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StartAt {
    pub(super) sequence: u64,
    pub(super) offset: Offset,
    /// The frame carries the owner's state.
    pub(super) has_state: bool,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// All records below this offset are durable.
    Offset(Offset),
    /// All records below this offset are in frames that were released.
    Framed(Offset),
    /// The frame with this sequence was released.
    Released(u64),
    /// A frame that moves the log's start to this offset, or further, was released.
    Start(Offset),
}

/// Somebody who waits.
pub(super) type Waiter = (Goal, oneshot::Sender<Result<(), Stopped>>);

/// Whether the log still takes appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Closed,
    Deleted,
}

/// Everything one log knows. Owned by its core; a crash loses what is not in a durable frame.
pub(super) struct State {
    pub(super) config: LogConfig,
    pub(super) phase: Phase,

    // As appended: offsets were given, nothing is promised.
    pub(super) end_offset: Offset,
    pub(super) open: Option<Group>,
    pub(super) queued: VecDeque<Group>,
    pub(super) group_size: GroupSize,
    pub(super) epochs: Epochs,
    pub(super) last_append: Instant,

    // As built: frames with a place in a chunk, submitted to the disk.
    pub(super) next_sequence: u64,
    /// The sequence of the first frame since the log was opened.
    pub(super) incarnation_start: u64,
    pub(super) previous_crc: u32,
    pub(super) chunks: VecDeque<LogChunk>,
    pub(super) in_flight: VecDeque<Flight>,
    pub(super) next_flight: u64,
    /// Chunks for this log alone: one that was fetched for what waits now, and one that a start has
    /// found begun and empty.
    pub(super) ready: Vec<FreeChunk>,
    pub(super) allocating: bool,
    /// The store knows that the last chunk will be full soon.
    pub(super) foretold: Option<Foretold>,
    /// What comes next stands behind a loss, and all before it is being synced.
    pub(super) syncing_before_loss: bool,

    // As journaled: durable in rounds of the core's journal, before the frames.
    pub(super) journaled_end: Offset,
    /// The round in flight has an entry of this log.
    pub(super) journaling: bool,
    /// The log stands among those that the next round takes from.
    pub(super) waits_for_round: bool,
    /// What the journals of earlier starts are kept for, until frames reach this offset.
    pub(super) debt: Option<(Offset, Debt)>,
    /// `Some`: frames that are not of the log any more may be all that tells of a loss that it has
    /// yet to pass. They lie in these chunks, which are not part of it, or in its own; none of both
    /// is given back before the debt is paid.
    pub(super) witnesses: Option<Vec<FreeChunk>>,

    // As released: durable in the sense of the policy in force.
    pub(super) released: Boundary,
    /// Surely on the medium; `released`, unless writes are not synced one by one.
    pub(super) synced: Boundary,
    /// Chunks with released frames that were not synced, and the last such frame's sequence.
    pub(super) unsynced: Vec<(Rc<Chunk>, u64)>,
    pub(super) start_offset: Offset,
    /// The mark that has the owner's state as of the last move of the log's start; 0: none has.
    /// Nothing else may know of what the start has passed, so its chunk is not given back.
    pub(super) stated: u64,
    /// Where the log starts in the frames that are built from now on.
    pub(super) start_requested: Offset,
    /// Starts that wait for the frame that says so to be synced.
    pub(super) starts: VecDeque<StartAt>,
    pub(super) hot: VecDeque<HotFrame>,
    pub(super) waiters: Vec<Waiter>,
    /// The last frame claims that everything before it is durable.
    pub(super) sealed: bool,
    /// Damaged acknowledged ranges, as recovery found them.
    pub(super) quarantined: Vec<Range<Offset>>,

    // Reminders.
    pub(super) wake_scheduled: bool,
    pub(super) seal_scheduled: bool,
    /// The owner was told that writes have stopped.
    pub(super) told_stopped: bool,
}

/// What releasing frames has brought about, to be carried out without a borrow of the state.
#[derive(Default)]
pub(super) struct Released {
    /// The durable offset advanced.
    pub(super) advanced: bool,
    /// Bytes of batches that no longer wait.
    pub(super) payload_bytes: usize,
    /// Frames that were kept for readers: base offset and memory.
    pub(super) hot: Vec<(Offset, usize)>,
    /// Chunks that the log's start has passed.
    pub(super) retired: Vec<Rc<Chunk>>,
    /// Chunks that the log has no use for.
    pub(super) spare: Vec<FreeChunk>,
}

impl LogChunk {
    /// An empty chunk with this header.
    pub(super) fn new(header: &ChunkHeader) -> LogChunk {
        LogChunk {
            chunk: Rc::new(Chunk {
                id: header.id,
                stamp: header.stamp,
                size_bytes: header.size_bytes,
            }),
            segment: header.segment,
            frame_bytes_max: u64::from(header.frame_bytes_max),
            base_offset: header.base_offset,
            end_offset: header.base_offset,
            first_sequence: header.first_sequence,
            end_position: super::chunk::FRAMES_POSITION,
            is_left: false,
            last_crc: 0,
            payload_bytes: 0,
            max_timestamp: Timestamp::NONE,
            stamped: header.stamped,
            index: Index::known_from(super::chunk::FRAMES_POSITION),
        }
    }

    /// Where its frames end.
    pub(super) fn frames_end(&self) -> FramesEnd {
        FramesEnd {
            position: self.end_position,
            last_crc: self.last_crc,
        }
    }

    /// Whether a frame of `frame_bytes` still fits.
    pub(super) fn has_place(&self, frame_bytes: u64, room: Room) -> bool {
        let end = self.end_position + frame_bytes;
        (!self.is_left || room == Room::Tombstone)
            && frame_bytes <= self.frame_bytes_max
            && end <= frames_end(self.chunk.size_bytes, room)
    }

    /// Takes note of the frame that goes to `end_position`.
    pub(super) fn note(&mut self, frame: &FrameHeader) {
        self.index
            .note(self.chunk.size_bytes, self.end_position, frame);
        self.end_position += u64::from(frame.frame_bytes);
        self.last_crc = frame.crc;
        self.end_offset = frame.end_offset;
        if frame.kind == FrameKind::Data {
            self.payload_bytes += u64::from(frame.payload_bytes);
        }
        self.max_timestamp = self.max_timestamp.max(frame.max_timestamp);
    }
}

impl State {
    /// The exclusive end of what is durable by the policy in force.
    pub(super) fn durable_offset(&self) -> Offset {
        self.released.end_offset.max(self.journaled_end)
    }

    /// The durable batches that are in no released frame, in order: each is still in the memory of
    /// its group or frame.
    pub(super) fn unreleased_batches(&self) -> impl Iterator<Item = (BatchHeader, &[u8])> {
        let (from, upto) = (self.released.end_offset, self.durable_offset());
        let flying = self.in_flight.iter().filter_map(|f| f.frame.as_ref());
        let flying = flying.map(|frame| (frame.after.end_offset, &frame.payload[..]));
        let waiting = self.queued.iter().chain(&self.open);
        let waiting = waiting.map(|group| (group.end_offset, group.batches()));
        flying
            .chain(waiting)
            .skip_while(move |(end_offset, _)| *end_offset <= from)
            .flat_map(|(_, batches)| {
                std::iter::successors(split_batch(batches), |(_, _, rest)| split_batch(rest))
            })
            .map(|(header, batch, _)| (header, batch))
            .take_while(move |(header, _)| header.last_offset() < upto)
    }

    /// The batches from the one that contains `offset` on, which is durable and in no released
    /// frame: slices of a frame in flight, or a copy of up to `max_bytes` (but one batch at least)
    /// of a group, which still grows.
    pub(super) fn unreleased_from(
        &self,
        offset: Offset,
        max_bytes: usize,
    ) -> Option<(Offset, Bytes)> {
        let mut flying = self.in_flight.iter().filter_map(|f| f.frame.as_ref());
        let holds = |base: Offset, end: Offset| (base..end).contains(&offset);
        if let Some(frame) = flying.find(|f| holds(f.base_offset, f.after.end_offset)) {
            return Some((frame.base_offset, frame.payload.clone()));
        }
        let mut waiting = self.queued.iter().chain(&self.open);
        let group = waiting.find(|group| holds(group.base_offset, group.end_offset))?;
        group.copy_from(offset, self.durable_offset(), max_bytes)
    }

    /// The epoch that a frame without batches carries.
    pub(super) fn mark_epoch(&self) -> LeaderEpoch {
        self.epochs.latest().unwrap_or_default()
    }

    /// The chunks that hold durable frames, each with the largest timestamp of these.
    pub(super) fn durable_chunks(&self) -> impl Iterator<Item = (&LogChunk, Timestamp)> {
        let end = self.released;
        let begun = move |chunk: &&LogChunk| chunk.first_sequence <= end.first_sequence;
        self.chunks.iter().take_while(begun).map(move |chunk| {
            let newest = match chunk.first_sequence == end.first_sequence {
                // What is being written behind the end does not count; nor does anything once the
                // log's start has passed all of it.
                true => chunk.max_timestamp.min(end.max_timestamp),
                false => chunk.max_timestamp,
            };
            (chunk, newest)
        })
    }

    /// Closes the open group: no batch joins it any more. `full` if one wanted to and could not.
    pub(super) fn close_group(&mut self, full: bool) {
        if let Some(group) = self.open.take() {
            let limit_bytes = match group.is_journaled() {
                true => JOURNAL_GROUP_BYTES_MAX,
                false => LOG_GROUP_BYTES_MAX,
            };
            self.group_size
                .learn(group.frame_bytes(), full, limit_bytes);
            self.queue_group(group);
        }
    }

    /// Queues a group that no batch joins any more.
    pub(super) fn queue_group(&mut self, mut group: Group) {
        group.log_start_offset = self.start_requested;
        self.queued.push_back(group);
    }

    /// Queues a seal: a frame that only says that everything before it is durable.
    pub(super) fn queue_seal(&mut self) -> u64 {
        let sequence = self.queue_mark(FrameKind::Mark);
        self.queued.back_mut().expect("just queued").is_seal = true;
        sequence
    }

    /// Queues a frame without batches behind everything appended; gives its sequence.
    pub(super) fn queue_mark(&mut self, kind: FrameKind) -> u64 {
        let mark = Group::mark(kind, self.end_offset, self.mark_epoch());
        self.queue_as_mark(mark)
    }

    /// Queues a move of the log's start to `offset`. `owner_state` covers everything appended: what
    /// the start passes may be known from it alone, so no frame before it tells of the move.
    pub(super) fn queue_start(&mut self, offset: Offset, owner_state: &[u8]) -> u64 {
        self.close_group(false);
        self.start_requested = offset;
        // One that still waits in this place says less.
        self.queued.pop_back_if(|last| last.is_start());
        // The checkpoint has what would be too much.
        let fits = owner_state.len() <= OWNER_STATE_BYTES_MAX;
        let owner_state = if fits { owner_state } else { &[] };
        let mark = Group::mark_with(owner_state, self.end_offset, self.mark_epoch());
        self.queue_as_mark(mark)
    }

    /// The same without a move.
    pub(super) fn queue_start_again(&mut self, owner_state: &[u8]) -> u64 {
        self.queue_start(self.start_requested, owner_state)
    }

    fn queue_as_mark(&mut self, mut mark: Group) -> u64 {
        self.close_group(false);
        mark.log_start_offset = self.start_requested;
        self.queued.push_back(mark);
        // What is lost before a group has a sequence, too.
        let losses = self.queued.iter().filter(|group| group.is_behind_a_loss);
        self.next_sequence + (self.queued.len() + losses.count()) as u64 - 1
    }

    /// Whether something waits behind a loss that has no sequence yet. Until it has one, `synced`
    /// ends in front of it, and only the frames that told this start of it tell the next one.
    pub(super) fn waits_to_pass_a_loss(&self) -> bool {
        let mut waiting = self.queued.iter().chain(&self.open);
        waiting.any(|group| group.is_behind_a_loss)
    }

    /// Whether nothing waits for the disk.
    pub(super) fn is_quiet(&self) -> bool {
        self.open.is_none() && self.queued.is_empty() && self.in_flight.is_empty()
    }

    /// Whether nobody waits for the disk: what is in the open group is durable in the journal.
    pub(super) fn is_settled(&self) -> bool {
        let open = self.open.as_ref();
        let durable = open.is_none_or(|group| group.end_offset <= self.durable_offset());
        durable && self.queued.is_empty() && self.in_flight.is_empty()
    }

    /// Whether `goal` is reached.
    pub(super) fn reached(&self, goal: Goal) -> bool {
        match goal {
            Goal::Offset(offset) => self.durable_offset() >= offset,
            Goal::Framed(offset) => self.released.end_offset >= offset,
            Goal::Released(sequence) => self.released.sequence >= sequence,
            Goal::Start(offset) => {
                let carried = self.starts.iter().map(|start| start.offset).max();
                carried.max(Some(self.start_offset)) >= Some(offset)
            }
        }
    }

    /// A write has completed. Releases every frame that has nothing undone before it.
    pub(super) fn complete(&mut self, flight: u64, durability: Durability) -> Released {
        let mut written = self.in_flight.iter_mut().filter(|other| other.id == flight);
        let first = written.next().expect("a flight completes once");
        first.done = true;
        written.for_each(|other| other.done = true);
        let mut released = Released::default();
        while self.in_flight.front().is_some_and(|flight| flight.done) {
            let flight = self.in_flight.pop_front().expect("looked at above");
            if let Some(frame) = flight.frame {
                self.release(frame, durability, &mut released);
            }
        }
        released
    }

    fn release(&mut self, frame: FlyingFrame, durability: Durability, released: &mut Released) {
        released.advanced |= frame.after.end_offset > self.durable_offset();
        released.payload_bytes += frame.pending_bytes;
        self.released = frame.after;
        self.sealed = frame.kind != FrameKind::Data
            && frame.durable_through + 1 == frame.after.sequence
            && self.open.is_none()
            && self.queued.is_empty();
        let has_state = frame.kind == FrameKind::Mark && !frame.payload.is_empty();
        let known = self.starts.back().map(|start| start.offset);
        if has_state || frame.log_start_offset > known.unwrap_or(self.start_offset) {
            self.starts.push_back(StartAt {
                sequence: frame.after.sequence,
                offset: frame.log_start_offset,
                has_state,
            });
        }
        match durability {
            Durability::Sync => self.mark_synced(frame.after, released),
            Durability::Written => self.note_unsynced(&frame.chunk, frame.after.sequence),
        }
        if frame.kind == FrameKind::Data {
            released.hot.push((frame.base_offset, frame.memory_bytes));
            self.hot.push_back(HotFrame {
                base_offset: frame.base_offset,
                end_offset: frame.after.end_offset,
                payload: frame.payload,
                memory_bytes: frame.memory_bytes,
            });
        }
    }

    fn note_unsynced(&mut self, chunk: &Rc<Chunk>, sequence: u64) {
        match self.unsynced.last_mut() {
            Some((last, through)) if Rc::ptr_eq(last, chunk) => *through = sequence,
            _ => self.unsynced.push((chunk.clone(), sequence)),
        }
    }

    /// Everything up to `boundary` survives a power cut: moves of the log start up to there count,
    /// and the chunks that they pass are given back. Not before: a start that a crash takes back
    /// would point into chunks that were overwritten.
    pub(super) fn mark_synced(&mut self, boundary: Boundary, released: &mut Released) {
        self.synced = boundary;
        let reached = |(end_offset, _): &mut (Offset, Debt)| boundary.end_offset >= *end_offset;
        if let Some((_, debt)) = self.debt.take_if(reached) {
            debt.paid();
            released
                .spare
                .extend(self.witnesses.take().into_iter().flatten());
        }
        self.unsynced
            .retain(|(_, through)| *through > boundary.sequence);
        let reached = |start: &mut StartAt| start.sequence <= boundary.sequence;
        while let Some(start) = self.starts.pop_front_if(reached) {
            if start.has_state {
                self.stated = start.sequence;
            } else if start.offset > self.start_offset {
                self.stated = 0;
            }
            self.start_offset = self.start_offset.max(start.offset);
        }
        self.epochs.start_at(self.start_offset);
        // The chain of what remains must begin in a chunk that is on the disk already.
        while self.witnesses.is_none()
            && self.chunks.len() > 1
            && self.chunks[0].end_offset <= self.start_offset
            && self.chunks[1].first_sequence <= self.synced.sequence
            && !self.is_first_kept_for_state()
        {
            let passed = self.chunks.pop_front().expect("there are two at least");
            released.retired.push(passed.chunk);
        }
        // A chunk that was found empty need not tell any more where the log ends.
        if boundary.sequence >= self.incarnation_start && !self.allocating {
            released.spare.append(&mut self.ready);
        }
        // The last chunk stays, for the frames to come; its records no longer count.
        if let Some(last) = self.chunks.back_mut()
            && self.start_offset >= last.end_offset
        {
            last.payload_bytes = 0;
            last.max_timestamp = Timestamp::NONE;
        }
    }

    /// Whether the start has passed the first chunk, and it is kept for the owner's state in it.
    pub(super) fn is_first_kept_for_state(&self) -> bool {
        self.chunks.len() > 1
            && self.chunks[0].end_offset <= self.start_offset
            && is_stated_before(self.stated, self.chunks[1].first_sequence)
    }

    /// Drops what the log keeps for readers of its tail; gives the memory.
    pub(super) fn drop_hot(&mut self) -> usize {
        let bytes = self.hot.iter().map(|frame| frame.memory_bytes).sum();
        self.hot = VecDeque::new();
        bytes
    }
}

/// Whether the mark with the owner's state, if there is one, lies before the chunk that begins with
/// the frame `first_sequence`.
pub(super) fn is_stated_before(stated: u64, first_sequence: u64) -> bool {
    stated > 0 && stated < first_sequence
}
