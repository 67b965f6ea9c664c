//! Ten thousand partitions on one node: how much memory they take, and how soon each of them takes
//! a batch again after a kill.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use corelog::client::{Client, ClientError, Connection, NewTopic, OffsetSpec};
use corelog::frame::{BatchBuilder, Codec};
use corelog::io::housekeeping::{now, wall_clock};
use corelog::io::{Instant, blocking};
use corelog::model::{TopicId, TopicName, TopicPartition};
use corelog::protocol::ApiKey;
use corelog::protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use corelog::protocol::messages::produce_response::ProduceResponse;

use crate::arguments::Arguments;
use crate::broker::{self, Broker, Setting};
use crate::load::Load;

/// What is measured, and the most it should be.
struct Figure {
    what: &'static str,
    value: f64,
    unit: &'static str,
    target: Option<f64>,
}

/// Connections that produce at the same time.
const CONNECTIONS: usize = 4;
/// Partitions of one request.
const REQUEST_PARTITIONS: usize = 250;
/// The payload of all partitions together.
const PAYLOAD_BYTES: usize = 1 << 30;
/// Batches of each partition in which that comes.
const BATCHES: usize = 4;
const FIRST_SECONDS_MAX: f64 = 1.0;
const START_SECONDS_MAX: f64 = 5.0;
const PARTITION_KIB_MAX: f64 = 32.0;
/// An idle log gives its buffers back after 3 s.
const IDLE: Duration = Duration::from_secs(8);

