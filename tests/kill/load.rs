//! What the threads of one round share: the broker's address, the topics, when to end, and which
//! errors are only the crash that they are waiting for.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use corelog::client::{Client, ClientError, ClientOptions, Connection};
use corelog::protocol::ErrorCode;

use crate::history::{Existence, Topic};
use crate::verdict::Verdict;

/// One round's load.
pub(crate) struct Load<'a> {
    pub(crate) verdict: &'a Verdict,
    pub(crate) address: String,
    topics: RwLock<Vec<Arc<Topic>>>,
    producer_ids: &'a Mutex<BTreeSet<i64>>,
    /// The broker is about to go: broken connections and refusals mean nothing.
    doomed: AtomicBool,
    /// The broker is gone.
    over: AtomicBool,
    /// The disk is small: it may be full.
    disk_fills: bool,
    spent_bytes: AtomicU64,
    /// What producers send at full speed.
    budget_bytes: u64,
}

/// A producer that has spent the round's bytes sends this much slower.
const BRAKE_US: u64 = 30_000;

impl<'a> Load<'a> {
    pub(crate) fn new(
        verdict: &'a Verdict,
        producer_ids: &'a Mutex<BTreeSet<i64>>,
        address: &str,
        topics: Vec<Arc<Topic>>,
    ) -> Load<'a> {
        Load {
            verdict,
            address: address.to_owned(),
            topics: RwLock::new(topics),
            producer_ids,
            doomed: AtomicBool::new(false),
            over: AtomicBool::new(false),
            disk_fills: false,
            spent_bytes: AtomicU64::new(0),
            budget_bytes: u64::MAX,
        }
    }

    /// Where the disk is small: it may be full.
    pub(crate) fn where_disk_fills(self, disk_fills: bool) -> Load<'a> {
        Load { disk_fills, ..self }
    }

    /// After so many bytes producers slow down.
    pub(crate) fn with_budget(self, budget_bytes: u64) -> Load<'a> {
        Load {
            budget_bytes,
            ..self
        }
    }

    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        self.doomed.store(true, Ordering::SeqCst);
        self.over.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::SeqCst)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// The topics that are there and stay for the moment.
    pub(crate) fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().expect("no holder panics").clone()
    }

    pub(crate) fn add_topic(&self, topic: Arc<Topic>) {
        self.topics.write().expect("no holder panics").push(topic);
    }

    pub(crate) fn remove_topic(&self, topic: &Topic) {
        let mut topics = self.topics.write().expect("no holder panics");
        topics.retain(|other| other.id != topic.id);
    }

    /// How clients of this run connect: every answer must come soon, and nothing is tried again
    /// unless the test itself does it.
    pub(crate) fn options() -> ClientOptions {
        ClientOptions {
            client_id: "kill".to_owned(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            retry_for: Duration::ZERO,
        }
    }

    pub(crate) fn connect(&self) -> Result<Connection, ClientError> {
        Connection::open(&self.address, &Load::options())
    }

    pub(crate) fn client(&self) -> Result<Client, ClientError> {
        Client::connect(&self.address, Load::options())
    }

    /// A producer has made so many bytes.
    pub(crate) fn spend(&self, bytes: u64) {
        self.spent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How much longer a producer should pause.
    pub(crate) fn brake_us(&self) -> u64 {
        let spent = self.spent_bytes.load(Ordering::Relaxed);
        if spent > self.budget_bytes {
            BRAKE_US
        } else {
            0
        }
    }

    /// Whether an error about a topic is one that a working broker may give.
    pub(crate) fn may_fail(&self, topic: &Topic, code: ErrorCode) -> bool {
        self.is_doomed()
            || (is_of_a_deleted_topic(code) && topic.existence() != Existence::Certain)
            || (self.disk_fills && code == ErrorCode::KafkaStorageError)
    }

    /// A violation, unless the broker is going or gone.
    pub(crate) fn judge(&self, who: &str, error: &ClientError) {
        if !self.is_doomed() {
            self.verdict
                .violation(format!("{who} of a broker that is alive: {error}"));
        }
    }

    /// Notes a producer id; each is given once.
    pub(crate) fn take_producer_id(&self, id: i64) {
        let mut ids = self.producer_ids.lock().expect("no holder panics");
        if !ids.insert(id) {
            self.verdict
                .violation(format!("producer id {id} is given for the second time"));
        }
    }
}

/// Whether an error may come of a topic that was deleted; its name may be another topic's by now,
/// with fewer partitions, of which a client says that they have no leader.
pub(crate) fn is_of_a_deleted_topic(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::LeaderNotAvailable
    )
}
