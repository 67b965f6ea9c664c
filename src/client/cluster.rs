//! The client's view of a cluster: its brokers, its topics, a connection to each broker in use.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use crate::io::{self, blocking};
use crate::model::{LeaderEpoch, NodeId, TopicId, TopicName, TopicPartition};
use crate::protocol::messages::metadata_request::MetadataRequestTopic;
use crate::protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use crate::protocol::messages::{
    FindCoordinatorRequest, MetadataRequest, MetadataResponse, RequestResponsePair, StrBytes,
};
use crate::protocol::{ApiKey, ErrorCode};

use super::connection::{ClientOptions, Connection, RETRY_PAUSE};
use super::error::{ClientError, error_code};

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// The host that it advertises.
    pub host: String,
    /// The port that it advertises.
    pub port: i32,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// The cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's id, if the brokers tell it.
    pub cluster_id: Option<String>,
    /// The broker that takes changes of topics.
    pub controller: Option<NodeId>,
    /// The brokers.
    pub nodes: Vec<Node>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: TopicName,
    /// Its id; zero if the broker is too old to tell.
    pub id: TopicId,
    /// Whether the brokers themselves own it.
    pub is_internal: bool,
    /// Its partitions, in the order of their indexes.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its index.
    pub index: i32,
    /// Its leader, if it has one.
    pub leader: Option<NodeId>,
    /// Its leader's epoch, or -1.
    pub leader_epoch: LeaderEpoch,
    /// The brokers that hold it.
    pub replicas: Vec<NodeId>,
    /// Those of them that are in sync.
    pub in_sync: Vec<NodeId>,
    /// Those of them that are down.
    pub offline: Vec<NodeId>,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Any broker.
    Any,
    /// The broker that takes changes of topics.
    Controller,
    /// One broker.
    Node(NodeId),
    /// The broker that coordinates a group.
    Coordinator(&'a str),
}

/// A client of one cluster: what is known of it, and connections to it. One thread uses it.
pub struct Client {
    options: ClientOptions,
    bootstrap: Vec<String>,
    cluster: ClusterDescription,
    topics: BTreeMap<TopicName, TopicDescription>,
    coordinators: HashMap<String, NodeId>,
    connections: HashMap<NodeId, Connection>,
    /// The connection to an address of `bootstrap`: its node's id is not known.
    seed: Option<Connection>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("bootstrap", &self.bootstrap)
            .finish_non_exhaustive()
    }
}

/// How long a topic that was only mentioned may take to come about.
const CREATION_WAIT: Duration = Duration::from_secs(10);
/// The coordinator type of a consumer group in FindCoordinator.
const GROUP_KEY_TYPE: i8 = 0;

