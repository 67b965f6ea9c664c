//! Against a broker that does what the test wants.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use corelog::bench::{
    Book, Load, LoadPart, PRODUCE_VERSION_MAX, Place, Plan, Problem, Rate, Watcher, take_answer,
    templates,
};
use corelog::io::{self, CoreSpec, TcpListener, TcpStream};
use corelog::model::{Offset, Timestamp};
use corelog::protocol::produce::{
    ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse,
};
use corelog::protocol::{ErrorCode, RequestHeader};

use super::{load, produced};

/// How the broker of a test behaves.
#[derive(Clone, Copy)]
struct Manners {
    /// So long after its first request it sleeps once, for `stall`, before it answers the next.
    stall_after: Duration,
    stall: Duration,
    code: ErrorCode,
}

const PROMPT: Manners = Manners {
    stall_after: Duration::MAX,
    stall: Duration::ZERO,
    code: ErrorCode::None,
};

/// Serves one connection on a port of its own, in a thread of its own, until it is closed.
fn serve(manners: Manners) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let (tell, told) = mpsc::channel();
    let thread = io::spawn_thread("test broker", move || {
        let core = CoreSpec::unpinned(1);
        io::run(&core, |_| {
            let tell = tell.clone();
            async move {
                let any = "127.0.0.1:0".parse().expect("an address");
                let listener = TcpListener::bind(any).await.expect("a port");
                tell.send(listener.local_addr())
                    .expect("the test waits for it");
                let (stream, _) = listener.accept().await.expect("a connection");
                answer_all(&stream, manners).await;
            }
        })
        .expect("a core starts");
    });
    let address = told.recv().expect("the broker binds");
    (address, thread.expect("a thread starts"))
}

async fn answer_all(stream: &TcpStream, manners: Manners) {
    let mut arrived = BytesMut::new();
    let mut stall_at = None;
    loop {
        arrived.reserve(64 << 10);
        let (result, back) = stream.read(arrived).await;
        arrived = back;
        if !matches!(result, Ok(1..)) {
            return;
        }
        // A request of the tests is as small as an answer.
        while let Some(request) = take_answer(&mut arrived).expect("a request") {
            let due = *stall_at.get_or_insert(io::now() + manners.stall_after);
            if io::now() >= due {
                io::sleep(manners.stall).await;
                stall_at = Some(io::now() + Duration::MAX);
            }
            if stream.write_all(answer(&request, manners)).await.is_err() {
                return;
            }
        }
    }
}

fn answer(request: &Bytes, manners: Manners) -> Vec<Bytes> {
    let (header, body) = RequestHeader::decode(request).expect("a header");
    let request = ProduceRequest::decode(&body, header.version).expect("a body");
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|partition| ProducePartitionResponse {
            index: partition.index,
            error: manners.code,
            base_offset: Offset::ZERO,
            log_append_time: Timestamp::NONE,
            log_start_offset: Offset::ZERO,
            record_errors: Vec::new(),
            error_message: None,
            current_leader: None,
        });
        ProduceTopicResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        }
    });
    let response = ProduceResponse {
        topics: topics.collect(),
        ..ProduceResponse::default()
    };
    let body = response.encode(header.version);
    let prefix = header.response_prefix(body.len()).expect("a small answer");
    vec![prefix, body]
}

#[derive(Default)]
struct Edges(u32);

impl Watcher for Edges {
    fn at_edge(&mut self) {
        self.0 += 1;
    }

    fn tick(&mut self, _: f64, _: u64) {}
}

/// One connection to the broker; what counts is one second.
fn plan(address: SocketAddr, rate: Rate, in_flight: u32) -> Plan {
    let load = LoadPart {
        rate,
        in_flight,
        ..load()
    };
    let places: Vec<Place> = (0..3)
        .map(|index| Place {
            topic: "t".into(),
            index,
            leader: 0,
        })
        .collect();
    Plan {
        templates: Arc::new(templates(&load, &places, 1, PRODUCE_VERSION_MAX)),
        traffic: produced(load),
        bootstrap: address.to_string(),
        leaders: vec![address],
        places: Arc::new(places),
        version: PRODUCE_VERSION_MAX,
        fetch_version: 12,
        spin: Duration::ZERO,
        cpus: vec![None],
        warm_up: Duration::from_millis(50),
        length: Duration::from_secs(1),
        dir: None,
    }
}

fn run(plan: &Plan, watcher: &mut impl Watcher) -> Result<Book, Problem> {
    Load::open(plan)?.slice(plan.warm_up, plan.length, watcher)
}

fn run_against(manners: Manners, rate: Rate, in_flight: u32) -> Book {
    let (address, broker) = serve(manners);
    let mut edges = Edges::default();
    let book = run(&plan(address, rate, in_flight), &mut edges).expect("the load runs");
    assert_eq!(edges.0, 2);
    broker.join().expect("the broker ends with its connection");
    book
}

const STALL: Duration = Duration::from_millis(400);

fn ms_at(book: &Book, quantile: f64) -> u64 {
    book.latency.value_at_quantile(quantile) / 1_000_000
}

