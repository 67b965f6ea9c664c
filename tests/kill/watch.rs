//! Readers: those at the tail while the broker is under load, and those that read everything back
//! after it was restarted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corelog::client::{
    Client, ClientError, Consumer, ConsumerOptions, OffsetReset, OffsetSpec, StartAt,
};
use corelog::io::blocking;
use corelog::io::housekeeping::now;
use corelog::model::TopicPartition;

use crate::chance::Chance;
use crate::history::{Existence, Keeping, Scan, Topic};
use crate::load::{Load, is_of_a_deleted_topic};
use crate::verdict::Verdict;

/// A broker that gives nothing for this long when there is something has hung.
const PROGRESS_MAX: Duration = Duration::from_secs(20);

fn options(chance: &mut Chance) -> ConsumerOptions {
    // A broker waits where it may not give as much as it should; so only one of both is odd.
    let (min_bytes, max_bytes, partition_max_bytes) = *chance.pick(&[
        (10_000, 50 << 20, 1 << 20),
        (1, 1, 1 << 20),
        (1, 50 << 20, 10_000),
        (1, 50 << 20, 1 << 20),
    ]);
    ConsumerOptions {
        max_wait: Duration::from_millis(chance.between(20, 200)),
        min_bytes,
        max_bytes,
        partition_max_bytes,
        reset: OffsetReset::Earliest,
        checks_crc: true,
    }
}

/// Reads along until the load ends.
pub(crate) fn follow(load: &Load, chance: &mut Chance) {
    while !load.is_over() {
        let topics = load.topics();
        if let Err(error) = follow_some(load, &topics, chance) {
            let deleted = topics
                .iter()
                .any(|topic| topic.existence() != Existence::Certain);
            if !(deleted && error.code().is_some_and(is_of_a_deleted_topic)) {
                load.judge("a consumer", &error);
            }
        }
        blocking::sleep(Duration::from_millis(5));
    }
}

fn follow_some(load: &Load, topics: &[Arc<Topic>], chance: &mut Chance) -> Result<(), ClientError> {
    let mut readers = BTreeMap::new();
    let mut starts = Vec::new();
    for topic in topics {
        for index in 0..topic.partitions_count() {
            if chance.one_in(3) {
                continue;
            }
            let end = topic.history(index).end();
            let start = match chance.below(3) {
                0 => StartAt::Earliest,
                1 => StartAt::Latest,
                // The last few records: what a crash might take.
                _ => StartAt::Offset(corelog::model::Offset((end - 100).max(0))),
            };
            starts.push((topic.partition(index), start));
            readers.insert(topic.partition(index), (topic.clone(), Reader::default()));
        }
    }
    if starts.is_empty() {
        return Ok(());
    }
    let mut consumer = Consumer::assign(load.client()?, &starts, options(chance))?;
    let until = now() + Duration::from_millis(chance.between(50, 2_000));
    while !load.is_over() && now() < until {
        for batch in consumer.poll()? {
            let (topic, reader) = readers.get_mut(&batch.partition).expect("it was asked for");
            load.verdict.count("batches read while written", 1);
            if let Err(what) =
                topic.observe(batch.partition.index as usize, &mut reader.scan, &batch)
            {
                // The name of a topic that was deleted may be another topic's by now.
                if topic.existence() == Existence::Certain {
                    load.verdict
                        .violation(format!("{}, while written: {what}", batch.partition));
                }
                return Ok(());
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Reader {
    scan: Scan,
    /// Where the log ended when the reader began.
    end: i64,
}

/// Reads all of a topic, from its start to its end as of now. With `settled`, every record that
/// was sent must be there.
pub(crate) fn read_back(
    client: Client,
    topic: &Arc<Topic>,
    verdict: &Verdict,
    settled: bool,
    chance: &mut Chance,
) -> Result<(), ClientError> {
    let partitions: Vec<TopicPartition> = (0..topic.partitions_count())
        .map(|index| topic.partition(index))
        .collect();
    let mut client = client;
    let ask = |spec| {
        partitions
            .iter()
            .map(|p| (p.clone(), spec))
            .collect::<Vec<_>>()
    };
    let starts = client.list_offsets(&ask(OffsetSpec::Earliest))?;
    let ends = client.list_offsets(&ask(OffsetSpec::Latest))?;
    let mut readers = BTreeMap::new();
    for (index, (start, end)) in starts.iter().zip(&ends).enumerate() {
        let start = start.offset.map_or(0, |offset| offset.0);
        let end = end.offset.map_or(0, |offset| offset.0);
        let mut history = topic.history(index);
        if let Err(what) = history.check_bounds(start, end, topic.keeping) {
            verdict.violation(format!("{}: {what}", topic.partition(index)));
        }
        let scan = Scan::default();
        readers.insert(topic.partition(index), Reader { scan, end });
    }
    let begin: Vec<_> = partitions
        .iter()
        .map(|p| (p.clone(), StartAt::Earliest))
        .collect();
    let options = ConsumerOptions {
        max_bytes: 50 << 20,
        ..options(chance)
    };
    let mut consumer = Consumer::assign(client, &begin, options)?;
    let mut progress = now();
    let is_done = |consumer: &Consumer, readers: &BTreeMap<TopicPartition, Reader>| {
        readers.iter().all(|(partition, reader)| {
            consumer
                .position(partition)
                .is_some_and(|next| next.0 >= reader.end)
        })
    };
    while !is_done(&consumer, &readers) {
        for batch in consumer.poll()? {
            progress = now();
            let reader = readers.get_mut(&batch.partition).expect("it was asked for");
            let index = batch.partition.index as usize;
            if let Err(what) = topic.observe(index, &mut reader.scan, &batch) {
                verdict.violation(format!("{}, read back: {what}", batch.partition));
                return Ok(());
            }
        }
        if now() - progress > PROGRESS_MAX {
            verdict.violation(format!(
                "{}: nothing comes, though the end is not reached",
                topic.name
            ));
            return Ok(());
        }
    }
    for (partition, reader) in &readers {
        verdict.count("records read back", reader.scan.records_count);
        verdict.count("bytes read back", reader.scan.bytes);
        if let Err(what) = check_whole(topic, partition.index as usize, reader, settled) {
            verdict.violation(format!("{partition}, read back: {what}"));
        }
    }
    Ok(())
}

fn check_whole(topic: &Topic, index: usize, reader: &Reader, settled: bool) -> Result<(), String> {
    let history = topic.history(index);
    if let Keeping::Newest { bytes } = topic.keeping
        && reader.scan.counters().is_none()
        && reader.end > 0
        && reader.scan.bytes < bytes
    {
        let left = reader.scan.bytes;
        return Err(format!(
            "retention left {left} bytes where {bytes} are to be kept"
        ));
    }
    let Some(counters) = reader.scan.counters().filter(|_| settled) else {
        return Ok(());
    };
    for (producer, sent) in history.sent() {
        let read = counters.get(producer).copied().unwrap_or(0);
        if read != *sent {
            return Err(format!(
                "producer {producer} sent {sent} records, {read} are there"
            ));
        }
    }
    Ok(())
}
