//! Does a node that starts keep anybody waiting for a log that is not his?
//!
//! A shard on the simulated disk, with one log that takes long to open because much of it has to be
//! read, and one that does not.
#![cfg(feature = "sim")]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corelog::config::{self, Sources};
use corelog::controller::NewTopic;
use corelog::frame::{BatchBuilder, Codec};
use corelog::io;
use corelog::io::sim::{Outcome, Simulation};
use corelog::limits::OPENING_REFUSED_MAX;
use corelog::log::Batch;
use corelog::metrics::Board;
use corelog::model::{CoreId, PartitionId, ProducerEpoch, ProducerId};
use corelog::partition::AppendRefused;
use corelog::shard::{Launch, ProduceError, ProducePart, ProduceResult, Shard, ShardError};

/// Batches of the log that opens slowly.
const LARGE_COUNT: i64 = 48;
const LARGE_BYTES: usize = 900_000;

async fn open() -> Rc<Shard> {
    open_with(&[]).await
}

async fn open_with(overrides: &[&str]) -> Rc<Shard> {
    let overrides = overrides.iter().chain(&["log.dirs=/data"]);
    let sources = Sources {
        file: None,
        environment: Vec::new(),
        overrides: overrides.map(|text| (*text).to_owned()).collect(),
    };
    let (values, _) = config::load(&sources).expect("a good configuration");
    let config = Arc::new(config::resolve(values).expect("a good configuration"));
    let launch = Launch::new(config, Board::new(1), 1);
    let opened = Shard::open(launch, CoreId(0)).await;
    opened.unwrap_or_else(|error| panic!("{error}"))
}

/// The partitions of the topic: one that opens slowly, and one that does not.
fn partitions(shard: &Shard) -> (PartitionId, PartitionId) {
    let id = shard.with_image(|image| image.topic_by_name("t").expect("it is there").id);
    let partition = |index| PartitionId {
        topic_id: id,
        index,
    };
    (partition(0), partition(1))
}

fn part(partition: PartitionId, value_bytes: usize) -> ProducePart {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(io::wall_clock(), None, Some(&vec![7; value_bytes]));
    let batch = Batch::Shared(Bytes::from(builder.build()));
    ProducePart { partition, batch }
}

/// A batch of an idempotent producer.
fn numbered(partition: PartitionId, producer: usize, sequence: i32) -> ProducePart {
    let builder = BatchBuilder::new(Codec::None);
    let id = ProducerId(producer as i64);
    let mut builder = builder.producer(id, ProducerEpoch(0), sequence);
    builder.push(io::wall_clock(), None, Some(b"value"));
    let batch = Batch::Shared(Bytes::from(builder.build()));
    ProducePart { partition, batch }
}

/// Produces; its order is fixed on return, and the task gives what comes of it.
async fn produce(shard: &Rc<Shard>, parts: Vec<ProducePart>) -> io::Task<Vec<ProduceResult>> {
    io::spawn(shard.produce(parts, true).await)
}

/// The base offsets.
fn offsets(results: Vec<ProduceResult>) -> Vec<i64> {
    let offset = |result: ProduceResult| result.expect("it is appended").base_offset;
    results.into_iter().map(|result| offset(result).0).collect()
}

fn run<F: Future<Output = ()> + 'static>(sim: &Simulation, day: fn() -> F) {
    let outcome = sim.run_cores(1, move |_| day());
    assert_eq!(outcome, Outcome::Finished);
}

/// A machine without power, on whose disk are the two logs and no checkpoint.
fn machine() -> Simulation {
    let sim = Simulation::new(5);
    run(&sim, || async {
        let shard = open().await;
        let topic = NewTopic {
            name: "t".into(),
            partitions_count: 2,
            replication_factor: -1,
            assignment: Vec::new(),
            configs: Vec::new(),
        };
        for made in shard.create_topics(vec![topic], false).await {
            made.expect("it is new");
        }
        let (slow, fast) = partitions(&shard);
        for _ in 0..LARGE_COUNT {
            offsets(produce(&shard, vec![part(slow, LARGE_BYTES)]).await.await);
        }
        offsets(produce(&shard, vec![part(fast, 10)]).await.await);
    });
    sim.lose_power();
    sim
}

