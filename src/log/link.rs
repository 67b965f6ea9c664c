//! Which frames belong to a log, which are an unacknowledged tail, and what is damage. Pure.
//!
//! Recovery reads frames in the order of the chain and asks here at every step. The decision
//! rests on `durable_through`: each frame says up to which sequence everything was durable when it
//! was built, so the greatest such claim that can still be read separates what somebody may have
//! been told is safe (at or below it) from what nobody was (above it).

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::frame::{FrameHeader, Incarnation};
use crate::model::Offset;

/// The end of the frames accepted so far: what the next one must continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// The sequence that the next frame has.
    pub(super) next_sequence: u64,
    /// The CRC of the last frame's header.
    pub(super) previous_crc: u32,
    /// The offset that the next record has.
    pub(super) end_offset: Offset,
    /// The start of the broker that wrote the last frame. It never goes back along a chain.
    pub(super) incarnation: Incarnation,
    /// The greatest claim of durability seen, the checkpoint's included.
    pub(super) durable_through: u64,
    /// Every incarnation known of, and the sequence that it began with: what earlier ones wrote at
    /// or above it was cut off then.
    pub(super) starts: BTreeMap<Incarnation, u64>,
}

/// What a break in the chain means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing that was acknowledged is missing: the log ends here.
    Tail,
    /// Acknowledged bytes are damaged. The chain goes on at this candidate, if at any.
    Damage { resume: Option<usize> },
}

impl Chain {
    /// The chain of a log that has no frame yet.
    pub(super) fn empty() -> Chain {
        Chain {
            next_sequence: 1,
            previous_crc: 0,
            end_offset: Offset::ZERO,
            incarnation: Incarnation(0),
            durable_through: 0,
            starts: BTreeMap::new(),
        }
    }

    /// Whether the frame is the next one. That it lies in the right chunk, for the right partition,
    /// was checked by the caller.
    pub(super) fn accepts(&self, frame: &FrameHeader) -> bool {
        frame.sequence == self.next_sequence
            && frame.previous_crc == self.previous_crc
            && frame.base_offset == self.end_offset
            && self.is_current(frame)
    }

    /// Whether no later start has cut the frame off.
    fn is_current(&self, frame: &FrameHeader) -> bool {
        frame.incarnation >= self.incarnation
            && !is_stale(&self.starts, frame.incarnation, frame.sequence)
    }

    /// The frame is the last one now.
    pub(super) fn advance(&mut self, frame: &FrameHeader) {
        self.next_sequence = frame.sequence + 1;
        self.previous_crc = frame.crc;
        self.end_offset = frame.end_offset;
        self.incarnation = frame.incarnation;
        self.learn(frame);
    }

    /// Takes note of what an intact header says of the rest of the chain, wherever it lies. Its
    /// claim holds even if the frame itself was cut off: what was durable then was kept.
    pub(super) fn learn(&mut self, frame: &FrameHeader) {
        self.durable_through = self.durable_through.max(frame.durable_through);
        self.starts
            .insert(frame.incarnation, frame.incarnation_start);
    }

    /// Judges a break: the next frame is not where it should be, or its payload is damaged.
    /// `candidates` are the intact headers found behind it.
    pub(super) fn judge(&mut self, candidates: &[FrameHeader]) -> Verdict {
        for frame in candidates {
            self.learn(frame);
        }
        if self.durable_through < self.next_sequence {
            return Verdict::Tail;
        }
        let behind = candidates.iter().enumerate().filter(|(_, frame)| {
            frame.sequence > self.next_sequence
                && frame.base_offset >= self.end_offset
                && self.is_current(frame)
        });
        let nearest = behind.min_by_key(|(_, frame)| frame.sequence);
        Verdict::Damage {
            resume: nearest.map(|(index, _)| index),
        }
    }
}

/// Whether a frame or chunk of this incarnation, at this sequence, was cut off: a later incarnation
/// began at or below it.
pub(super) fn is_stale(
    starts: &BTreeMap<Incarnation, u64>,
    incarnation: Incarnation,
    sequence: u64,
) -> bool {
    let later = (Bound::Excluded(incarnation), Bound::Unbounded);
    starts.range(later).any(|(_, start)| *start <= sequence)
}

