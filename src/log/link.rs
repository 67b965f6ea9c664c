//! Which frames belong to a log, which are an unacknowledged tail, and what is damage. Pure.
//!
//! Recovery reads frames in the order of the chain and asks here at every step. The decision
//! rests on `durable_through`: each frame says up to which sequence everything was durable when it
//! was built, so the greatest such claim that can still be read separates what somebody may have
//! been told is safe (at or below it) from what nobody was (above it).

use crate::frame::{FrameHeader, Incarnation};
use crate::model::Offset;

/// The end of the frames accepted so far: what the next one must continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// The sequence that the next frame has.
    pub(super) next_sequence: u64,
    /// The CRC of the last frame's header.
    pub(super) previous_crc: u32,
    /// The offset that the next record has.
    pub(super) end_offset: Offset,
    /// The incarnation of the last frame: it never decreases along a chain. What a recovery cut
    /// off is older than what was written over or after it.
    pub(super) incarnation: Incarnation,
    /// The greatest claim of durability seen, and who made it.
    pub(super) claim: Claim,
}

/// "Everything up to `sequence` is durable", and the incarnation that said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) sequence: u64,
    pub(super) incarnation: Incarnation,
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
    /// Whether the frame is the next one. That it lies in the right chunk, for the right partition,
    /// was checked by the caller.
    pub(super) fn accepts(&self, frame: &FrameHeader) -> bool {
        frame.sequence == self.next_sequence
            && frame.previous_crc == self.previous_crc
            && frame.incarnation >= self.incarnation
            && frame.base_offset == self.end_offset
    }

    /// The frame is the last one now.
    pub(super) fn advance(&mut self, frame: &FrameHeader) {
        self.next_sequence = frame.sequence + 1;
        self.previous_crc = frame.crc;
        self.end_offset = frame.end_offset;
        self.incarnation = frame.incarnation;
        self.claim = self.claim.max(claim_of(frame));
    }

    /// Judges a break: the next frame is not where it should be, or its payload is damaged.
    /// `candidates` are the intact headers found behind it, in the order in which they lie.
    pub(super) fn judge(&self, candidates: &[FrameHeader]) -> Verdict {
        let claim = candidates.iter().map(claim_of).fold(self.claim, Claim::max);
        if claim.sequence < self.next_sequence {
            return Verdict::Tail;
        }
        let oldest = self.incarnation.max(claim.incarnation);
        let resume = candidates.iter().position(|frame| {
            frame.sequence > self.next_sequence
                && frame.incarnation >= oldest
                && frame.base_offset >= self.end_offset
        });
        Verdict::Damage { resume }
    }
}

fn claim_of(frame: &FrameHeader) -> Claim {
    Claim {
        sequence: frame.durable_through,
        incarnation: frame.incarnation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChunkStamp, FrameKind};
    use crate::model::{LeaderEpoch, PartitionId, Timestamp, TopicId};

    /// A frame of ten records: frame n holds the offsets from 10 * n on.
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
            claim: Claim::default(),
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
            "cut off earlier",
            &[frame(6, 3, 1), frame(7, 3, 1)],
            Verdict::Tail,
        );
        let stale_then_new = [frame(6, 3, 1), frame(8, 5, 2)];
        check("never resumed in a cut tail", &stale_then_new, resume(1));
        let claimed_by_a_later_start = [frame(6, 4, 2), frame(9, 6, 3)];
        check("older than the claim", &claimed_by_a_later_start, resume(1));
    }

    #[test]
    fn a_claim_of_the_checkpoint_counts_without_any_frame() {
        let mut known = chain();
        known.claim = Claim {
            sequence: 5,
            incarnation: Incarnation(3),
        };
        assert_eq!(known.judge(&[]), Verdict::Damage { resume: None });
        let stale = [frame(6, 4, 2)];
        assert_eq!(known.judge(&stale), Verdict::Damage { resume: None });
        known.claim.sequence = 4;
        assert_eq!(known.judge(&[]), Verdict::Tail);
    }
}
