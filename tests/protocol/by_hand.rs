//! The hand-written codecs say the same as the generated ones.

use bytes::Bytes;
use corelog::model::{LeaderEpoch, NodeId, Offset, ProducerId, Timestamp, TopicId};
use corelog::protocol::api_versions::{ApiVersionsRequest, ApiVersionsResponse, Feature};
use corelog::protocol::fetch::{
    AbortedTransaction, DivergingEpoch, FetchPartitionResponse, FetchRequest, FetchResponse,
    FetchTopicResponse, encode_fetch_response,
};
use corelog::protocol::messages::{
    StrBytes, api_versions_request, api_versions_response, fetch_request, fetch_response,
    produce_request, produce_response,
};
use corelog::protocol::produce::{
    CurrentLeader, NodeEndpoint, ProducePartitionResponse, ProduceRequest, ProduceResponse,
    ProduceTopicResponse, RecordError, Records,
};
use corelog::protocol::{self, ApiKey, ApiSpec, ErrorCode, RequestHeader};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::Encodable;

use crate::fields::Fill;
use crate::random::Random;
use crate::random_message;

const ROUNDS: usize = 200;

fn every_round(api: ApiKey, mut check: impl FnMut(&mut Random, i16)) {
    let mut random = Random::new(crate::seed());
    let (min, max) = api.versions();
    for version in min..=max {
        for _ in 0..ROUNDS {
            check(&mut random, version);
        }
    }
}

#[test]
fn produce_requests_are_read_alike() {
    every_round(ApiKey::Produce, |random, version| {
        let (expected, bytes) = random_message::<produce_request::ProduceRequest>(random, version);
        let got = ProduceRequest::decode(&bytes, version).unwrap();
        assert_eq!(got.transactional_id, expected.transactional_id);
        assert_eq!(
            (got.acks, got.timeout_ms),
            (expected.acks, expected.timeout_ms)
        );
        assert_eq!(got.topics.len(), expected.topic_data.len());
        for (got, expected) in got.topics.iter().zip(&expected.topic_data) {
            assert_eq!(got.name, expected.name);
            assert_eq!(got.topic_id, TopicId::from(expected.topic_id));
            assert_eq!(got.partitions.len(), expected.partition_data.len());
            for (got, expected) in got.partitions.iter().zip(&expected.partition_data) {
                let records = expected.records.clone().map(Records::Here);
                assert_eq!((got.index, &got.records), (expected.index, &records));
                let borrows = |slice: &Bytes| {
                    slice.is_empty() || bytes.as_ptr_range().contains(&slice.as_ptr())
                };
                let borrowed = slice_of(&got.records).is_none_or(borrows);
                assert!(borrowed, "a batch was copied");
            }
        }
    });
}

fn slice_of(records: &Option<Records>) -> Option<&Bytes> {
    match records {
        Some(Records::Here(slice)) => Some(slice),
        Some(Records::Apart) => panic!("nothing was taken out"),
        None => None,
    }
}

#[test]
fn produce_responses_are_written_alike() {
    every_round(ApiKey::Produce, |random, version| {
        let response = ProduceResponse {
            topics: some(random, |random| ProduceTopicResponse {
                name: StrBytes::fill(random, version),
                topic_id: TopicId(std::array::from_fn(|_| random.next() as u8)),
                partitions: some(random, |random| ProducePartitionResponse {
                    index: i32::fill(random, version),
                    error: error(random),
                    base_offset: Offset(i64::fill(random, version)),
                    log_append_time: Timestamp(i64::fill(random, version)),
                    log_start_offset: Offset(i64::fill(random, version)),
                    record_errors: some(random, |random| RecordError {
                        batch_index: i32::fill(random, version),
                        message: text(random),
                    }),
                    error_message: text(random),
                    current_leader: maybe(random, leader),
                }),
            }),
            throttle_time_ms: i32::fill(random, version),
            node_endpoints: some(random, endpoint),
        };
        let bytes = response.encode(version);
        let read: produce_response::ProduceResponse =
            protocol::decode_response(bytes.clone(), version).unwrap();
        assert_eq!(protocol::encode(&read, version).unwrap(), bytes);
        assert_eq!(read.throttle_time_ms, response.throttle_time_ms);
        assert_eq!(read.responses.len(), response.topics.len());
        for (read, topic) in read.responses.iter().zip(&response.topics) {
            match version {
                ..=12 => assert_eq!(read.name, topic.name),
                _ => assert_eq!(TopicId::from(read.topic_id), topic.topic_id),
            }
            assert_eq!(read.partition_responses.len(), topic.partitions.len());
            for (read, sent) in read.partition_responses.iter().zip(&topic.partitions) {
                check_produced(read, sent, version);
            }
        }
        let endpoints = if version >= 10 {
            response.node_endpoints.len()
        } else {
            0
        };
        assert_eq!(read.node_endpoints.len(), endpoints);
        for (read, sent) in read.node_endpoints.iter().zip(&response.node_endpoints) {
            assert_eq!((read.node_id, read.port), (sent.node_id.0, sent.port));
            assert_eq!(read.host.as_str(), sent.host);
            assert_eq!(read.rack.as_deref(), sent.rack.as_deref());
        }
    });
}

