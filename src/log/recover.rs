//! Recovery of one partition: reads what is there, decides what of it is the log (`link`), and
//! writes nothing. So it can be killed at any point and run again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use crate::frame::{BatchHeader, FrameHeader, FrameKind, Incarnation, split_batch};
use crate::io;
use crate::limits::{FRAME_ALIGNMENT_BYTES, LOG_WRITES_IN_FLIGHT_MAX};
use crate::model::{Offset, PartitionId, Timestamp};

use super::checkpoint::Remembered;
use super::chunk::{ChunkHeader, FRAMES_POSITION, Room, frames_end};
use super::epochs::Epochs;
use super::group::GroupSize;
use super::handle::Log;
use super::index::Index;
use super::journal::Journaled;
use super::link::{Chain, Verdict, is_stale, latest_end};
use super::pool::FreeChunk;
use super::reader::{ChunkReader, SCAN_WINDOW_BYTES};
use super::scan::Found;
use super::settings::LogConfig;
use super::state::{Boundary, LogChunk, Phase, State, is_stated_before};
use super::store::ChunkStore;

/// What recovery gives the log's owner, in order, while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Replay<'a> {
    /// The owner's state, in place of all that came before: as the checkpoint has it, or a move of
    /// the log's start.
    State(&'a [u8]),
    /// A batch that the last state does not cover. Where records are damaged, batches are missing.
    Batch(&'a BatchHeader),
}

/// What recovery has found out of the ordinary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Where a tail was cut that was begun to be written and not acknowledged. If the log was not
    /// sealed before, this may also have been damage to its very last group.
    pub cut: Option<Offset>,
    /// Ranges of acknowledged records that are damaged. They are kept out of reads and their
    /// offsets are not given again.
    pub quarantined: Vec<Range<Offset>>,
    /// Frames read.
    pub frames: u64,
    /// Batches that were durable in a core's journal only.
    pub journaled: u64,
}

/// Why a log could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// A chunk could not be read.
    Io(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> OpenError {
        OpenError::Io(error)
    }
}

impl Log {
    /// Opens the log of one partition from what the scan has found of it. `incarnation` is greater
    /// than that of any start before and durable already.
    pub async fn open(
        store: &Rc<ChunkStore>,
        id: PartitionId,
        mut found: Found,
        config: LogConfig,
        incarnation: Incarnation,
        mut replay: impl FnMut(Replay<'_>),
    ) -> Result<Rc<Log>, OpenError> {
        store.remember(id, &found);
        let _permit = store.recoveries.acquire().await.expect("never closed");
        let mut journaled = std::mem::take(&mut found.journaled);
        let debt = found.debt.take();
        let journal_end = journaled.iter().map(|entry| entry.end_offset).max();
        let mut run = Run::new(store, id, found, &mut replay);
        run.journal_end = journal_end.unwrap_or(Offset::ZERO);
        run.journaled = journaled.iter().filter_map(Journaled::offsets).collect();
        run.walk().await?;
        journaled.extend(run.lost_behind_journal());
        if run.last_kind == FrameKind::Tombstone {
            journaled.clear();
            store.forget(id);
        }
        let replay_from = run.replay_from;
        let (mut state, mut recovery) = run.finish(config);
        state.adopt_journal(journaled, debt, &mut recovery, |header| {
            if header.base_offset >= replay_from {
                replay(Replay::Batch(header));
            }
        });
        if state.debt.is_none() {
            store.give_back(state.witnesses.take().unwrap_or_default());
        }
        for chunk in &state.chunks {
            store.files.forget(chunk.chunk.id);
        }
        if !state.chunks.is_empty() && state.released.incarnation >= incarnation {
            return Err(OpenError::Io(io::Error::other(format!(
                "frames of start {} are there, and this is only start {}: the file \
                 `incarnation` is older than the chunks, as after a partial restore",
                state.released.incarnation.0, incarnation.0
            ))));
        }
        let log = Log::new(store, id, incarnation, state, recovery);
        if log.state.borrow().seal_scheduled {
            store.note_unsealed(Rc::downgrade(&log));
        }
        // What the journals hold goes to the log's chunks now, so that they can be given back.
        log.kick();
        Ok(log)
    }
}

/// One run of recovery.
struct Run<'a, R> {
    store: &'a Rc<ChunkStore>,
    id: PartitionId,
    replay: &'a mut R,
    /// Headers of the chunks that may hold the rest of the chain, in its order.
    ahead: VecDeque<ChunkHeader>,
    /// The chunks of the log so far.
    chunks: VecDeque<LogChunk>,
    chain: Chain,
    /// What the checkpoint knows to be durable, if there is one.
    floor: Option<Boundary>,
    start_offset: Offset,
    /// The mark with the owner's state as of the last move of the start; 0: there is none.
    stated: u64,
    /// The end of what journals hold.
    journal_end: Offset,
    /// What they hold undamaged.
    journaled: Vec<Range<Offset>>,
    /// Where the log ended at the latest, by frames that are not of it any more: what the journal
    /// does not have of that is lost.
    known_end: Offset,
    /// Batches below are covered by a state.
    replay_from: Offset,
    epochs: Epochs,
    last_kind: FrameKind,
    last_claim: u64,
    recovery: Recovery,
    /// Chunks that turned out not to be part of the log.
    passed_by: Vec<ChunkHeader>,
}