/// Measures, prints, and tells whether every target is met.
pub(crate) fn run(arguments: &Arguments, count: usize) -> Result<bool, String> {
    let dir = std::path::absolute(&arguments.dir).map_err(|error| error.to_string())?;
    std::fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let measured = measure(arguments, &dir, count);
    std::fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
    let (mut passed, mut failed) = (0, 0);
    for Figure {
        what,
        value,
        unit,
        target,
    } in measured?
    {
        let verdict = match target {
            None => String::new(),
            Some(target) if value <= target => {
                passed += 1;
                format!("(at most {target} {unit})")
            }
            Some(target) => {
                failed += 1;
                format!("(MISSED: at most {target} {unit})")
            }
        };
        println!("{value:>12.2} {unit:<4} {what} {verdict}");
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

fn measure(arguments: &Arguments, dir: &Path, count: usize) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    let mut figure = |what, value, unit, target| {
        figures.push(Figure {
            what,
            value,
            unit,
            target,
        });
    };
    let per_partition =
        |more: u64, less: u64| (more.saturating_sub(less) as f64) / 1024.0 / count as f64;
    let mut setting = Setting {
        binary: arguments.binary.clone(),
        notes: dir.to_owned(),
        data: dir.join("data"),
        port: 0,
        overrides: arguments.overrides.clone(),
    };
    let broker = setting.start()?;
    setting.port = broker.port();
    blocking::sleep(IDLE);
    let none = broker.resident_bytes()?;

    let began = now();
    let topic = create(&broker, count).map_err(|error| error.to_string())?;
    let seconds = (now() - began).as_secs_f64();
    figure("until the topic was created", seconds, "s", None);
    blocking::sleep(IDLE);
    let created = per_partition(broker.resident_bytes()?, none);
    figure(
        "of memory per partition that was never written to",
        created,
        "KiB",
        None,
    );

    let began = now();
    let batch = batch(PAYLOAD_BYTES / count / BATCHES);
    for _ in 0..BATCHES {
        produce_everywhere(&broker.address, topic, count, &batch)?;
    }
    let seconds = (now() - began).as_secs_f64();
    figure("to produce 1 GiB over all of them", seconds, "s", None);
    blocking::sleep(IDLE);
    let written = per_partition(broker.resident_bytes()?, none);
    let target = Some(PARTITION_KIB_MAX);
    figure("of memory per idle partition", written, "KiB", target);
    broker.kill()?;

    let began = now();
    let (start, first) = std::thread::scope(|scope| {
        let start = scope.spawn(|| setting.start());
        let address = format!("{}:{}", broker::host(), setting.port);
        let small = self::batch(100);
        let first = produce_everywhere(&address, topic, count, &small);
        (start.join().expect("it does not panic"), first)
    });
    let first_acknowledged = (first? - began).as_secs_f64();
    let acknowledged = (now() - began).as_secs_f64();
    let broker = start?;
    let ready = broker.start_duration.as_secs_f64();
    figure(
        "from the process's start until it served after kill -9",
        ready,
        "s",
        None,
    );
    figure(
        "until the first batch was acknowledged",
        first_acknowledged,
        "s",
        Some(FIRST_SECONDS_MAX),
    );
    let target = Some(START_SECONDS_MAX);
    figure(
        "until every partition had acknowledged a batch",
        acknowledged,
        "s",
        target,
    );
    check_ends(&broker, count).map_err(|error| error.to_string())??;
    blocking::sleep(IDLE);
    let again = per_partition(broker.resident_bytes()?, none);
    let target = Some(PARTITION_KIB_MAX);
    figure(
        "of memory per idle partition after the restart",
        again,
        "KiB",
        target,
    );

    broker.stop()?;
    let broker = setting.start()?;
    let ready = broker.start_duration.as_secs_f64();
    figure("until it served after a stop", ready, "s", None);
    blocking::sleep(IDLE);
    let cold = per_partition(broker.resident_bytes()?, none);
    figure(
        "of memory per idle partition after the stop and start",
        cold,
        "KiB",
        target,
    );
    check_ends(&broker, count).map_err(|error| error.to_string())??;
    broker.stop()?;
    Ok(figures)
}

fn name() -> TopicName {
    TopicName::new("many").expect("a legal name")
}

fn create(broker: &Broker, count: usize) -> Result<TopicId, ClientError> {
    let mut client = Client::connect(&broker.address, Load::options())?;
    let mut topic = NewTopic::new(name());
    topic.partition_count = Some(count as i32);
    client.create_topic(&topic)
}

/// One record of about so many bytes, which do not compress.
fn batch(bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    let mut chance = crate::chance::Chance::new(bytes as u64);
    let value: Vec<u8> = (0..bytes).map(|_| chance.draw() as u8).collect();
    builder.push(wall_clock(), None, Some(&value));
    Bytes::from(builder.build())
}

/// Sends the batch to every partition, over several connections, and returns when all are
/// acknowledged, with the moment at which the first one was: that of a request for one partition.
/// A broker that is not there yet is waited for.
fn produce_everywhere(
    address: &str,
    topic: TopicId,
    count: usize,
    batch: &Bytes,
) -> Result<Instant, String> {
    let partitions: Vec<i32> = (0..count as i32).collect();
    let (alone, rest) = partitions.split_at(1);
    let parts = Mutex::new(alone.chunks(1).chain(rest.chunks(REQUEST_PARTITIONS)));
    let first = Mutex::new(None);
    let work = || -> Result<(), String> {
        let mut connection = connect(address)?;
        loop {
            let next = parts.lock().expect("no holder panics").next();
            let Some(part) = next else { return Ok(()) };
            produce(&mut connection, topic, part, batch)?;
            first
                .lock()
                .expect("no holder panics")
                .get_or_insert_with(now);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        let results = workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"));
        results
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<(), String>>()
    })?;
    let first = *first.lock().expect("no holder panics");
    first.ok_or("there is no partition".to_owned())
}

fn connect(address: &str) -> Result<Connection, String> {
    let deadline = now() + Duration::from_secs(60);
    loop {
        match Connection::open(address, &Load::options()) {
            Ok(connection) => return Ok(connection),
            Err(error) if now() > deadline => return Err(error.to_string()),
            Err(_) => blocking::sleep(Duration::from_millis(5)),
        }
    }
}

fn produce(
    connection: &mut Connection,
    topic: TopicId,
    partitions: &[i32],
    batch: &Bytes,
) -> Result<(), String> {
    let mut data = TopicProduceData::default();
    data.topic_id = topic.into();
    for index in partitions {
        let mut partition = PartitionProduceData::default();
        partition.index = *index;
        partition.records = Some(batch.clone());
        data.partition_data.push(partition);
    }
    let mut request = ProduceRequest::default();
    request.acks = -1;
    request.timeout_ms = 60_000;
    request.topic_data = vec![data];
    let version = connection
        .version(ApiKey::Produce)
        .map_err(|error| error.to_string())?;
    let response: ProduceResponse = connection
        .call_version(&request, version)
        .map_err(|error| error.to_string())?;
    let answers = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    let mut acknowledged = 0;
    for answer in answers {
        if answer.error_code != 0 {
            return Err(format!(
                "partition {}: error {}",
                answer.index, answer.error_code
            ));
        }
        acknowledged += 1;
    }
    match acknowledged == partitions.len() {
        true => Ok(()),
        false => Err(format!(
            "{acknowledged} of {} partitions answered",
            partitions.len()
        )),
    }
}

/// Every partition holds every batch once.
fn check_ends(broker: &Broker, count: usize) -> Result<Result<(), String>, ClientError> {
    let mut client = Client::connect(&broker.address, Load::options())?;
    let all: Vec<_> = (0..count as i32)
        .map(|index| {
            (
                TopicPartition {
                    topic: name(),
                    index,
                },
                OffsetSpec::Latest,
            )
        })
        .collect();
    for part in all.chunks(1000) {
        for listed in client.list_offsets(part)? {
            let end = listed.offset.map_or(-1, |offset| offset.0);
            if end != BATCHES as i64 + 1 {
                return Ok(Err(format!("{} ends at {end}", listed.partition)));
            }
        }
    }
    Ok(Ok(()))
}
