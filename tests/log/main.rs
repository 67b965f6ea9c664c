//! Does the log do on a real disk what it does on the simulated one, and how fast does it start?
//!
//! `LOG_PARTITIONS=10000 LOG_PARTITION_BYTES=102400 cargo test --release --test log -- --nocapture`
//! prints the figures of many partitions; nothing here fails by the clock.
#![cfg(not(feature = "sim"))]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use corelog::frame::{BatchBuilder, Codec};
use corelog::io::{self, CoreSpec};
use corelog::log::{
    self, ChunkStore, Durability, Incarnation, Log, LogConfig, Replay, StoreConfig, checkpoint,
};
use corelog::model::{CoreId, LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};

const CORES: u16 = 2;
/// A tail that is still there after so many looks stays for good.
const IDLE_LOOKS_MAX: usize = 200;

fn partition(index: usize) -> PartitionId {
    PartitionId {
        topic_id: TopicId([9; 16]),
        index: index as i32,
    }
}

fn batch(base: i64, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None).at(Offset(base), LeaderEpoch(1));
    let value: Vec<u8> = (0..value_bytes)
        .map(|n| (n as i64 * 31 + base * 7) as u8)
        .collect();
    builder.push(Timestamp(1_000_000 + base), None, Some(&value));
    builder.build()
}

/// Runs `act` on one core of the real machine.
fn on_a_core<T, F>(act: impl Fn() -> F + Send + Sync) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let result = std::sync::Arc::new(Mutex::new(None));
    let place = result.clone();
    io::run(&CoreSpec::unpinned(1), move |_| {
        let (run, place) = (act(), place.clone());
        async move {
            let output = run.await;
            *place.lock().expect("one core") = Some(output);
        }
    })
    .expect("this machine has io_uring");
    let output = result.lock().expect("one core").take();
    output.expect("the core has run")
}

struct Node {
    stores: Vec<Rc<ChunkStore>>,
    logs: Vec<Rc<Log>>,
    replayed: usize,
}

impl Node {
    async fn start(dir: &Path, partitions: usize, incarnation: u64, config: StoreConfig) -> Node {
        let mut inventory = log::scan(dir).await.expect("the directory can be read");
        assert!(inventory.unreadable().is_empty());
        let stores: Vec<Rc<ChunkStore>> = (0..CORES)
            .map(|core| {
                let pool = inventory.pool(CoreId(core), CORES);
                ChunkStore::open(dir, CoreId(core), pool, config.clone())
            })
            .collect();
        let replayed = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..partitions)
            .map(|index| {
                let found = inventory.take(partition(index));
                let store = stores[index % stores.len()].clone();
                let replayed = replayed.clone();
                io::spawn(async move {
                    let count = |replay: Replay<'_>| {
                        if let Replay::Batch(_) = replay {
                            replayed.set(replayed.get() + 1);
                        }
                    };
                    let (id, config) = (partition(index), LogConfig::default());
                    Log::open(&store, id, found, config, Incarnation(incarnation), count).await
                })
            })
            .collect();
        let mut logs = Vec::with_capacity(partitions);
        for task in tasks {
            logs.push(task.await.expect("every partition can be read"));
        }
        Node {
            stores,
            logs,
            replayed: replayed.get(),
        }
    }

    /// Reads a whole log and compares it with what was appended.
    async fn check(&self, index: usize, end: i64, value_bytes: usize) {
        let log = &self.logs[index];
        assert_eq!(log.start_offset(), Offset(0));
        assert_eq!(log.end_offset(), Offset(end));
        let mut offset = 0;
        while offset < end {
            let upto = log.durable_offset();
            let slices = log
                .read(Offset(offset), upto, 100_000, true)
                .await
                .expect("undamaged");
            let expected: Vec<u8> = (offset..slices.next_offset.0)
                .flat_map(|n| batch(n, value_bytes))
                .collect();
            assert!(
                slices.batches.concat() == expected,
                "partition {index} at {offset}"
            );
            offset = slices.next_offset.0;
        }
    }
}

