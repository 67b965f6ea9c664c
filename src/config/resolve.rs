//! From layers to the structs that rooms read, with the checks that span several keys.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::broker::{
    BrokerConfig, Durability, EngineConfig, GroupConfig, LogFormat, NetworkConfig, OffsetsConfig,
    ProducerConfig, RequestConfig, TopicDefaults,
};
use super::brokers::{ListenerMode, NODE_ID_MAX};
use super::layers::ConfigErrors;
use super::listeners::{self, ListenerKeys};
use super::registry::broker_key;
use super::topic;
use super::value::Value;
use super::values::{BrokerValues, Overrides};
use crate::limits::{CHUNK_FILES_OPEN_MAX, FETCH_BYTES_MAX};
use crate::model::NodeId;

/// Resolves and checks the layers. The error names every key that is wrong.
pub fn resolve(values: BrokerValues) -> Result<BrokerConfig, ConfigErrors> {
    let mut reader = Reader {
        values: &values,
        errors: Vec::new(),
    };
    let network = reader.network();
    let config = BrokerConfig {
        node_id: reader.node_id(),
        rack: reader.optional("broker.rack").map(Arc::from),
        cluster_id: reader.cluster_id(),
        data_dir: reader.data_dir(),
        network,
        requests: RequestConfig {
            fetch_max_bytes: reader.int("fetch.max.bytes").min(FETCH_BYTES_MAX),
            fetch_session_slots_max: reader.int("max.incremental.fetch.session.cache.slots"),
            describe_topic_partitions_max: reader.int("max.request.partition.size.limit"),
        },
        topics: reader.topics(),
        groups: reader.groups(),
        offsets: reader.offsets(),
        producers: ProducerConfig {
            id_expiration_ms: reader.int("producer.id.expiration.ms"),
            id_expiration_check_interval_ms: reader.int("producer.id.expiration.check.interval.ms"),
        },
        engine: reader.engine(),
        values: BrokerValues::default(),
    };
    reader.check_quorum(config.node_id);
    let errors = reader.errors;
    match errors.is_empty() {
        true => Ok(BrokerConfig { values, ..config }),
        false => Err(ConfigErrors(errors)),
    }
}

impl BrokerConfig {
    /// The same start with other dynamic layers.
    pub fn with_dynamic(
        &self,
        cluster_default: &Overrides,
        this_broker: &Overrides,
    ) -> Result<BrokerConfig, ConfigErrors> {
        resolve(
            self.values
                .with_dynamic(cluster_default.clone(), this_broker.clone()),
        )
    }
}

/// Reads typed values, and gathers what is wrong across keys.
struct Reader<'a> {
    values: &'a BrokerValues,
    errors: Vec<String>,
}

