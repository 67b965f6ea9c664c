//! Topics that come and go, records that are deleted, while the broker is under load.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corelog::client::{Client, ClientError, NewTopic, TopicDescription};
use corelog::io::blocking;
use corelog::model::{Offset, TopicName};

use crate::chance::Chance;
use crate::history::{Existence, Keeping, Topic};
use crate::load::Load;
use crate::verdict::Verdict;

/// All topics of a run, those too that are gone.
#[derive(Default)]
pub(crate) struct Topics {
    known: Mutex<Vec<Arc<Topic>>>,
    /// Those whose creation was asked for and not answered, by name.
    asked_for: Mutex<BTreeMap<TopicName, Wish>>,
    named: Mutex<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Wish {
    partitions: usize,
    keeping: Keeping,
}

/// Topics there are at least, and at most, for the load.
const TOPICS_MIN: usize = 3;
const TOPICS_MAX: usize = 6;
/// What a topic with retention keeps of each partition: two segments.
const KEPT_BYTES: u64 = 2 << 20;
const SEGMENT_BYTES: u64 = 1 << 20;

impl Topics {
    /// Those that are certainly there, oldest first.
    pub(crate) fn certain(&self) -> Vec<Arc<Topic>> {
        let known = self.known.lock().expect("no holder panics");
        let certain = |topic: &&Arc<Topic>| topic.existence() == Existence::Certain;
        known.iter().filter(certain).cloned().collect()
    }

    /// Creates what is missing at the start of a round.
    pub(crate) fn fill_up(&self, load: &Load, chance: &mut Chance) -> Result<(), ClientError> {
        let mut client = load.client()?;
        while load.topics().len() < TOPICS_MIN {
            self.create(&mut client, load, chance)?;
        }
        Ok(())
    }

    /// Creates and deletes topics and records until the load ends.
    pub(crate) fn churn(&self, load: &Load, chance: &mut Chance) {
        while !load.is_over() {
            if let Err(error) = self.churn_connected(load, chance) {
                load.judge("an administrator", &error);
            }
            blocking::sleep(Duration::from_millis(5));
        }
    }

    fn churn_connected(&self, load: &Load, chance: &mut Chance) -> Result<(), ClientError> {
        let mut client = load.client()?;
        while !load.is_over() {
            blocking::sleep(Duration::from_millis(chance.between(1, 200)));
            let count = load.topics().len();
            match chance.below(6) {
                0 | 1 if count < TOPICS_MAX => self.create(&mut client, load, chance)?,
                2 if count > TOPICS_MIN => self.delete(&mut client, load, chance)?,
                3 if count == TOPICS_MAX => self.delete(&mut client, load, chance)?,
                _ => self.delete_records(&mut client, load, chance)?,
            }
        }
        Ok(())
    }

    fn create(
        &self,
        client: &mut Client,
        load: &Load,
        chance: &mut Chance,
    ) -> Result<(), ClientError> {
        let keeping = match chance.one_in(3) {
            true => Keeping::Newest { bytes: KEPT_BYTES },
            false => Keeping::All,
        };
        let partitions = chance.between(1, 5) as usize;
        let name = self.new_name(chance);
        let mut wanted = NewTopic::new(name.clone());
        wanted.partition_count = Some(partitions as i32);
        if let Keeping::Newest { bytes } = keeping {
            wanted.configs = vec![
                ("retention.bytes".to_owned(), bytes.to_string()),
                ("segment.bytes".to_owned(), SEGMENT_BYTES.to_string()),
            ];
        }
        let wish = Wish {
            partitions,
            keeping,
        };
        self.asked_for
            .lock()
            .expect("no holder panics")
            .insert(name.clone(), wish);
        let id = client.create_topic(&wanted)?;
        self.asked_for
            .lock()
            .expect("no holder panics")
            .remove(&name);
        let topic = Topic::new(name, id, partitions, keeping, Existence::Certain);
        self.known
            .lock()
            .expect("no holder panics")
            .push(topic.clone());
        load.add_topic(topic);
        load.verdict.count("topics created", 1);
        Ok(())
    }