fn temporary_dir() -> (tempfile::TempDir, PathBuf) {
    // Not in /tmp, which may be a memory file system.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = dir.path().to_owned();
    (dir, path)
}

fn check_restart(durability: Durability) {
    let (_dir, path) = temporary_dir();
    let config = StoreConfig {
        durability,
        seal_idle: Duration::from_millis(20),
        ..StoreConfig::default()
    };
    let ends = [0, 1, 40, 700];
    for incarnation in 1..4u64 {
        let (path, config) = (path.clone(), config.clone());
        on_a_core(move || {
            let (path, config) = (path.clone(), config.clone());
            async move {
                let node = Node::start(&path, ends.len(), incarnation, config).await;
                for (index, end) in ends.into_iter().enumerate() {
                    let before = end * (incarnation as i64 - 1);
                    node.check(index, before, 1_000).await;
                    append(&node.logs[index], end, 1_000).await;
                    node.check(index, before + end, 1_000).await;
                }
                if incarnation == 2 {
                    let store = &node.stores[0];
                    let entries = [0, 2].map(|index| node.logs[index].checkpoint(vec![1, 2, 3]));
                    checkpoint::write(store, entries.into())
                        .await
                        .expect("there is space");
                }
                if incarnation != 1 {
                    for log in &node.logs {
                        log.close().await.expect("the disk is well");
                    }
                }
            }
        });
    }
}

async fn append(log: &Rc<Log>, count: i64, value_bytes: usize) {
    for _ in 0..count {
        let base = log.end_offset();
        let batch = batch(base.0, value_bytes);
        log.append(&batch, base, LeaderEpoch(1), Timestamp(1_000_000 + base.0))
            .expect("space");
        if base.0 % 50 == 0 {
            log.wait_durable(log.end_offset())
                .await
                .expect("the disk is well");
        }
    }
    log.wait_durable(log.end_offset())
        .await
        .expect("the disk is well");
}

#[test]
fn a_restart_finds_what_was_durable() {
    check_restart(Durability::Sync);
    check_restart(Durability::Written);
}

fn asked(name: &str, usual: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(usual)
}

