//! What is known of each topic: what producers sent, what was acknowledged to them, what any
//! reader has seen. Every batch that is read, at any time, is held against it.
//!
//! The rules:
//! - a batch lies at the offset that was acknowledged for it, as it was sent;
//! - of each producer, a partition holds records 0, 1, 2, ... without gap or repetition, and none
//!   that the producer has not sent;
//! - offsets are contiguous; what was seen once is seen again, unchanged, by every later reader;
//! - the end of a log never lies before what was acknowledged or visible; its start moves only
//!   where records may be deleted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use corelog::client::FetchedBatch;
use corelog::frame::{self, BatchHeader};
use corelog::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use corelog::model::{TopicId, TopicName, TopicPartition};

use crate::content::{self, Author, Place};

/// Whether records of a topic may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Only those that DeleteRecords named.
    All,
    /// The oldest ones, beyond a number of bytes.
    Newest { bytes: u64 },
}

/// How much of a topic there must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existence {
    Certain,
    /// Its deletion was asked for, and not answered.
    Doubtful,
    Gone,
}

/// One topic; another one of the same name that comes later is another topic.
pub(crate) struct Topic {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    pub(crate) keeping: Keeping,
    existence: Mutex<Existence>,
    partitions: Vec<Mutex<History>>,
}

/// What is known of one partition.
#[derive(Default)]
pub(crate) struct History {
    /// By producer: how many records it has sent or is about to send.
    sent: BTreeMap<u32, u64>,
    /// By base offset.
    acknowledged: BTreeMap<i64, Sent>,
    /// By base offset.
    seen: BTreeMap<i64, Seen>,
    /// Acknowledged or visible up to here.
    end: i64,
    /// Records below were deleted on request, for certain and perhaps.
    start: i64,
    start_perhaps: i64,
    /// The highest first offset that a broker told.
    start_seen: i64,
}

/// A batch as a producer sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) author: Author,
    pub(crate) count: u32,
}

/// A batch as a reader got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    sent: Sent,
    leader_epoch: i32,
    crc: u32,
}

/// One reader's way through a partition.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    next_offset: Option<i64>,
    /// By producer: how many of its records were read.
    next_counters: BTreeMap<u32, u64>,
    /// Nothing was left out since offset 0.
    is_whole: bool,
    pub(crate) batches_count: u64,
    pub(crate) records_count: u64,
    pub(crate) bytes: u64,
}

impl Topic {
    pub(crate) fn new(
        name: TopicName,
        id: TopicId,
        partitions: usize,
        keeping: Keeping,
        existence: Existence,
    ) -> Arc<Topic> {
        Arc::new(Topic {
            name,
            id,
            keeping,
            existence: Mutex::new(existence),
            partitions: (0..partitions).map(|_| Mutex::default()).collect(),
        })
    }

    pub(crate) fn existence(&self) -> Existence {
        *self.existence.lock().expect("no holder panics")
    }

    pub(crate) fn set_existence(&self, existence: Existence) {
        *self.existence.lock().expect("no holder panics") = existence;
        if existence == Existence::Gone {
            for index in 0..self.partitions.len() {
                *self.history(index) = History::default();
            }
        }
    }

    pub(crate) fn partitions_count(&self) -> usize {
        self.partitions.len()
    }

    pub(crate) fn partition(&self, index: usize) -> TopicPartition {
        TopicPartition {
            topic: self.name.clone(),
            index: index as i32,
        }
    }

    pub(crate) fn place(&self, index: usize) -> Place {
        Place {
            topic_id: self.id,
            index: index as i32,
        }
    }