fn check_produced(
    read: &produce_response::PartitionProduceResponse,
    sent: &ProducePartitionResponse,
    version: i16,
) {
    assert_eq!(
        (read.index, read.error_code),
        (sent.index, sent.error.code())
    );
    assert_eq!(read.base_offset, sent.base_offset.0);
    assert_eq!(read.log_append_time_ms, sent.log_append_time.0);
    if version >= 5 {
        assert_eq!(read.log_start_offset, sent.log_start_offset.0);
    }
    if version >= 8 {
        assert_eq!(read.error_message.as_deref(), sent.error_message.as_deref());
        let read = read.record_errors.iter();
        let read = read.map(|e| (e.batch_index, e.batch_index_error_message.as_deref()));
        let sent = sent
            .record_errors
            .iter()
            .map(|e| (e.batch_index, e.message.as_deref()));
        assert!(read.eq(sent));
    }
    if let Some(leader) = sent.current_leader
        && version >= 10
    {
        assert_eq!(read.current_leader.leader_id, leader.leader_id.0);
        assert_eq!(read.current_leader.leader_epoch, leader.leader_epoch.0);
    }
}

#[test]
fn fetch_requests_are_read_alike() {
    every_round(ApiKey::Fetch, |random, version| {
        let (expected, bytes) = random_message::<fetch_request::FetchRequest>(random, version);
        let got = FetchRequest::decode(&bytes, version).unwrap();
        let replica = match version {
            ..=14 => (expected.replica_id, -1),
            _ => (
                expected.replica_state.replica_id,
                expected.replica_state.replica_epoch,
            ),
        };
        assert_eq!((got.replica_id.0, got.replica_epoch), replica);
        assert_eq!(got.cluster_id, expected.cluster_id);
        assert_eq!(got.max_wait_ms, expected.max_wait_ms);
        assert_eq!(
            (got.min_bytes, got.max_bytes),
            (expected.min_bytes, expected.max_bytes)
        );
        assert_eq!(got.isolation_level, expected.isolation_level);
        assert_eq!(got.session_id, expected.session_id);
        assert_eq!(got.session_epoch, expected.session_epoch);
        assert_eq!(got.rack_id, expected.rack_id);
        assert_eq!(got.topics.len(), expected.topics.len());
        for (got, expected) in got.topics.iter().zip(&expected.topics) {
            assert_eq!(got.name, expected.topic);
            assert_eq!(got.topic_id, TopicId::from(expected.topic_id));
            let got = got.partitions.iter().map(|p| {
                let epochs = (p.current_leader_epoch.0, p.last_fetched_epoch.0);
                let offsets = (p.fetch_offset.0, p.log_start_offset.0, p.high_watermark);
                (
                    p.index,
                    epochs,
                    offsets,
                    p.max_bytes,
                    p.replica_directory_id,
                )
            });
            let expected = expected.partitions.iter().map(|p| {
                let epochs = (p.current_leader_epoch, p.last_fetched_epoch);
                let offsets = (p.fetch_offset, p.log_start_offset, p.high_watermark);
                let directory = TopicId::from(p.replica_directory_id);
                (
                    p.partition,
                    epochs,
                    offsets,
                    p.partition_max_bytes,
                    directory,
                )
            });
            assert!(got.eq(expected));
        }
        assert_eq!(
            got.forgotten_topics.len(),
            expected.forgotten_topics_data.len()
        );
        for (got, expected) in got
            .forgotten_topics
            .iter()
            .zip(&expected.forgotten_topics_data)
        {
            assert_eq!(got.name, expected.topic);
            assert_eq!(got.topic_id, TopicId::from(expected.topic_id));
            assert_eq!(got.partitions, expected.partitions);
        }
    });
}

