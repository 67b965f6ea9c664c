//! Which version of which API was served and which was refused.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::ApiKey;

use crate::session::{Entry, Outcome, Versions};

/// Versions in which Apache Kafka without authorization has no way to answer with an error.
const NO_ERROR: &[(ApiKey, std::ops::RangeInclusive<i16>, &str)] = &[
    (
        ApiKey::ApiVersions,
        0..=2,
        "they carry nothing that could be wrong",
    ),
    (
        ApiKey::ListGroups,
        0..=5,
        "only authorization and loading can fail",
    ),
    (
        ApiKey::FindCoordinator,
        0..=0,
        "every name has a coordinator",
    ),
    (
        ApiKey::DescribeLogDirs,
        1..=4,
        "what is not known is left out of the answer",
    ),
    (
        ApiKey::DescribeCluster,
        0..=0,
        "it carries nothing that could be wrong",
    ),
];

/// The APIs that the scenarios are made for, with the newest version that the codec knows.
const SCOPE: &[(ApiKey, i16)] = &[
    (ApiKey::Produce, 13),
    (ApiKey::Fetch, 18),
    (ApiKey::ListOffsets, 10),
    (ApiKey::Metadata, 13),
    (ApiKey::OffsetCommit, 9),
    (ApiKey::OffsetFetch, 9),
    (ApiKey::FindCoordinator, 6),
    (ApiKey::JoinGroup, 9),
    (ApiKey::Heartbeat, 4),
    (ApiKey::LeaveGroup, 5),
    (ApiKey::SyncGroup, 5),
    (ApiKey::DescribeGroups, 6),
    (ApiKey::ListGroups, 5),
    (ApiKey::ApiVersions, 4),
    (ApiKey::CreateTopics, 7),
    (ApiKey::DeleteTopics, 6),
    (ApiKey::DeleteRecords, 2),
    (ApiKey::InitProducerId, 5),
    (ApiKey::OffsetForLeaderEpoch, 4),
    (ApiKey::DescribeConfigs, 4),
    (ApiKey::AlterConfigs, 2),
    (ApiKey::DescribeLogDirs, 4),
    (ApiKey::CreatePartitions, 3),
    (ApiKey::DeleteGroups, 2),
    (ApiKey::IncrementalAlterConfigs, 1),
    (ApiKey::OffsetDelete, 0),
    (ApiKey::DescribeCluster, 2),
    (ApiKey::DescribeProducers, 0),
    (ApiKey::DescribeTopicPartitions, 0),
];

/// Whether to test an API between two brokers that advertise more than corelog does; its versions
/// are cut to those that the codec knows.
pub(crate) fn in_scope(key: i16, versions: &mut (i16, i16)) -> bool {
    let Some((_, newest)) = SCOPE.iter().find(|(api, _)| *api as i16 == key) else {
        return false;
    };
    versions.1 = versions.1.min(*newest);
    true
}

/// How often each version was answered without and with an error code.
fn counts(entries: &[Entry]) -> BTreeMap<(i16, i16), (usize, usize)> {
    let mut counts: BTreeMap<_, (usize, usize)> = BTreeMap::new();
    for entry in entries {
        let (Some(api), Outcome::Answer(tree)) = (entry.api, &entry.outcome) else {
            continue;
        };
        let (served, refused) = counts.entry(api).or_default();
        if tree.error_codes().is_empty() {
            *served += 1;
        } else {
            *refused += 1;
        }
    }
    counts
}

/// What is told to clients and not tested: versions that the reference does not have, or that no
/// scenario was served, or refused; and versions that are refused though listed as infallible.
pub(crate) fn gaps(advertised: &Versions, common: &Versions, entries: &[Entry]) -> Vec<String> {
    let counts = counts(entries);
    let compared: BTreeSet<_> = versions(common).collect();
    let mut gaps = Vec::new();
    for (key, version) in versions(advertised) {
        let api = format!("{} v{version}", name(key));
        if !compared.contains(&(key, version)) {
            gaps.push(format!("{api} is not served by Apache Kafka"));
            continue;
        }
        let (served, refused) = counts.get(&(key, version)).copied().unwrap_or_default();
        let infallible = NO_ERROR
            .iter()
            .any(|(api, range, _)| *api as i16 == key && range.contains(&version));
        if served == 0 {
            gaps.push(format!("{api} was never served"));
        }
        match (refused, infallible) {
            (0, false) => gaps.push(format!("{api} was never refused")),
            (1.., true) => gaps.push(format!("{api} is said to have no error, and has")),
            (0, true) | (1.., false) => {}
        }
    }
    gaps
}

pub(crate) fn print(common: &Versions, entries: &[Entry]) {
    let counts = counts(entries);
    println!("RAN, for each version: answers without error / with error");
    for key in common.keys() {
        let mut line = format!("{:24}", name(*key));
        for (_, version) in versions(common).filter(|(k, _)| k == key) {
            let (served, refused) = counts.get(&(*key, version)).copied().unwrap_or_default();
            line.push_str(&format!(" v{version} {served}/{refused}"));
        }
        println!("{line}");
    }
}

/// Produce is told from version 0, which is refused by closing the connection: scenario `raw`.
fn versions(common: &Versions) -> impl Iterator<Item = (i16, i16)> + '_ {
    common.iter().flat_map(|(key, (min, max))| {
        let min = if *key == ApiKey::Produce as i16 {
            3
        } else {
            *min
        };
        (min..=*max).map(|version| (*key, version))
    })
}

fn name(key: i16) -> String {
    ApiKey::try_from(key).map_or(format!("API {key}"), |key| {
        format!("{key:?}").trim_end_matches("Key").to_string()
    })
}