impl Client {
    /// Connects to one of the brokers of `bootstrap`, HOST:PORT separated by commas, and asks it
    /// for the others.
    pub fn connect(bootstrap: &str, options: ClientOptions) -> Result<Client, ClientError> {
        let addresses = bootstrap
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty());
        let mut client = Client {
            options,
            bootstrap: addresses.map(str::to_owned).collect(),
            cluster: ClusterDescription::default(),
            topics: BTreeMap::new(),
            coordinators: HashMap::new(),
            connections: HashMap::new(),
            seed: None,
        };
        client.refresh(&[], false)?;
        Ok(client)
    }

    /// A second client of the same cluster, with connections of its own.
    pub fn another(&self) -> Result<Client, ClientError> {
        Client::connect(&self.bootstrap.join(","), self.options.clone())
    }

    /// How this client connects and waits.
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// The cluster as it was when it was last asked.
    pub fn cluster(&self) -> &ClusterDescription {
        &self.cluster
    }

    /// All topics, asked now.
    pub fn topics(&mut self) -> Result<Vec<TopicDescription>, ClientError> {
        self.retry(|client| {
            let response = client.ask_metadata(None, false)?;
            let topics = response.topics.iter();
            topics.map(read_topic).collect::<Result<Vec<_>, _>>()
        })
    }

    /// One topic, asked now; never created by asking.
    pub fn topic(&mut self, name: &TopicName) -> Result<TopicDescription, ClientError> {
        self.retry(|client| {
            client.refresh(std::slice::from_ref(name), false)?;
            client.known_topic(name)
        })
    }

    /// One topic as it was when it was last asked for; asked now if it never was.
    pub fn cached_topic(&mut self, name: &TopicName) -> Result<&TopicDescription, ClientError> {
        if !self.topics.contains_key(name) {
            self.topic(name)?;
        }
        Ok(&self.topics[name])
    }

    /// The leader of a partition and its epoch; asks again as long as there is none.
    pub fn leader(
        &mut self,
        partition: &TopicPartition,
    ) -> Result<(NodeId, LeaderEpoch), ClientError> {
        if let Some(leader) = self.known_leader(partition) {
            return Ok(leader);
        }
        self.retry(|client| {
            client.refresh(std::slice::from_ref(&partition.topic), false)?;
            client.known_topic(&partition.topic)?;
            client
                .known_leader(partition)
                .ok_or_else(|| ClientError::Broker {
                    api: ApiKey::Metadata,
                    subject: partition.to_string(),
                    code: ErrorCode::LeaderNotAvailable,
                    message: None,
                })
        })
    }

    /// Forgets who leads a topic's partitions, so that it is asked again.
    pub fn forget_topic(&mut self, name: &TopicName) {
        self.topics.remove(name);
    }

    fn known_topic(&self, name: &TopicName) -> Result<TopicDescription, ClientError> {
        self.topics
            .get(name)
            .cloned()
            .ok_or_else(|| ClientError::Broker {
                api: ApiKey::Metadata,
                subject: name.to_string(),
                code: ErrorCode::UnknownTopicOrPartition,
                message: None,
            })
    }

    fn known_leader(&self, partition: &TopicPartition) -> Option<(NodeId, LeaderEpoch)> {
        let topic = self.topics.get(&partition.topic)?;
        let found = topic
            .partitions
            .iter()
            .find(|found| found.index == partition.index)?;
        Some((found.leader?, found.leader_epoch))
    }

    /// Asks for the cluster and the given topics. Topics that do not exist are forgotten.
    fn refresh(&mut self, names: &[TopicName], allow_creation: bool) -> Result<(), ClientError> {
        let response = self.ask_metadata(Some(names), allow_creation)?;
        for topic in &response.topics {
            match error_code(topic.error_code) {
                ErrorCode::None | ErrorCode::LeaderNotAvailable => {
                    let topic = read_topic(topic)?;
                    self.topics.insert(topic.name.clone(), topic);
                }
                ErrorCode::UnknownTopicOrPartition => {
                    let name = topic.name.as_deref().unwrap_or_default();
                    self.topics.remove(name);
                }
                _ => {
                    let name = topic.name.as_deref().unwrap_or_default();
                    ClientError::check(ApiKey::Metadata, name, topic.error_code, None)?;
                }
            }
        }
        Ok(())
    }

    /// One topic, asked now; the broker may create it as it creates those that clients only
    /// mention, which takes a moment.
    pub fn topic_or_create(&mut self, name: &TopicName) -> Result<TopicDescription, ClientError> {
        let deadline = io::now() + self.options.retry_for.min(CREATION_WAIT);
        loop {
            self.retry(|client| client.refresh(std::slice::from_ref(name), true))?;
            let found = self.known_topic(name);
            let has_leaders = |topic: &TopicDescription| {
                !topic.partitions.is_empty()
                    && topic
                        .partitions
                        .iter()
                        .all(|partition| partition.leader.is_some())
            };
            if found.as_ref().is_ok_and(has_leaders) || io::now() >= deadline {
                return found;
            }
            blocking::sleep(RETRY_PAUSE);
        }
    }

    fn ask_metadata(
        &mut self,
        names: Option<&[TopicName]>,
        allow_creation: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let topics = names.map(|names| {
            let named = |name: &TopicName| {
                let mut topic = MetadataRequestTopic::default();
                topic.name = Some(StrBytes::from(name.as_str()));
                topic
            };
            names.iter().map(named).collect()
        });
        let connection = self.connection(Target::Any)?;
        let version = connection.version(ApiKey::Metadata)?;
        let mut request = MetadataRequest::default();
        request.topics = topics;
        request.allow_auto_topic_creation = allow_creation || version < 4;
        let result = connection.call_version(&request, version);
        let response = self.settle(Target::Any, result)?;
        self.take_cluster(&response);
        Ok(response)
    }

    fn take_cluster(&mut self, response: &MetadataResponse) {
        let nodes = response.brokers.iter().map(|broker| Node {
            id: NodeId(broker.node_id),
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.as_ref().map(StrBytes::to_string),
        });
        self.cluster = ClusterDescription {
            cluster_id: response.cluster_id.as_ref().map(StrBytes::to_string),
            controller: (response.controller_id >= 0).then_some(NodeId(response.controller_id)),
            nodes: nodes.collect(),
        };
    }

    /// Sends a request and waits for its answer, in the newest version that both sides speak.
    pub fn call<R: RequestResponsePair>(
        &mut self,
        target: Target<'_>,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let result = self.connection(target)?.call(request);
        self.settle(target, result)
    }

    /// Closes the target's connection if `result` says that it can no longer be used, and forgets
    /// what the error shows to be outdated.
    pub(super) fn settle<T>(
        &mut self,
        target: Target<'_>,
        result: Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let Err(error) = &result else {
            return result;
        };
        if error.code().is_none() {
            self.disconnect(target);
        }
        result
    }

    fn disconnect(&mut self, target: Target<'_>) {
        let node = match target {
            Target::Any => {
                self.seed = None;
                // `connection` prefers an open connection to a known node.
                self.connections.clear();
                None
            }
            Target::Controller => self.cluster.controller.take(),
            Target::Node(node) => Some(node),
            Target::Coordinator(group) => self.coordinators.remove(group),
        };
        if let Some(node) = node {
            self.connections.remove(&node);
        }
    }

    /// The connection to a target, opened if need be.
    pub fn connection(&mut self, target: Target<'_>) -> Result<&mut Connection, ClientError> {
        match target {
            Target::Any => self.any_connection(),
            Target::Controller => {
                if self.cluster.controller.is_none() {
                    self.refresh(&[], false)?;
                }
                match self.cluster.controller {
                    Some(node) => self.node_connection(node),
                    None => self.any_connection(),
                }
            }
            Target::Node(node) => self.node_connection(node),
            Target::Coordinator(group) => {
                let node = self.coordinator(group)?;
                self.node_connection(node)
            }
        }
    }

    fn any_connection(&mut self) -> Result<&mut Connection, ClientError> {
        if let Some(&node) = self.connections.keys().next() {
            return self.node_connection(node);
        }
        if self.seed.is_none() {
            let known = self
                .cluster
                .nodes
                .iter()
                .map(|node| format!("{}:{}", node.host, node.port));
            let addresses: Vec<String> = self.bootstrap.iter().cloned().chain(known).collect();
            let mut result = Err(ClientError::BadAddress {
                address: String::new(),
            });
            for address in addresses {
                result = Connection::open(&address, &self.options);
                if result.is_ok() {
                    break;
                }
            }
            self.seed = Some(result?);
        }
        Ok(self.seed.as_mut().expect("a connection was just opened"))
    }

    fn node_connection(&mut self, node: NodeId) -> Result<&mut Connection, ClientError> {
        if !self.connections.contains_key(&node) {
            let address = self.address(node)?;
            let connection = Connection::open(&address, &self.options)?;
            self.connections.insert(node, connection);
        }
        Ok(self
            .connections
            .get_mut(&node)
            .expect("a connection was just opened"))
    }

    /// A new connection to a node, for requests in flight beside those of this client.
    pub fn dial(&mut self, node: NodeId) -> Result<Connection, ClientError> {
        let address = self.address(node)?;
        Connection::open(&address, &self.options)
    }

    /// HOST:PORT that a node advertises.
    pub fn address(&mut self, node: NodeId) -> Result<String, ClientError> {
        let find = |cluster: &ClusterDescription| {
            let found = cluster.nodes.iter().find(|found| found.id == node)?;
            match found.host.contains(':') {
                true => Some(format!("[{}]:{}", found.host, found.port)),
                false => Some(format!("{}:{}", found.host, found.port)),
            }
        };
        if find(&self.cluster).is_none() {
            self.refresh(&[], false)?;
        }
        find(&self.cluster).ok_or_else(|| ClientError::Broker {
            api: ApiKey::Metadata,
            subject: format!("node {}", node.0),
            code: ErrorCode::BrokerNotAvailable,
            message: None,
        })
    }

    /// The broker that coordinates a group, asked for if it is not known.
    pub fn coordinator(&mut self, group: &str) -> Result<NodeId, ClientError> {
        if let Some(&node) = self.coordinators.get(group) {
            return Ok(node);
        }
        let node = self.retry(|client| client.find_coordinator(group))?;
        self.coordinators.insert(group.to_owned(), node);
        Ok(node)
    }

    fn find_coordinator(&mut self, group: &str) -> Result<NodeId, ClientError> {
        let connection = self.connection(Target::Any)?;
        let version = connection.version(ApiKey::FindCoordinator)?;
        let mut request = FindCoordinatorRequest::default();
        request.key_type = GROUP_KEY_TYPE;
        if version >= 4 {
            request.coordinator_keys.push(StrBytes::from(group));
        } else {
            request.key = StrBytes::from(group);
        }
        let result = connection.call_version(&request, version);
        let response = self.settle(Target::Any, result)?;
        let (node, code, message) = match response.coordinators.first() {
            Some(found) => (found.node_id, found.error_code, &found.error_message),
            None => (
                response.node_id,
                response.error_code,
                &response.error_message,
            ),
        };
        ClientError::check(ApiKey::FindCoordinator, group, code, message.as_deref())?;
        Ok(NodeId(node))
    }

    /// Forgets who coordinates a group, so that it is asked again.
    pub fn forget_coordinator(&mut self, group: &str) {
        self.coordinators.remove(group);
    }

    /// Tries again while `operation` fails with what may pass, for as long as the options say.
    /// A broker that cannot be reached at all fails at once.
    pub(super) fn retry<T>(
        &mut self,
        mut operation: impl FnMut(&mut Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let deadline = io::now() + self.options.retry_for;
        loop {
            let error = match operation(self) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match error.code() {
                Some(ErrorCode::NotController) => self.cluster.controller = None,
                Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable) => {
                    self.coordinators.clear();
                }
                // Asking for a topic that does not exist is an answer, not a passing state.
                Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId) => {
                    return Err(error);
                }
                _ => {}
            }
            let is_lost = matches!(error, ClientError::Connect { .. });
            if is_lost || !error.is_retriable() || io::now() >= deadline {
                return Err(error);
            }
            blocking::sleep(RETRY_PAUSE);
        }
    }
}

fn read_topic(topic: &MetadataResponseTopic) -> Result<TopicDescription, ClientError> {
    let name = topic.name.as_deref().unwrap_or_default();
    let mut partitions: Vec<_> = topic.partitions.iter().map(read_partition).collect();
    partitions.sort_by_key(|partition| partition.index);
    Ok(TopicDescription {
        name: topic_name(name)?,
        id: topic.topic_id.into(),
        is_internal: topic.is_internal,
        partitions,
    })
}

fn read_partition(partition: &MetadataResponsePartition) -> PartitionDescription {
    let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect();
    PartitionDescription {
        index: partition.partition_index,
        leader: (partition.leader_id >= 0).then_some(NodeId(partition.leader_id)),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        replicas: nodes(&partition.replica_nodes),
        in_sync: nodes(&partition.isr_nodes),
        offline: nodes(&partition.offline_replicas),
    }
}

/// A topic's name, from a person or a broker.
pub fn topic_name(name: &str) -> Result<TopicName, ClientError> {
    TopicName::new(name).map_err(|_| ClientError::Broker {
        api: ApiKey::Metadata,
        subject: format!("{name:?}"),
        code: ErrorCode::InvalidTopicException,
        message: None,
    })
}
