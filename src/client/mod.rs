//! A thin blocking client for the command line, the load harness and tests. It talks to Apache
//! Kafka as well as to corelog, picks the newest version that both sides speak, and starts no
//! thread: whoever calls, waits.
//!
//! Everything fails with `ClientError`, which shows Kafka's name of the error and has a `hint()`
//! for people.
//!
//!     let mut client = Client::connect("127.0.0.1:9092,[::1]:9093", ClientOptions::default())?;
//!     client.cluster() -> &ClusterDescription          // as of the last answer
//!     client.topics()?, client.topic(&name)?           // TopicDescription, asked now
//!     client.create_topic(&NewTopic)?, client.delete_topic(&name)?
//!     client.create_partitions(&name, total)?
//!     client.configs(&ConfigOwner)?                    // Vec<ConfigEntry>
//!     client.alter_configs(&ConfigOwner, &[ConfigChange])?
//!     client.delete_records(&partition, before)?
//!     client.list_offsets(&[(partition, OffsetSpec)])? // Vec<ListedOffset>
//!     client.list_groups()?, client.describe_group(id)?, client.delete_group(id)?
//!     client.committed_offsets(id, Option<&[TopicPartition]>)?   // Vec<CommittedOffset>
//!     client.commit_offsets(id, &[CommittedOffset])?   // for a group without members
//!     client.delete_offsets(id, &[TopicPartition])?
//!     client.call(Target, &request)?                   // any request of `protocol::messages`
//!
//!     let mut producer = Producer::new(client, ProducerOptions::default())?;
//!     producer.send(&topic, &ProducerRecord { key, value, ..ProducerRecord::default() })?;
//!     producer.flush()?;                               // returns when all is answered
//!     for delivery in producer.deliveries() { ... }    // one per batch: offset or error, latency
//!
//!     let partitions = [(partition, StartAt::Earliest)];
//!     let mut consumer = Consumer::assign(client, &partitions, options)?;
//!     let mut consumer = Consumer::subscribe(client, GroupOptions::new(id, topics), options)?;
//!     consumer.poll()?                                 // Vec<FetchedBatch>, waits up to max_wait
//!     batch.records()?                                 // Vec<ConsumerRecord>, as asked for
//!     consumer.commit()?, consumer.close()?
//!
//! One thread uses one client. A producer and a consumer own the client that they were given;
//! `client.another()` makes a second one of the same cluster.

mod cluster;
mod connection;
mod error;

mod assignor;
mod consumer;
mod groups;
mod membership;
mod offsets;
mod producer;
mod topics;

mod partitioner;

pub use cluster::{
    Client, ClusterDescription, Node, PartitionDescription, Target, TopicDescription, topic_name,
};
pub use connection::{ClientOptions, Connection};
pub use consumer::{Consumer, ConsumerOptions, ConsumerRecord, FetchedBatch, OffsetReset, StartAt};
pub use error::ClientError;
pub use groups::{CommittedOffset, GroupDescription, GroupListing, MemberDescription};
pub use membership::GroupOptions;
pub use offsets::{ListedOffset, OffsetSpec};
pub use partitioner::{murmur2, partition_of};
pub use producer::{Acks, Delivery, Producer, ProducerOptions, ProducerRecord};
pub use topics::{ConfigChange, ConfigEntry, ConfigOwner, ConfigSource, NewTopic};
