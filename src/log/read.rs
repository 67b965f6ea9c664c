//! Reading: whole batches, from the buffers that were written or from the disk.

use std::rc::Rc;

use bytes::Bytes;

use crate::frame::{
    BATCH_CRC_START, BATCH_HEADER_BYTES, BatchHeader, FRAME_HEADER_BYTES, FrameHeader, PayloadError,
};
use crate::io::{self, AlignedBuf};
use crate::limits::{COLD_READ_BYTES_MAX, COLD_READ_PIECE_BYTES, FRAME_ALIGNMENT_BYTES};
use crate::metrics::{self, Counter};
use crate::model::Offset;

use super::chunk::{Chunk, FRAMES_POSITION};
use super::handle::Log;
use super::index::Index;
use super::state::State;

/// What a read gives: whole batches, in order and without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    /// The batches; each slice holds one or more. They are what was written or read, not copies,
    /// and keep that memory alive.
    pub batches: Vec<Bytes>,
    /// The length of all slices.
    pub bytes: usize,
    /// Where the next read goes on: the offset after the last batch, or the one asked for if there
    /// is no batch.
    pub next_offset: Offset,
}

/// Why nothing could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The offset is below the log's start or above what is durable.
    OutOfRange,
    /// The bytes on the disk are not what was written. `from..to` cannot be served; where `to` is
    /// not known it is `from + 1`.
    Corrupt {
        /// The first offset that cannot be served.
        from: Offset,
        /// The offset after the last one that cannot be served.
        to: Offset,
    },
    /// The disk could not read.
    Io,
}

/// How much a read may give.
struct Limits {
    upto: Offset,
    max_bytes: usize,
    at_least_one: bool,
}

/// Where the next batch of a read is.
enum Place {
    /// Nowhere: the read is complete.
    End,
    /// In a buffer that was written.
    Hot { base_offset: Offset, payload: Bytes },
    /// In a group or frame that is not on its way, or not yet there: the journal has it.
    Journaled,
    /// On the disk. `position` is that of the frame or of an earlier one; `None` if the index that
    /// knows has to be loaded first.
    Cold {
        chunk: Rc<Chunk>,
        position: Option<u64>,
        end_position: u64,
    },
}

/// What became of one frame's batches.
enum Picked {
    /// All of them were taken or skipped.
    All,
    /// The read is complete.
    Enough,
    /// The batch that comes next ends (as far as is known) at this position of the payload, which
    /// has not been read that far.
    Short { needed: usize },
}

