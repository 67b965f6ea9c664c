//! From a data directory to open shards, and back to a directory that was left in order.
//!
//! Core 0 claims the directory, scans it, replays the metadata log, and gives each core its seed.
//! With that the node serves; each core opens the logs of its partitions meanwhile (`opening`). A
//! crash at any point of this leaves what the next start can open again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::StreamExt;
use futures_util::stream;

use super::groups::Groups;
use super::message::Message;
use super::opening::Opening;
use super::produce::Backlog;
use super::route::Routes;
use super::{AdvertisedListener, Budget, Shard, metadata};
use crate::config::{self, BrokerConfig, SharedConfig};
use crate::controller::{
    self, Controller, DirectoryError, DirectoryIdentity, Image, JournalError, Record,
};
use crate::frame::Incarnation;
use crate::io::mailbox::{MailSender, Mailbox};
use crate::io::sync::{oneshot, watch};
use crate::io::{self, DirLock};
use crate::limits::{MAILBOX_MESSAGES_MAX, PARTITIONS_OPENED_AT_ONCE_MAX};
use crate::log::{self, ChunkStore, Found, Log, Pool, StoreConfig};
use crate::metrics::{Board, Gauge};
use crate::model::{CoreId, Offset, PartitionId};

/// What all cores of a starting node share: the mail, the seeds, how far everyone is.
pub struct Launch {
    config: SharedConfig,
    board: Board,
    /// What each listener tells its clients, once it is bound.
    advertised: OnceLock<Vec<AdvertisedListener>>,
    mail: Vec<Mutex<Option<Mail>>>,
    seed_senders: Mutex<Vec<oneshot::Sender<Seed>>>,
    seed_receivers: Vec<Mutex<Option<oneshot::Receiver<Seed>>>>,
    /// Bytes in the produce backlogs of all cores.
    backlog_bytes: Arc<AtomicUsize>,
    progress: watch::Sender<Progress>,
    error: Mutex<Option<StartError>>,
}

/// One core's ends of the mail: its own box, and a way into everyone's.
type Mail = (Mailbox<Message>, Vec<MailSender<Message>>);

/// How far the cores are; counts of cores.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    opened_count: usize,
    closed_count: usize,
    failed: bool,
}

/// What core 0 found out for another core.
struct Seed {
    identity: Identity,
    records: Arc<[Record]>,
    /// `None` for core 0, which has its own already.
    pool: Option<Pool>,
    found: Vec<(PartitionId, Found)>,
    orphans: Vec<Found>,
}

/// What every core knows of the node.
#[derive(Clone)]
pub struct Identity {
    /// `cluster.id`.
    pub cluster_id: Arc<str>,
    /// Of this start; no earlier one had it.
    pub incarnation: Incarnation,
}

/// Why a node does not start.
#[derive(Debug)]
pub enum StartError {
    /// The data directory cannot be used.
    Directory(DirectoryError),
    /// The data directory could not be read.
    Scan(log::ScanError),
    /// There are records, and nothing that says whose they are.
    MetadataLost(PathBuf),
    /// The metadata log could not be read or written.
    Metadata(JournalError),
    /// The metadata log could not be opened.
    MetadataLog(log::OpenError),
    /// A dynamic configuration no longer fits the file.
    Config(config::ConfigErrors),
    /// Another core failed.
    Abandoned,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Directory(error) => error.fmt(f),
            StartError::Scan(error) => error.fmt(f),
            StartError::MetadataLost(directory) => write!(
                f,
                "the data directory {} holds records, and its metadata log, which says whose they \
                 are, is empty.\n  likely cause: a chunk file of it is missing or damaged (damaged \
                 ones are named above)\n  nothing was changed: restore the directory from a copy, \
                 or begin anew without its records: --override log.dirs=/other/path",
                directory.display()
            ),
            StartError::Metadata(error) => write!(f, "cannot use the metadata log: {error:?}"),
            StartError::MetadataLog(error) => write!(f, "cannot open the metadata log: {error:?}"),
            StartError::Config(error) => error.fmt(f),
            StartError::Abandoned => write!(f, "another core failed to start"),
        }
    }
}

impl std::error::Error for StartError {}

impl Launch {
    /// What `cores_count` cores need to start together.
    pub fn new(config: SharedConfig, board: Board, cores_count: usize) -> Arc<Launch> {
        let mail = io::mailbox::channels(cores_count, MAILBOX_MESSAGES_MAX);
        let (seed_senders, seed_receivers): (Vec<_>, Vec<_>) =
            (0..cores_count).map(|_| oneshot::channel()).unzip();
        Arc::new(Launch {
            config,
            board,
            advertised: OnceLock::new(),
            mail: mail
                .into_iter()
                .map(|endpoints| Mutex::new(Some(endpoints)))
                .collect(),
            seed_senders: Mutex::new(seed_senders),
            seed_receivers: seed_receivers
                .into_iter()
                .map(|r| Mutex::new(Some(r)))
                .collect(),
            backlog_bytes: Arc::default(),
            progress: watch::Sender::new(Progress::default()),
            error: Mutex::new(None),
        })
    }