/// A header found behind a break, and where.
struct Sighting {
    /// 0: the present chunk; n: the n-th of `ahead` and, behind these, of `passed_by`, counted
    /// from 1.
    chunk: usize,
    position: u64,
    frame: FrameHeader,
}

/// What lies at a position.
enum Seen {
    /// The next frame of the chain, whole.
    Next(FrameHeader),
    /// The next frame of the chain; its header is good and its batches are not.
    Damaged(FrameHeader),
    /// Anything else.
    Other,
}

impl<'a, R: FnMut(Replay<'_>)> Run<'a, R> {
    fn new(
        store: &'a Rc<ChunkStore>,
        id: PartitionId,
        found: Found,
        replay: &'a mut R,
    ) -> Run<'a, R> {
        let starts = starts_of(&found.chunks);
        let (headers, stale) = without_stale(found.chunks, &starts);
        let mut run = Run {
            store,
            id,
            replay,
            ahead: headers.into(),
            chunks: VecDeque::new(),
            chain: Chain {
                starts,
                ..Chain::empty()
            },
            floor: None,
            start_offset: Offset::ZERO,
            stated: 0,
            journal_end: Offset::ZERO,
            journaled: Vec::new(),
            known_end: Offset::ZERO,
            replay_from: Offset::ZERO,
            epochs: Epochs::default(),
            last_kind: FrameKind::Data,
            last_claim: 0,
            recovery: Recovery::default(),
            passed_by: stale,
        };
        if let Some(remembered) = found.remembered {
            run.start_from(&remembered);
        }
        run.start_at_first_chunk();
        run
    }

    /// Takes over what the checkpoint knows.
    fn start_from(&mut self, remembered: &Remembered) {
        self.start_offset = remembered.start_offset;
        self.stated = remembered.stated;
        self.replay_from = remembered.state_offset;
        self.epochs = remembered.epochs.clone();
        self.recovery.quarantined = remembered.quarantined.clone();
        self.floor = Some(remembered.durable);
        let Boundary {
            sequence,
            incarnation,
            incarnation_start,
            ..
        } = remembered.durable;
        self.chain.durable_through = sequence;
        self.chain.starts.insert(incarnation, incarnation_start);
        (self.replay)(Replay::State(&remembered.state));
        let position = remembered.position;
        for known in remembered.chunks.iter().copied() {
            let same = |header: &ChunkHeader| {
                header.id.0 == known.id
                    && header.stamp.generation == known.generation
                    && header.stamp.nonce == known.nonce
            };
            // One that is not there was recycled since, or its header is damaged; if records are
            // missing for it, that shows as a gap.
            if let Some(index) = self.ahead.iter().position(same) {
                self.passed_by.extend(self.ahead.drain(..index));
                self.ahead.pop_front();
                self.chunks.push_back(known.into_chunk());
            }
        }
        if !self.chunks.is_empty() {
            self.chain.next_sequence = position.sequence + 1;
            self.chain.previous_crc = position.crc;
            self.chain.end_offset = position.end_offset;
            self.chain.incarnation = position.incarnation;
        }
    }

    /// Without a checkpoint the chain begins with the first chunk that is there.
    fn start_at_first_chunk(&mut self) {
        if !self.chunks.is_empty() {
            return;
        }
        if let Some(first) = self.ahead.pop_front() {
            self.chain.next_sequence = first.first_sequence;
            self.chain.previous_crc = first.previous_crc;
            self.chain.end_offset = first.base_offset;
            self.chunks.push_back(LogChunk::new(&first));
        }
    }

    /// Follows the chain to its end.
    async fn walk(&mut self) -> io::Result<()> {
        if self.chunks.is_empty() {
            return Ok(());
        }
        let mut reader = self.reader(None).await?;
        if self.lacks_a_torn_beginning(&mut reader).await? {
            self.end_before_the_beginning();
            return Ok(());
        }
        loop {
            let position = self.last().end_position;
            match self.look(&mut reader, position).await? {
                Seen::Next(frame) => {
                    self.replay_payload(&mut reader, position, &frame).await?;
                    self.accept(&frame);
                }
                Seen::Damaged(frame) => {
                    if self.next_chunk_continues(&mut reader).await? {
                        continue;
                    }
                    if !self.damaged(&mut reader, &frame).await? {
                        return Ok(());
                    }
                }
                Seen::Other => {
                    if self.next_chunk_continues(&mut reader).await? {
                        continue;
                    }
                    if !self.broken(&mut reader).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Whether the first chunk that is there is the rest of what a power cut has torn: the first
    /// frames of a log may be in flight in several chunks. If the first of these never came to
    /// be, nothing in the others knows of anything durable. If the chunk is not there because the
    /// log's start has passed it, or because the log is being deleted, frames behind say so. What
    /// of the beginning is durable all the same the journal has. Where nothing tells, it may be
    /// damage.
    async fn lacks_a_torn_beginning(&mut self, reader: &mut ChunkReader) -> io::Result<bool> {
        if self.chain.next_sequence == 1 || self.chain.durable_through > 0 {
            return Ok(false);
        }
        let first = reader.frame_header(FRAMES_POSITION, self.id).await?;
        if first.is_some_and(|frame| frame.durable_through > 0) {
            return Ok(false);
        }
        let sightings = self.sightings(reader, u64::MAX).await?;
        self.judge(&sightings);
        let mut frames = sightings.iter().map(|seen| &seen.frame);
        let told = frames.clone().map(|frame| frame.log_start_offset).max();
        let is_deleted = frames.any(|frame| frame.kind == FrameKind::Tombstone);
        let base_offset = self.chain.end_offset;
        let is_journaled = self.journaled.iter().any(|range| range.start < base_offset);
        Ok(self.chain.durable_through == 0
            && told < Some(base_offset)
            && !is_deleted
            && (told.is_some() || is_journaled))
    }

    /// Nothing of the log is in frames.
    fn end_before_the_beginning(&mut self) {
        for chunk in self.chunks.drain(..) {
            let generation = chunk.chunk.stamp.generation;
            self.store.retire(chunk.chunk, generation);
        }
        self.chain = Chain::empty();
        self.recovery.cut = Some(Offset::ZERO);
    }

    fn last(&self) -> &LogChunk {
        self.chunks.back().expect("a walk has a chunk")
    }

    /// A reader of the present chunk, or of one ahead.
    async fn reader(&self, ahead: Option<&ChunkHeader>) -> io::Result<ChunkReader> {
        match ahead {
            None => ChunkReader::open(self.store, &self.last().chunk, SCAN_WINDOW_BYTES).await,
            Some(header) => {
                let chunk = LogChunk::new(header).chunk;
                ChunkReader::open(self.store, &chunk, SCAN_WINDOW_BYTES).await
            }
        }
    }

    async fn look(&mut self, reader: &mut ChunkReader, position: u64) -> io::Result<Seen> {
        let Some(frame) = reader.frame_header(position, self.id).await? else {
            return Ok(Seen::Other);
        };
        if !self.chain.accepts(&frame) {
            return Ok(Seen::Other);
        }
        let payload = reader.payload(position, &frame).await?;
        Ok(match frame.check_payload(payload) {
            Ok(()) => Seen::Next(frame),
            Err(_) => Seen::Damaged(frame),
        })
    }

    async fn replay_payload(
        &mut self,
        reader: &mut ChunkReader,
        position: u64,
        frame: &FrameHeader,
    ) -> io::Result<()> {
        let mut rest = reader.payload(position, frame).await?;
        if frame.kind == FrameKind::Mark {
            if !rest.is_empty() && frame.base_offset >= self.replay_from {
                (self.replay)(Replay::State(rest));
                self.replay_from = frame.base_offset;
            }
            return Ok(());
        }
        while let Some((header, _, after)) = split_batch(rest) {
            if header.base_offset >= self.replay_from {
                (self.replay)(Replay::Batch(&header));
            }
            rest = after;
        }
        Ok(())
    }

    fn accept(&mut self, frame: &FrameHeader) {
        self.recovery.frames += 1;
        self.chain.advance(frame);
        self.last_kind = frame.kind;
        self.last_claim = frame.durable_through;
        if frame.kind == FrameKind::Mark && frame.payload_bytes > 0 {
            self.stated = frame.sequence;
        } else if frame.log_start_offset > self.start_offset {
            self.stated = 0;
        }
        self.start_offset = self.start_offset.max(frame.log_start_offset);
        if frame.kind == FrameKind::Data {
            self.epochs.note(frame.leader_epoch, frame.base_offset);
        }
        self.chunks
            .back_mut()
            .expect("a walk has a chunk")
            .note(frame);
    }

    /// Whether the chain goes on in a chunk ahead: a chunk is left when a frame does not fit.
    async fn next_chunk_continues(&mut self, reader: &mut ChunkReader) -> io::Result<bool> {
        let next = self.ahead.iter().position(|header| {
            header.first_sequence == self.chain.next_sequence
                && header.previous_crc == self.chain.previous_crc
        });
        let Some(index) = next else { return Ok(false) };
        let header = self.ahead[index];
        let mut ahead = self.reader(Some(&header)).await?;
        match self.look(&mut ahead, FRAMES_POSITION).await? {
            Seen::Next(_) => {
                self.enter(index);
                *reader = ahead;
                Ok(true)
            }
            Seen::Damaged(_) | Seen::Other => Ok(false),
        }
    }

    /// Makes the chunk `ahead[index]` the present one; those before it are not part of the log.
    fn enter(&mut self, index: usize) {
        self.leave_chunk();
        self.passed_by.extend(self.ahead.drain(..index));
        let header = self.ahead.pop_front().expect("the caller has looked at it");
        self.chunks.push_back(LogChunk::new(&header));
    }

    fn leave_chunk(&mut self) {
        if let Some(last) = self.chunks.back_mut() {
            // Readers load the index of a chunk that gets no more frames when they need it.
            last.index = Index::default();
        }
    }

    /// The next frame's batches are damaged. True if the chain goes on behind it.
    async fn damaged(&mut self, reader: &mut ChunkReader, frame: &FrameHeader) -> io::Result<bool> {
        let sightings = self.sightings(reader, self.reach()).await?;
        let verdict = self.judge(&sightings);
        if !self.chain.accepts(frame) {
            // What was seen behind it says that a later start had cut it off.
            return self.broken(reader).await;
        }
        match verdict {
            Verdict::Tail => {
                self.recovery.cut = Some(self.chain.end_offset);
                Ok(false)
            }
            Verdict::Damage { .. } => {
                self.quarantine(frame.base_offset..frame.end_offset);
                self.accept(frame);
                Ok(true)
            }
        }
    }

    /// There is no next frame here. True if the chain goes on somewhere behind.
    async fn broken(&mut self, reader: &mut ChunkReader) -> io::Result<bool> {
        let near = self.sightings(reader, self.reach()).await?;
        let sightings = match self.judge(&near) {
            Verdict::Tail => {
                let newest = self.chain.incarnation;
                let torn = near.iter().any(|seen| seen.frame.incarnation >= newest);
                let garbage = self.is_garbage(reader).await?;
                self.recovery.cut = (torn || garbage).then_some(self.chain.end_offset);
                return Ok(false);
            }
            Verdict::Damage {
                resume: Some(index),
            } if !self.is_torn_off(&near[index].frame, &near) => near,
            // Acknowledged records are missing, and maybe more of them than can be seen from here:
            // look everywhere.
            Verdict::Damage { .. } => self.sightings(reader, u64::MAX).await?,
        };
        let verdict = self.judge(&sightings);
        let resumed = match verdict {
            Verdict::Damage { resume } => resume.map(|index| sightings[index].frame),
            Verdict::Tail => None,
        };
        let is_cut_off = self.note_cut_off(&sightings, resumed.as_ref());
        match verdict {
            Verdict::Damage {
                resume: Some(index),
            } if self.is_torn_off(&sightings[index].frame, &sightings) => {
                self.end_before_torn(sightings[index].frame.base_offset);
                Ok(false)
            }
            Verdict::Damage {
                resume: Some(index),
            } => {
                let Sighting {
                    chunk,
                    position,
                    frame,
                } = &sightings[index];
                self.quarantine(self.chain.end_offset..frame.base_offset);
                self.chain.next_sequence = frame.sequence;
                self.chain.previous_crc = frame.previous_crc;
                self.chain.end_offset = frame.base_offset;
                if let Some(index) = chunk.checked_sub(1) {
                    self.enter(index);
                    *reader = self.reader(None).await?;
                }
                self.chunks
                    .back_mut()
                    .expect("a walk has a chunk")
                    .end_position = *position;
                Ok(true)
            }
            Verdict::Damage { resume: None } | Verdict::Tail if is_cut_off => {
                self.end_before_torn(self.known_end);
                Ok(false)
            }
            Verdict::Damage { resume: None } | Verdict::Tail => {
                self.fall_back(&sightings);
                Ok(false)
            }
        }
    }

    /// Whether a frame behind damage is the rest of a torn write: more is missing before it than is
    /// known to have been durable, and the journal has some of that, as it has of what was being
    /// written when the power went. To go on with the frame would make that damage, too. It is not
    /// if the log's start has passed all that is missing: then its chunk was given back.
    fn is_torn_off(&self, frame: &FrameHeader, sightings: &[Sighting]) -> bool {
        let frames = sightings.iter().map(|seen| &seen.frame);
        let current =
            frames.filter(|frame| !is_stale(&self.chain.starts, frame.incarnation, frame.sequence));
        let start_offset = current.map(|frame| frame.log_start_offset).max();
        frame.sequence > self.chain.durable_through + 1
            && start_offset < Some(frame.base_offset)
            && self.is_journaled_before(frame)
    }

    /// Whether the journal has some of what is missing before a frame.
    fn is_journaled_before(&self, frame: &FrameHeader) -> bool {
        let missing = self.chain.end_offset..frame.base_offset;
        let mut journaled = self.journaled.iter();
        !missing.is_empty()
            && journaled.any(|range| range.start < missing.end && range.end > missing.start)
    }

    /// Whether a frame knows that something missing here was durable, and the checkpoint does not.
    fn knows_more(&self, frame: &FrameHeader) -> bool {
        let known = self.floor.map_or(0, |floor| floor.sequence);
        frame.durable_through >= self.chain.next_sequence && frame.durable_through > known
    }

    /// A start that ended the log before a torn write may have been killed when some of what the
    /// journal had was in frames, or none. It had cut off the rest of the write, which still tells
    /// how far the log may have gone. Whether there is such a frame. If the log goes on at a frame
    /// of the same start, the cut was made behind that, not here.
    fn note_cut_off(&mut self, sightings: &[Sighting], resumed: Option<&FrameHeader>) -> bool {
        let frames = sightings.iter().map(|seen| &seen.frame);
        let cut_off = frames.filter(|frame| {
            is_stale(&self.chain.starts, frame.incarnation, frame.sequence)
                && resumed.is_none_or(|resumed| resumed.incarnation > frame.incarnation)
                && self.knows_more(frame)
                && self.is_journaled_before(frame)
        });
        let Some(end) = latest_end(cut_off) else {
            return false;
        };
        self.known_end = self.known_end.max(end);
        true
    }

    /// Ends the frames where damage begins, behind which only the journal goes on. All that was
    /// durable has offsets below `upto`; the checkpoint may know where it ended.
    fn end_before_torn(&mut self, upto: Offset) {
        let through = self.chain.durable_through;
        match self.floor.filter(|floor| floor.sequence == through) {
            Some(floor) => {
                self.quarantine(self.chain.end_offset..floor.end_offset);
                self.chain.end_offset = self.chain.end_offset.max(floor.end_offset);
                self.chain.previous_crc = floor.crc;
                self.chain.incarnation = self.chain.incarnation.max(floor.incarnation);
            }
            None => self.known_end = self.known_end.max(upto),
        }
        self.chain.next_sequence = through + 1;
        self.recovery.cut = Some(self.chain.end_offset);
        self.leave_behind_a_loss();
    }

    /// What is lost of the log behind all that journals have of it, as if an entry said so.
    fn lost_behind_journal(&mut self) -> Option<Journaled> {
        self.journal_end = self.journal_end.max(self.known_end);
        (self.known_end > Offset::ZERO).then(|| Journaled {
            leader_epoch: self.epochs.latest().unwrap_or_default(),
            end_offset: self.known_end,
            batches: None,
        })
    }

    /// The place of what is missing is not used again, but to say that the log is deleted.
    fn leave_behind_a_loss(&mut self) {
        let last = self.chunks.back_mut().expect("a walk has a chunk");
        last.is_left = true;
        last.end_offset = self.chain.end_offset;
    }

    /// More was durable than can be found, as the checkpoint knows or frames that are not of the
    /// log any more: what is missing is damaged. Where it ended the checkpoint says; of what others
    /// know it is certain only that it ended no later than the frame that says so begins.
    fn fall_back(&mut self, sightings: &[Sighting]) {
        let missed = self.chain.next_sequence;
        let frames = sightings.iter().map(|seen| &seen.frame);
        let knowing = frames.filter(|frame| self.knows_more(frame));
        let known = self.floor.iter().map(|floor| floor.end_offset);
        let end_offset = latest_end(knowing)
            .into_iter()
            .chain(known)
            .fold(self.chain.end_offset, Offset::max);
        self.quarantine(self.chain.end_offset..end_offset);
        let through = self.chain.durable_through.max(missed - 1);
        self.chain.next_sequence = through + 1;
        self.chain.end_offset = end_offset;
        if let Some(floor) = self.floor.filter(|floor| floor.sequence == through) {
            self.chain.previous_crc = floor.crc;
            self.chain.incarnation = self.chain.incarnation.max(floor.incarnation);
        }
        self.leave_behind_a_loss();
    }

    fn start_of(&self, incarnation: Incarnation) -> u64 {
        self.chain.starts.get(&incarnation).copied().unwrap_or(1)
    }

    fn judge(&mut self, sightings: &[Sighting]) -> Verdict {
        let frames: Vec<FrameHeader> = sightings.iter().map(|sighting| sighting.frame).collect();
        self.chain.judge(&frames)
    }

    /// Notes a range that is missing. Whether that is damage is known at the end only: chunks that
    /// retention has freed look the same until a later frame tells where the log starts.
    fn quarantine(&mut self, range: Range<Offset>) {
        if !range.is_empty() {
            self.recovery.quarantined.push(range);
        }
    }

    /// How far behind a break frames may lie that were being written: as many lost frames as may
    /// be in flight, and one behind them.
    fn reach(&self) -> u64 {
        self.last().frame_bytes_max * (LOG_WRITES_IN_FLIGHT_MAX as u64 + 1)
    }

    /// All intact headers behind the break: of the present chunk and of each chunk from there on,
    /// as far as `reach` goes. Those that a later start had cut off are among them: what they know
    /// to have been durable was kept.
    async fn sightings(
        &mut self,
        reader: &mut ChunkReader,
        reach: u64,
    ) -> io::Result<Vec<Sighting>> {
        let mut seen = Vec::new();
        let from = self.last().end_position;
        let end = frames_end(self.last().chunk.size_bytes, Room::Tombstone);
        let upto = end.min(from.saturating_add(reach));
        self.sight(reader, 0, from..upto, &mut seen).await?;
        let others = self.ahead.iter().chain(&self.passed_by).enumerate();
        for (index, header) in others {
            if header.first_sequence < self.chain.next_sequence {
                continue;
            }
            let mut other = self.reader(Some(header)).await?;
            let end = frames_end(header.size_bytes, Room::Tombstone);
            let upto = end.min(FRAMES_POSITION.saturating_add(reach));
            self.sight(&mut other, index + 1, FRAMES_POSITION..upto, &mut seen)
                .await?;
        }
        // The chain never goes on in a chunk that it has passed by.
        seen.retain(|seen| {
            let FrameHeader {
                incarnation,
                sequence,
                ..
            } = seen.frame;
            seen.chunk <= self.ahead.len() || is_stale(&self.chain.starts, incarnation, sequence)
        });
        Ok(seen)
    }

    async fn sight(
        &self,
        reader: &mut ChunkReader,
        chunk: usize,
        range: Range<u64>,
        seen: &mut Vec<Sighting>,
    ) -> io::Result<()> {
        let mut position = range.start;
        while position < range.end {
            let step = match reader.frame_header(position, self.id).await? {
                Some(frame) => {
                    seen.push(Sighting {
                        chunk,
                        position,
                        frame,
                    });
                    u64::from(frame.frame_bytes)
                }
                None => FRAME_ALIGNMENT_BYTES as u64,
            };
            position += step;
        }
        Ok(())
    }

    /// Whether something was begun to be written where the chain ends.
    async fn is_garbage(&self, reader: &mut ChunkReader) -> io::Result<bool> {
        let end = frames_end(self.last().chunk.size_bytes, Room::Tombstone);
        let position = self.last().end_position;
        if position >= end {
            return Ok(false);
        }
        let block = reader.at(position, FRAME_ALIGNMENT_BYTES).await?;
        let damaged = block.get(4..8) == Some(&crate::frame::FRAME_MAGIC)
            && FrameHeader::read(block).is_err();
        Ok(damaged)
    }

    /// The state of the log as it was found.
    fn finish(mut self, config: LogConfig) -> (State, Recovery) {
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
}

/// The incarnations that the headers know of, and the sequences that they began with.
fn starts_of(headers: &[ChunkHeader]) -> BTreeMap<Incarnation, u64> {
    headers
        .iter()
        .map(|header| (header.incarnation, header.incarnation_start))
        .collect()
}

/// Sorts headers into the order of the chain and takes out those that a later start had cut off.
fn without_stale(
    mut headers: Vec<ChunkHeader>,
    starts: &BTreeMap<Incarnation, u64>,
) -> (Vec<ChunkHeader>, Vec<ChunkHeader>) {
    headers.sort_by_key(|header| (header.first_sequence, header.incarnation));
    headers
        .into_iter()
        .partition(|header| !is_stale(starts, header.incarnation, header.first_sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::ChunkStamp;
    use crate::log::ChunkId;

    /// Chunks as (first sequence, incarnation, start of that incarnation); `expected` are the first
    /// sequences of those that are current.
    fn check(chunks: &[(u64, u64, u64)], expected: &[(u64, u64)]) {
        let header =
            |(first_sequence, incarnation, incarnation_start): &(u64, u64, u64)| ChunkHeader {
                first_sequence: *first_sequence,
                incarnation: Incarnation(*incarnation),
                incarnation_start: *incarnation_start,
                ..ChunkHeader::free(ChunkId(0), ChunkStamp::default(), 0)
            };
        let headers: Vec<ChunkHeader> = chunks.iter().map(header).collect();
        let starts = starts_of(&headers);
        let (current, stale) = without_stale(headers, &starts);
        let key = |header: &ChunkHeader| (header.first_sequence, header.incarnation.0);
        assert_eq!(
            current.iter().map(key).collect::<Vec<_>>(),
            expected,
            "{chunks:?}"
        );
        assert_eq!(current.len() + stale.len(), chunks.len());
    }

    #[test]
    fn what_an_older_start_began_behind_a_cut_is_stale() {
        check(&[], &[]);
        check(
            &[(9, 1, 1), (1, 1, 1), (5, 1, 1)],
            &[(1, 1), (5, 1), (9, 1)],
        );
        check(
            &[(1, 1, 1), (5, 1, 1), (9, 1, 1), (5, 2, 5)],
            &[(1, 1), (5, 2)],
        );
        check(&[(1, 1, 1), (5, 1, 1), (8, 2, 4)], &[(1, 1), (8, 2)]);
        check(
            &[(1, 1, 1), (5, 1, 1), (7, 2, 6)],
            &[(1, 1), (5, 1), (7, 2)],
        );
        check(&[(1, 3, 1), (1, 1, 1), (2, 2, 2)], &[(1, 3)]);
    }
}
