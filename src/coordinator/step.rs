//! The context of one step: the clock, the configuration, and where effects go.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::event::{Effect, Now, OffsetsRecord, Ticket, Token};
use super::group::{Group, Member};
use super::record::{self, Committed, RecordKey};
use super::request::{GroupError, JoinResponse, Response, SyncResponse};
use super::timers::{TimerAction, TimerKey, Timers};
use crate::config::{GroupConfig, OffsetsConfig};
use crate::limits::OFFSETS_APPEND_BYTES_MAX;
use crate::model::Offset;

/// What a coordinator is told by the broker's configuration.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Sessions, rebalances and sizes of groups.
    pub groups: GroupConfig,
    /// Committed offsets and their retention.
    pub offsets: OffsetsConfig,
}

/// One record that is being appended.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) key: RecordKey,
    /// `None` is a tombstone.
    pub(super) value: Option<StoredValue>,
}

/// A record's value before it is encoded.
#[derive(Clone, Debug)]
pub(super) enum StoredValue {
    Group(Bytes),
    Offset(Committed),
}

impl Change {
    pub(super) fn encode(&self) -> OffsetsRecord {
        let value = self.value.as_ref().map(|value| match value {
            StoredValue::Group(bytes) => bytes.clone(),
            StoredValue::Offset(committed) => record::encode_offset(committed),
        });
        OffsetsRecord {
            key: record::encode_key(&self.key),
            value,
        }
    }

    pub(super) fn begin(&self, group: &mut Group) {
        match &self.key {
            RecordKey::Group { .. } => group.record.begin(self.group_value()),
            RecordKey::Offset {
                topic, partition, ..
            } => {
                let slot = group.offsets.entry(topic.clone()).or_default();
                slot.entry(*partition)
                    .or_default()
                    .begin(self.offset_value());
            }
        }
    }

    pub(super) fn group_value(&self) -> Option<Bytes> {
        match &self.value {
            Some(StoredValue::Group(bytes)) => Some(bytes.clone()),
            Some(StoredValue::Offset(_)) | None => None,
        }
    }

    pub(super) fn offset_value(&self) -> Option<Committed> {
        match &self.value {
            Some(StoredValue::Offset(committed)) => Some(committed.clone()),
            Some(StoredValue::Group(_)) | None => None,
        }
    }
}

/// An append until it ends.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) changes: Vec<Change>,
    pub(super) after: After,
    /// Answered when the append is durable; turned into a refusal if it, or an earlier append of
    /// its step, fails.
    pub(super) reply: Option<(Token, Response)>,
    /// The next append of the same step, whose answer is for this one too.
    next: Option<Ticket>,
    /// Whether an earlier append of the same step has failed.
    pub(super) follows_failed: bool,
}

/// What follows an append, beyond its answer.
#[derive(Debug)]
pub(super) enum After {
    /// Nothing.
    Settled,
    /// The leader's assignment is stored: hand it out.
    Assign {
        group_id: Arc<str>,
        generation: i32,
        assignment: BTreeMap<Arc<str>, Bytes>,
    },
    /// A static member's new id is stored: answer its JoinGroup, unless a rebalance has begun.
    StaticRejoin(StaticRejoin),
    /// Live records were written again: the log may start at `to`.
    Trim { to: Offset },
}

/// See `After::StaticRejoin`.
#[derive(Debug)]
pub(super) struct StaticRejoin {
    pub(super) group_id: Arc<str>,
    pub(super) member_id: Arc<str>,
    pub(super) token: Token,
    /// The leader before the member got its new id, for clients that cannot skip an assignment.
    pub(super) old_leader: String,
    pub(super) skips_assignment: bool,
}

/// The appends in flight.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) in_flight: BTreeMap<Ticket, InFlight>,
    /// Ends of appends that an earlier append has not reached yet: who carries the news of
    /// durability may carry it out of order, and the order of the log is what counts.
    ended: BTreeMap<Ticket, Outcome>,
    next_ticket: u64,
}

/// How an append ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Durable { base_offset: Offset },
    Failed,
}

impl Journal {
    /// Notes how an append ended.
    pub(super) fn end(&mut self, ticket: Ticket, outcome: Outcome) {
        assert!(
            self.in_flight.contains_key(&ticket),
            "{ticket:?} is not in flight"
        );
        self.ended.insert(ticket, outcome);
    }

    /// Takes the oldest append, if it has ended.
    pub(super) fn take_ended(&mut self) -> Option<(InFlight, Outcome)> {
        let first = self.in_flight.first_entry()?;
        let outcome = self.ended.remove(first.key())?;
        Some((first.remove(), outcome))
    }