impl Reader<'_> {
    /// A key's value in force. The registry's tests check that every key named here exists.
    fn value(&self, name: &str) -> Option<Value> {
        self.values
            .effective(broker_key(name).expect("a key of the registry"))
    }

    fn set(&self, name: &str) -> Value {
        self.value(name).expect("a key with a default")
    }

    fn long(&self, name: &str) -> i64 {
        self.set(name).number()
    }

    fn int(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).expect("a key of 32 bits")
    }

    fn short(&self, name: &str) -> i16 {
        i16::try_from(self.long(name)).expect("a key of 16 bits")
    }

    fn boolean(&self, name: &str) -> bool {
        self.set(name).boolean()
    }

    fn text(&self, name: &str) -> String {
        self.set(name).text().to_string()
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.value(name)
            .map(|value| value.list().to_vec())
            .unwrap_or_default()
    }

    /// A text that is set and not empty.
    fn optional(&self, name: &str) -> Option<String> {
        self.value(name)
            .map(|value| value.text().to_string())
            .filter(|text| !text.is_empty())
    }

    fn refuse(&mut self, name: &str, allowed: &str) {
        let key = broker_key(name).expect("a key of the registry");
        let value = self
            .values
            .effective(key)
            .map(|value| value.canonical())
            .unwrap_or_default();
        self.errors.push(format!(
            "Invalid value {value} for configuration {name}: allowed is {allowed}"
        ));
    }

    fn node_id(&mut self) -> NodeId {
        let (node, broker) = (self.int("node.id"), self.int("broker.id"));
        // Where one is set, loading has given the other its value.
        if broker >= 0 && broker != node {
            self.refuse("broker.id", "the value of node.id, or to leave it unset");
        }
        if self.listener_mode() == ListenerMode::Core && node > NODE_ID_MAX {
            let most = format!(
                "at most {NODE_ID_MAX} with corelog.listener.mode=core: larger ids are those of \
                 virtual brokers"
            );
            self.refuse("node.id", &most);
        }
        NodeId(node)
    }

    fn listener_mode(&self) -> ListenerMode {
        match self.text("corelog.listener.mode").as_str() {
            "core" => ListenerMode::Core,
            _ => ListenerMode::Broker,
        }
    }

    fn cluster_id(&mut self) -> Option<Arc<str>> {
        let id = self.optional("cluster.id")?;
        let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
        if id.len() != 22 || !id.bytes().all(legal) {
            self.refuse("cluster.id", "22 characters of URL-safe base64");
        }
        Some(Arc::from(id))
    }

    fn data_dir(&mut self) -> PathBuf {
        let name = if self.list("log.dirs").is_empty() {
            "log.dir"
        } else {
            "log.dirs"
        };
        let directories = self.list(name);
        if directories.len() != 1 || directories[0].is_empty() {
            self.refuse(
                name,
                "one directory; join several disks below it, with RAID or a volume manager",
            );
        }
        directories.first().map(PathBuf::from).unwrap_or_default()
    }

    fn network(&mut self) -> NetworkConfig {
        let advertised = self.list("advertised.listeners");
        let joined = listeners::join(&ListenerKeys {
            core_ports: &self.list("corelog.listener.core.ports"),
            listeners: &self.list("listeners"),
            advertised: (!advertised.is_empty()).then_some(&advertised),
            protocols: &self.text("listener.security.protocol.map"),
            controllers: &self.list("controller.listener.names"),
            inter_broker: self.optional("inter.broker.listener.name").as_deref(),
        });
        NetworkConfig {
            listeners: joined.unwrap_or_else(|errors| {
                self.errors.extend(errors);
                Vec::new()
            }),
            listener_mode: self.listener_mode(),
            socket_request_max_bytes: self.int("socket.request.max.bytes"),
            connections_max: self.int("max.connections"),
            connections_per_ip_max: self.int("max.connections.per.ip"),
            connections_per_ip_overrides: self.per_ip_overrides(),
            connections_idle_max_ms: self.long("connections.max.idle.ms"),
        }
    }

    fn per_ip_overrides(&mut self) -> Vec<(std::net::IpAddr, i32)> {
        let name = "max.connections.per.ip.overrides";
        let text = self.text(name);
        let pair = |pair: &str| {
            let (address, number) = pair.trim().rsplit_once(':')?;
            let address = address.trim_start_matches('[').trim_end_matches(']');
            let number = number
                .trim()
                .parse::<i32>()
                .ok()
                .filter(|number| *number >= 0)?;
            Some((address.trim().parse().ok()?, number))
        };
        let pairs = text
            .split(',')
            .filter(|text| !text.trim().is_empty())
            .map(pair);
        pairs.collect::<Option<Vec<_>>>().unwrap_or_else(|| {
            self.refuse(name, "a list of address:number, for example 127.0.0.1:200");
            Vec::new()
        })
    }

    fn topics(&mut self) -> TopicDefaults {
        TopicDefaults {
            auto_create_enable: self.boolean("auto.create.topics.enable"),
            delete_enable: self.boolean("delete.topic.enable"),
            num_partitions: self.int("num.partitions"),
            replication_factor: i16::try_from(self.long("default.replication.factor"))
                .expect("bounded by the registry"),
            retention_check_interval_ms: self.long("log.retention.check.interval.ms"),
            config: Arc::new(topic::topic_config(self.values, &Overrides::new())),
        }
    }

    fn groups(&mut self) -> GroupConfig {
        let groups = GroupConfig {
            min_session_timeout_ms: self.int("group.min.session.timeout.ms"),
            max_session_timeout_ms: self.int("group.max.session.timeout.ms"),
            initial_rebalance_delay_ms: self.int("group.initial.rebalance.delay.ms"),
            max_size: self.int("group.max.size"),
        };
        if groups.min_session_timeout_ms > groups.max_session_timeout_ms {
            self.refuse(
                "group.min.session.timeout.ms",
                &format!(
                    "at most group.max.session.timeout.ms, which is {}",
                    groups.max_session_timeout_ms
                ),
            );
        }
        groups
    }

    fn offsets(&mut self) -> OffsetsConfig {
        OffsetsConfig {
            topic_num_partitions: self.int("offsets.topic.num.partitions"),
            topic_replication_factor: self.short("offsets.topic.replication.factor"),
            topic_segment_bytes: self.int("offsets.topic.segment.bytes"),
            retention_minutes: self.int("offsets.retention.minutes"),
            retention_check_interval_ms: self.long("offsets.retention.check.interval.ms"),
            metadata_max_bytes: self.int("offset.metadata.max.bytes"),
            commit_timeout_ms: self.int("offsets.commit.timeout.ms"),
        }
    }

    fn engine(&mut self) -> EngineConfig {
        let engine = EngineConfig {
            durability: self.durability(),
            cores: self.int("corelog.cores"),
            cpus: self.cpus(),
            pin_cores: self.boolean("corelog.pin.cores"),
            spin: Duration::from_micros(self.int("corelog.spin.us").unsigned_abs().into()),
            admin_listener: self.admin_listener(),
            request_memory_bytes: self.long("corelog.request.memory.bytes"),
            response_memory_bytes: self.long("corelog.response.memory.bytes"),
            tail_cache_bytes: self.long("corelog.tail.cache.bytes"),
            chunk_min_bytes: self.int("corelog.chunk.min.bytes"),
            chunk_prewrite: self.boolean("corelog.chunk.prewrite.enable"),
            chunk_files_open_max: CHUNK_FILES_OPEN_MAX,
            checkpoint_interval_ms: self.long("corelog.checkpoint.interval.ms"),
            reserve_bytes: self.long("corelog.reserve.bytes"),
            log_format: match self.text("corelog.log.format").as_str() {
                "json" => LogFormat::Json,
                _ => LogFormat::Text,
            },
            log_level: Arc::from(self.text("corelog.log.level")),
        };
        if engine.cores as usize > engine.cpus.len() && !engine.cpus.is_empty() {
            let most = format!("at most the number of corelog.cpus, {}", engine.cpus.len());
            self.refuse("corelog.cores", &most);
        }
        engine
    }

    /// `corelog.durability`, and nothing weaker than what Kafka's own keys ask for: a broker that
    /// is told to flush by count or by time syncs before every acknowledgement.
    fn durability(&self) -> Durability {
        let flushes = ["log.flush.interval.messages", "log.flush.interval.ms"];
        let flushes = flushes.iter().any(|name| self.long(name) != i64::MAX);
        match self.text("corelog.durability").as_str() {
            "written" if !flushes => Durability::Written,
            _ => Durability::Sync,
        }
    }

    fn admin_listener(&mut self) -> Option<std::net::SocketAddr> {
        let text = self.optional("corelog.admin.listener")?;
        let address = text.parse().ok();
        if address.is_none() {
            self.refuse("corelog.admin.listener", "address:port, or nothing");
        }
        address
    }

    fn cpus(&mut self) -> Vec<u32> {
        let list = self.list("corelog.cpus");
        let mut cpus = Vec::new();
        for item in &list {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
                (Ok(first), Ok(last)) if first <= last && last < CPUS_MAX => {
                    cpus.extend(first..=last);
                }
                (Ok(_) | Err(_), _) => {
                    self.refuse("corelog.cpus", "a list of CPU numbers and ranges, as 0-3,8");
                    return Vec::new();
                }
            }
        }
        let mut sorted = cpus.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != cpus.len() {
            self.refuse("corelog.cpus", "each CPU once");
        }
        cpus
    }

    /// A single node is broker and controller, and its quorum is itself.
    fn check_quorum(&mut self, node_id: NodeId) {
        let roles = self.list("process.roles");
        if !["broker", "controller"]
            .iter()
            .all(|role| roles.iter().any(|other| other == role))
        {
            self.refuse(
                "process.roles",
                "broker,controller; a cluster of several nodes is not served yet",
            );
        }
        let voters = self.list("controller.quorum.voters");
        let own = format!("{}@", node_id.0);
        if voters.len() > 1 || voters.iter().any(|voter| !voter.starts_with(&own)) {
            let own = format!(
                "{own}host:port, this node alone; a cluster of several nodes is not served yet"
            );
            self.refuse("controller.quorum.voters", &own);
        }
        if self.list("controller.quorum.bootstrap.servers").len() > 1 {
            self.refuse(
                "controller.quorum.bootstrap.servers",
                "one server, this node; a cluster of several nodes is not served yet",
            );
        }
    }
}