    /// The configuration that the node starts with.
    pub fn config(&self) -> &SharedConfig {
        &self.config
    }

    /// Where the cores publish their figures.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Says what each listener tells its clients, when all are bound and before any accepts. Each
    /// core says the same.
    pub fn set_advertised(&self, advertised: impl FnOnce() -> Vec<AdvertisedListener>) {
        self.advertised.get_or_init(advertised);
    }

    /// What a listener tells its clients.
    pub(super) fn advertised(&self, listener: usize) -> &AdvertisedListener {
        let advertised = self.advertised.get();
        &advertised.expect("a client came in by a listener that is bound")[listener]
    }

    /// The number of cores that start together.
    pub fn cores_count(&self) -> usize {
        self.mail.len()
    }

    /// The error of the core that failed first, if one did.
    pub fn error(&self) -> Option<StartError> {
        self.error
            .lock()
            .expect("no core panics while it holds the error")
            .take()
    }

    fn fail(&self, error: StartError) -> StartError {
        let mut first = self
            .error
            .lock()
            .expect("no core panics while it holds the error");
        first.get_or_insert(error);
        // Whoever waits for a seed gets an error instead.
        self.seed_senders
            .lock()
            .expect("no core panics while it holds the seeds")
            .clear();
        self.progress.send_modify(|progress| progress.failed = true);
        StartError::Abandoned
    }