    pub(crate) fn history(&self, index: usize) -> MutexGuard<'_, History> {
        self.partitions[index].lock().expect("no holder panics")
    }

    /// Holds a batch against all that is known.
    pub(crate) fn observe(
        &self,
        index: usize,
        scan: &mut Scan,
        batch: &FetchedBatch,
    ) -> Result<(), String> {
        let seen = read(&batch.bytes, self.place(index))?;
        let header = BatchHeader::read(&batch.bytes).expect("it was just read");
        let (first, last) = (header.base_offset.0, header.last_offset().0);
        let from = batch.from.0;
        if last < from {
            return Err(format!(
                "records {first} to {last} answer a fetch from {from}"
            ));
        }
        if last >= batch.high_watermark.0 {
            let high = batch.high_watermark.0;
            return Err(format!(
                "the record at {last} is visible above the high watermark {high}"
            ));
        }
        let mut history = self.history(index);
        if self.existence() == Existence::Gone {
            // Deleted while the answer was on its way; nothing is known of it any more.
            return Ok(());
        }
        scan.next_offset.get_or_insert(from);
        scan.follow(first, last, seen.sent, self.keeping, &history)?;
        scan.bytes += batch.bytes.len() as u64;
        history.compare(first, seen)?;
        history.end = history.end.max(batch.high_watermark.0);
        Ok(())
    }
}

impl Scan {
    /// How many of each producer's records were read, if the scan has read them from the first on.
    pub(crate) fn counters(&self) -> Option<&BTreeMap<u32, u64>> {
        self.is_whole.then_some(&self.next_counters)
    }

    fn follow(
        &mut self,
        first: i64,
        last: i64,
        sent: Sent,
        keeping: Keeping,
        history: &History,
    ) -> Result<(), String> {
        let is_first = self.batches_count == 0;
        let expected = self.next_offset.unwrap_or(first);
        // The first batch may begin before the record that was asked for.
        if first < expected && !is_first {
            return Err(format!(
                "after record {} comes record {first}",
                expected - 1
            ));
        }
        let gap = first > expected;
        if gap && keeping == Keeping::All && first > history.start_perhaps {
            return Err(format!(
                "records {expected} to {} are lost: record {first} comes next",
                first - 1
            ));
        }
        if gap {
            self.next_counters.clear();
        }
        self.is_whole = !gap && (self.is_whole || (is_first && first == 0));
        let Author { producer, counter } = sent.author;
        let known = self.next_counters.get(&producer).copied();
        if let Some(expected) = known.or(self.is_whole.then_some(0))
            && counter != expected
        {
            let what = if counter < expected {
                "repeated"
            } else {
                "missing"
            };
            return Err(format!(
                "at offset {first} producer {producer} goes on with its record {counter} after \
                 {expected} records: some are {what}"
            ));
        }
        let after = counter + u64::from(sent.count);
        let known = history.sent.get(&producer).copied().unwrap_or(0);
        if after > known {
            return Err(format!(
                "at offset {first} stands record {} of producer {producer}, which sent {known}",
                after - 1
            ));
        }
        self.next_counters.insert(producer, after);
        self.next_offset = Some(last + 1);
        self.batches_count += 1;
        self.records_count += u64::from(sent.count);
        Ok(())
    }
}

impl History {
    /// A producer is about to send `count` records more; returns the first one's number.
    pub(crate) fn sending(&mut self, producer: u32, count: u32) -> u64 {
        let sent = self.sent.entry(producer).or_default();
        let first = *sent;
        *sent += u64::from(count);
        first
    }

    /// How many records each producer has sent.
    pub(crate) fn sent(&self) -> &BTreeMap<u32, u64> {
        &self.sent
    }

    /// A batch was acknowledged at `first`.
    pub(crate) fn acknowledge(&mut self, first: i64, sent: Sent) -> Result<(), String> {
        let end = first + i64::from(sent.count);
        if let Some(seen) = self.seen.get(&first)
            && seen.sent != sent
        {
            return Err(format!(
                "{sent:?} is acknowledged at {first}, where {:?} was seen",
                seen.sent
            ));
        }
        overlap(&self.acknowledged, first, end, |sent| sent.count).map_or(
            Ok(()),
            |(at, other)| match (at == first) && *other == sent {
                true => Ok(()),
                false => Err(format!(
                    "{sent:?} is acknowledged at {first}, {other:?} at {at}"
                )),
            },
        )?;
        self.acknowledged.insert(first, sent);
        self.end = self.end.max(end);
        Ok(())
    }

