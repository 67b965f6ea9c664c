//! The closed enum of all cross-core mail.
//!
//! A request travels as one `Call` to each owner core and comes back as one `Answer`, both
//! through the mailboxes. Everything in a message is owned by it; record bytes travel as
//! `Bytes`, by reference count. A message is copied on its way, so what is large and not hot is
//! boxed.

use std::sync::Arc;

use super::control::{ControlAnswer, ControlCall};
use super::fetch::{FetchPart, FetchResult};
use super::groups::{GroupAnswer, GroupCall};
use super::inspect::{PartitionState, PartitionsWanted};
use super::offsets::{OffsetsCall, OffsetsResult};
use super::produce::ProduceResult;
use crate::controller::Record;
use crate::log::Batch;
use crate::metrics::Counter;
use crate::model::{CoreId, Offset, PartitionId};

/// One piece of mail.
pub enum Message {
    /// Do this, and answer into the sender's slot.
    Call {
        /// The core that asks.
        from: CoreId,
        /// The sender's reply slot.
        slot: usize,
        /// What to do.
        call: Call,
    },
    /// What came of the call in this slot.
    Answer {
        /// The receiver's reply slot.
        slot: usize,
        /// The answer.
        answer: Answer,
    },
    /// The watch that this core placed with this number is no longer needed.
    EndWatch {
        /// The core that placed it.
        from: CoreId,
        /// The slot of the watch's call.
        slot: usize,
    },
}

/// What one core asks of another.
pub enum Call {
    /// Append batches; answered when they are durable, or when `wait_durable` is false as soon as
    /// their places are fixed.
    Produce {
        /// The batches, at most one a partition.
        parts: Vec<ProducePart>,
        /// Whether the answer waits for durability.
        wait_durable: bool,
    },
    /// Read partitions.
    Fetch {
        /// What to read.
        parts: Vec<FetchPart>,
        /// The most bytes of all parts together.
        max_bytes: usize,
        /// Whether the first partition that has data gives one batch whatever its size.
        at_least_one: bool,
    },
    /// Answer once the watermark of any of these is no longer what it was.
    Watch(Vec<(PartitionId, Offset)>),
    /// Find, set and compare offsets.
    Offsets(Vec<OffsetsCall>),
    /// Report on partitions.
    Inspect(PartitionsWanted),
    /// For the coordinator of an offsets partition.
    Group(Box<GroupCall>),
    /// For the controller, on core 0.
    Control(ControlCall),
    /// Apply metadata that is durable, in this order.
    Apply(Arc<[Record]>),
}

impl Call {
    /// What counts the calls of this kind that went to another core.
    pub(super) fn counter(&self) -> Counter {
        match self {
            Call::Produce { .. } => Counter::ProduceHops,
            Call::Fetch { .. } => Counter::FetchHops,
            Call::Watch(_) => Counter::WatchHops,
            Call::Offsets(_) => Counter::OffsetsHops,
            Call::Inspect(_) => Counter::InspectHops,
            Call::Group(_) => Counter::GroupHops,
            Call::Control(_) => Counter::ControlHops,
            Call::Apply(_) => Counter::ApplyHops,
        }
    }
}

/// What comes back. Each variant answers the call of the same name.
pub enum Answer {
    /// One result a part, in order.
    Produce(Vec<ProduceResult>),
    /// One result a part, in order.
    Fetch(Vec<FetchResult>),
    /// A watermark moved, or the watch was ended.
    Watch,
    /// One result a call, in order.
    Offsets(Vec<OffsetsResult>),
    /// The partitions of this core.
    Inspect(Vec<PartitionState>),
    /// The coordinator's answer.
    Group(Box<GroupAnswer>),
    /// The controller's answer.
    Control(ControlAnswer),
    /// Applied.
    Apply,
}

// What carries records stays as small as a cache line, about.
const _: () = assert!(size_of::<Message>() <= 72);

/// One partition's batch.
pub struct ProducePart {
    /// The partition.
    pub partition: PartitionId,
    /// One batch, verbatim as the producer sent it.
    pub batch: Batch,
}