/// Where the log ended at the latest by what these frames knew, of which none is of it any more.
///
/// Within one start offsets rise with sequences, so all that it knew to be durable ended no later
/// than its first frame behind that begins. Starts do not bound one another: one that ended the log
/// before a torn write has given the frames behind lower offsets than the loss has.
pub(super) fn latest_end<'a>(frames: impl Iterator<Item = &'a FrameHeader>) -> Option<Offset> {
    let mut by_start: BTreeMap<Incarnation, Vec<&FrameHeader>> = BTreeMap::new();
    for frame in frames {
        by_start.entry(frame.incarnation).or_default().push(frame);
    }
    let ends = by_start.values().filter_map(|frames| {
        let known = frames.iter().map(|frame| frame.durable_through).max()?;
        let behind = frames.iter().filter(|frame| frame.sequence > known);
        behind.map(|frame| frame.base_offset).min()
    });
    ends.max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChunkStamp, FrameKind};
    use crate::model::{LeaderEpoch, PartitionId, Timestamp, TopicId};

    /// A frame of ten records: frame n holds the offsets from 10 * n on. Incarnation 2 began with
    /// frame 4, incarnation 3 with frame 8.
    fn frame(sequence: u64, durable_through: u64, incarnation: u64) -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Data,
            batch_count: 1,
            frame_bytes: 4096,
            payload_bytes: 100,
            batches_crc: 0,
            previous_crc: sequence as u32 - 1,
            sequence,
            durable_through,
            partition: PartitionId {
                topic_id: TopicId::ZERO,
                index: 0,
            },
            leader_epoch: LeaderEpoch(0),
            base_offset: Offset(10 * sequence as i64),
            end_offset: Offset(10 * sequence as i64 + 10),
            max_timestamp: Timestamp(0),
            log_start_offset: Offset(0),
            chunk: ChunkStamp::default(),
            incarnation: Incarnation(incarnation),
            incarnation_start: [1, 1, 4, 8][incarnation as usize],
            segment: 0,
            written: Timestamp(0),
            crc: sequence as u32,
        }
    }

    /// The chain after frame 4, in incarnation 2, which claims that 3 are durable.
    fn chain() -> Chain {
        let mut chain = Chain {
            next_sequence: 4,
            previous_crc: 3,
            end_offset: Offset(40),
            incarnation: Incarnation(1),
            durable_through: 2,
            starts: BTreeMap::new(),
        };
        assert!(chain.accepts(&frame(4, 3, 2)));
        chain.advance(&frame(4, 3, 2));
        chain
    }

    #[test]
    fn a_frame_must_continue_the_chain_in_every_respect() {
        let good = frame(5, 4, 2);
        assert!(chain().accepts(&good));
        assert!(chain().accepts(&FrameHeader {
            incarnation: Incarnation(9),
            ..good
        }));
        let check = |name, frame: FrameHeader| assert!(!chain().accepts(&frame), "{name}");
        check(
            "sequence",
            FrameHeader {
                sequence: 6,
                ..good
            },
        );
        check(
            "link",
            FrameHeader {
                previous_crc: 5,
                ..good
            },
        );
        check(
            "incarnation",
            FrameHeader {
                incarnation: Incarnation(1),
                ..good
            },
        );
        check(
            "offset",
            FrameHeader {
                base_offset: Offset(51),
                ..good
            },
        );
    }

    fn check(name: &str, candidates: &[FrameHeader], expected: Verdict) {
        assert_eq!(chain().judge(candidates), expected, "{name}");
    }

    #[test]
    fn a_break_is_a_tail_unless_somebody_was_told_otherwise() {
        let resume = |index| Verdict::Damage {
            resume: Some(index),
        };
        check("nothing behind", &[], Verdict::Tail);
        check(
            "in flight with the lost one",
            &[frame(6, 4, 2)],
            Verdict::Tail,
        );
        check("built after it was durable", &[frame(6, 5, 2)], resume(0));
        check(
            "the claim may be further on",
            &[frame(6, 4, 2), frame(7, 5, 2)],
            resume(0),
        );
        check(
            "the nearest, wherever it lies",
            &[frame(7, 5, 2), frame(6, 4, 2)],
            resume(1),
        );
        check(
            "cut off earlier",
            &[frame(6, 3, 1), frame(7, 3, 1)],
            Verdict::Tail,
        );
        check(
            "never resumed in a cut tail",
            &[frame(6, 3, 1), frame(8, 5, 2)],
            resume(1),
        );
        check(
            "cut off later",
            &[frame(8, 4, 2), frame(9, 7, 3)],
            resume(1),
        );
        check(
            "below a later cut",
            &[frame(7, 4, 2), frame(9, 7, 3)],
            resume(0),
        );
    }

    fn check_known(sequence: u64, starts: &[(u64, u64)], behind: &[FrameHeader], to: Verdict) {
        let mut known = chain();
        known.durable_through = sequence;
        known
            .starts
            .extend(starts.iter().map(|(of, start)| (Incarnation(*of), *start)));
        assert_eq!(known.judge(behind), to, "{sequence} {starts:?}");
    }

    #[test]
    fn what_the_checkpoint_and_the_chunks_know_counts_without_any_frame() {
        check_known(4, &[], &[], Verdict::Tail);
        check_known(5, &[], &[], Verdict::Damage { resume: None });
        check_known(
            9,
            &[(3, 8)],
            &[frame(6, 4, 2)],
            Verdict::Damage { resume: Some(0) },
        );
        check_known(
            9,
            &[(3, 8)],
            &[frame(8, 4, 2)],
            Verdict::Damage { resume: None },
        );
        let later = [frame(8, 4, 2), frame(9, 4, 3)];
        check_known(9, &[], &later, Verdict::Damage { resume: Some(1) });
    }

    /// Frames as (sequence, claim, incarnation).
    fn check_end(frames: &[(u64, u64, u64)], expected: Option<i64>) {
        let built = frames.iter();
        let built = built.map(|(sequence, claim, of)| frame(*sequence, *claim, *of));
        let built: Vec<FrameHeader> = built.collect();
        let end = latest_end(built.iter());
        assert_eq!(end, expected.map(Offset), "{frames:?}");
    }

    #[test]
    fn what_frames_knew_ended_before_the_first_of_them_behind_it() {
        check_end(&[], None);
        check_end(&[(6, 4, 2)], Some(60));
        check_end(&[(7, 4, 2), (6, 4, 2), (8, 4, 2)], Some(60));
        // The sixth may have been durable: the seventh says so.
        check_end(&[(6, 4, 2), (7, 6, 2), (8, 6, 2)], Some(70));
        check_end(&[(6, 4, 2), (7, 5, 2)], Some(60));
        // Another start says it for itself.
        check_end(&[(6, 4, 2), (3, 2, 1), (4, 2, 1)], Some(60));
        check_end(&[(7, 2, 1), (8, 2, 1), (4, 3, 2)], Some(70));
    }

    #[test]
    fn a_frame_that_a_later_start_cut_off_is_not_the_next_one() {
        let mut chain = chain();
        assert!(chain.accepts(&frame(5, 4, 2)));
        chain.learn(&FrameHeader {
            incarnation_start: 5,
            ..frame(9, 4, 3)
        });
        assert!(!chain.accepts(&frame(5, 4, 2)));
    }
}
