//! Consumer groups and offsets as state machines over `__consumer_offsets`.
//!
//! `Coordinator` holds the groups of one partition of the offsets topic. It is pure:
//! `handle(now, event)` takes a request, a timer or the end of an append and returns effects:
//! append these records, answer this request, wake me then, let the log start there. The shard
//! that leads the partition owns the coordinator and carries the effects out.
//!
//! - Opening: `Coordinator::new`, `replay` of every record of the partition, `Event::Loaded`.
//! - Answering: every `Event::Request` gets one `Effect::Reply` with its token, at once or later.
//!   What a client may rely on is answered when it is durable.
//! - Appending: each `Effect::Append` is answered by `Event::Appended` or `Event::AppendFailed`.
//!   The appends must be made in the order of the effects; their ends may be told in any order.
//! - Time: `Effect::Wake` asks for `Event::Timer`; the last wish counts.
//! - Bounded storage: live records are written again and `Effect::AdvanceLogStart` follows.
//! - `partition_for` says which partition a group belongs to.
//!
//! The classic protocol is served in full (join, sync, heartbeat, leave, static membership);
//! protocol types and metadata are opaque but for one look at consumers' subscriptions, which
//! forgives. KIP-848 groups and transactional commits are not here.

mod event;
mod request;

mod machine;
mod serve;
mod step;

mod group;
mod subscription;

mod join;
mod membership;
mod rebalance;

mod offsets;
mod retention;
mod trim;

mod record;
mod slot;
mod timers;

#[cfg(test)]
mod tests;

pub use event::{Effect, Event, Now, OffsetsRecord, Ticket, Token};
pub use group::GroupState;
pub use machine::Coordinator;
pub use record::{RecordError, RecordKey};
pub use request::{
    CommitPartition, CommitRequest, CommittedOffset, DeleteGroupRequest, DeleteOffsetsRequest,
    DescribeRequest, DescribedGroup, DescribedMember, FetchRequest, FetchedTopic, GroupError,
    HeartbeatRequest, JoinRequest, JoinResponse, JoinedMember, LeaveRequest, LeavingMember,
    LeftMember, ListRequest, ListedGroup, Request, Response, SyncRequest, SyncResponse,
    TopicOutcome,
};
pub use step::CoordinatorConfig;

/// The partition of the offsets topic that a group belongs to: Java's `String.hashCode`, without
/// its sign, modulo the number of partitions. Clients and tools compute the same.
pub fn partition_for(group_id: &str, partition_count: i32) -> i32 {
    assert!(partition_count > 0, "the offsets topic has partitions");
    let add = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    let hash = group_id.encode_utf16().fold(0_i32, add);
    // Java's abs of the least integer is itself; Kafka takes 0 for it.
    hash.checked_abs().unwrap_or(0) % partition_count
}