/// CPU numbers are below this, as Linux's largest builds have it.
const CPUS_MAX: u32 = 8192;

#[cfg(test)]
mod tests {
    use super::super::layers::{Sources, load};
    use super::*;

    fn config(text: &str) -> Result<BrokerConfig, Vec<String>> {
        let sources = Sources {
            file: Some(("f", text)),
            ..Sources::default()
        };
        let (values, _) = load(&sources).map_err(|errors| errors.0)?;
        resolve(values).map_err(|errors| errors.0)
    }

    fn check(text: &str, expected: &[&str]) {
        let found = config(text).err().unwrap_or_default();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn a_fetch_response_keeps_below_what_its_size_can_say() {
        let config = config("fetch.max.bytes=2147483647").expect("Kafka takes it");
        assert_eq!(config.requests.fetch_max_bytes, FETCH_BYTES_MAX);
    }

    #[test]
    fn an_empty_file_has_kafkas_defaults() {
        let config = config("").expect("the defaults are good");
        assert_eq!(config.node_id, NodeId(1));
        assert_eq!(config.data_dir, PathBuf::from("./corelog-data"));
        assert_eq!(config.network.listeners.len(), 1);
        assert_eq!(config.network.listeners[0].port, 9092);
        assert_eq!(config.network.socket_request_max_bytes, 104_857_600);
        assert_eq!(config.groups.initial_rebalance_delay_ms, 3000);
        assert_eq!(config.offsets.topic_num_partitions, 50);
        assert_eq!(config.topics.config.retention_ms, 604_800_000);
        assert_eq!(config.topics.config.max_message_bytes, 1_048_588);
        assert_eq!(config.engine.durability, Durability::Sync);
        assert_eq!(config.engine.admin_listener, "127.0.0.1:9644".parse().ok());
    }

    #[test]
    fn a_stock_file_of_a_combined_node_is_understood() {
        let config = config(
            "process.roles=broker,controller\nnode.id=7\n\
             controller.quorum.bootstrap.servers=localhost:9093\n\
             controller.quorum.voters=7@localhost:9093\n\
             listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
             inter.broker.listener.name=PLAINTEXT\n\
             advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL\n\
             num.network.threads=3\nlog.dirs=/var/lib/x\nlog.retention.hours=1\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             corelog.durability=written\ncorelog.cpus=2,0-1\ncorelog.spin.us=50\n\
             max.connections.per.ip.overrides=127.0.0.1:3,[::1]:4",
        );
        let config = config.expect("a good file");
        assert_eq!(config.node_id, NodeId(7));
        assert_eq!(config.data_dir, PathBuf::from("/var/lib/x"));
        let names: Vec<_> = config.network.listeners.iter().map(|l| &*l.name).collect();
        assert_eq!(names, ["PLAINTEXT"]);
        assert_eq!(config.topics.config.retention_ms, 3_600_000);
        assert_eq!(config.engine.durability, Durability::Written);
        assert_eq!(config.engine.cpus, [2, 0, 1]);
        assert_eq!(config.engine.spin, Duration::from_micros(50));
        assert_eq!(config.network.connections_per_ip_overrides.len(), 2);
    }

    #[test]
    fn checks_across_keys_name_what_is_wrong() {
        assert_eq!(
            config("broker.id=2").expect("a good file").node_id,
            NodeId(2)
        );
        check(
            "node.id=1\nbroker.id=2",
            &[
                "Invalid value 2 for configuration broker.id: allowed is the value of node.id, or to \
             leave it unset",
            ],
        );
        check(
            "log.dirs=/a,/b",
            &[
                "Invalid value /a,/b for configuration log.dirs: allowed is one directory; join \
             several disks below it, with RAID or a volume manager",
            ],
        );
        check(
            "process.roles=broker\ncontroller.quorum.voters=2@h:1",
            &[
                "Invalid value broker for configuration process.roles: allowed is broker,controller; \
             a cluster of several nodes is not served yet",
                "Invalid value 2@h:1 for configuration controller.quorum.voters: allowed is \
             1@host:port, this node alone; a cluster of several nodes is not served yet",
            ],
        );
        check(
            "corelog.cpus=3-1\ncorelog.admin.listener=nowhere\ncluster.id=x",
            &[
                "Invalid value x for configuration cluster.id: allowed is 22 characters of URL-safe \
             base64",
                "Invalid value 3-1 for configuration corelog.cpus: allowed is a list of CPU numbers \
             and ranges, as 0-3,8",
                "Invalid value nowhere for configuration corelog.admin.listener: allowed is \
             address:port, or nothing",
            ],
        );
        check(
            "group.min.session.timeout.ms=9\ngroup.max.session.timeout.ms=8",
            &[
                "Invalid value 9 for configuration group.min.session.timeout.ms: allowed is at most \
             group.max.session.timeout.ms, which is 8",
            ],
        );
        check(
            "max.connections.per.ip.overrides=here:2",
            &[
                "Invalid value here:2 for configuration max.connections.per.ip.overrides: allowed is \
             a list of address:number, for example 127.0.0.1:200",
            ],
        );
    }

    #[test]
    fn kafkas_flush_keys_can_only_add_syncs() {
        let check = |text: &str, expected| {
            let config = config(text).expect("a good file");
            assert_eq!(config.engine.durability, expected, "{text:?}");
        };
        check("", Durability::Sync);
        check("corelog.durability=written", Durability::Written);
        let written = "corelog.durability=written\nlog.flush.interval.messages=1";
        check(written, Durability::Sync);
        check(
            "corelog.durability=written\nlog.flush.interval.ms=100",
            Durability::Sync,
        );
        check(
            "corelog.durability=written\nlog.flush.scheduler.interval.ms=9",
            Durability::Sync,
        );
    }

    #[test]
    fn dynamic_layers_change_what_is_in_force() {
        let start = config("log.retention.hours=1").expect("a good file");
        let all = Overrides::from([("log.retention.ms".to_string(), "5".to_string())]);
        let one = Overrides::from([("message.max.bytes".to_string(), "77".to_string())]);
        let changed = start.with_dynamic(&all, &one).expect("good layers");
        assert_eq!(changed.topics.config.retention_ms, 5);
        assert_eq!(changed.topics.config.max_message_bytes, 77);
        let back = changed.with_dynamic(&Overrides::new(), &Overrides::new());
        assert_eq!(back, Ok(start));
    }
}