    /// Holds a batch that was read against what was acknowledged and seen before.
    fn compare(&mut self, first: i64, seen: Seen) -> Result<(), String> {
        let end = first + i64::from(seen.sent.count);
        if let Some((at, other)) = overlap(&self.seen, first, end, |seen| seen.sent.count)
            && (at != first || *other != seen)
        {
            return Err(format!(
                "{seen:?} is read at {first}, {other:?} was read at {at}"
            ));
        }
        if let Some((at, other)) = overlap(&self.acknowledged, first, end, |sent| sent.count)
            && (at != first || *other != seen.sent)
        {
            return Err(format!(
                "{:?} is read at {first}, {other:?} was acknowledged at {at}",
                seen.sent
            ));
        }
        self.seen.insert(first, seen);
        Ok(())
    }

    /// DeleteRecords is asked for; `confirmed` once it was answered.
    pub(crate) fn delete_records(&mut self, start: i64, confirmed: bool) {
        self.start_perhaps = self.start_perhaps.max(start);
        if confirmed {
            self.start = self.start.max(start);
        }
    }

    /// Where the log must reach at least.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Holds the bounds that a broker told against what must be.
    pub(crate) fn check_bounds(
        &mut self,
        start: i64,
        end: i64,
        keeping: Keeping,
    ) -> Result<(), String> {
        if end < self.end {
            return Err(format!(
                "the log ends at {end}, after {} was known",
                self.end
            ));
        }
        if start > end || start < self.start_seen {
            let seen = self.start_seen;
            return Err(format!(
                "the log starts at {start}, it was {seen}, and ends at {end}"
            ));
        }
        if keeping == Keeping::All && !(self.start..=self.start_perhaps).contains(&start) {
            let (least, most) = (self.start, self.start_perhaps);
            return Err(format!(
                "the log starts at {start}, not within {least} to {most}"
            ));
        }
        self.start_seen = start;
        self.end = end;
        Ok(())
    }
}

/// An entry, other than none, that shares an offset with `first..end`.
fn overlap<T>(
    entries: &BTreeMap<i64, T>,
    first: i64,
    end: i64,
    count: impl Fn(&T) -> u32,
) -> Option<(i64, &T)> {
    let within = entries.range(first..end).next();
    let before = entries.range(..first).next_back();
    let reaches = |(at, entry): &(&i64, &T)| **at + i64::from(count(entry)) > first;
    let found = before.filter(reaches).or(within);
    found.map(|(at, entry)| (*at, entry))
}

/// Reads a batch whole: checksum, and every record against what its author wrote.
fn read(batch: &[u8], place: Place) -> Result<Seen, String> {
    let header =
        frame::check_whole(batch).map_err(|error| format!("a batch is damaged: {error:?}"))?;
    let first = header.base_offset.0;
    let failed = |error| format!("the batch at {first} cannot be read: {error:?}");
    let records = frame::records(batch, DECOMPRESSED_BATCH_BYTES_MAX).map_err(failed)?;
    let mut authors = None;
    let mut count = 0;
    for record in &records {
        let record = record.map_err(failed)?;
        let author = content::author(&record, place)?;
        let begun: Author = *authors.get_or_insert(author);
        let expected = Author {
            counter: begun.counter + u64::from(count),
            ..begun
        };
        if author != expected || record.offset.0 != first + i64::from(count) {
            let at = record.offset.0;
            return Err(format!(
                "within the batch at {first}, {at} holds {author:?}, not {expected:?}"
            ));
        }
        count += 1;
    }
    let author = authors.ok_or_else(|| format!("the batch at {first} is empty"))?;
    if count != (header.last_offset().0 - first + 1) as u32 {
        return Err(format!("the batch at {first} holds {count} records"));
    }
    Ok(Seen {
        sent: Sent { author, count },
        leader_epoch: header.leader_epoch.0,
        crc: header.crc,
    })
}
