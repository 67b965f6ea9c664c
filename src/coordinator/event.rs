//! What goes into a coordinator and what comes out.

use bytes::Bytes;

use super::request::{Request, Response};
use crate::model::{Offset, Timestamp};

/// Names a request to its asker; the coordinator never looks into it. Each request is answered
/// exactly once, unless the coordinator is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names an append until it is durable or has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The time of a step, of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// A monotonic clock, in milliseconds from anywhere: deadlines.
    pub clock_ms: i64,
    /// The wall clock: what is stored, and the age of what is stored.
    pub wall: Timestamp,
}

/// Something that happens to a coordinator.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request arrived.
    Request {
        /// Names the request in `Effect::Reply`.
        token: Token,
        /// The request.
        request: Request,
    },
    /// The time of `Effect::Wake` has come.
    Timer,
    /// An append is durable. Appends become durable in the order in which they were asked for.
    Appended {
        /// The append.
        ticket: Ticket,
        /// The offset of its first record; the others follow without a gap.
        base_offset: Offset,
    },
    /// An append failed. Later ones may succeed: a full disk may have room for a smaller one.
    AppendFailed {
        /// The append.
        ticket: Ticket,
    },
    /// The replay is over: requests are served from now on.
    Loaded {
        /// The first offset of the partition's log.
        log_start: Offset,
        /// The offset after its last record.
        log_end: Offset,
    },
    /// A topic was deleted: forget its offsets.
    TopicDeleted {
        /// The topic's name.
        topic: String,
    },
    /// The coordinator is being closed: answer everything that waits.
    Unload,
}

/// Something that a coordinator wants done. Effects are to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Append these records, as one batch, in the order of the effects; then say
    /// `Event::Appended` or `Event::AppendFailed`.
    Append {
        /// Names the append.
        ticket: Ticket,
        /// The records, at least one.
        records: Vec<OffsetsRecord>,
    },
    /// Answer a request.
    Reply {
        /// The request.
        token: Token,
        /// The answer.
        response: Response,
    },
    /// Say `Event::Timer` at this time of the monotonic clock; an earlier wish is void.
    Wake {
        /// When, in milliseconds of `Now::clock_ms`.
        at_ms: i64,
    },
    /// Nothing below this offset is needed any more: let the partition's log start there.
    AdvanceLogStart {
        /// The new first offset.
        to: Offset,
    },
}

/// A record of `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsRecord {
    /// The key; the topic is compacted.
    pub key: Bytes,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
}