    /// Waits until `reached` says so, or some core has failed.
    async fn all(&self, reached: impl Fn(&Progress) -> usize) -> Result<(), StartError> {
        let mut progress = self.progress.subscribe();
        let all = self.cores_count();
        let done = progress
            .wait_for(|now| now.failed || reached(now) == all)
            .await;
        match done {
            Ok(now) if !now.failed => Ok(()),
            Ok(_) | Err(_) => Err(StartError::Abandoned),
        }
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> T {
    let taken = place
        .lock()
        .expect("no core panics while it takes its part")
        .take();
    taken.expect("each core starts once")
}

impl Shard {
    /// Opens this core's part of the node. Returns when every core has its own, so that each may
    /// call every other; logs are opened behind it, those that are asked for first.
    pub async fn open(launch: Arc<Launch>, core: CoreId) -> Result<Rc<Shard>, StartError> {
        let opened = Self::open_alone(&launch, core).await;
        let shard = opened.map_err(|error| launch.fail(error))?;
        launch
            .progress
            .send_modify(|progress| progress.opened_count += 1);
        launch.all(|progress| progress.opened_count).await?;
        shard.start_figures();
        let began = io::now();
        let opening = shard.clone();
        io::spawn(async move {
            opening.open_everything().await;
            if opening.stopping.get() {
                return;
            }
            let count = opening.partitions.borrow().len();
            let ms = (io::now() - began).as_millis();
            let core = core.0;
            tracing::info!("core {core}: all {count} partitions are open after {ms} ms more");
            opening.start_upkeep();
        })
        .detach();
        Ok(shard)
    }

    async fn open_alone(launch: &Arc<Launch>, core: CoreId) -> Result<Rc<Shard>, StartError> {
        let (mailbox, senders) = take(&launch.mail[usize::from(core.0)]);
        let seed = take(&launch.seed_receivers[usize::from(core.0)]);
        let mut first = None;
        if core.0 == 0 {
            first = Some(prepare(launch).await?);
        }
        let seed = seed.await.map_err(|_| StartError::Abandoned)?;
        let (store, controller, lock) = match first {
            Some((store, controller, lock)) => (store, Some(controller), Some(lock)),
            None => {
                let config = store_config(&launch.config);
                let pool = seed.pool.expect("core 0 gives every other core its pool");
                let store = ChunkStore::open(&launch.config.data_dir, core, pool, config);
                (store, None, None)
            }
        };
        let mut image = Image::default();
        for record in seed.records.iter() {
            image.apply(record);
        }
        let config = metadata::configured(&launch.config, &image).map_err(StartError::Config)?;
        let backlog = Backlog::new(
            config.engine.request_memory_bytes,
            launch.cores_count(),
            launch.backlog_bytes.clone(),
        );
        let response_budget = Budget::new(
            config.engine.response_memory_bytes,
            Gauge::ResponseMemoryBytes,
        );
        let shard = Rc::new(Shard {
            core,
            config: RefCell::new(config),
            routes: Routes::new(senders),
            store,
            image: RefCell::new(image),
            topics: RefCell::new(HashMap::new()),
            partitions: RefCell::new(HashMap::new()),
            opening: Opening::default(),
            offline: RefCell::new(Default::default()),
            groups: Groups::default(),
            backlog,
            response_budget,
            controller,
            control_turn: io::sync::Semaphore::new(1),
            identity: seed.identity,
            launch: launch.clone(),
            stopping: Cell::new(false),
            producer_ids: RefCell::new(0..0),
            figures_published: Cell::new(0),
            _lock: lock,
        });
        for orphan in seed.orphans {
            shard.store.adopt(orphan);
        }
        shard.refresh_all_topics();
        shard.opening.put(seed.found);
        io::spawn(shard.clone().read_mail(mailbox)).detach();
        Ok(shard)
    }

    /// Leaves everything durable and sealed. Call it after the node has stopped to take requests;
    /// returns when every core has done so.
    pub async fn close(self: &Rc<Self>) {
        self.stop_opening();
        self.unseat_all_coordinators();
        let partitions: Vec<_> = self.partitions.borrow().values().cloned().collect();
        let closes = partitions.iter().map(|partition| partition.log().close());
        stream::iter(closes)
            .buffer_unordered(PARTITIONS_OPENED_AT_ONCE_MAX)
            .for_each(|_| std::future::ready(()))
            .await;
        self.write_checkpoint().await;
        if let Some(controller) = &self.controller {
            controller.close().await;
        }
        self.launch
            .progress
            .send_modify(|progress| progress.closed_count += 1);
        // An error here is another core's, and its to report.
        let _ = self.launch.all(|progress| progress.closed_count).await;
    }
}

/// What core 0 does before any other: claims, scans, replays, and seeds the others.
async fn prepare(launch: &Launch) -> Result<(Rc<ChunkStore>, Rc<Controller>, DirLock), StartError> {
    let config = &launch.config;
    let DirectoryIdentity {
        cluster_id,
        incarnation,
        lock,
        ..
    } = controller::claim(config)
        .await
        .map_err(StartError::Directory)?;
    let mut inventory = log::scan(&config.data_dir)
        .await
        .map_err(StartError::Scan)?;
    let cores_count = launch.cores_count();
    let pool = inventory.pool(CoreId(0), cores_count as u16);
    let store = ChunkStore::open(&config.data_dir, CoreId(0), pool, store_config(config));
    let found = inventory.take(PartitionId::METADATA);
    let log_config = metadata::metadata_log_config();
    let log = Log::open(
        &store,
        PartitionId::METADATA,
        found,
        log_config,
        incarnation,
        |_| {},
    )
    .await
    .map_err(StartError::MetadataLog)?;
    let others = inventory.partitions().next().is_some() || !inventory.unreadable().is_empty();
    if log.end_offset() == Offset::ZERO && others {
        return Err(StartError::MetadataLost(config.data_dir.clone()));
    }
    let controller = Controller::open(log, cores_count).await;
    let controller = Rc::new(controller.map_err(StartError::Metadata)?);
    let records = controller.snapshot();

    let mut image = Image::default();
    for record in records.iter() {
        image.apply(record);
    }
    let mut found: Vec<Vec<(PartitionId, Found)>> = (0..cores_count).map(|_| Vec::new()).collect();
    for topic in image.topics() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            let id = PartitionId {
                topic_id: topic.id,
                index: index as i32,
            };
            found[partition.slot as usize % cores_count].push((id, inventory.take(id)));
        }
    }
    // What is left belongs to topics that were deleted just before a crash.
    let left: Vec<PartitionId> = inventory.partitions().collect();
    let mut orphans: Vec<Found> = left.into_iter().map(|id| inventory.take(id)).collect();
    if !inventory.unreadable().is_empty() && !orphans.is_empty() {
        // One of the damaged chunks may have held the record that made a topic.
        tracing::error!(
            "chunks of {} partitions of unknown topics are kept, because {} chunks are damaged and \
             may tell of them: restore those from a copy, or move them out of {} to free the space",
            orphans.len(),
            inventory.unreadable().len(),
            config.data_dir.join("chunks").display()
        );
        orphans.clear();
    }
    let identity = Identity {
        cluster_id: cluster_id.into(),
        incarnation,
    };
    let senders = std::mem::take(
        &mut *launch
            .seed_senders
            .lock()
            .expect("no core panics while it holds the seeds"),
    );
    for (core, (sender, found)) in senders.into_iter().zip(found).enumerate() {
        let core = CoreId(core as u16);
        let pool = (core.0 > 0).then(|| inventory.pool(core, cores_count as u16));
        // A core that has failed meanwhile has said so itself.
        let _ = sender.send(Seed {
            identity: identity.clone(),
            records: records.clone(),
            pool,
            found,
            orphans: if core.0 == 0 {
                std::mem::take(&mut orphans)
            } else {
                Vec::new()
            },
        });
    }
    Ok((store, controller, lock))
}

fn store_config(config: &BrokerConfig) -> StoreConfig {
    let tail_bytes = usize::try_from(config.engine.tail_cache_bytes).unwrap_or(0);
    let reserve_bytes = u64::try_from(config.engine.reserve_bytes).unwrap_or(0);
    let mut store = StoreConfig {
        durability: match config.engine.durability {
            config::Durability::Sync => log::Durability::Sync,
            config::Durability::Written => log::Durability::Written,
        },
        hot_bytes: tail_bytes,
        reserve_bytes,
        files_open_max: config.engine.chunk_files_open_max,
        prewrite: config.engine.chunk_prewrite,
        ..StoreConfig::default()
    };
    let least = u64::try_from(config.engine.chunk_min_bytes).unwrap_or(0);
    store.chunk_bytes.retain(|bytes| *bytes >= least);
    store
}
