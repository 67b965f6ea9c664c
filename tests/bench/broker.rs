//! Against the real broker, in this process.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use corelog::bench::{
    BatchCodec, Book, ConsumePart, Found, Keys, Load, LoadPart, Plan, Rate, Start, Traffic,
};
use corelog::cli::node;
use corelog::client::{
    Client, ClientOptions, Consumer, ConsumerOptions, NewTopic, OffsetSpec, StartAt, partition_of,
};
use corelog::config::{self, Sources};
use corelog::io::blocking::ScratchDir;
use corelog::io::sync::watch;
use corelog::io::{self, CoreSpec};
use corelog::metrics::Board;
use corelog::model::{TopicName, TopicPartition};

use super::{Unseen, consume, load, produced};

/// A broker that runs in this process and ends with the test.
struct Node {
    address: String,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
    _dir: ScratchDir,
}

impl Node {
    fn start() -> Node {
        let dir = ScratchDir::new(None).expect("a temporary directory");
        let sources = Sources {
            file: None,
            environment: Vec::new(),
            overrides: vec![
                format!("log.dirs={}", dir.path().join("data").display()),
                "listeners=PLAINTEXT://127.0.0.1:0".into(),
            ],
        };
        let (values, _) = config::load(&sources).expect("a good configuration");
        let config = Arc::new(config::resolve(values).expect("a good configuration"));
        let (stop, stopped) = watch::channel(false);
        let (tell, told) = mpsc::channel();
        let thread = io::spawn_thread("node", move || {
            let cores = CoreSpec::unpinned(2);
            let ready = move |ready: &node::Ready| {
                let _ = tell.send(ready.addresses[0].to_string());
            };
            node::serve_until(config, Board::new(2), &cores, stopped, ready).expect("it serves");
        });
        Node {
            address: told.recv().expect("the node serves"),
            stop,
            thread: Some(thread.expect("a thread starts")),
            _dir: dir,
        }
    }

    fn client(&self) -> Client {
        Client::connect(&self.address, ClientOptions::default()).expect("it serves")
    }

    /// Makes topics and plans traffic on them, from two cores.
    fn plan(&self, topics: &[(&str, i32)], traffic: Traffic) -> Plan {
        let mut client = self.client();
        for (name, partitions) in topics {
            let wanted = NewTopic {
                partition_count: Some(*partitions),
                ..NewTopic::new(topic(name))
            };
            client.create_topic(&wanted).expect("a new topic");
        }
        let names: Vec<_> = topics.iter().map(|(name, _)| topic(name)).collect();
        let found = Found::ask(&mut client, &names).expect("topics with leaders");
        let plan = Plan::new(traffic, &self.address, &mut client, found).expect("a plan");
        Plan {
            cpus: vec![None, None],
            ..plan
        }
    }
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a good name")
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            thread.join().expect("the node stops");
        }
    }
}

/// Slices of half a second, with the same connections.
fn slices(plan: &Plan, count: usize) -> Vec<Book> {
    let mut load = Load::open(plan).expect("connections open");
    let (warm_up, length) = (Duration::from_millis(100), Duration::from_millis(500));
    (0..count)
        .map(|_| load.slice(warm_up, length, &mut Unseen).expect("it runs"))
        .collect()
}

/// Produces so many records of a kilobyte, in requests of 64.
fn fill(node: &Node, topics: &[(&str, i32)], records: u64, codec: BatchCodec) -> Plan {
    let load = LoadPart {
        connections: 2,
        batch_records: 64,
        record_bytes: 1024,
        in_flight: 4,
        codec,
        ..load()
    };
    let plan = node.plan(topics, produced(load));
    let mut load = Load::open(&plan).expect("connections open");
    load.fill(records, &mut Unseen).expect("it is produced");
    plan
}

