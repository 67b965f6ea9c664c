//! The hot tails: buffers that were written and are kept for readers who follow the end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use bytes::Bytes;

use crate::model::Offset;

use super::handle::Log;

/// A durable frame of which the memory is still there.
#[derive(Debug)]
pub(super) struct HotFrame {
    pub(super) base_offset: Offset,
    pub(super) end_offset: Offset,
    /// The batches; what was written, not a copy.
    pub(super) payload: Bytes,
    /// What the frame's buffer occupies, which may be more than it holds.
    pub(super) memory_bytes: usize,
}

/// The budget of all hot frames of one shard, first in, first out over all of its logs.
///
/// The frames themselves stand in their logs. A crash loses them; the disk has them.
pub(super) struct HotTails {
    limit_bytes: usize,
    bytes: Cell<usize>,
    /// One entry per hot frame, in the order of their writes. An entry whose frame its log has
    /// dropped by itself is skipped when its turn comes.
    queue: RefCell<VecDeque<Entry>>,
    /// Entries added since the dead ones were last looked for.
    added_count: Cell<usize>,
}

struct Entry {
    log: Weak<Log>,
    base_offset: Offset,
}

impl HotTails {
    pub(super) fn new(limit_bytes: usize) -> HotTails {
        HotTails {
            limit_bytes,
            bytes: Cell::new(0),
            queue: RefCell::default(),
            added_count: Cell::new(0),
        }
    }

    /// The memory of all hot frames.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// The log has kept one more frame; the oldest go if the budget is exceeded. The caller holds
    /// no borrow of any log's state.
    pub(super) fn added(&self, log: &Rc<Log>, base_offset: Offset, memory_bytes: usize) {
        self.bytes.set(self.bytes.get() + memory_bytes);
        let log = Rc::downgrade(log);
        self.queue
            .borrow_mut()
            .push_back(Entry { log, base_offset });
        while self.bytes.get() > self.limit_bytes {
            let Some(oldest) = self.queue.borrow_mut().pop_front() else {
                break;
            };
            if let Some(log) = oldest.log.upgrade() {
                log.drop_hot_frame(oldest.base_offset);
            }
        }
        self.forget_the_dead();
    }

    /// A log has dropped frames of this much memory.
    pub(super) fn dropped(&self, memory_bytes: usize) {
        self.bytes.set(self.bytes.get() - memory_bytes);
    }

    /// Entries whose frames are gone (their logs were sealed or deleted) must not pile up below
    /// the budget. Looked for so rarely that it costs each frame one look.
    fn forget_the_dead(&self) {
        let mut queue = self.queue.borrow_mut();
        self.added_count.set(self.added_count.get() + 1);
        if self.added_count.get() >= queue.len().max(1024) {
            self.added_count.set(0);
            queue.retain(|entry| {
                entry
                    .log
                    .upgrade()
                    .is_some_and(|log| log.has_hot_frame(entry.base_offset))
            });
        }
    }
}
