//! The log room as a broker starts it: incarnation, scan, stores, logs; and the checks of a start.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use corelog::frame::{BatchHeader, FrameHeader};
use corelog::io::fs;
use corelog::limits::LOG_PLACED_BATCH_BYTES_MIN;
use corelog::log::{
    self, ChunkStore, Found, Incarnation, Log, LogConfig, LogEvent, PlacedBatch, Replay,
    StoreConfig,
};
use corelog::model::{CoreId, LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};

use super::model::{Batch, Model};

pub const DIR: &str = "/data";

/// What outlives the machine: the models, and how the broker is set up.
pub struct World {
    pub models: RefCell<BTreeMap<PartitionId, Model>>,
    /// Partitions whose deletion was begun; they are never opened again.
    pub deleted: RefCell<Vec<PartitionId>>,
    pub config: Cell<LogConfig>,
    pub store: StoreConfig,
    pub cores: Cell<u16>,
    pub starts: Cell<u32>,
    /// Damage was done on purpose.
    pub damaged: Cell<bool>,
    /// Moves of a log's start may have gone without its owner's state: the owner has none, or
    /// there was no space for a chunk.
    pub may_lack_state: Cell<bool>,
    /// The owners of logs have no state.
    pub stateless: Cell<bool>,
}

/// One running broker.
pub struct Node {
    pub world: Rc<World>,
    pub stores: Vec<Rc<ChunkStore>>,
    pub logs: RefCell<BTreeMap<PartitionId, Rc<Log>>>,
    /// Raised at each start, as a broker does.
    pub epoch: i32,
}

pub fn partition(topic: u8, index: i32) -> PartitionId {
    PartitionId {
        topic_id: TopicId([topic; 16]),
        index,
    }
}

/// Chunks of a few blocks: every run rolls and recycles.
pub fn tiny_store() -> StoreConfig {
    StoreConfig {
        chunk_bytes: vec![36 << 10, 68 << 10, 2 << 20],
        hot_bytes: 64 << 10,
        journal_bytes: 64 << 10,
        reserve_bytes: 0,
        seal_idle: Duration::from_secs(3),
        ..StoreConfig::default()
    }
}

impl World {
    pub fn new(store: StoreConfig, config: LogConfig, partitions: &[PartitionId]) -> Rc<World> {
        let models = partitions.iter().map(|id| (*id, Model::default()));
        Rc::new(World {
            models: RefCell::new(models.collect()),
            deleted: RefCell::default(),
            config: Cell::new(config),
            store,
            cores: Cell::new(1),
            starts: Cell::new(0),
            damaged: Cell::new(false),
            may_lack_state: Cell::new(false),
            stateless: Cell::new(false),
        })
    }
}

impl Node {
    /// Starts the broker on what the disk holds and checks every promise against it.
    pub async fn start(world: &Rc<World>) -> Rc<Node> {
        match fs::create_dir(DIR).await {
            Ok(()) | Err(_) => fs::sync_dir("/").await.expect("the root is there"),
        }
        let incarnation = next_incarnation().await;
        let mut inventory = log::scan(Path::new(DIR)).await.expect("the disk is well");
        assert!(world.damaged.get() || inventory.unreadable().is_empty());
        let cores = world.cores.get();
        let stores: Vec<Rc<ChunkStore>> = (0..cores)
            .map(|core| {
                let pool = inventory.pool(CoreId(core), cores);
                ChunkStore::open(Path::new(DIR), CoreId(core), pool, world.store.clone())
            })
            .collect();
        world.starts.set(world.starts.get() + 1);
        let node = Rc::new(Node {
            world: world.clone(),
            stores,
            logs: RefCell::default(),
            epoch: world.starts.get() as i32,
        });
        let ids: Vec<PartitionId> = world.models.borrow().keys().copied().collect();
        for id in ids {
            node.open(id, inventory.take(id), incarnation).await;
        }
        for gone in world.deleted.borrow().iter() {
            node.store_of(*gone).adopt(inventory.take(*gone));
        }
        assert_eq!(
            inventory.partitions().next(),
            None,
            "a partition that nobody has created"
        );
        node
    }

