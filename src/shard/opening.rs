//! Partitions whose logs are not open yet.
//!
//! A start serves as soon as it knows which partitions there are. Their logs are opened in the
//! background, and at once when somebody asks for one: a call for a partition waits until its own
//! log is open, never for the others. A crash meanwhile changes nothing: opening a log writes
//! nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use super::Shard;
use crate::io;
use crate::io::sync::Notify;
use crate::limits::PARTITIONS_OPENED_AT_ONCE_MAX;
use crate::log::Found;
use crate::model::{OFFSETS_TOPIC, PartitionId, TopicId};

/// What the start has found and not opened yet. Empty for good when it is done.
#[derive(Default)]
pub(super) struct Opening {
    found: RefCell<BTreeMap<PartitionId, Found>>,
    /// Those that are being opened; told when they are.
    begun: RefCell<HashMap<PartitionId, Rc<Notify>>>,
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
        let done = Rc::new(Notify::new());
        self.opening.begun.borrow_mut().insert(id, done.clone());
        let shard = self.clone();
        io::spawn(async move {
            shard.open_partition(id, found).await;
            shard.opening.begun.borrow_mut().remove(&id);
            done.notify_waiters();
        })
        .detach();
    }

    /// Waits until this partition is open, or is known to be offline or not there.
    pub(super) async fn opened(self: &Rc<Self>, id: PartitionId) {
        self.begin_open(id);
        let done = self.opening.begun.borrow().get(&id).cloned();
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