#[test]
fn batches_wait_for_their_own_log_only_and_keep_their_order() {
    run(&machine(), || async {
        let shard = open().await;
        let (slow, fast) = partitions(&shard);
        let first = produce(&shard, vec![part(slow, 10)]).await;
        let both = produce(&shard, vec![part(fast, 10), part(slow, 10)]).await;
        let third = produce(&shard, vec![part(fast, 10)]).await;
        let last = produce(&shard, vec![part(slow, 10)]).await;
        assert_eq!(offsets(third.await), [2]);
        assert!(!first.is_finished(), "its log is not open yet");
        // In front of it stands what came with another log's batch.
        let fourth = produce(&shard, vec![part(fast, 10)]).await;
        assert_eq!(offsets(fourth.await), [3]);
        assert!(!first.is_finished() && !both.is_finished());
        assert_eq!(offsets(first.await), [LARGE_COUNT]);
        assert_eq!(offsets(both.await), [1, LARGE_COUNT + 1]);
        assert_eq!(offsets(last.await), [LARGE_COUNT + 2]);
    });
}

#[test]
fn first_batches_that_found_no_room_are_awaited_as_far_as_they_are_remembered() {
    run(&machine(), || async {
        let shard = open_with(&["corelog.request.memory.bytes=1048576"]).await;
        let (slow, _) = partitions(&shard);
        let large = (0..2).map(|_| part(slow, LARGE_BYTES)).collect();
        let waits = produce(&shard, large).await;
        let firsts = (0..=OPENING_REFUSED_MAX).map(|producer| numbered(slow, producer, 0));
        let refused = produce(&shard, firsts.collect()).await.await;
        let busy = Err(ProduceError::Refused(AppendRefused::Busy));
        assert!(refused.iter().all(|result| *result == busy));
        assert!(!waits.is_finished(), "its log is not open yet");
        assert_eq!(offsets(waits.await), [LARGE_COUNT, LARGE_COUNT + 1]);
        // Of all of these the first one is still to come.
        let last = OPENING_REFUSED_MAX - 1;
        let seconds = [0, last, OPENING_REFUSED_MAX].map(|producer| numbered(slow, producer, 1));
        let mut seconds = produce(&shard, seconds.into()).await.await;
        assert_eq!(offsets(seconds.split_off(2)), [LARGE_COUNT + 2]);
        let early = Err(ProduceError::Refused(AppendRefused::OutOfOrderSequence));
        assert_eq!(seconds, [early.clone(), early]);
        let come = produce(&shard, vec![numbered(slow, last, 0)]).await;
        assert_eq!(offsets(come.await), [LARGE_COUNT + 3]);
    });
}

#[test]
fn a_node_that_stops_while_it_opens_logs_does_not_wait_for_them_and_loses_nothing() {
    let sim = machine();
    // How long it takes to open all.
    let before = sim.elapsed();
    run(&sim, || async {
        let shard = open().await;
        let (slow, _) = partitions(&shard);
        assert_eq!(
            offsets(produce(&shard, vec![part(slow, 10)]).await.await),
            [LARGE_COUNT]
        );
    });
    sim.lose_power();
    let whole = sim.elapsed() - before;
    let before = sim.elapsed();
    run(&sim, || async {
        let shard = open().await;
        let (slow, fast) = partitions(&shard);
        let waits = produce(&shard, vec![part(fast, 10), part(slow, 10)]).await;
        io::sleep(Duration::from_millis(1)).await;
        shard.stop_opening();
        let offline = Err(ProduceError::Shard(ShardError::Offline));
        assert_eq!(waits.await.pop(), Some(offline));
        shard.close().await;
    });
    let stopped = sim.elapsed() - before;
    assert!(stopped < whole, "{stopped:?}, to open all takes {whole:?}");
    // And again: what the clean stop has written does not lack the log that it did not open.
    for expected in [LARGE_COUNT + 1, LARGE_COUNT + 2] {
        let found = Rc::new(Cell::new(0));
        let seen = found.clone();
        let outcome = sim.run_cores(1, move |_| {
            let seen = seen.clone();
            async move {
                let shard = open().await;
                let (slow, _) = partitions(&shard);
                let produced = produce(&shard, vec![part(slow, 10)]).await.await;
                seen.set(offsets(produced)[0]);
                shard.close().await;
            }
        });
        assert_eq!(outcome, Outcome::Finished);
        assert_eq!(found.get(), expected);
        sim.lose_power();
    }
}