/// What one core needs for many partitions: to fill them, to start again without a clean stop and
/// without a checkpoint, and per idle partition in memory.
#[test]
fn many_partitions_start_again() {
    let (_dir, path) = temporary_dir();
    let partitions = asked("LOG_PARTITIONS", 60);
    let batches = asked("LOG_PARTITION_BYTES", 40_000) / 10_000;
    let filled = path.clone();
    on_a_core(move || {
        let path = filled.clone();
        async move {
            let node = Node::start(&path, partitions, 1, StoreConfig::default()).await;
            let tasks: Vec<_> = node
                .logs
                .iter()
                .map(|log| {
                    let log = log.clone();
                    io::spawn(async move {
                        for _ in 0..batches {
                            append(&log, 1, 9_900).await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
        }
    });
    on_a_core(move || {
        let path = path.clone();
        async move {
            let resident = resident_bytes();
            let began = io::now();
            let config = StoreConfig {
                seal_idle: Duration::from_millis(50),
                tail_unread: Duration::from_millis(50),
                ..Default::default()
            };
            let node = Node::start(&path, partitions, 2, config).await;
            let took = io::now() - began;
            assert_eq!(node.replayed, partitions * batches);
            for index in [0, partitions / 2, partitions - 1] {
                node.check(index, batches as i64, 9_900).await;
            }
            idle(&node).await;
            for store in &node.stores {
                assert_eq!(store.hot_bytes(), 0, "an idle log owns no buffer");
                assert_eq!(store.open_files(), 0, "an idle log owns no open file");
            }
            let each = resident_bytes().saturating_sub(resident) / partitions;
            println!(
                "{partitions} partitions of {batches} batches: opened in {took:?}, {each} bytes resident each"
            );
        }
    });
}

#[test]
fn the_tail_of_an_idle_log_stays_while_it_is_read() {
    let check = |tail_unread, expected: [bool; 2]| {
        let (_dir, path) = temporary_dir();
        let kept = on_a_core(move || {
            let path = path.clone();
            async move {
                let config = StoreConfig {
                    seal_idle: Duration::from_millis(500),
                    tail_unread,
                    ..StoreConfig::default()
                };
                // Each log has a store of its own, so that its tail can be told from the other's.
                let node = Node::start(&path, 2, 1, config).await;
                for log in &node.logs {
                    append(log, 1, 9_900).await;
                }
                node.check(0, 1, 9_900).await;
                while node.stores[1].hot_bytes() > 0 {
                    io::sleep(Duration::from_millis(5)).await;
                }
                // What is read is looked at again and again.
                io::sleep(Duration::from_millis(1_200)).await;
                [0, 1].map(|index: usize| node.stores[index].hot_bytes() > 0)
            }
        });
        assert_eq!(kept, expected, "unread for {tail_unread:?}");
    };
    check(Duration::from_secs(3600), [true, false]);
    check(Duration::ZERO, [false, false]);
}

#[test]
fn an_idle_log_keeps_no_tail_of_what_only_the_journal_had() {
    let (_dir, path) = temporary_dir();
    on_a_core(move || {
        let path = path.clone();
        async move {
            let node = Node::start(&path, 40, 1, keeps_no_tail()).await;
            let tasks: Vec<_> = node
                .logs
                .iter()
                .map(|log| {
                    let log = log.clone();
                    io::spawn(async move { append(&log, 1, 100).await })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            let mut left = usize::MAX;
            for _ in 0..IDLE_LOOKS_MAX {
                left = node.stores.iter().map(|store| store.hot_bytes()).sum();
                if left == 0 {
                    break;
                }
                io::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(left, 0, "an idle log owns no buffer");
        }
    });
}

#[test]
fn a_read_from_the_disk_is_whole_whether_its_core_writes_or_not() {
    const VALUE_BYTES: usize = 100_000;
    let (_dir, path) = temporary_dir();
    on_a_core(move || {
        let path = path.clone();
        async move {
            let node = Node::start(&path, usize::from(CORES) + 1, 1, keeps_no_tail()).await;
            // Both are of the first store.
            let (read, written) = (&node.logs[0], &node.logs[usize::from(CORES)]);
            append(read, 9, VALUE_BYTES).await;
            let expected: Vec<u8> = (0..9).flat_map(|n| batch(n, VALUE_BYTES)).collect();
            while node.stores[0].hot_bytes() > 0 {
                io::sleep(Duration::from_millis(5)).await;
            }
            // From then on the last write counts as over.
            io::sleep(Duration::from_millis(2 * corelog::limits::WRITING_MS)).await;
            for writes in [false, true] {
                if writes {
                    append(written, 1, 100).await;
                }
                let slices = read.read(Offset(0), Offset(9), 1 << 20, true).await;
                let slices = slices.expect("undamaged");
                assert!(slices.batches.concat() == expected, "writes: {writes}");
            }
        }
    });
}

/// A log that gets nothing is sealed soon, and its tail is given back at once.
fn keeps_no_tail() -> StoreConfig {
    StoreConfig {
        seal_idle: Duration::from_millis(20),
        tail_unread: Duration::ZERO,
        ..StoreConfig::default()
    }
}

/// Waits until every log is sealed and has given back what it owned.
async fn idle(node: &Node) {
    let done = RefCell::new(false);
    while !*done.borrow() {
        io::sleep(Duration::from_millis(50)).await;
        *done.borrow_mut() = node
            .stores
            .iter()
            .all(|store| store.open_files() == 0 && store.hot_bytes() == 0);
    }
}

fn resident_bytes() -> usize {
    let statm = io::blocking::read_file("/proc/self/statm").expect("Linux");
    let text = String::from_utf8(statm).expect("digits");
    let pages: usize = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("pages");
    pages * 4096
}