#[test]
fn fetch_responses_are_written_alike_and_hand_records_on() {
    every_round(ApiKey::Fetch, |random, version| {
        let response = FetchResponse {
            throttle_time_ms: i32::fill(random, version),
            error: error(random),
            session_id: i32::fill(random, version),
            topics: some(random, |random| FetchTopicResponse {
                name: StrBytes::fill(random, version),
                topic_id: TopicId(std::array::from_fn(|_| random.next() as u8)),
                partitions: some(random, |random| fetched(random, version)),
            }),
            node_endpoints: some(random, endpoint),
        };
        let pieces = encode_fetch_response(&response, version);
        let partitions = || response.topics.iter().flat_map(|topic| &topic.partitions);
        for slice in partitions().flat_map(|partition| &partition.records) {
            let is_handed_on = |piece: &Bytes| piece.as_ptr() == slice.as_ptr();
            assert!(
                slice.is_empty() || pieces.iter().any(is_handed_on),
                "records were copied"
            );
        }
        let bytes = Bytes::from(pieces.concat());
        let read: fetch_response::FetchResponse =
            protocol::decode_response(bytes.clone(), version).unwrap();
        assert_eq!(protocol::encode(&read, version).unwrap(), bytes);
        assert_eq!(read.throttle_time_ms, response.throttle_time_ms);
        if version >= 7 {
            assert_eq!(read.error_code, response.error.code());
            assert_eq!(read.session_id, response.session_id);
        }
        assert_eq!(read.responses.len(), response.topics.len());
        for (read, sent) in read.responses.iter().zip(&response.topics) {
            match version {
                ..=12 => assert_eq!(read.topic, sent.name),
                _ => assert_eq!(TopicId::from(read.topic_id), sent.topic_id),
            }
            assert_eq!(read.partitions.len(), sent.partitions.len());
            for (read, sent) in read.partitions.iter().zip(&sent.partitions) {
                check_fetched(read, sent, version);
            }
        }
        let endpoints = if version >= 16 {
            response.node_endpoints.len()
        } else {
            0
        };
        assert_eq!(read.node_endpoints.len(), endpoints);
    });
}

fn fetched(random: &mut Random, version: i16) -> FetchPartitionResponse {
    FetchPartitionResponse {
        index: i32::fill(random, version),
        error: error(random),
        high_watermark: Offset(i64::fill(random, version)),
        last_stable_offset: Offset(i64::fill(random, version)),
        log_start_offset: Offset(i64::fill(random, version)),
        diverging_epoch: maybe(random, |random| DivergingEpoch {
            epoch: LeaderEpoch(1 + random.below(9) as i32),
            end_offset: Offset(i64::fill(random, version)),
        }),
        current_leader: maybe(random, leader),
        aborted_transactions: maybe(random, |random| {
            some(random, |random| AbortedTransaction {
                producer_id: ProducerId(i64::fill(random, version)),
                first_offset: Offset(i64::fill(random, version)),
            })
        }),
        preferred_read_replica: NodeId(i32::fill(random, version)),
        records: some(random, |random| Bytes::fill(random, version)),
    }
}

fn check_fetched(
    read: &fetch_response::PartitionData,
    sent: &FetchPartitionResponse,
    version: i16,
) {
    assert_eq!(
        (read.partition_index, read.error_code),
        (sent.index, sent.error.code())
    );
    assert_eq!(read.high_watermark, sent.high_watermark.0);
    assert_eq!(read.last_stable_offset, sent.last_stable_offset.0);
    assert_eq!(
        read.records.as_ref().unwrap(),
        &Bytes::from(sent.records.concat())
    );
    let read_aborted = read.aborted_transactions.as_ref();
    assert_eq!(
        read_aborted.map(|all| all
            .iter()
            .map(|t| (t.producer_id, t.first_offset))
            .collect()),
        sent.aborted_transactions.as_ref().map(|all| all
            .iter()
            .map(|t| (t.producer_id.0, t.first_offset.0))
            .collect::<Vec<_>>()),
    );
    if version >= 5 {
        assert_eq!(read.log_start_offset, sent.log_start_offset.0);
    }
    if version >= 11 {
        assert_eq!(read.preferred_read_replica, sent.preferred_read_replica.0);
    }
    if version >= 12 {
        let diverging = sent
            .diverging_epoch
            .map_or((-1, -1), |d| (d.epoch.0, d.end_offset.0));
        assert_eq!(
            (read.diverging_epoch.epoch, read.diverging_epoch.end_offset),
            diverging
        );
        let leader = sent
            .current_leader
            .map_or((-1, -1), |l| (l.leader_id.0, l.leader_epoch.0));
        assert_eq!(
            (
                read.current_leader.leader_id,
                read.current_leader.leader_epoch
            ),
            leader
        );
    }
}