/// Records that the broker has of all the plan's partitions.
fn records_of(node: &Node, plan: &Plan) -> u64 {
    let wanted: Vec<_> = partitions(plan)
        .into_iter()
        .map(|partition| (partition, OffsetSpec::Latest))
        .collect();
    let listed = node.client().list_offsets(&wanted).expect("offsets");
    let ends = listed.iter().filter_map(|listed| listed.offset);
    ends.map(|end| end.0 as u64).sum()
}

fn partitions(plan: &Plan) -> Vec<TopicPartition> {
    let places = plan.places.iter();
    places
        .map(|place| TopicPartition {
            topic: TopicName::new(&place.topic).expect("a topic"),
            index: place.index,
        })
        .collect()
}

#[test]
fn every_record_that_is_acknowledged_comes_to_a_consumer_with_its_time() {
    let node = Node::start();
    let load = LoadPart {
        connections: 3,
        rate: Rate::RecordsPerSecond(5000),
        in_flight: 50,
        ..load()
    };
    let consume = Some(ConsumePart {
        connections: 4,
        max_wait_ms: 50,
        ..consume()
    });
    let plan = node.plan(&[("a", 3), ("b", 3)], Traffic { load, consume });
    for book in slices(&plan, 3) {
        assert_eq!(book.latency.len(), 500, "requests of half a second");
        assert_eq!(book.counted_records, 2500);
        assert_eq!(book.end_to_end.len(), 2500);
        assert!(book.fetched_records() > 0 && book.fetched_bytes() > 100 * book.fetched_records());
        assert!(book.refused.is_empty() && book.unanswered == 0);
        // It comes to the consumer after it was sent, and not much later than the answer does.
        let medians = (
            book.latency.value_at_quantile(0.5),
            book.end_to_end.value_at_quantile(0.5),
        );
        assert!(medians.1 > medians.0 / 10, "{medians:?}");
    }
    assert_eq!(records_of(&node, &plan), 3 * 3000);
}

#[test]
fn keyed_records_of_idempotent_producers_stand_where_kafkas_clients_look_for_them() {
    let node = Node::start();
    for (topic, keys) in [("a", Keys::Random), ("b", Keys::RoundRobin)] {
        let load = LoadPart {
            connections: 20,
            batch_records: 20,
            record_bytes: 40,
            rate: Rate::RecordsPerSecond(20_000),
            in_flight: 5,
            idempotent: true,
            key_bytes: 10,
            keys,
            ..load()
        };
        let consume = Some(ConsumePart {
            connections: 2,
            ..consume()
        });
        let plan = node.plan(&[(topic, 8)], Traffic { load, consume });
        for book in slices(&plan, 2) {
            assert!(book.refused.is_empty(), "{:?}", book.refused);
            assert_eq!((book.latency.len(), book.end_to_end.len()), (500, 10_000));
        }
        assert_eq!(records_of(&node, &plan), 2 * 12_000);
        let starts: Vec<_> = partitions(&plan)
            .into_iter()
            .map(|partition| (partition, StartAt::Earliest))
            .collect();
        let options = ConsumerOptions::default();
        let mut consumer = Consumer::assign(node.client(), &starts, options).expect("it reads");
        let mut count = 0;
        while count < 24_000 {
            for batch in consumer.poll().expect("batches") {
                for record in batch.records().expect("records") {
                    let key = record.key.as_deref().expect("a key");
                    assert_eq!(key.len(), 10);
                    assert_eq!(partition_of(key, 8), batch.partition.index);
                    count += 1;
                }
            }
        }
        assert_eq!(count, 24_000);
    }
}

#[test]
fn a_backlog_is_read_again_and_again() {
    let node = Node::start();
    let mut plan = fill(&node, &[("a", 4)], 4090, BatchCodec::None);
    plan.traffic.load.connections = 0;
    plan.traffic.consume = Some(ConsumePart {
        connections: 2,
        start: Start::Earliest,
        again: true,
        ..consume()
    });
    let records = records_of(&node, &plan);
    assert_eq!(records, 4096, "whole requests");
    for book in slices(&plan, 2) {
        assert!(
            book.fetched_records() > 2 * records,
            "{}",
            book.fetched_records()
        );
        assert!(book.fetched_bytes() > 1024 * book.fetched_records());
        assert_eq!(book.records(), 0);
    }
    assert_eq!(records_of(&node, &plan), records);
}

