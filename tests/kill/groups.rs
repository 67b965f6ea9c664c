//! Committed offsets: of groups without members, where each commit is known one by one, and of a
//! group whose member comes back after each crash.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corelog::client::{
    Client, ClientError, CommittedOffset, Consumer, ConsumerOptions, FetchedBatch, GroupOptions,
    OffsetReset,
};
use corelog::io::blocking;
use corelog::io::housekeeping::now;
use corelog::model::Offset;

use crate::chance::Chance;
use crate::history::{Existence, Topic};
use crate::load::Load;
use crate::rounds::Shared;
use crate::verdict::Verdict;

/// What is known of the groups of a run.
#[derive(Default)]
pub(crate) struct Groups {
    commits: Mutex<BTreeMap<Slot, Commit>>,
}

/// A group, a topic's id, a partition's index.
type Slot = (String, [u8; 16], usize);

/// What a group committed for a partition.
struct Commit {
    topic: Arc<Topic>,
    /// The last that was acknowledged, or was there after a start.
    certain: i64,
    /// The last that was asked for.
    perhaps: i64,
}

const GROUPS_MAX: u64 = 4;
const MEMBERS: &str = "members";

impl Groups {
    /// Commits until the load ends.
    pub(crate) fn commit(&self, load: &Load, chance: &mut Chance) {
        while !load.is_over() {
            if let Err(error) = self.commit_connected(load, chance) {
                // A topic that is deleted takes its offsets with it.
                if error.code().is_none() || load.topics().is_empty() {
                    load.judge("a committer", &error);
                } else if !load.is_doomed() {
                    load.verdict.count("commits refused for the moment", 1);
                }
            }
            blocking::sleep(Duration::from_millis(5));
        }
    }

    fn commit_connected(&self, load: &Load, chance: &mut Chance) -> Result<(), ClientError> {
        let mut client = load.client()?;
        while !load.is_over() {
            let topics = load.topics();
            let group = format!("group-{}", chance.below(GROUPS_MAX));
            let mut offsets = Vec::new();
            let mut slots = Vec::new();
            for _ in 0..chance.between(1, 4) {
                let topic = chance.pick(&topics);
                let index = chance.below(topic.partitions_count() as u64) as usize;
                let slot = (group.clone(), topic.id.0, index);
                if slots.contains(&slot) {
                    continue;
                }
                let offset = self.next_offset(&slot, topic, chance);
                offsets.push(CommittedOffset::new(topic.partition(index), Offset(offset)));
                slots.push(slot);
            }
            client.commit_offsets(&group, &offsets)?;
            let mut commits = self.commits.lock().expect("no holder panics");
            for (slot, offset) in slots.iter().zip(&offsets) {
                let commit = commits.get_mut(slot).expect("it was asked for");
                commit.certain = offset.offset.0;
            }
            drop(commits);
            load.verdict.count("offset commits", 1);
            blocking::sleep(Duration::from_millis(chance.below(10)));
        }
        Ok(())
    }

    fn next_offset(&self, slot: &Slot, topic: &Arc<Topic>, chance: &mut Chance) -> i64 {
        let mut commits = self.commits.lock().expect("no holder panics");
        let commit = commits.entry(slot.clone()).or_insert_with(|| Commit {
            topic: topic.clone(),
            certain: -1,
            perhaps: -1,
        });
        commit.perhaps += chance.between(1, 1000) as i64;
        commit.perhaps
    }

    /// Consumes as a member of a group through all rounds of a run, whether a broker is there or
    /// not, and commits now and then; what the group has committed it must not get again.
    pub(crate) fn consume(&self, shared: &Shared, chance: &mut Chance) {
        while !shared.is_over.load(Ordering::Relaxed) {
            // Brokers come and go: no error means anything here.
            let _ = self.consume_some(shared, chance);
            blocking::sleep(Duration::from_millis(20));
        }
    }

