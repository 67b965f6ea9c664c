//! The broker's configuration, resolved: what the rooms read.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::brokers::ListenerMode;
use super::core_ports::CorePorts;
use super::topic::TopicConfig;
use super::values::BrokerValues;
use crate::model::NodeId;

/// The broker's configuration in force, shared by reference count. A dynamic change makes a new
/// one; whoever keeps one sees a consistent set of values.
pub type SharedConfig = Arc<BrokerConfig>;

/// The broker's configuration in force.
///
/// Made by `config::resolve` from the layers; every field was validated there.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerConfig {
    /// `node.id`.
    pub node_id: NodeId,
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
    /// `cluster.id`, when the operator chose one. A new data directory makes its own otherwise.
    pub cluster_id: Option<Arc<str>>,
    /// `log.dirs`: the one data directory.
    pub data_dir: PathBuf,
    /// What the network rooms need.
    pub network: NetworkConfig,
    /// What handlers and shards need to bound requests.
    pub requests: RequestConfig,
    /// Topics: defaults at creation, limits.
    pub topics: TopicDefaults,
    /// Classic consumer groups.
    pub groups: GroupConfig,
    /// Committed offsets and `__consumer_offsets`.
    pub offsets: OffsetsConfig,
    /// Idempotent producers.
    pub producers: ProducerConfig,
    /// Our own keys: the engine below.
    pub engine: EngineConfig,
    /// The layers that all of this came from, for DescribeConfigs and for changes.
    pub values: BrokerValues,
}

/// One listener: `listeners` and `advertised.listeners`, joined by the listener's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The listener's name, in upper case. All are PLAINTEXT: others are refused at start.
    pub name: Arc<str>,
    /// The host to bind; empty is every interface. A name is resolved by whoever binds.
    pub host: Arc<str>,
    /// The port to bind; 0 lets the operating system choose.
    pub port: u16,
    /// What Metadata tells clients; `None` is this machine's host name.
    pub advertised_host: Option<Arc<str>>,
    /// What Metadata tells clients; `None` is the port that was bound.
    pub advertised_port: Option<u16>,
    /// The ports of the cores, where clients are told of them.
    pub core_ports: CorePorts,
}

/// Sockets and connections.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    /// `listeners` with `advertised.listeners`; never empty.
    pub listeners: Vec<Listener>,
    /// `corelog.listener.mode`.
    pub listener_mode: ListenerMode,
    /// `socket.request.max.bytes`.
    pub socket_request_max_bytes: i32,
    /// `max.connections`, of the whole broker.
    pub connections_max: i32,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: i32,
    /// `max.connections.per.ip.overrides`: an address and its own maximum.
    pub connections_per_ip_overrides: Vec<(IpAddr, i32)>,
    /// `connections.max.idle.ms`; negative is never.
    pub connections_idle_max_ms: i64,
}

/// Bounds of single requests.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestConfig {
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `max.incremental.fetch.session.cache.slots`, of the whole broker.
    pub fetch_session_slots_max: i32,
    /// `max.request.partition.size.limit`: partitions of one DescribeTopicPartitions answer.
    pub describe_topic_partitions_max: i32,
}

/// What a new topic gets, and what a topic without overrides has.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicDefaults {
    /// `auto.create.topics.enable`.
    pub auto_create_enable: bool,
    /// `delete.topic.enable`.
    pub delete_enable: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval_ms: i64,
    /// The broker-wide values of every topic configuration.
    pub config: Arc<TopicConfig>,
}

/// Classic consumer groups.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: members of one group.
    pub max_size: i32,
}

/// Committed offsets and the topic that holds them.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetsConfig {
    /// `offsets.topic.num.partitions`.
    pub topic_num_partitions: i32,
    /// `offsets.topic.replication.factor`; at most the number of nodes is used.
    pub topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub topic_segment_bytes: i32,
    /// `offsets.retention.minutes`.
    pub retention_minutes: i32,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval_ms: i64,
    /// `offset.metadata.max.bytes`.
    pub metadata_max_bytes: i32,
    /// `offsets.commit.timeout.ms`.
    pub commit_timeout_ms: i32,
}

/// Idempotent producers.
#[derive(Clone, Debug, PartialEq)]
pub struct ProducerConfig {
    /// `producer.id.expiration.ms`.
    pub id_expiration_ms: i32,
    /// `producer.id.expiration.check.interval.ms`.
    pub id_expiration_check_interval_ms: i32,
}

/// When an acknowledgement may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the data sync: survives a power cut.
    Sync,
    /// After the write's completion: survives a killed process.
    Written,
}

impl Durability {
    /// The word of the configuration file, the start-up lines and the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Durability::Sync => "sync",
            Durability::Written => "written",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Kafka's one-line form.
    Text,
    /// One JSON object a line.
    Json,
}

/// The engine: keys of our own, all under `corelog.`.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineConfig {
    /// `corelog.durability`.
    pub durability: Durability,
    /// `corelog.cores`; 0 is one shard per CPU that the process may use.
    pub cores: i32,
    /// `corelog.cpus`: the CPUs to pin to, in order; empty leaves the choice to the broker.
    pub cpus: Vec<u32>,
    /// `corelog.pin.cores`: whether shards are pinned to their CPU.
    pub pin_cores: bool,
    /// `corelog.spin.us`: how long a core looks for work before it sleeps.
    pub spin: Duration,
    /// `corelog.admin.listener`; `None` when it is set to nothing.
    pub admin_listener: Option<SocketAddr>,
    /// `corelog.request.memory.bytes`, per core.
    pub request_memory_bytes: i64,
    /// `corelog.response.memory.bytes`, per core: answers and slices not yet sent.
    pub response_memory_bytes: i64,
    /// `corelog.tail.cache.bytes`, per core.
    pub tail_cache_bytes: i64,
    /// `corelog.chunk.min.bytes`: the size class that a partition starts with.
    pub chunk_min_bytes: i32,
    /// `corelog.chunk.prewrite.enable`: whether free chunks are filled with zeros ahead of need.
    pub chunk_prewrite: bool,
    /// Chunk files that one core keeps open: what the limit of open files allows, which the start
    /// finds out.
    pub chunk_files_open_max: usize,
    /// `corelog.checkpoint.interval.ms`.
    pub checkpoint_interval_ms: i64,
    /// `corelog.reserve.bytes`: disk space that only metadata may use.
    pub reserve_bytes: i64,
    /// `corelog.log.format`.
    pub log_format: LogFormat,
    /// `corelog.log.level`.
    pub log_level: Arc<str>,
}