#[test]
fn a_backlog_is_drained_while_more_comes() {
    let node = Node::start();
    let filled = fill(&node, &[("a", 4)], 10_000, BatchCodec::None);
    let load = LoadPart {
        connections: 2,
        batch_records: 10,
        record_bytes: 1000,
        rate: Rate::RecordsPerSecond(10_000),
        in_flight: 16,
        ..load()
    };
    let consume = Some(ConsumePart {
        connections: 2,
        start: Start::Earliest,
        ..consume()
    });
    let places = filled.places.to_vec();
    let found = Found {
        places,
        leaders: filled.leaders,
    };
    let traffic = Traffic { load, consume };
    let plan = Plan::new(traffic, &node.address, &mut node.client(), found).expect("a plan");
    let slices = slices(&plan, 4);
    let fetched: u64 = slices.iter().map(Book::fetched_records).sum();
    // What comes in a warm-up and between slices is not counted.
    assert!(fetched > 10_000, "{fetched}");
    let last = &slices[3];
    assert_eq!(last.latency.len(), 500);
    assert!(last.end_to_end.len() >= 4000, "{}", last.end_to_end.len());
}

#[test]
fn a_topic_is_read_to_its_end_whatever_its_codec() {
    let node = Node::start();
    for (name, codec) in [
        ("plain", BatchCodec::None),
        ("gzip", BatchCodec::Gzip),
        ("snappy", BatchCodec::Snappy),
        ("lz4", BatchCodec::Lz4),
        ("zstd", BatchCodec::Zstd),
    ] {
        let mut plan = fill(&node, &[(name, 3)], 10_000, codec);
        let records = records_of(&node, &plan);
        plan.traffic.load.connections = 0;
        plan.traffic.consume = Some(ConsumePart {
            connections: 3,
            start: Start::Earliest,
            stop_at_end: true,
            ..consume()
        });
        let longest = Duration::from_secs(60);
        let mut load = Load::open(&plan).expect("connections open");
        let book = load.run_to(u64::MAX, longest, &mut Unseen);
        let book = book.expect("it is read");
        assert_eq!(book.fetched_records(), records, "{name}");
        assert!(book.length_seconds() < 30.0, "{}", book.length_seconds());
        assert!(
            book.fetch_latency.len() >= 3,
            "{}",
            book.fetch_latency.len()
        );
        let is_small = book.fetched_bytes() < records * 1024;
        assert_eq!(is_small, codec != BatchCodec::None, "{name}");
        // Some of it.
        let mut load = Load::open(&plan).expect("connections open");
        let book = load.run_to(1, longest, &mut Unseen).expect("it is read");
        assert!(book.fetched_records() >= 1);
    }
}

#[test]
fn what_was_there_is_the_end_though_more_comes() {
    let node = Node::start();
    let filled = fill(&node, &[("a", 2)], 640, BatchCodec::None);
    let mut plan = filled.clone();
    plan.traffic.load.connections = 0;
    plan.traffic.consume = Some(ConsumePart {
        start: Start::Earliest,
        stop_at_end: true,
        ..consume()
    });
    let mut reader = Load::open(&plan).expect("connections open");
    let mut writer = Load::open(&filled).expect("connections open");
    writer.fill(640_000, &mut Unseen).expect("it is produced");
    let longest = Duration::from_secs(60);
    let book = reader.run_to(u64::MAX, longest, &mut Unseen);
    let fetched = book.expect("it is read").fetched_records();
    // The last fetches bring what is behind the end.
    assert!((640..64_000).contains(&fetched), "{fetched}");
}
