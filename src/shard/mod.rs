//! What one core owns, and how the cores of a node work together.
//!
//! A `Shard` is one core's: its partitions with their logs, its copy of the metadata image, the
//! group coordinators of its offsets partitions; on core 0 also the controller. Shards share
//! nothing but mailboxes. The rooms below decide; this room carries their effects: to the disk,
//! to other cores, to whoever waits.
//!
//! The door for handlers: `produce`, `fetch`, `offsets`, `inspect`, `control`, `group`, and the
//! look-ups of the image. Each finds the owner core, calls it in place or sends one message per
//! owner, and puts the results back in order.

mod brokers;
mod budget;
mod claim;
mod control;
mod fetch;
mod groups;
mod inspect;
mod message;
mod metadata;
mod offsets;
mod opening;
mod produce;
mod route;
mod start;
mod upkeep;

pub use crate::log::{Batch, PlacedBatch};
pub use brokers::{Advertised, AdvertisedListener};
pub use budget::{Budget, Hold};
pub use claim::{Claim, Claims};
pub use control::{ControlAnswer, ControlCall};
pub use fetch::{FetchBounds, FetchError, FetchPart, FetchResult, Fetched};
pub use groups::{GroupAnswer, GroupCall};
pub use inspect::{PartitionState, PartitionsWanted};
pub use message::{Message, ProducePart};
pub use metadata::Topic;
pub use offsets::{OffsetsAnswer, OffsetsCall, OffsetsQuestion, OffsetsRefused, OffsetsResult};
pub use produce::{ProduceError, ProduceResult, Produced};
pub use start::{Identity, Launch, StartError};

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::SharedConfig;
use crate::controller::{Controller, Image};
use crate::io::DirLock;
use crate::io::sync::Semaphore;
use crate::log::ChunkStore;
use crate::model::{CoreId, PartitionId, TopicId};
use crate::partition::Partition;
use groups::Groups;
use opening::Opening;
use produce::Backlog;
use route::Routes;

/// Why a partition cannot be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardError {
    /// The node has no such partition.
    UnknownPartition,
    /// The partition exists but its log could not be opened.
    Offline,
}

/// One core's part of the node. Used through `Rc` by the tasks of its core only; none of its
/// cells is borrowed across an await. A crash loses it; it is rebuilt from the logs.
pub struct Shard {
    core: CoreId,
    config: RefCell<SharedConfig>,
    routes: Routes,
    store: Rc<ChunkStore>,
    image: RefCell<Image>,
    topics: RefCell<HashMap<TopicId, Rc<Topic>>>,
    partitions: RefCell<HashMap<PartitionId, Rc<Partition>>>,
    /// Partitions whose log is not open yet; whoever asks for one waits.
    opening: Opening,
    /// Partitions whose log could not be opened; they answer with a storage error.
    offline: RefCell<HashSet<PartitionId>>,
    groups: Groups,
    backlog: Backlog,
    /// Answers of fetches, from before they are read until they are sent.
    response_budget: Budget,
    /// On core 0 only.
    controller: Option<Rc<Controller>>,
    /// On core 0: one change of the metadata at a time, until all shards have applied it.
    control_turn: Semaphore,
    identity: Identity,
    launch: Arc<Launch>,
    stopping: Cell<bool>,
    /// Ids of the block that the controller gave this core.
    producer_ids: RefCell<Range<i64>>,
    figures_published: Cell<u64>,
    /// On core 0: keeps other processes out of the data directory.
    _lock: Option<DirLock>,
}

impl Shard {
    /// The index of this shard's core.
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// The configuration in force.
    pub fn config(&self) -> SharedConfig {
        self.config.borrow().clone()
    }
}
