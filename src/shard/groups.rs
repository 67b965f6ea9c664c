//! Group coordinators: one for each partition of `__consumer_offsets` that this shard owns.
//!
//! A coordinator decides and never waits; this file carries its effects to its partition and to
//! whoever asked, and brings it the time. It is loaded from its partition when that is opened;
//! until then it answers that it is loading. A crash loses members and waiting requests, which
//! clients rejoin; what was committed is in the partition.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::Shard;
use super::message::{Answer, Call};
use crate::coordinator::{
    Coordinator, CoordinatorConfig, Effect, Event, Now, OffsetsRecord, Request, Response, Ticket,
    Token,
};
use crate::frame::{self, BatchBuilder, BatchHeader, Codec};
use crate::io;
use crate::io::sync::{Notify, oneshot};
use crate::limits::{DECOMPRESSED_BATCH_BYTES_MAX, METRICS_COMMITTED_MAX, OFFSETS_LOAD_READ_BYTES};
use crate::metrics::CommittedOffset;
use crate::model::{Offset, PartitionId, TopicId, TopicName, TopicPartition};
use crate::partition::{Partition, Pending};

/// A request for the coordinator of an offsets partition.
#[derive(Debug)]
pub struct GroupCall {
    /// The partition of `__consumer_offsets`.
    pub partition: PartitionId,
    /// The request.
    pub request: Request,
}

/// The coordinator's answer; `None` if the partition has no coordinator here.
pub type GroupAnswer = Option<Response>;

/// The coordinators of one shard, by partition.
#[derive(Default)]
pub(super) struct Groups {
    seats: RefCell<HashMap<PartitionId, Rc<Seat>>>,
}

/// One coordinator and what it needs of the world.
struct Seat {
    partition: Rc<Partition>,
    coordinator: RefCell<Coordinator>,
    waiting: RefCell<HashMap<Token, oneshot::Sender<Response>>>,
    next_token: Cell<u64>,
    wake_at_ms: Cell<Option<i64>>,
    wake_changed: Notify,
    closed: Cell<bool>,
    started: io::Instant,
}

impl Shard {
    /// Asks the coordinator of an offsets partition, on whichever core it is.
    pub async fn group(self: &Rc<Self>, partition: PartitionId, request: Request) -> GroupAnswer {
        let core = self.owner(partition)?;
        match self
            .call(
                core,
                Call::Group(Box::new(GroupCall { partition, request })),
            )
            .await
        {
            Answer::Group(answer) => *answer,
            _ => unreachable!("a coordinator answers as a coordinator"),
        }
    }

    pub(super) async fn group_local(self: &Rc<Self>, call: GroupCall) -> GroupAnswer {
        self.opened(call.partition).await;
        let seat = self.groups.seats.borrow().get(&call.partition).cloned()?;
        let (sender, receiver) = oneshot::channel();
        let token = Token(seat.next_token.replace(seat.next_token.get() + 1));
        seat.waiting.borrow_mut().insert(token, sender);
        seat.step(Event::Request {
            token,
            request: call.request,
        });
        // The coordinator answers every request; when it goes, the sender goes with it.
        receiver.await.ok()
    }

    /// Seats a coordinator on a partition that was just opened and loads it in the background.
    pub(super) fn seat_coordinator(self: &Rc<Self>, partition: Rc<Partition>) {
        let config = self.config();
        let config = CoordinatorConfig {
            groups: config.groups.clone(),
            offsets: config.offsets.clone(),
        };
        let seat = Rc::new(Seat {
            coordinator: RefCell::new(Coordinator::new(config)),
            waiting: RefCell::new(HashMap::new()),
            next_token: Cell::new(0),
            wake_at_ms: Cell::new(None),
            wake_changed: Notify::new(),
            closed: Cell::new(false),
            started: io::now(),
            partition,
        });
        self.groups
            .seats
            .borrow_mut()
            .insert(seat.partition.id(), seat.clone());
        io::spawn(seat.clone().keep_time()).detach();
        io::spawn(seat.load()).detach();
    }

    /// Ends the coordinators of a topic that is gone.
    pub(super) fn unseat_coordinators(&self, topic: TopicId) {
        let gone = self
            .groups
            .seats
            .borrow_mut()
            .extract_if(|id, _| id.topic_id == topic)
            .map(|(_, seat)| seat)
            .collect::<Vec<_>>();
        for seat in gone {
            seat.close();
        }
    }

    /// Ends all coordinators: whoever waits is told to look for another one.
    pub(super) fn unseat_all_coordinators(&self) {
        for (_, seat) in self.groups.seats.borrow_mut().drain() {
            seat.close();
        }
    }

    /// Tells all coordinators that a topic is gone, so that its offsets go too.
    pub(super) fn forget_offsets_of(&self, topic: &str) {
        let seats: Vec<_> = self.groups.seats.borrow().values().cloned().collect();
        for seat in seats {
            seat.step(Event::TopicDeleted {
                topic: topic.to_owned(),
            });
        }
    }

    /// The number of groups that this shard coordinates.
    /// Where the groups of this core stand, for `/metrics`; not more than fit a page.
    pub(super) fn committed_figures(&self) -> Vec<CommittedOffset> {
        let mut figures = Vec::new();
        for seat in self.groups.seats.borrow().values() {
            let coordinator = seat.coordinator.borrow();
            let room = METRICS_COMMITTED_MAX - figures.len();
            let shown = coordinator
                .committed()
                .filter_map(|(group, topic, index, offset)| {
                    Some(CommittedOffset {
                        group: group.clone(),
                        partition: TopicPartition {
                            topic: TopicName::new(topic).ok()?,
                            index,
                        },
                        offset,
                    })
                });
            figures.extend(shown.take(room));
        }
        figures
    }

