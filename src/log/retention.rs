//! Where the log starts: moved by its owner, by time and by size.

use crate::model::{Offset, Timestamp};

use super::handle::Log;
use super::state::{Goal, LogChunk, Phase, State};
use super::store::Stopped;

/// One run of chunks with the same segment number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    end_offset: Offset,
    bytes: u64,
    max_timestamp: Timestamp,
    /// When its last chunk was begun, for records without timestamps.
    stamped: Timestamp,
}

impl Log {
    /// Moves the log's start to `offset`, which must not be above `durable_offset()`. Durable on
    /// return; readers see the new start then, not before, and it never moves back. Chunks that lie
    /// wholly below it are recycled.
    ///
    /// `owner_state` gives what a checkpoint would keep for the owner now. It is made durable
    /// together with the new start: what it says of the records that go is in no frame any more.
    pub async fn set_start_offset(
        &self,
        offset: Offset,
        owner_state: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), Stopped> {
        let is_new = {
            let state = self.state.borrow();
            let durable = state.durable_offset();
            assert!(
                offset <= durable || state.phase != Phase::Open,
                "the log's start is never above its end"
            );
            if state.start_offset >= offset {
                return Ok(());
            }
            if self.store.is_stopped() || state.phase != Phase::Open {
                return Err(Stopped);
            }
            // A frame that says so already may wait for space.
            state.start_requested < offset
        };
        if is_new {
            // Not under a borrow: the owner may ask the log something.
            let known = owner_state();
            self.state.borrow_mut().queue_start(offset, &known);
        }
        self.kick();
        self.wait(Goal::Start(offset)).await?;
        if self.start_offset() < offset {
            self.sync_released().await?;
        }
        Ok(())
    }

    /// Drops the oldest segments as far as `retention_ms` and `retention_bytes` ask for it; gives
    /// the log's start. Like Kafka, it may drop everything, the segment in use included.
    /// `owner_state` as with `set_start_offset`.
    pub async fn enforce_retention(
        &self,
        now: Timestamp,
        owner_state: impl FnOnce() -> Vec<u8>,
    ) -> Result<Offset, Stopped> {
        let start = {
            let state = self.state.borrow();
            let segments = state.segments();
            let keep_from = passed(&segments, &state.config, now);
            let start = keep_from.map(|offset| offset.min(state.durable_offset()));
            start.filter(|offset| *offset > state.start_offset)
        };
        match start {
            Some(start) => self.set_start_offset(start, owner_state).await?,
            None => self.state_again(owner_state).await?,
        }
        Ok(self.start_offset())
    }
}

impl Log {
    /// Makes the owner's state durable anew, if a chunk is kept for nothing else.
    async fn state_again(&self, owner_state: impl FnOnce() -> Vec<u8>) -> Result<(), Stopped> {
        let is_open = self.state.borrow().phase == Phase::Open && !self.store.is_stopped();
        if !is_open || !self.state.borrow().is_first_kept_for_state() {
            return Ok(());
        }
        let known = owner_state();
        let sequence = self.state.borrow_mut().queue_start_again(&known);
        self.kick();
        self.wait(Goal::Released(sequence)).await?;
        self.sync_released().await
    }
}

/// The end of the last segment that retention drops, if any.
fn passed(
    segments: &[Segment],
    config: &super::settings::LogConfig,
    now: Timestamp,
) -> Option<Offset> {
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut passed = None;
    for segment in segments {
        if segment.bytes == 0 {
            continue;
        }
        let newest = match segment.max_timestamp {
            Timestamp::NONE => segment.stamped,
            known => known,
        };
        let age_ms = now.0.saturating_sub(newest.0);
        let too_old = config.retention_ms.is_some_and(|limit| age_ms > limit);
        let rest = bytes - segment.bytes;
        let too_large = config.retention_bytes.is_some_and(|limit| rest >= limit);
        if !too_old && !too_large {
            break;
        }
        bytes = rest;
        passed = Some(segment.end_offset);
    }
    passed
}

impl State {
    fn segments(&self) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut number = None;
        for chunk in &self.chunks {
            if number != Some(chunk.segment) {
                number = Some(chunk.segment);
                segments.push(Segment::of(chunk));
            } else if let Some(segment) = segments.last_mut() {
                segment.add(chunk);
            }
        }
        segments
    }
}

impl Segment {
    fn of(chunk: &LogChunk) -> Segment {
        Segment {
            end_offset: chunk.end_offset,
            bytes: chunk.payload_bytes,
            max_timestamp: chunk.max_timestamp,
            stamped: chunk.stamped,
        }
    }

    fn add(&mut self, chunk: &LogChunk) {
        self.end_offset = chunk.end_offset;
        self.bytes += chunk.payload_bytes;
        self.max_timestamp = self.max_timestamp.max(chunk.max_timestamp);
        self.stamped = chunk.stamped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogConfig;

    /// Segments of 100 bytes that end at 10, 20, 30, with these newest timestamps.
    fn check(newest: [i64; 3], bytes: Option<u64>, ms: Option<i64>, expected: Option<i64>) {
        let segment = |(n, max): (usize, i64)| Segment {
            end_offset: Offset(10 * n as i64 + 10),
            bytes: 100,
            max_timestamp: Timestamp(max),
            stamped: Timestamp(900),
        };
        let segments: Vec<Segment> = newest.into_iter().enumerate().map(segment).collect();
        let config = LogConfig {
            retention_bytes: bytes,
            retention_ms: ms,
            ..LogConfig::default()
        };
        let passed = passed(&segments, &config, Timestamp(1_000));
        assert_eq!(passed, expected.map(Offset), "{newest:?} {bytes:?} {ms:?}");
    }

    #[test]
    fn whole_segments_go_by_age_and_by_size() {
        check([1, 2, 3], None, None, None);
        check([1, 500, 900], None, Some(600), Some(10));
        check([1, 500, 900], None, Some(499), Some(20));
        check([1, 500, 900], None, Some(50), Some(30));
        // An old segment behind a young one stays: only a prefix goes.
        check([900, 1, 1], None, Some(500), None);
        // Without timestamps the time of writing counts.
        check([-1, -1, -1], None, Some(200), None);
        check([-1, -1, -1], None, Some(99), Some(30));
        check([1, 2, 3], Some(300), None, None);
        check([1, 2, 3], Some(201), None, None);
        check([1, 2, 3], Some(200), None, Some(10));
        check([1, 2, 3], Some(150), None, Some(10));
        check([1, 2, 3], Some(99), None, Some(20));
        check([1, 2, 3], Some(0), None, Some(30));
    }
}