#[test]
fn at_a_fixed_rate_a_stall_is_seen_by_all_that_should_have_been_sent_meanwhile() {
    let stalled = Manners {
        stall_after: Duration::from_millis(250),
        stall: STALL,
        ..PROMPT
    };
    // 1,000 requests a second, a small number of them in flight: most of those that fall into the
    // stall are not even sent before it ends.
    for in_flight in [1, 5] {
        let book = run_against(stalled, Rate::RecordsPerSecond(5_000), in_flight);
        assert_eq!(book.latency.len(), 1000, "every request is counted");
        assert_eq!(book.unanswered, 0);
        // 400 of the 1,000 wait, for 400 ms down to none.
        assert!(ms_at(&book, 1.0) >= 380, "max {} ms", ms_at(&book, 1.0));
        assert!(ms_at(&book, 0.9) >= 250, "p90 {} ms", ms_at(&book, 0.9));
        assert!(ms_at(&book, 0.7) >= 50, "p70 {} ms", ms_at(&book, 0.7));
    }
}

#[test]
fn as_fast_as_it_can_the_same_stall_is_one_slow_request() {
    let stalled = Manners {
        stall_after: Duration::from_millis(250),
        stall: STALL,
        ..PROMPT
    };
    let book = run_against(stalled, Rate::Max, 1);
    assert!(ms_at(&book, 1.0) >= 380, "max {} ms", ms_at(&book, 1.0));
    let slow = book
        .latency
        .count_between(STALL.as_nanos() as u64 / 2, u64::MAX);
    assert!(
        slow <= 3 && book.latency.len() > 200,
        "{slow} of {}",
        book.latency.len()
    );
}

#[test]
fn what_is_sent_is_what_is_acknowledged() {
    let book = run_against(PROMPT, Rate::RecordsPerSecond(5_000), 50);
    assert_eq!(book.latency.len(), 1000);
    assert_eq!(book.send_delay.len(), 1000);
    // The last answers may come after the end.
    let records = book.records();
    assert!((4_000..=5_000 + 50).contains(&records), "{records}");
    assert!(book.warm_up_records > 0);
    assert!(book.refused.is_empty());
}

#[test]
fn refused_requests_are_counted_apart() {
    let refusing = Manners {
        code: ErrorCode::NotLeaderOrFollower,
        ..PROMPT
    };
    let book = run_against(refusing, Rate::RecordsPerSecond(5_000), 50);
    assert_eq!(book.latency.len(), 0);
    assert_eq!(book.records(), 0);
    assert!(book.refused["NOT_LEADER_OR_FOLLOWER"] >= 1000);
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let address = "127.0.0.1:1".parse().expect("an address");
    let problem = run(&plan(address, Rate::Max, 1), &mut Edges::default());
    let text = problem.expect_err("nobody listens").to_string();
    assert!(text.contains("127.0.0.1:1"), "{text}");
}

#[test]
fn so_many_records_are_sent_and_no_more() {
    for (records, requests) in [(1, 1), (1000, 200), (1001, 201)] {
        let (address, broker) = serve(PROMPT);
        let mut load = Load::open(&plan(address, Rate::Max, 7)).expect("it connects");
        let book = load
            .run_to(records, Duration::from_secs(60), &mut Edges::default())
            .expect("the load runs");
        drop(load);
        broker.join().expect("the broker ends with its connection");
        assert_eq!(book.counted_records, 5 * requests);
        assert_eq!((book.records(), book.requests()), (5 * requests, requests));
        assert!(book.length_seconds() < 10.0, "{}", book.length_seconds());
    }
}

#[test]
fn requests_that_are_refused_are_done_as_well() {
    let refusing = Manners {
        code: ErrorCode::TopicAuthorizationFailed,
        ..PROMPT
    };
    let (address, broker) = serve(refusing);
    let mut load = Load::open(&plan(address, Rate::Max, 7)).expect("it connects");
    let book = load.run_to(100, Duration::from_secs(60), &mut Edges::default());
    let book = book.expect("the load runs");
    drop(load);
    broker.join().expect("the broker ends with its connection");
    assert_eq!(book.refused["TOPIC_AUTHORIZATION_FAILED"], 20);
    assert_eq!(book.records(), 0);
}

/// Ends the load at the second tick.
struct Impatient(u32);

impl Watcher for Impatient {
    fn at_edge(&mut self) {}

    fn tick(&mut self, _: f64, _: u64) {
        self.0 += 1;
    }

    fn is_interrupted(&self) -> bool {
        self.0 >= 2
    }
}

#[test]
fn a_load_that_is_interrupted_has_a_result() {
    let (address, broker) = serve(PROMPT);
    let mut load = Load::open(&plan(address, Rate::Max, 1)).expect("it connects");
    let book = load.slice(Duration::ZERO, Duration::from_secs(600), &mut Impatient(0));
    let book = book.expect("the load ran");
    drop(load);
    broker.join().expect("the broker ends with its connection");
    assert!(book.length_seconds() < 60.0, "{}", book.length_seconds());
    assert!(book.records_per_second() > 0.0);
    assert_eq!(book.counted_records, book.records());
}
