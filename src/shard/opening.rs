//! Partitions whose logs are not open yet.
//!
//! A start serves as soon as it knows which partitions there are. Their logs are opened in the
//! background, and at once when somebody asks for one: a call for a partition waits until its own
//! log is open, never for the others. Batches stand in a line of their own log, so that their order
//! is fixed when they come. A crash meanwhile changes nothing: opening a log writes nothing. So a
//! node that stops does not wait for it either.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use super::Shard;
use super::produce::InLine;
use crate::io;
use crate::io::sync::Notify;
use crate::limits::{OPENING_REFUSED_MAX, PARTITIONS_OPENED_AT_ONCE_MAX};
use crate::log::Found;
use crate::model::{OFFSETS_TOPIC, PartitionId, TopicId};

/// What the start has found and not opened yet. Empty for good when it is done.
#[derive(Default)]
pub(super) struct Opening {
    found: RefCell<BTreeMap<PartitionId, Found>>,
    begun: RefCell<HashMap<PartitionId, Begun>>,
    /// Refused batches that stand in a line.
    refused_count: Cell<usize>,
}

/// A log that is being opened.
struct Begun {
    /// Told when it is open, or will not be.
    done: Rc<Notify>,
    /// What opens it.
    task: io::Task<()>,
    /// Batches that came meanwhile, bounded by what backlogs may hold, and refused ones, bounded
    /// by `OPENING_REFUSED_MAX`.
    line: VecDeque<InLine>,
}

impl Opening {
    pub(super) fn put(&self, found: Vec<(PartitionId, Found)>) {
        self.found.borrow_mut().extend(found);
    }

    fn is_done(&self) -> bool {
        self.found.borrow().is_empty() && self.begun.borrow().is_empty()
    }

    fn contains(&self, id: PartitionId) -> bool {
        self.found.borrow().contains_key(&id) || self.begun.borrow().contains_key(&id)
    }

    fn ids(&self) -> Vec<PartitionId> {
        let (found, begun) = (self.found.borrow(), self.begun.borrow());
        begun.keys().chain(found.keys()).copied().collect()
    }
}

impl Shard {
    /// Whether nobody has to wait for any of these.
    pub(super) fn are_open(&self, mut ids: impl Iterator<Item = PartitionId>) -> bool {
        self.opening.is_done() || !ids.any(|id| self.opening.contains(id))
    }

    /// Begins to open the log of this partition, if that is still to be done.
    pub(super) fn begin_open(self: &Rc<Self>, id: PartitionId) {
        let Some(found) = self.opening.found.borrow_mut().remove(&id) else {
            return;
        };
        // Now: a task that is ended before its first turn would not.
        self.store.remember(id, &found);
        let shard = self.clone();
        let task = io::spawn(async move {
            shard.open_partition(id, found).await;
            if let Some(task) = shard.end_open(id) {
                task.detach();
            }
        });
        let begun = Begun {
            done: Rc::default(),
            task,
            line: VecDeque::new(),
        };
        self.opening.begun.borrow_mut().insert(id, begun);
    }

    /// The log is open, or will not be: what stands in its line is taken in before anything that
    /// comes from now on. Gives the task that opens it.
    fn end_open(self: &Rc<Self>, id: PartitionId) -> Option<io::Task<()>> {
        let begun = self.opening.begun.borrow_mut().remove(&id)?;
        for next in begun.line {
            if let InLine::Refused(..) = next {
                let refused_count = &self.opening.refused_count;
                refused_count.set(refused_count.get() - 1);
            }
            self.take_in(next);
        }
        begun.done.notify_waiters();
        Some(begun.task)
    }

    /// Puts this at the end of the line of a log that is being opened.
    pub(super) fn stand_in_line(self: &Rc<Self>, id: PartitionId, next: InLine) {
        self.begin_open(id);
        if let Some(begun) = self.opening.begun.borrow_mut().get_mut(&id) {
            if let InLine::Refused(..) = next {
                let refused_count = &self.opening.refused_count;
                if refused_count.get() >= OPENING_REFUSED_MAX {
                    return;
                }
                refused_count.set(refused_count.get() + 1);
            }
            begun.line.push_back(next);
            return;
        }
        self.take_in(next);
    }

    /// Opens no more logs: the node stops. Nothing of those that are not open is lost, on the disk
    /// they are as they were; until the next start they are offline.
    pub fn stop_opening(self: &Rc<Self>) {
        self.stopping.set(true);
        let left = self.opening.found.take();
        for (id, found) in &left {
            // The last checkpoint is not to forget what the one before knew.
            self.store.remember(*id, found);
        }
        let begun: Vec<PartitionId> = self.opening.begun.borrow().keys().copied().collect();
        let ids = left.keys().chain(&begun);
        self.offline.borrow_mut().extend(ids.copied());
        for id in begun {
            // The task ends with its handle.
            drop(self.end_open(id));
        }
        if !left.is_empty() {
            let (core, count) = (self.core.0, left.len());
            tracing::info!("core {core}: {count} partitions are left to the next start to open");
        }
    }

    /// Waits until this partition is open, or is known to be offline or not there.
    pub(super) async fn opened(self: &Rc<Self>, id: PartitionId) {
        self.begin_open(id);
        let done = {
            let begun = self.opening.begun.borrow();
            begun.get(&id).map(|begun| begun.done.clone())
        };
        if let Some(done) = done {
            done.notified().await;
        }
    }

    /// The same for several.
    pub(super) async fn all_opened(self: &Rc<Self>, ids: impl Iterator<Item = PartitionId>) {
        if !self.opening.is_done() {
            join_all(ids.map(|id| self.opened(id))).await;
        }
    }

    /// Opens all that is left, many at a time; the offsets topic first, because its coordinators
    /// have to load.
    pub(super) async fn open_everything(self: &Rc<Self>) {
        let mut ids = self.opening.ids();
        ids.sort_by_key(|id| !self.is_of_offsets_topic(*id));
        stream::iter(ids)
            .map(|id| self.opened(id))
            .buffer_unordered(PARTITIONS_OPENED_AT_ONCE_MAX)
            .for_each(|()| std::future::ready(()))
            .await;
    }

    /// Opens the logs of a topic that goes, and those that may hold groups' offsets of it.
    pub(super) async fn open_before_deletion_of(self: &Rc<Self>, topic: TopicId) {
        let ids = self.opening.ids().into_iter();
        let concerned = ids.filter(|id| id.topic_id == topic || self.is_of_offsets_topic(*id));
        self.all_opened(concerned).await;
    }

    fn is_of_offsets_topic(&self, id: PartitionId) -> bool {
        let topic = self.topic(id.topic_id);
        topic.is_some_and(|topic| topic.name.as_str() == OFFSETS_TOPIC)
    }
}