    /// Tells the next append of a step, if there is one, that its answer cannot be what it was to
    /// be: small appends may succeed after a large one has failed.
    pub(super) fn fail_next(&mut self, in_flight: &InFlight) {
        if let Some(ticket) = in_flight.next {
            let next = self.in_flight.get_mut(&ticket);
            next.expect("appends end in order").follows_failed = true;
        }
    }

    pub(super) fn append(
        &mut self,
        effects: &mut Vec<Effect>,
        changes: Vec<Change>,
        after: After,
    ) -> Ticket {
        assert!(!changes.is_empty(), "an append has records");
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let records = changes.iter().map(Change::encode).collect();
        effects.push(Effect::Append { ticket, records });
        let in_flight = InFlight {
            changes,
            after,
            reply: None,
            next: None,
            follows_failed: false,
        };
        self.in_flight.insert(ticket, in_flight);
        ticket
    }
}

/// Everything that a decision about one group may touch besides the group.
pub(super) struct Step<'a> {
    pub(super) now: Now,
    pub(super) config: &'a CoordinatorConfig,
    pub(super) timers: &'a mut Timers,
    pub(super) journal: &'a mut Journal,
    pub(super) effects: &'a mut Vec<Effect>,
    /// The last append of this step.
    pub(super) appended: Option<Ticket>,
}

impl Step<'_> {
    pub(super) fn reply(&mut self, token: Token, response: Response) {
        self.effects.push(Effect::Reply { token, response });
    }

    /// Answers when all that this step appended is durable; now, if it appended nothing.
    pub(super) fn reply_when_durable(&mut self, token: Token, response: Response) {
        match self.appended {
            Some(ticket) => {
                let in_flight = self.journal.in_flight.get_mut(&ticket);
                in_flight.expect("appended in this step").reply = Some((token, response));
            }
            None => self.reply(token, response),
        }
    }

    pub(super) fn refuse_join(&mut self, token: Token, error: GroupError, member_id: &str) {
        self.reply(
            token,
            Response::Join(JoinResponse::failed(error, member_id)),
        );
    }

    pub(super) fn refuse_sync(&mut self, token: Token, error: GroupError) {
        self.reply(token, Response::Sync(SyncResponse::failed(error)));
    }

    /// Appends changes of one group, in as few batches as their size allows; `after` belongs to
    /// the last.
    pub(super) fn append(&mut self, group: &mut Group, changes: Vec<Change>, after: After) {
        let mut after = Some(after);
        let mut rest = changes.into_iter().peekable();
        while rest.peek().is_some() {
            let mut batch = Vec::new();
            let mut bytes = 0;
            while let Some(change) = rest.next_if(|change| {
                bytes += size_bytes(change);
                batch.is_empty() || bytes <= OFFSETS_APPEND_BYTES_MAX
            }) {
                change.begin(group);
                batch.push(change);
            }
            let is_last = rest.peek().is_none();
            let then = if is_last { after.take() } else { None };
            let then = then.unwrap_or(After::Settled);
            let ticket = self.journal.append(self.effects, batch, then);
            if let Some(before) = self.appended.replace(ticket) {
                let before = self.journal.in_flight.get_mut(&before);
                before.expect("appended in this step").next = Some(ticket);
            }
        }
    }

    /// Starts a member's session, or starts it anew.
    pub(super) fn touch(&mut self, group_id: &Arc<str>, member: &Member) {
        self.expect_by(group_id, &member.id, i64::from(member.session_timeout_ms));
    }

    /// Expects a sign of a member, or of a pending id, within the time.
    pub(super) fn expect_by(&mut self, group_id: &Arc<str>, member_id: &Arc<str>, within_ms: i64) {
        let key = TimerKey::Session(group_id.clone(), member_id.clone());
        self.timers
            .set(key, self.now.clock_ms + within_ms, TimerAction::Session);
    }

    pub(super) fn forget_session(&mut self, group_id: &Arc<str>, member_id: &Arc<str>) {
        self.timers
            .cancel(&TimerKey::Session(group_id.clone(), member_id.clone()));
    }
}

/// About what a change takes in the batch.
pub(super) fn size_bytes(change: &Change) -> usize {
    const OVERHEAD_BYTES: usize = 64;
    let key = match &change.key {
        RecordKey::Group { group_id } => group_id.len(),
        RecordKey::Offset {
            group_id, topic, ..
        } => group_id.len() + topic.len(),
    };
    let value = match &change.value {
        Some(StoredValue::Group(bytes)) => bytes.len(),
        Some(StoredValue::Offset(committed)) => committed.metadata.len(),
        None => 0,
    };
    OVERHEAD_BYTES + key + value
}