    pub(super) fn groups_count(&self) -> usize {
        let seats = self.groups.seats.borrow();
        seats
            .values()
            .map(|seat| seat.coordinator.borrow().groups_count())
            .sum()
    }
}

impl Seat {
    fn now(&self) -> Now {
        Now {
            clock_ms: (io::now() - self.started).as_millis() as i64,
            wall: io::wall_clock(),
        }
    }

    /// Lets the coordinator decide, and carries out what it decides.
    fn step(self: &Rc<Self>, event: Event) {
        if self.closed.get() {
            return;
        }
        let effects = self.coordinator.borrow_mut().handle(self.now(), event);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(self: &Rc<Self>, effect: Effect) {
        match effect {
            Effect::Append { ticket, records } => self.append(ticket, &records),
            Effect::Reply { token, response } => {
                if let Some(waiting) = self.waiting.borrow_mut().remove(&token) {
                    // Whoever asked may have gone.
                    let _ = waiting.send(response);
                }
            }
            Effect::Wake { at_ms } => {
                self.wake_at_ms.set(Some(at_ms));
                self.wake_changed.notify_one();
            }
            Effect::AdvanceLogStart { to } => {
                let seat = self.clone();
                io::spawn(async move {
                    // If it fails the log stays longer, which harms nobody.
                    let _ = seat.partition.delete_records(Some(to)).await;
                })
                .detach();
            }
        }
    }

    /// Appends records as one batch. Synchronous, so batches stand in the order of decisions; the
    /// news of durability comes later.
    fn append(self: &Rc<Self>, ticket: Ticket, records: &[OffsetsRecord]) {
        let now = io::wall_clock();
        let mut batch = BatchBuilder::new(Codec::None);
        for record in records {
            batch.push(now, Some(&record.key), record.value.as_deref());
        }
        let pending = Pending::new();
        let appended = self.partition.append_own(&batch.build(), now, &pending);
        let seat = self.clone();
        io::spawn(async move {
            pending.settled().await;
            let event = match appended {
                Ok(appended) if !pending.is_refused(0) => Event::Appended {
                    ticket,
                    base_offset: appended.base_offset,
                },
                Ok(_) | Err(_) => Event::AppendFailed { ticket },
            };
            seat.step(event);
        })
        .detach();
    }

    /// Brings the coordinator the time that it asked for.
    async fn keep_time(self: Rc<Self>) {
        while !self.closed.get() {
            let changed = self.wake_changed.notified();
            let Some(at_ms) = self.wake_at_ms.get() else {
                changed.await;
                continue;
            };
            let left_ms = u64::try_from(at_ms - self.now().clock_ms).unwrap_or(0);
            let due = io::timeout(Duration::from_millis(left_ms), changed)
                .await
                .is_none();
            if due && self.wake_at_ms.get() == Some(at_ms) {
                self.wake_at_ms.set(None);
                self.step(Event::Timer);
            }
        }
    }

    /// Replays the partition into the coordinator.
    async fn load(self: Rc<Self>) {
        let log = self.partition.log().clone();
        let log_start = log.start_offset();
        let log_end = self.partition.high_watermark();
        let mut offset = log_start;
        while offset < log_end && !self.closed.get() {
            let read = match log
                .read(offset, log_end, OFFSETS_LOAD_READ_BYTES, true)
                .await
            {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!(
                        "{}-{}: groups stay unavailable, offset {offset} cannot be read: {error:?}",
                        self.partition.topic(),
                        self.partition.id().index
                    );
                    return;
                }
            };
            // The partition may have gone, or the node begun to stop, during the read.
            if self.closed.get() {
                return;
            }
            for slice in &read.batches {
                self.load_batches(slice.clone(), offset);
            }
            assert!(
                read.next_offset > offset,
                "a read below the end makes progress"
            );
            offset = read.next_offset;
            io::yield_now().await;
        }
        self.step(Event::Loaded { log_start, log_end });
    }

    fn load_batches(&self, mut slice: Bytes, from: Offset) {
        while let Some(header) = BatchHeader::read(&slice) {
            let bytes = header.total_bytes().unwrap_or(slice.len()).min(slice.len());
            let batch = slice.split_to(bytes);
            let Ok(records) = frame::records(&batch, DECOMPRESSED_BATCH_BYTES_MAX) else {
                tracing::warn!(
                    "{}: a batch cannot be read and is passed over",
                    header.base_offset
                );
                continue;
            };
            for record in records.iter().map_while(Result::ok) {
                if record.offset >= from
                    && let Some(key) = record.key
                {
                    let value = record.value;
                    let mut coordinator = self.coordinator.borrow_mut();
                    if let Err(error) = coordinator.replay(record.offset, Some(key), value) {
                        tracing::warn!("offset {}: not a group's record: {error:?}", record.offset);
                    }
                }
            }
        }
    }

    fn close(self: &Rc<Self>) {
        self.step(Event::Unload);
        self.closed.set(true);
        self.waiting.borrow_mut().clear();
        self.wake_changed.notify_one();
    }
}
