//! One file per Kafka API: which versions, what to ask the shard, which error code to answer.
//!
//! A file states its key and versions on its first line; `registry` lists the files, and
//! ApiVersions answers from that list, so nothing is advertised that is not served.

mod registry;

mod api_versions;
mod fetch;
mod list_offsets;
mod metadata;
mod produce;

mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod init_producer_id;
mod offset_for_leader_epoch;

mod find_coordinator;
mod heartbeat;
mod join_group;
mod leave_group;
mod sync_group;

mod offset_commit;
mod offset_delete;
mod offset_fetch;

mod delete_groups;
mod describe_groups;
mod list_groups;

mod alter_configs;
mod describe_configs;
mod incremental_alter_configs;

mod describe_cluster;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;

mod configs;
mod errors;
mod groups;
mod sessions;

pub use registry::{Incoming, handle};

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;

use crate::config::BrokerConfig;
use crate::controller::NewTopic;
use crate::model::OFFSETS_TOPIC;
use crate::shard::{Hold, Shard};
use sessions::SessionCache;

/// The part of an answer that the next request of the connection need not wait for. `None` closes
/// the connection.
pub type PhaseTwo = Pin<Box<dyn Future<Output = Option<Vec<Bytes>>>>>;

/// What a handler gives back, at the end of phase one.
pub enum Reply {
    /// The whole response, from its header on.
    Now(Vec<Bytes>),
    /// The same, and the memory that it is counted with until it is sent.
    Held(Vec<Bytes>, Hold),
    /// The response will come; requests behind this one may start.
    Later(PhaseTwo),
    /// No response (Produce with acks=0).
    Nothing,
    /// Close the connection, and say why in the log.
    Close(String),
}

/// What the connections of one core have in common. Owned by that core.
pub struct Core {
    sessions: RefCell<SessionCache>,
}

impl Core {
    /// The handlers' state of one of `cores_count` cores.
    pub fn new(config: &BrokerConfig, cores_count: usize) -> Rc<Core> {
        let slots_max = config.requests.fetch_session_slots_max;
        let sessions_max = sessions::sessions_max(slots_max, cores_count);
        let sessions = RefCell::new(SessionCache::new(sessions_max));
        Rc::new(Core { sessions })
    }
}

/// Where connections come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// The index of the listener in the configuration.
    pub listener: usize,
    /// Whether the port is one core's own.
    pub is_of_core: bool,
}

/// What a connection's requests have in common. Owned by the connection's core.
pub struct Client {
    core: Rc<Core>,
    /// The shard of this core.
    pub shard: Rc<Shard>,
    /// The other end.
    pub peer: SocketAddr,
    /// The index of the listener that the connection came in by.
    pub listener: usize,
    /// Whether it came in by a port of this core: it then is one to this core's virtual broker, and
    /// what tools ask of every broker, to put the answers together, is answered for this core only.
    pub is_to_core: bool,
    /// The software that ApiVersions named, for the log.
    pub software: RefCell<String>,
}

impl Client {
    /// The client of a connection that was just accepted.
    pub fn new(core: Rc<Core>, shard: Rc<Shard>, peer: SocketAddr, entrance: Entrance) -> Client {
        Client {
            core,
            shard,
            peer,
            listener: entrance.listener,
            is_to_core: entrance.is_of_core,
            software: RefCell::new(String::new()),
        }
    }
}

/// The offsets topic as it is made when it is first needed.
fn offsets_topic(config: &BrokerConfig) -> NewTopic {
    let set = |key: &str, value: String| (key.to_owned(), Some(value));
    NewTopic {
        name: OFFSETS_TOPIC.to_owned(),
        partitions_count: config.offsets.topic_num_partitions,
        replication_factor: config.offsets.topic_replication_factor.min(1),
        assignment: Vec::new(),
        configs: vec![
            set("cleanup.policy", "compact".into()),
            set("compression.type", "producer".into()),
            set(
                "segment.bytes",
                config.offsets.topic_segment_bytes.to_string(),
            ),
        ],
    }
}