    pub fn store_of(&self, id: PartitionId) -> &Rc<ChunkStore> {
        &self.stores[id.index as usize % self.stores.len()]
    }

    async fn open(self: &Rc<Node>, id: PartitionId, found: Found, incarnation: Incarnation) {
        let mut state = None;
        let mut replayed: Vec<BatchHeader> = Vec::new();
        let replay = |replay: Replay<'_>| match replay {
            Replay::State(bytes) => {
                state = Some(bytes.to_vec());
                replayed.clear();
            }
            Replay::Batch(header) => replayed.push(*header),
        };
        let config = self.world.config.get();
        let store = self.store_of(id);
        let log = Log::open(store, id, found, config, incarnation, replay).await;
        let log = log.expect("the disk is well");
        if self.world.damaged.get() {
            self.adopt_damaged(id, &log);
        } else {
            self.check_opened(id, &log, state, &replayed).await;
        }
        self.listen(id, &log);
        self.logs.borrow_mut().insert(id, log);
    }

    async fn check_opened(
        &self,
        id: PartitionId,
        log: &Rc<Log>,
        state: Option<Vec<u8>>,
        replayed: &[BatchHeader],
    ) {
        if !log.recovery().quarantined.is_empty() {
            print_frames(id);
        }
        assert_eq!(log.recovery().quarantined, [], "{id}: nothing was damaged");
        assert_eq!(log.durable_offset(), log.end_offset());
        let model = {
            let mut models = self.world.models.borrow_mut();
            let model = models.get_mut(&id).expect("a known partition");
            model.check_restart(log.start_offset().0..log.end_offset().0);
            model.clone()
        };
        let covered = state.map_or(0, |state| model.check_state(&state));
        model.check_replay(covered, replayed, self.world.may_lack_state.get());
        self.check_content(log, &model).await;
        check_epochs(log, &model);
    }

    /// After damage on purpose: what is left is what counts from now on. Offsets are still never
    /// given twice.
    fn adopt_damaged(&self, id: PartitionId, log: &Log) {
        let mut models = self.world.models.borrow_mut();
        let model = models.get_mut(&id).expect("a known partition");
        let end = log.end_offset().0;
        assert!(
            end >= model.acked,
            "acknowledged up to {}, found up to {end}",
            model.acked
        );
        assert!(
            log.start_offset().0 >= model.start,
            "the log's start moved back"
        );
        model.damaged = true;
        model.batches.retain(|batch| batch.end <= end);
    }

    /// Reads everything.
    pub async fn check_content(&self, log: &Rc<Log>, model: &Model) {
        let mut from = model.start;
        while from < model.end() {
            // What becomes durable meanwhile is not in the model.
            let upto = Offset(model.end());
            let slices = log.read(Offset(from), upto, 50_000, true).await;
            let slices = slices.unwrap_or_else(|error| panic!("{from}: {error:?}"));
            model.check_slices(from, &slices);
            assert!(slices.next_offset.0 > from, "a read at {from} gave nothing");
            from = slices.next_offset.0;
        }
    }

    fn listen(self: &Rc<Node>, id: PartitionId, log: &Rc<Log>) {
        let world = self.world.clone();
        log.set_listener(Box::new(move |event| match event {
            LogEvent::Durable(offset) => world.acknowledge(id, offset.0),
            LogEvent::StorageFull => world.may_lack_state.set(true),
            LogEvent::Stopped => {}
        }));
    }

    /// The state of a log's owner, as of when it is asked for.
    pub fn owner_state(&self, id: PartitionId) -> impl FnOnce() -> Vec<u8> + 'static {
        let world = self.world.clone();
        let log = self.logs.borrow().get(&id).cloned();
        move || {
            let models = world.models.borrow();
            let known = models.get(&id).zip(log);
            let known = known.filter(|_| !world.stateless.get());
            known.map_or(Vec::new(), |(model, log)| model.state(log.end_offset().0))
        }
    }

    /// Appends a batch; false if the log refuses.
    pub fn append(&self, id: PartitionId, make: impl FnOnce(i64, i32) -> Batch) -> bool {
        let log = self.logs.borrow()[&id].clone();
        let batch = make(log.end_offset().0, self.epoch);
        // As a producer sends it: the broker sets base offset and epoch.
        let mut sent = batch.bytes.to_vec();
        sent[..8].fill(0);
        sent[12..16].fill(0xff);
        let (base, epoch) = (log.end_offset(), LeaderEpoch(self.epoch));
        let newest = Timestamp(batch.max_timestamp);
        let appended = match id {
            PartitionId::METADATA => log.append_own(&sent, base, epoch, newest),
            // Large batches come in memory of their own, most of the time.
            _ if sent.len() >= LOG_PLACED_BATCH_BYTES_MIN && base.0 % 3 != 0 => {
                let mut memory = PlacedBatch::buffer(sent.len());
                memory[PlacedBatch::START..][..sent.len()].copy_from_slice(&sent);
                log.append_placed(PlacedBatch::of(memory, sent.len()), base, epoch, newest)
            }
            _ => log.append(&sent, base, epoch, newest),
        };
        if appended.is_ok() {
            assert_eq!(log.end_offset().0, batch.end);
            let mut models = self.world.models.borrow_mut();
            models
                .get_mut(&id)
                .expect("a known partition")
                .batches
                .push(batch);
        }
        appended.is_ok()
    }
}