    /// A name that nobody has: a new one, or that of a topic that is gone.
    fn new_name(&self, chance: &mut Chance) -> TopicName {
        let known = self.known.lock().expect("no holder panics");
        let asked_for = self.asked_for.lock().expect("no holder panics");
        let is_free = |name: &TopicName| {
            let has = |topic: &&Arc<Topic>| topic.name == *name;
            let mut named = known.iter().filter(has);
            !asked_for.contains_key(name) && named.all(|topic| topic.existence() == Existence::Gone)
        };
        if !known.is_empty() && chance.one_in(3) {
            let name = &chance.pick(&known).name;
            if is_free(name) {
                return name.clone();
            }
        }
        let mut named = self.named.lock().expect("no holder panics");
        *named += 1;
        TopicName::new(&format!("topic-{}", *named)).expect("a legal name")
    }

    fn delete(
        &self,
        client: &mut Client,
        load: &Load,
        chance: &mut Chance,
    ) -> Result<(), ClientError> {
        // The oldest more often than others, so that what is to be read back stays bounded.
        let topics = load.topics();
        let which = if chance.one_in(2) {
            0
        } else {
            chance.below(topics.len() as u64) as usize
        };
        let topic = &topics[which];
        load.remove_topic(topic);
        topic.set_existence(Existence::Doubtful);
        client.delete_topic(&topic.name)?;
        topic.set_existence(Existence::Gone);
        load.verdict.count("topics deleted", 1);
        Ok(())
    }

    fn delete_records(
        &self,
        client: &mut Client,
        load: &Load,
        chance: &mut Chance,
    ) -> Result<(), ClientError> {
        let topics = load.topics();
        let topic = chance.pick(&topics);
        let index = chance.below(topic.partitions_count() as u64) as usize;
        let end = topic.history(index).end();
        if end == 0 || topic.keeping != Keeping::All || chance.one_in(2) {
            return Ok(());
        }
        let before = chance.between(0, end as u64) as i64;
        topic.history(index).delete_records(before, false);
        client.delete_records(&topic.partition(index), Offset(before))?;
        topic.history(index).delete_records(before, true);
        load.verdict.count("records deletions", 1);
        Ok(())
    }

    /// What became of topics whose creation or deletion was not answered; and whether all others
    /// are as they were.
    pub(crate) fn resolve(&self, found: &[TopicDescription], verdict: &Verdict) {
        let mut known = self.known.lock().expect("no holder panics");
        for topic in known.iter() {
            let present = found.iter().find(|found| found.id == topic.id);
            match (topic.existence(), present) {
                (Existence::Certain, None) => {
                    verdict.violation(format!("topic {} {:?} is gone", topic.name, topic.id));
                    topic.set_existence(Existence::Gone);
                }
                (Existence::Gone, Some(_)) => {
                    verdict.violation(format!("topic {} {:?} is back", topic.name, topic.id));
                }
                (Existence::Doubtful, None) => topic.set_existence(Existence::Gone),
                (Existence::Doubtful, Some(_)) => topic.set_existence(Existence::Certain),
                (Existence::Certain, Some(_)) | (Existence::Gone, None) => {}
            }
            if let Some(present) = present
                && (present.name != topic.name
                    || present.partitions.len() != topic.partitions_count())
            {
                verdict.violation(format!(
                    "topic {} is not as it was: {present:?}",
                    topic.name
                ));
            }
        }
        for found in found.iter().filter(|found| !found.is_internal) {
            if known.iter().any(|topic| topic.id == found.id) {
                continue;
            }
            let wish = self
                .asked_for
                .lock()
                .expect("no holder panics")
                .remove(&found.name);
            match wish {
                Some(wish) if wish.partitions == found.partitions.len() => {
                    let (name, id) = (found.name.clone(), found.id);
                    let existence = Existence::Certain;
                    known.push(Topic::new(
                        name,
                        id,
                        wish.partitions,
                        wish.keeping,
                        existence,
                    ));
                    verdict.count("topics created without an answer", 1);
                }
                Some(_) | None => verdict.violation(format!("nobody asked for {found:?}")),
            }
        }
        self.asked_for.lock().expect("no holder panics").clear();
    }
}