impl Log {
    /// Reads whole batches from the one that contains `from` on, as long as they end at or below
    /// `min(upto, durable_offset())` and fit into `max_bytes`; the first one need not fit if
    /// `at_least_one`. Every byte from the disk is checked before it is given: partition, life of
    /// the chunk, offsets, CRC.
    pub async fn read(
        &self,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Slices, ReadError> {
        let upto = upto.min(self.durable_offset());
        let limits = Limits {
            upto,
            max_bytes,
            at_least_one,
        };
        let mut slices = Slices {
            next_offset: from,
            ..Slices::default()
        };
        match self.read_into(&mut slices, &limits).await {
            Err(error) if slices.batches.is_empty() => Err(error),
            // What was read is good; the next read finds the error at its start.
            Ok(()) | Err(_) => Ok(slices),
        }
    }

    async fn read_into(&self, slices: &mut Slices, limits: &Limits) -> Result<(), ReadError> {
        loop {
            let at_least_one = limits.at_least_one && slices.batches.is_empty();
            if slices.bytes >= limits.max_bytes && !at_least_one {
                // Only whether it may be read at all is of interest.
                self.state
                    .borrow()
                    .place_of(slices.next_offset, limits.upto)?;
                return Ok(());
            }
            let place = self
                .state
                .borrow()
                .place_of(slices.next_offset, limits.upto)?;
            let place = match place {
                Place::Journaled => {
                    let budget = limits.max_bytes.saturating_sub(slices.bytes);
                    let state = self.state.borrow();
                    let held = state.unreleased_from(slices.next_offset, budget);
                    let (base_offset, payload) = held.ok_or(corrupt_at(slices.next_offset))?;
                    Place::Hot {
                        base_offset,
                        payload,
                    }
                }
                place => place,
            };
            match place {
                Place::End => return Ok(()),
                Place::Journaled => unreachable!("it was turned into slices above"),
                Place::Hot {
                    base_offset,
                    payload,
                } => {
                    self.tail_read.set(Some(io::now()));
                    match slices.pick(&payload, base_offset, limits, None) {
                        Ok(Picked::All) => {}
                        Ok(Picked::Enough) => return Ok(()),
                        Ok(Picked::Short { .. }) | Err(_) => {
                            unreachable!("a written frame holds whole batches")
                        }
                    }
                }
                Place::Cold {
                    chunk,
                    position,
                    end_position,
                } => {
                    let offset = slices.next_offset;
                    let position = match position {
                        Some(position) => position,
                        None => {
                            let place = |index: &Index| index.position_of(offset);
                            let answer = self.ask_index(&chunk, place).await?;
                            let position = answer.ok_or(ReadError::OutOfRange)?;
                            // An index that knows nothing this low: a damaged start of the chunk.
                            position.ok_or(corrupt_at(offset))?
                        }
                    };
                    if self
                        .read_cold(&chunk, position..end_position, slices, limits)
                        .await?
                    {
                        return Ok(());
                    }
                    if slices.next_offset == offset {
                        // The chunk's frames do not hold what it is said to hold.
                        return Err(corrupt_at(offset));
                    }
                }
            }
        }
    }

    /// Reads from the disk until the chunk ends or the read is complete; true in the latter case.
    async fn read_cold(
        &self,
        chunk: &Chunk,
        mut range: std::ops::Range<u64>,
        slices: &mut Slices,
        limits: &Limits,
    ) -> Result<bool, ReadError> {
        let mut least = FRAME_ALIGNMENT_BYTES;
        while range.start < range.end {
            let budget = limits.max_bytes.saturating_sub(slices.bytes);
            let wanted = budget
                .saturating_add(FRAME_ALIGNMENT_BYTES)
                .min(COLD_READ_BYTES_MAX);
            let wanted = wanted.max(least).next_multiple_of(FRAME_ALIGNMENT_BYTES) as u64;
            let length = wanted.min(range.end - range.start) as usize;
            let bytes = self.read_chunk(chunk, range.start, length).await?;
            let mut at = 0;
            least = FRAME_ALIGNMENT_BYTES;
            while at < bytes.len() {
                let frame = self.frame_in(chunk, &bytes[at..], slices.next_offset)?;
                if frame.end_offset <= slices.next_offset {
                    at += frame.frame_bytes as usize;
                    continue;
                }
                let payload = bytes.slice(at + FRAME_HEADER_BYTES..);
                let payload = payload.slice(..payload.len().min(frame.payload_bytes as usize));
                match slices.pick(&payload, frame.base_offset, limits, Some(&frame)) {
                    Ok(Picked::All) => at += frame.frame_bytes as usize,
                    Ok(Picked::Enough) => return Ok(true),
                    Ok(Picked::Short { needed }) => {
                        least = FRAME_HEADER_BYTES + needed;
                        let rest = range.end - range.start - at as u64;
                        if needed > frame.payload_bytes as usize || least as u64 > rest {
                            return Err(corrupt_at(slices.next_offset));
                        }
                        break;
                    }
                    Err(_) => return Err(corrupt_at(slices.next_offset)),
                }
            }
            if at == 0 && bytes.len() < length {
                // The file is shorter than what was written to it.
                return Err(corrupt_at(slices.next_offset));
            }
            range.start += at as u64;
        }
        Ok(false)
    }

    /// The frame at the start of `bytes`, which must be of this partition and this life of the
    /// chunk, and must not start above `offset`: whatever else lies there is never served.
    fn frame_in(
        &self,
        chunk: &Chunk,
        bytes: &[u8],
        offset: Offset,
    ) -> Result<FrameHeader, ReadError> {
        let frame = FrameHeader::read(bytes).map_err(|_| corrupt_at(offset))?;
        let ours = frame.partition == self.id
            && frame.chunk == chunk.stamp
            && frame.base_offset <= offset
            && (frame.frame_bytes as usize).is_multiple_of(FRAME_ALIGNMENT_BYTES);
        ours.then_some(frame).ok_or(corrupt_at(offset))
    }

    /// Reads into memory of its own, directly. While others write it does so piece by piece: what
    /// they wait for never stands behind more than the pieces in flight. Each piece waits for its
    /// turn; a read that was begun keeps its memory meanwhile.
    pub(super) async fn read_chunk(
        &self,
        chunk: &Chunk,
        position: u64,
        length: usize,
    ) -> Result<Bytes, ReadError> {
        let mut begun: Option<AlignedBuf> = None;
        let mut filled = 0;
        while filled < length {
            let turn = self.store.cold_reads.acquire().await.expect("never closed");
            // Not before the first turn: those that wait for it hold no memory.
            let buffer = begun.take().unwrap_or_else(|| AlignedBuf::stale(length));
            let file = self.store.files.get(chunk.id).await;
            let file = file.map_err(|error| self.log_io(error))?;
            let upto = match self.store.is_writing() {
                true => length.min(filled + COLD_READ_PIECE_BYTES),
                false => length,
            };
            let from = position + filled as u64;
            let (result, back) = file.read_into(buffer, filled..upto, from).await;
            drop(turn);
            begun = Some(back);
            filled += result.map_err(|error| self.log_io(error))?;
            if filled < upto {
                break;
            }
        }
        metrics::add(Counter::ColdReads, 1);
        metrics::add(Counter::ColdReadBytes, filled as u64);
        Ok(begun.map_or(Bytes::new(), |buffer| buffer.freeze().slice(..filled)))
    }

    pub(super) fn log_io(&self, error: io::Error) -> ReadError {
        tracing::error!("partition {}: a chunk could not be read: {error}", self.id);
        ReadError::Io
    }

    /// Asks the chunk's index, which is loaded or completed first if need be. `None` if the log's
    /// start has passed the chunk.
    pub(super) async fn ask_index(
        &self,
        chunk: &Rc<Chunk>,
        question: impl Fn(&Index) -> Option<u64>,
    ) -> Result<Option<Option<u64>>, ReadError> {
        loop {
            let (known_from, end) = {
                let state = self.state.borrow();
                let same = state
                    .chunks
                    .iter()
                    .position(|other| Rc::ptr_eq(&other.chunk, chunk));
                let Some(index) = same else { return Ok(None) };
                let same = &state.chunks[index];
                let last = index + 1 == state.chunks.len();
                let known_from = same.index.begins_at();
                if last && known_from == FRAMES_POSITION {
                    return Ok(Some(question(&same.index)));
                }
                (last.then_some(known_from), same.frames_end())
            };
            match known_from {
                Some(known_from) => self.complete_index(chunk, known_from).await?,
                None => {
                    let index = self.store.index_of(self.id, chunk, end).await;
                    return Ok(Some(question(&*index.map_err(|error| self.log_io(error))?)));
                }
            }
        }
    }

    /// Completes the index of the last chunk, of which a recovery from a checkpoint has seen only
    /// what lies behind `known_from`.
    async fn complete_index(&self, chunk: &Rc<Chunk>, known_from: u64) -> Result<(), ReadError> {
        let before = self.store.scan_index(self.id, chunk, known_from).await;
        let before = before.map_err(|error| self.log_io(error))?;
        let mut state = self.state.borrow_mut();
        if let Some(last) = state.chunks.back_mut()
            && Rc::ptr_eq(&last.chunk, chunk)
            && last.index.begins_at() == known_from
        {
            last.index.prepend(before);
        }
        Ok(())
    }
}

impl State {
    fn place_of(&self, offset: Offset, upto: Offset) -> Result<Place, ReadError> {
        let durable = self.durable_offset();
        if offset < self.start_offset || offset > durable {
            return Err(ReadError::OutOfRange);
        }
        if offset >= upto.min(durable) {
            return Ok(Place::End);
        }
        if let Some(damaged) = self
            .quarantined
            .iter()
            .find(|range| range.contains(&offset))
        {
            return Err(ReadError::Corrupt {
                from: damaged.start,
                to: damaged.end,
            });
        }
        let above = self
            .hot
            .partition_point(|frame| frame.base_offset <= offset);
        if let Some(frame) = above.checked_sub(1).map(|index| &self.hot[index])
            && offset < frame.end_offset
        {
            let payload = frame.payload.clone();
            return Ok(Place::Hot {
                base_offset: frame.base_offset,
                payload,
            });
        }
        if offset >= self.released.end_offset {
            return Ok(Place::Journaled);
        }
        let (index, chunk) = self.chunk_of(offset).ok_or(corrupt_at(offset))?;
        let last = index + 1 == self.chunks.len();
        Ok(Place::Cold {
            chunk: chunk.chunk.clone(),
            position: chunk.index.position_of(offset).filter(|_| last),
            // What lies behind is on its way to the disk.
            end_position: match chunk.first_sequence == self.released.first_sequence {
                true => self.released.position,
                false => chunk.end_position,
            },
        })
    }

