//! Goal 12: what 10,000 partitions cost that do nothing, and how soon one of them takes a batch
//! again after a crash.

use std::time::Duration;

use bytes::Bytes;
use corelog::bench::Problem;
use corelog::client::{Client, ClientOptions, Connection, NewTopic};
use corelog::frame::{BatchBuilder, Codec};
use corelog::io::{self, blocking};
use corelog::model::{TopicId, TopicName};
use corelog::protocol::ApiKey;
use corelog::protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use corelog::protocol::messages::produce_response::ProduceResponse;

use super::entry::{Measured, Part, Target};
use super::stage::Stage;
use crate::broker::{Corelog, Facts};
use crate::machine::resident_bytes_of;
use crate::paired::median;
use crate::workload::Durability;

const PARTITIONS: i32 = 10_000;
/// Partitions of one request.
const REQUEST_PARTITIONS: usize = 500;
/// An idle log gives its buffers back after 3 s, and what nobody has taken for 2 to 4 s more goes
/// back to the system, some thousand buffers at a time.
const IDLE: Duration = Duration::from_secs(15);
/// Crashes whose median counts.
const CRASHES: [usize; 2] = [3, 7];

/// Resident KiB per idle partition, of which each was written to; seconds from kill -9 to the
/// first acknowledgement of the broker that is started at once.
pub(super) fn idle_and_restart(stage: &Stage) -> Result<Vec<Part>, Problem> {
    let mut broker = stage.corelog(Durability::Sync, &[])?;
    let resident = |facts: &Facts| -> Result<f64, Problem> {
        let bytes = facts.pid.and_then(resident_bytes_of);
        let bytes = bytes.ok_or_else(|| Problem::new("the broker's memory is not known"))?;
        Ok(bytes as f64 / 1024.0)
    };
    blocking::sleep(IDLE);
    let before = resident(&broker.facts)?;
    stage.say("10,000 partitions are made");
    let topic = make_topic(&broker.facts)?;
    let all: Vec<i32> = (0..PARTITIONS).collect();
    let batch = batch();
    let mut connection = Connection::open(&broker.facts.address, &ClientOptions::default())?;
    for part in all.chunks(REQUEST_PARTITIONS) {
        produce(&mut connection, topic, part, &batch)?;
    }
    drop(connection);
    blocking::sleep(IDLE);
    let kib = (resident(&broker.facts)? - before) / f64::from(PARTITIONS);
    let mut seconds = Vec::new();
    let crashes = CRASHES[usize::from(!stage.effort.is_quick)];
    for crash in 0..crashes {
        stage.say(&format!("crash {} of {crashes}", crash + 1));
        let begin = io::now();
        let dir = broker.kill()?;
        broker = Corelog::start_in(&stage.binary, dir, &stage.settings(Durability::Sync, &[]))?;
        let mut connection = Connection::open(&broker.facts.address, &ClientOptions::default())?;
        produce(&mut connection, topic, &[0], &batch)?;
        seconds.push((io::now() - begin).as_secs_f64());
        // What the start left for later is over before the next crash.
        blocking::sleep(Duration::from_secs(2));
    }
    blocking::sleep(IDLE);
    let again = (resident(&broker.facts)? - before) / f64::from(PARTITIONS);
    broker.stop()?;
    let most = seconds.iter().copied().fold(0.0, f64::max);
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let memory = Measured::once(kib).figure("KiB after the last restart", again);
    let restart = Measured::once(median(seconds))
        .figure("least", least)
        .figure("most", most)
        .figure("crashes", crashes as f64);
    Ok(vec![
        Part::new(
            "KiB per idle partition of 10,000",
            Target::AtMost(16.0),
            Ok(memory),
        ),
        Part::new(
            "seconds from kill -9 to the first acknowledgement",
            Target::AtMost(1.0),
            Ok(restart),
        ),
    ])
}

fn make_topic(facts: &Facts) -> Result<TopicId, Problem> {
    let options = ClientOptions {
        request_timeout: Duration::from_secs(60),
        ..ClientOptions::default()
    };
    let mut client = Client::connect(&facts.address, options)?;
    let mut topic = NewTopic::new(TopicName::new("many").expect("a legal name"));
    topic.partition_count = Some(PARTITIONS);
    Ok(client.create_topic(&topic)?)
}

/// One record of 100 bytes.
fn batch() -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(io::wall_clock(), None, Some(&[7; 100]));
    Bytes::from(builder.build())
}

/// Sends the batch to each of the partitions in one request, and waits until all have it.
fn produce(
    connection: &mut Connection,
    topic: TopicId,
    partitions: &[i32],
    batch: &Bytes,
) -> Result<(), Problem> {
    let mut data = TopicProduceData::default();
    data.topic_id = topic.into();
    for &index in partitions {
        let mut partition = PartitionProduceData::default();
        partition.index = index;
        partition.records = Some(batch.clone());
        data.partition_data.push(partition);
    }
    let mut request = ProduceRequest::default();
    request.acks = -1;
    request.timeout_ms = 60_000;
    request.topic_data = vec![data];
    let version = connection.version(ApiKey::Produce)?;
    let response: ProduceResponse = connection.call_version(&request, version)?;
    let topics = response.responses.iter();
    let codes = topics.flat_map(|topic| &topic.partition_responses);
    let codes: Vec<i16> = codes.map(|partition| partition.error_code).collect();
    match codes.iter().find(|&&code| code != 0) {
        Some(code) => Err(Problem::new(format!("a partition answered error {code}"))),
        None if codes.len() == partitions.len() => Ok(()),
        None => Err(Problem::new("not every partition answered")),
    }
}
