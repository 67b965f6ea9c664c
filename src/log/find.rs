//! Finding a batch by timestamp.

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use crate::frame::{BATCH_CRC_START, BatchHeader, FRAME_HEADER_BYTES, FrameHeader, split_batch};
use crate::limits::FRAME_ALIGNMENT_BYTES;
use crate::model::{Offset, Timestamp};

use super::chunk::{Chunk, FRAMES_POSITION};
use super::handle::Log;
use super::index::Index;
use super::read::{ReadError, corrupt_at};
use super::reader::{ChunkReader, SCAN_WINDOW_BYTES};

/// One chunk that may hold the timestamp.
struct Candidate {
    chunk: Rc<Chunk>,
    end_position: u64,
}

impl Log {
    /// The first durable batch whose maximum timestamp is at or above `timestamp` and that does
    /// not end below `from` or the log's start. Which of its records it is, the caller sees when
    /// it decodes them.
    pub async fn find_timestamp(
        &self,
        timestamp: Timestamp,
        from: Offset,
    ) -> Result<Option<Bytes>, ReadError> {
        let from = from.max(self.start_offset());
        // What is in memory now may be in a frame when the chunks were searched.
        let (framed_end, in_memory) = {
            let state = self.state.borrow();
            let found = state.unreleased_batches().find(|(header, _)| {
                header.max_timestamp >= timestamp && header.last_offset() >= from
            });
            let copy = |(_, batch): (BatchHeader, &[u8])| Bytes::copy_from_slice(batch);
            (state.released.end_offset, found.map(copy))
        };
        for candidate in self.chunks_reaching(timestamp) {
            let found = self
                .find_in(&candidate, timestamp, from, framed_end)
                .await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(in_memory)
    }

    /// The largest timestamp of the durable batches that begin at `from` or behind it;
    /// `Timestamp::NONE` if there are none.
    pub async fn max_timestamp_from(&self, from: Offset) -> Result<Timestamp, ReadError> {
        let (newest, first, framed_end) = self.newest_known(from);
        let Some(first) = first else {
            return Ok(newest);
        };
        Ok(newest.max(self.newest_in(&first, from..framed_end).await?))
    }

    /// The largest timestamp from `from` on as far as memory knows it, the chunk that has to be
    /// read for the rest, and where what is in frames ends.
    fn newest_known(&self, from: Offset) -> (Timestamp, Option<Candidate>, Offset) {
        let (mut newest, mut first) = (Timestamp::NONE, None);
        let state = self.state.borrow();
        let framed_end = state.released.end_offset;
        for (header, _) in state.unreleased_batches() {
            if header.base_offset >= from {
                newest = newest.max(header.max_timestamp);
            }
        }
        for (chunk, of_chunk) in state.durable_chunks() {
            if chunk.base_offset >= from {
                newest = newest.max(of_chunk);
            } else if chunk.end_offset > from {
                first = Some(Candidate {
                    chunk: chunk.chunk.clone(),
                    end_position: chunk.end_position,
                });
            }
        }
        (newest, first, framed_end)
    }

    /// The largest timestamp of the batches of one chunk that begin in `range`.
    async fn newest_in(
        &self,
        candidate: &Candidate,
        range: Range<Offset>,
    ) -> Result<Timestamp, ReadError> {
        let chunk = &candidate.chunk;
        let place = |index: &Index| index.position_of(range.start);
        let Some(place) = self.ask_index(chunk, place).await? else {
            return Ok(Timestamp::NONE);
        };
        let mut position = place.unwrap_or(FRAMES_POSITION);
        let _permit = self.store.recoveries.acquire().await.expect("never closed");
        let opened = ChunkReader::open(&self.store, chunk, SCAN_WINDOW_BYTES).await;
        let mut reader = opened.map_err(|error| self.log_io(error))?;
        let mut newest = Timestamp::NONE;
        while position < candidate.end_position {
            let read = reader.frame_header(position, self.id).await;
            let Some(frame) = read.map_err(|error| self.log_io(error))? else {
                position += FRAME_ALIGNMENT_BYTES as u64;
                continue;
            };
            if frame.base_offset >= range.end {
                break;
            }
            if frame.base_offset >= range.start {
                newest = newest.max(frame.max_timestamp);
            } else if frame.end_offset > range.start {
                let payload = reader.payload(position, &frame).await;
                let mut rest = payload.map_err(|error| self.log_io(error))?;
                while let Some((header, _, after)) = split_batch(rest) {
                    if header.base_offset >= range.start {
                        newest = newest.max(header.max_timestamp);
                    }
                    rest = after;
                }
            }
            position += u64::from(frame.frame_bytes);
        }
        Ok(newest)
    }

    fn chunks_reaching(&self, timestamp: Timestamp) -> Vec<Candidate> {
        let state = self.state.borrow();
        let reaching = state
            .chunks
            .iter()
            .filter(|chunk| chunk.max_timestamp >= timestamp);
        let candidates = reaching.map(|chunk| Candidate {
            chunk: chunk.chunk.clone(),
            end_position: chunk.end_position,
        });
        candidates.collect()
    }

    async fn find_in(
        &self,
        candidate: &Candidate,
        timestamp: Timestamp,
        from: Offset,
        durable: Offset,
    ) -> Result<Option<Bytes>, ReadError> {
        let chunk = &candidate.chunk;
        let place = |index: &Index| index.position_of_timestamp(timestamp);
        let Some(Some(mut position)) = self.ask_index(chunk, place).await? else {
            return Ok(None);
        };
        let _permit = self.store.recoveries.acquire().await.expect("never closed");
        let opened = ChunkReader::open(&self.store, chunk, SCAN_WINDOW_BYTES).await;
        let mut reader = opened.map_err(|error| self.log_io(error))?;
        while position < candidate.end_position {
            let read = reader.frame_header(position, self.id).await;
            let Some(frame) = read.map_err(|error| self.log_io(error))? else {
                // Damage; what lies behind it may still be found.
                position += FRAME_ALIGNMENT_BYTES as u64;
                continue;
            };
            if frame.base_offset >= durable {
                break;
            }
            let below = frame.end_offset <= from;
            if !below
                && frame.max_timestamp >= timestamp
                && let Some(batch) = self
                    .find_in_frame(chunk, position, &frame, timestamp, from)
                    .await?
            {
                return Ok(Some(batch));
            }
            position += u64::from(frame.frame_bytes);
        }
        Ok(None)
    }

    async fn find_in_frame(
        &self,
        chunk: &Chunk,
        position: u64,
        frame: &FrameHeader,
        timestamp: Timestamp,
        from: Offset,
    ) -> Result<Option<Bytes>, ReadError> {
        let bytes = self
            .read_chunk(chunk, position, frame.frame_bytes as usize)
            .await?;
        let end = FRAME_HEADER_BYTES + frame.payload_bytes as usize;
        if FrameHeader::read(&bytes) != Ok(*frame) || bytes.len() < end {
            return Err(corrupt_at(frame.base_offset));
        }
        let mut at = FRAME_HEADER_BYTES;
        let mut offset = frame.base_offset;
        while let Some((header, batch, _)) = split_batch(&bytes[at..end]) {
            if frame.check_continuity(&header, offset).is_err() {
                return Err(corrupt_at(offset));
            }
            let next = header.last_offset().next();
            if header.max_timestamp >= timestamp && next > from {
                return self
                    .checked(&header, bytes.slice(at..at + batch.len()))
                    .map(Some);
            }
            at += batch.len();
            offset = next;
        }
        Ok(None)
    }

    fn checked(&self, header: &BatchHeader, batch: Bytes) -> Result<Bytes, ReadError> {
        let good = crc32c::crc32c(&batch[BATCH_CRC_START..]) == header.crc;
        good.then_some(batch).ok_or(corrupt_at(header.base_offset))
    }
}