#[test]
fn api_versions_are_read_and_written_alike() {
    let apis: Vec<ApiSpec> = ApiKey::ALL
        .iter()
        .map(|&api| ApiSpec::new(api, api.versions().0, api.versions().1))
        .collect();
    let features = [Feature {
        name: "some.version",
        min_level: 1,
        max_level: 4,
    }];
    let response = ApiVersionsResponse {
        finalized_features: &features,
        supported_features: &features,
        finalized_features_epoch: 9,
        ..ApiVersionsResponse::new(&apis)
    };
    every_round(ApiKey::ApiVersions, |random, version| {
        let (expected, bytes) =
            random_message::<api_versions_request::ApiVersionsRequest>(random, version);
        let got = ApiVersionsRequest::decode(&bytes, version).unwrap();
        assert_eq!(got.client_software_name, expected.client_software_name);
        assert_eq!(
            got.client_software_version,
            expected.client_software_version
        );

        let bytes = response.encode(version);
        let read: api_versions_response::ApiVersionsResponse =
            protocol::decode_response(bytes.clone(), version).unwrap();
        assert_eq!(protocol::encode(&read, version).unwrap(), bytes);
        let told = read
            .api_keys
            .iter()
            .map(|a| (a.api_key, a.min_version, a.max_version));
        assert!(
            told.eq(apis
                .iter()
                .map(|a| (a.key.code(), a.advertised_min(), a.max)))
        );
        if version >= 3 {
            assert_eq!(read.finalized_features_epoch, 9);
            assert_eq!(read.finalized_features[0].max_version_level, 4);
            assert_eq!(read.finalized_features[0].min_version_level, 1);
            assert_eq!(read.supported_features[0].max_version, 4);
        }
    });
}

#[test]
fn request_headers_are_read_as_others_write_them() {
    let mut random = Random::new(crate::seed());
    for &api in ApiKey::ALL {
        for version in api.versions().0..=api.versions().1 {
            let client_id = Option::<StrBytes>::fill(&mut random, version);
            let mut header = theirs::RequestHeader::default();
            header.request_api_key = api.code();
            header.request_api_version = version;
            header.correlation_id = i32::fill(&mut random, version);
            header.client_id = client_id
                .as_ref()
                .map(|id| kafka_protocol::protocol::StrBytes::from(id.to_string()));
            let mut bytes = bytes::BytesMut::new();
            header
                .encode(&mut bytes, api.request_header_version(version))
                .unwrap();
            bytes.extend_from_slice(b"body");
            let (got, body) = RequestHeader::decode(&bytes.freeze()).unwrap();
            assert_eq!((got.api, got.version), (api, version));
            assert_eq!(
                (got.correlation_id, got.client_id),
                (header.correlation_id, client_id)
            );
            assert_eq!(&body[..], b"body");
        }
    }
}

fn some<T>(random: &mut Random, mut element: impl FnMut(&mut Random) -> T) -> Vec<T> {
    (0..random.below(4)).map(|_| element(random)).collect()
}

fn maybe<T>(random: &mut Random, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
    (random.below(2) == 0).then(|| value(random))
}

fn text(random: &mut Random) -> Option<String> {
    maybe(random, |random| StrBytes::fill(random, 0).to_string())
}

fn error(random: &mut Random) -> ErrorCode {
    ErrorCode::ALL[random.below(ErrorCode::ALL.len())]
}

/// Never what means "none": that is not sent.
fn leader(random: &mut Random) -> CurrentLeader {
    CurrentLeader {
        leader_id: NodeId(random.below(9) as i32),
        leader_epoch: LeaderEpoch(i32::fill(random, 0)),
    }
}

fn endpoint(random: &mut Random) -> NodeEndpoint {
    NodeEndpoint {
        node_id: NodeId(i32::fill(random, 0)),
        host: StrBytes::fill(random, 0).to_string(),
        port: i32::fill(random, 0),
        rack: text(random),
    }
}
