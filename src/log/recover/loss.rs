//! What a break in the chain means for the log: looks at what lies behind it, asks `link` what that
//! is, and goes on there, ends the log, or says what is lost.

use std::ops::Range;

use crate::frame::{FRAME_MAGIC, FrameHeader, FrameKind};
use crate::io;
use crate::limits::{FRAME_ALIGNMENT_BYTES, LOG_WRITES_IN_FLIGHT_MAX};
use crate::model::Offset;

use super::super::chunk::{FRAMES_POSITION, Room, frames_end};
use super::super::journal::Journaled;
use super::super::link::{Chain, Verdict, is_stale, latest_end};
use super::super::reader::ChunkReader;
use super::{Replay, Run};

/// A header found behind a break, and where.
struct Sighting {
    /// 0: the present chunk; n: the n-th of `ahead` and, behind these, of `passed_by`, counted
    /// from 1.
    chunk: usize,
    position: u64,
    frame: FrameHeader,
}

impl<R: FnMut(Replay<'_>)> Run<'_, R> {
    /// Whether the first chunk that is there is the rest of what a power cut has torn: the first
    /// frames of a log may be in flight in several chunks. If the first of these never came to
    /// be, nothing in the others knows of anything durable. If the chunk is not there because the
    /// log's start has passed it, or because the log is being deleted, frames behind say so. What
    /// of the beginning is durable all the same the journal has. Where nothing tells, it may be
    /// damage.
    pub(super) async fn lacks_a_torn_beginning(
        &mut self,
        reader: &mut ChunkReader,
    ) -> io::Result<bool> {
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
    pub(super) fn end_before_the_beginning(&mut self) {
        for chunk in self.chunks.drain(..) {
            let generation = chunk.chunk.stamp.generation;
            self.store.retire(chunk.chunk, generation);
        }
        self.chain = Chain::empty();
        self.recovery.cut = Some(Offset::ZERO);
    }

    /// The next frame's batches are damaged. True if the chain goes on behind it.
    pub(super) async fn damaged(
        &mut self,
        reader: &mut ChunkReader,
        frame: &FrameHeader,
    ) -> io::Result<bool> {
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
    pub(super) async fn broken(&mut self, reader: &mut ChunkReader) -> io::Result<bool> {
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
    pub(super) fn lost_behind_journal(&mut self) -> Option<Journaled> {
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

    fn judge(&mut self, sightings: &[Sighting]) -> Verdict {
        let frames: Vec<FrameHeader> = sightings.iter().map(|sighting| sighting.frame).collect();
        self.chain.judge(&frames)
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
        let damaged = block.get(4..8) == Some(&FRAME_MAGIC) && FrameHeader::read(block).is_err();
        Ok(damaged)
    }
}