    fn consume_some(&self, shared: &Shared, chance: &mut Chance) -> Result<(), ClientError> {
        let topics = shared.topics.certain();
        let Some(address) = shared.address.get().filter(|_| !topics.is_empty()) else {
            return Ok(());
        };
        let names = topics.iter().map(|topic| topic.name.clone()).collect();
        let mut group = GroupOptions::new(MEMBERS, names);
        group.group_instance_id = Some("one".to_owned());
        group.session_timeout = Duration::from_secs(10);
        group.rebalance_timeout = Duration::from_secs(10);
        group.auto_commit = None;
        let options = ConsumerOptions {
            max_wait: Duration::from_millis(50),
            reset: OffsetReset::Earliest,
            ..ConsumerOptions::default()
        };
        let client = Client::connect(address, Load::options())?;
        let mut consumer = Consumer::subscribe(client, group, options)?;
        let until = now() + Duration::from_millis(chance.between(100, 5_000));
        while !shared.is_over.load(Ordering::Relaxed) && now() < until {
            let batches = consumer.poll()?;
            shared
                .verdict
                .count("batches read by a group's member", batches.len() as u64);
            for batch in batches {
                self.check_read(shared, &topics, &batch);
            }
            if chance.one_in(3) {
                self.commit_positions(shared, &topics, &mut consumer)?;
            }
        }
        Ok(())
    }

    fn check_read(&self, shared: &Shared, topics: &[Arc<Topic>], batch: &FetchedBatch) {
        let Some(topic) = topics
            .iter()
            .find(|topic| topic.name == batch.partition.topic)
        else {
            return;
        };
        let slot = (
            MEMBERS.to_owned(),
            topic.id.0,
            batch.partition.index as usize,
        );
        let commits = self.commits.lock().expect("no holder panics");
        let committed = commits.get(&slot).map_or(-1, |commit| commit.certain);
        if batch.from.0 < committed && topic.existence() == Existence::Certain {
            shared.verdict.violation(format!(
                "{}: the group reads from {} after it has committed {committed}",
                batch.partition, batch.from.0
            ));
        }
    }

    fn commit_positions(
        &self,
        shared: &Shared,
        topics: &[Arc<Topic>],
        consumer: &mut Consumer,
    ) -> Result<(), ClientError> {
        let mut positions = Vec::new();
        for partition in consumer.assignment() {
            let topic = topics.iter().find(|topic| topic.name == partition.topic);
            let topic = topic.expect("a consumer reads the topics it was told, and no others");
            let position = consumer.position(&partition).expect("it is assigned");
            let slot = (MEMBERS.to_owned(), topic.id.0, partition.index as usize);
            let mut commits = self.commits.lock().expect("no holder panics");
            let commit = commits.entry(slot.clone()).or_insert_with(|| Commit {
                topic: topic.clone(),
                certain: -1,
                perhaps: -1,
            });
            commit.perhaps = commit.perhaps.max(position.0);
            positions.push((slot, position.0));
        }
        consumer.commit()?;
        let mut commits = self.commits.lock().expect("no holder panics");
        for (slot, position) in positions {
            let commit = commits.get_mut(&slot).expect("just entered");
            commit.certain = commit.certain.max(position);
        }
        shared.verdict.count("commits of a group's member", 1);
        Ok(())
    }

    /// Holds what the broker has against what was committed, after a start.
    pub(crate) fn check(&self, client: &mut Client, verdict: &Verdict) -> Result<(), ClientError> {
        let mut commits = self.commits.lock().expect("no holder panics");
        commits.retain(|_, commit| commit.topic.existence() != Existence::Gone);
        let mut groups: Vec<String> = commits.keys().map(|(group, ..)| group.clone()).collect();
        groups.dedup();
        for group in groups {
            let found = client.committed_offsets(&group, None)?;
            for ((_, _, index), commit) in commits.iter_mut().filter(|((of, ..), _)| *of == group) {
                let partition = commit.topic.partition(*index);
                let here = found.iter().find(|found| found.partition == partition);
                let here = here.map_or(-1, |found| found.offset.0);
                let (certain, perhaps) = (commit.certain, commit.perhaps);
                verdict.count("committed offsets checked", 1);
                if !(certain..=perhaps).contains(&here) {
                    verdict.violation(format!(
                        "{group} has committed {here} for {partition}: {certain} was \
                         acknowledged, {perhaps} asked for"
                    ));
                }
                commit.certain = here;
                commit.perhaps = perhaps.max(here);
            }
        }
        Ok(())
    }
}