    /// The chunk that holds the record with `offset`.
    fn chunk_of(&self, offset: Offset) -> Option<(usize, &super::state::LogChunk)> {
        let above = self
            .chunks
            .partition_point(|chunk| chunk.base_offset <= offset);
        let chunks = self.chunks.iter().enumerate().take(above);
        chunks.rev().find(|(_, chunk)| chunk.end_offset > offset)
    }
}

impl Slices {
    /// Takes the batches of one frame that the read wants. `checks` is the frame's header if the
    /// bytes come from the disk: then nothing is taken unchecked.
    fn pick(
        &mut self,
        payload: &Bytes,
        base_offset: Offset,
        limits: &Limits,
        checks: Option<&FrameHeader>,
    ) -> Result<Picked, PayloadError> {
        // One slice for all batches that are taken, up to the damage if there is any.
        let mut taken = 0..0;
        let picked = self.walk(payload, base_offset, limits, checks, &mut taken);
        if !taken.is_empty() {
            self.bytes += taken.len();
            self.batches.push(payload.slice(taken));
        }
        picked
    }

    fn walk(
        &mut self,
        payload: &[u8],
        base_offset: Offset,
        limits: &Limits,
        checks: Option<&FrameHeader>,
        taken: &mut std::ops::Range<usize>,
    ) -> Result<Picked, PayloadError> {
        let whole = checks.map_or(payload.len(), |frame| frame.payload_bytes as usize);
        let mut expected = base_offset;
        let mut at = 0;
        while at < whole {
            let Some(header) = payload.get(at..).and_then(BatchHeader::read) else {
                return Ok(Picked::Short {
                    needed: at + BATCH_HEADER_BYTES,
                });
            };
            if let Some(frame) = checks {
                frame.check_continuity(&header, expected)?;
            }
            let total = header.total_bytes().ok_or(PayloadError::Length)?;
            expected = header.last_offset().next();
            if expected <= self.next_offset {
                at += total;
                *taken = at..at;
                continue;
            }
            let taken_bytes = self.bytes + taken.len();
            let first = limits.at_least_one && taken_bytes == 0;
            if expected > limits.upto || (taken_bytes + total > limits.max_bytes && !first) {
                return Ok(Picked::Enough);
            }
            let Some(batch) = payload.get(at..at + total) else {
                return Ok(Picked::Short { needed: at + total });
            };
            if checks.is_some() && crc32c::crc32c(&batch[BATCH_CRC_START..]) != header.crc {
                return Err(PayloadError::BatchCrc);
            }
            at += total;
            taken.end = at;
            self.next_offset = expected;
        }
        Ok(Picked::All)
    }
}

/// Damage that was found at `offset`; how far it reaches is not known.
pub(super) fn corrupt_at(offset: Offset) -> ReadError {
    ReadError::Corrupt {
        from: offset,
        to: offset.next(),
    }
}
