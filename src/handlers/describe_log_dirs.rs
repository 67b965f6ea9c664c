//! DescribeLogDirs (key 35), versions 1 to 4.
//!
//! There is one data directory. Sizes are the logical ones of the logs; a topic has no directory
//! whose size `du` could tell. Each virtual broker tells of the same directory and disk, and of the
//! partitions of its core.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use super::Client;
use crate::io;
use crate::model::TopicName;
use crate::protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, StrBytes};
use crate::protocol::{ApiKey, ApiSpec, ErrorCode};
use crate::shard::{PartitionState, PartitionsWanted};

pub(super) const SPEC: ApiSpec = ApiSpec::new(ApiKey::DescribeLogDirs, 1, 4);

pub(super) async fn handle(
    client: &Rc<Client>,
    request: DescribeLogDirsRequest,
    _version: i16,
) -> DescribeLogDirsResponse {
    let wanted = request.topics.as_ref().map(|topics| {
        let mut wanted: HashMap<&str, HashSet<i32>> = HashMap::new();
        for topic in topics {
            wanted
                .entry(topic.topic.as_str())
                .or_default()
                .extend(&topic.partitions);
        }
        wanted
    });
    let states = match client.is_to_core {
        true => client.shard.inspect_own().await,
        false => client.shard.inspect(PartitionsWanted::All).await,
    };
    let directory = client.shard.config().data_dir.clone();
    let mut result = DescribeLogDirsResult::default();
    result.log_dir = StrBytes::from(absolute(&directory));
    result.total_bytes = -1;
    result.usable_bytes = -1;
    match io::fs::space(&directory).await {
        Ok(space) => {
            result.total_bytes = i64::try_from(space.total_bytes).unwrap_or(i64::MAX);
            result.usable_bytes = i64::try_from(space.available_bytes).unwrap_or(i64::MAX);
        }
        Err(_) => result.error_code = ErrorCode::KafkaStorageError.code(),
    }
    result.topics = topics(&states, |topic, index| match &wanted {
        None => true,
        Some(wanted) => wanted
            .get(topic)
            .is_some_and(|indices| indices.contains(&index)),
    });
    let mut response = DescribeLogDirsResponse::default();
    response.results = vec![result];
    response
}

/// The directory's name from the root on, as tools that compare brokers expect it.
fn absolute(directory: &Path) -> String {
    let absolute = std::path::absolute(directory);
    absolute
        .as_deref()
        .unwrap_or(directory)
        .display()
        .to_string()
}

/// The partitions that are wanted, by topic and index.
fn topics(
    states: &[PartitionState],
    wanted: impl Fn(&str, i32) -> bool,
) -> Vec<DescribeLogDirsTopic> {
    let mut by_topic: BTreeMap<&TopicName, Vec<(i32, u64)>> = BTreeMap::new();
    for state in states {
        if wanted(state.topic.as_str(), state.partition.index) {
            let partition = (state.partition.index, state.size_bytes);
            by_topic.entry(&state.topic).or_default().push(partition);
        }
    }
    let topic = |(name, mut partitions): (&TopicName, Vec<(i32, u64)>)| {
        partitions.sort_unstable();
        let partition = |(index, size_bytes): (i32, u64)| {
            let mut partition = DescribeLogDirsPartition::default();
            partition.partition_index = index;
            partition.partition_size = i64::try_from(size_bytes).unwrap_or(i64::MAX);
            partition
        };
        let mut topic = DescribeLogDirsTopic::default();
        topic.name = StrBytes::from(name.to_string());
        topic.partitions = partitions.into_iter().map(partition).collect();
        topic
    };
    by_topic.into_iter().map(topic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LeaderEpoch, Offset, PartitionId, TopicId};

    fn state(topic: &str, index: i32, size_bytes: u64) -> PartitionState {
        PartitionState {
            partition: PartitionId {
                topic_id: TopicId([1; 16]),
                index,
            },
            topic: TopicName::new(topic).expect("a name"),
            leader_epoch: LeaderEpoch(0),
            log_start_offset: Offset(0),
            high_watermark: Offset(0),
            log_end_offset: Offset(0),
            size_bytes,
            producers: Vec::new(),
        }
    }

    #[test]
    fn partitions_stand_by_topic_and_index() {
        let states = [
            state("b", 1, 10),
            state("a", 0, 5),
            state("b", 0, 7),
            state("c", 0, 1),
        ];
        let found = topics(&states, |topic, _| topic != "c");
        let show = |topic: &DescribeLogDirsTopic| {
            let sizes = topic
                .partitions
                .iter()
                .map(|p| (p.partition_index, p.partition_size));
            (topic.name.as_str().to_owned(), sizes.collect::<Vec<_>>())
        };
        let found: Vec<_> = found.iter().map(show).collect();
        assert_eq!(
            found,
            [
                ("a".to_owned(), vec![(0, 5)]),
                ("b".to_owned(), vec![(0, 7), (1, 10)])
            ]
        );
    }
}
