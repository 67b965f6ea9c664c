//! The load generator against the real broker, in this process.

use corelog::cli::node;
use corelog::client::{
    Client, ClientOptions, Consumer, ConsumerOptions, OffsetSpec, StartAt, partition_of,
};
use corelog::config::{self, Sources};
use corelog::frame::BatchHeader;
use corelog::io::blocking::ScratchDir;
use corelog::metrics::Board;
use indicatif::ProgressBar;

use super::*;
use crate::broker::Facts;
use crate::session::{Session, Slice, prepare};

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

    /// Makes the workload's topics and plans its load, without a CPU of its own.
    fn plan(&self, workload: &str) -> Plan {
        let workload = Workload::parse(workload).expect("a good workload");
        let facts = Facts::of_running(&self.address, None).expect("no file to read");
        let mut plan = prepare(&workload, &facts, &[0, 0], None).expect("topics are made");
        plan.cpus = vec![None, None];
        plan
    }
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
fn slices(plan: &Plan, count: usize) -> Vec<Slice> {
    let mut session = Session::open(plan, None).expect("connections open");
    let (warm_up, length) = (Duration::from_millis(100), Duration::from_millis(500));
    let bar = ProgressBar::hidden();
    (0..count)
        .map(|_| session.slice(warm_up, length, &bar).expect("it runs"))
        .collect()
}

/// A workload file with these lines in its sections.
fn workload(topic: &str, load: &str, rest: &str) -> String {
    format!(
        "name = \"T\"\nquestion = \"?\"\n[broker]\ncores = 2\ndurability = \"sync\"\n\
         [client]\ncores = 2\n[topic]\n{topic}\n[load]\nspread = \"own\"\ncodec = \"none\"\n\
         acks = \"all\"\n{load}\n{rest}\n[run]\nwarm_up_seconds = 0\nseconds = 1\n"
    )
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
    let plan = node.plan(&workload(
        "count = 2\npartitions = 3",
        "connections = 3\nbatch_records = 5\nrecord_bytes = 100\nrate = 5000\nin_flight = 50",
        "[consume]\nconnections = 4\nstart = \"latest\"\nmax_wait_ms = 50",
    ));
    let slices = slices(&plan, 3);
    for Slice { book, .. } in &slices {
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
    for keys in ["random", "round-robin"] {
        let load = "connections = 20\nbatch_records = 20\nrecord_bytes = 40\nrate = 20000\n\
                    in_flight = 5\nidempotent = true\nkey_bytes = 10";
        let plan = node.plan(&workload(
            "partitions = 8",
            &format!("{load}\nkeys = \"{keys}\""),
            "[consume]\nconnections = 2\nstart = \"latest\"\nmax_wait_ms = 20",
        ));
        let slices = slices(&plan, 2);
        for Slice { book, .. } in &slices {
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
    let plan = node.plan(&workload(
        "partitions = 4",
        "connections = 0\nbatch_records = 64\nrecord_bytes = 1024\nrate = \"max\"\nin_flight = 1",
        "[backlog]\nbytes = 4194304\n[consume]\nconnections = 2\nstart = \"earliest\"\n\
         again = true\nmax_bytes = 1048576\nmax_wait_ms = 20",
    ));
    let records = records_of(&node, &plan);
    assert!((4096..8192).contains(&records), "{records}");
    for Slice { book, .. } in slices(&plan, 2) {
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
    let plan = node.plan(&workload(
        "partitions = 4",
        "connections = 2\nbatch_records = 10\nrecord_bytes = 1000\nrate = 10000\nin_flight = 16",
        "[backlog]\nbytes = 10000000\n[consume]\nconnections = 2\nstart = \"earliest\"\n\
         max_wait_ms = 20",
    ));
    let slices = slices(&plan, 4);
    let fetched: u64 = slices
        .iter()
        .map(|slice| slice.book.fetched_records())
        .sum();
    // What comes in a warm-up and between slices is not counted.
    assert!(fetched > 10_000, "{fetched}");
    let last = &slices[3].book;
    assert_eq!(last.latency.len(), 500);
    assert!(last.end_to_end.len() >= 4000, "{}", last.end_to_end.len());
}

#[test]
fn marks_leave_a_batch_whole() {
    let node = Node::start();
    let plan = node.plan(&workload(
        "partitions = 3",
        "connections = 1\nbatch_records = 30\nrecord_bytes = 64\nrate = 1000\nin_flight = 1\n\
         keys = \"random\"\nidempotent = true",
        "",
    ));
    let template = &plan.templates[0][0];
    let mut identity = Identity::new(ProducerId(7), ProducerEpoch(2));
    let intended = Instant::from_nanos(12_345);
    let mut sequences = Vec::new();
    for _ in 0..2 {
        let slices = template.marked(9, Some(intended), Some(&mut identity));
        let mut whole = slices.concat();
        for at in template.batches() {
            let batch = &mut whole[at];
            let header = corelog::frame::check_whole(batch).expect("the CRC is right");
            assert_eq!((header.producer_id.0, header.producer_epoch.0), (7, 2));
            assert_eq!(crate::request::intended_of(batch), Some(intended));
            let header = BatchHeader::read(batch).expect("a header");
            sequences.push((header.base_sequence, header.record_count));
        }
    }
    let (first, second) = sequences.split_at(sequences.len() / 2);
    for (first, second) in first.iter().zip(second) {
        assert_eq!((first.0, second.0), (0, first.1));
    }
}