impl World {
    /// The broker was told that everything below `end` is durable, and told a producer.
    pub fn acknowledge(&self, id: PartitionId, end: i64) {
        if let Some(model) = self.models.borrow_mut().get_mut(&id) {
            assert!(
                end <= model.end(),
                "{end} is durable, appended is {}",
                model.end()
            );
            model.acked = model.acked.max(end);
        }
    }
}

fn check_epochs(log: &Log, model: &Model) {
    let newest = model.batches.last().map_or(0, |batch| batch.epoch);
    for epoch in 0..=newest + 1 {
        let known = model.epoch_end(epoch);
        let Some((epoch_known, end)) = known else {
            continue;
        };
        if model.end() > model.start {
            let answer = log.epoch_end(LeaderEpoch(epoch));
            assert_eq!(
                answer,
                Some((LeaderEpoch(epoch_known), Offset(end))),
                "epoch {epoch}"
            );
        }
    }
}

/// A number that no start before has used, durable.
async fn next_incarnation() -> Incarnation {
    let path = format!("{DIR}/incarnation");
    let last = match fs::read_small(&path).await {
        Ok(bytes) => u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")),
        Err(_) => 0,
    };
    let bytes = Bytes::copy_from_slice(&(last + 1).to_le_bytes());
    fs::write_small(&path, bytes)
        .await
        .expect("the disk is well");
    Incarnation(last + 1)
}

/// What the disk holds of a partition, for the report of a failure.
fn print_frames(id: PartitionId) {
    corelog::io::sim::with_disk(|disk| {
        for path in disk.paths() {
            let content = disk.content(Path::new(&path)).unwrap_or_default();
            for (index, block) in content.chunks(4096).enumerate() {
                let Ok(frame) = FrameHeader::read(block) else {
                    continue;
                };
                if frame.partition == id {
                    let name = &path[path.len() - 10..];
                    eprintln!(
                        "{name} +{index}: {:?} {} durable {} offsets {}..{} start {} incarnation {} \
                         generation {} {:?} crc {} after {}",
                        frame.kind,
                        frame.sequence,
                        frame.durable_through,
                        frame.base_offset,
                        frame.end_offset,
                        frame.log_start_offset,
                        frame.incarnation.0,
                        frame.chunk.generation,
                        &frame.chunk.nonce[..2],
                        frame.crc,
                        frame.previous_crc
                    );
                }
            }
        }
    });
}
