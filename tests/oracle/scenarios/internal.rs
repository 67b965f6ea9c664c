//! What clients may do to the topic of the groups. The last scenarios: they take it apart.

use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeGroupsRequest, MetadataRequest, OffsetFetchRequest, ProduceRequest, TopicName,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::CreatableTopic,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    metadata_request::MetadataRequestTopic,
};

use super::commits::{commit, fetch};
use super::groups::{Member, group, warm_up};
use super::produce::{data, request};
use crate::batch::Batch;
use crate::session::{Connection, Session, Topic, eventually, text};

const OFFSETS: &str = "__consumer_offsets";

fn offsets() -> TopicName {
    TopicName(text(OFFSETS))
}

fn metadata(name: &TopicName) -> MetadataRequest {
    MetadataRequest::default()
        .with_topics(Some(vec![
            MetadataRequestTopic::default().with_name(Some(name.clone())),
        ]))
        .with_allow_auto_topic_creation(false)
}

/// The topic with its id.
fn topic(s: &mut Session, c: &mut Connection) -> Topic {
    let response = c.exchange(12, &metadata(&offsets()));
    let id = response.topics[0].topic_id;
    s.names.topic(id, OFFSETS);
    Topic {
        name: offsets(),
        id,
    }
}

pub(crate) fn produce(s: &mut Session) {
    let mut c = s.connect();
    let topic = topic(s, &mut c);
    let other = s.topic("other", 1, &[]);
    let batch = Batch::of(&["a"]).bytes();
    for v in s.versions::<ProduceRequest>() {
        for acks in [1, -1] {
            let request = request(acks, vec![data(v, &topic, &[(0, Some(batch.clone()))])]);
            s.call(&mut c, &format!("acks {acks}"), v, &request);
        }
        let unknown = request(-1, vec![data(v, &topic, &[(50, Some(batch.clone()))])]);
        s.call(&mut c, "an unknown partition", v, &unknown);
        let mixed = vec![
            data(v, &topic, &[(0, Some(batch.clone()))]),
            data(v, &other, &[(0, Some(batch.clone()))]),
        ];
        s.call(&mut c, "with another topic", v, &request(-1, mixed));
        let mut closing = s.connect();
        let silent = request(0, vec![data(v, &topic, &[(0, Some(batch.clone()))])]);
        closing.write_unanswered(v, &silent);
        s.reaction(&mut closing, &format!("acks 0 in v{v}"));
    }
    // The id of a tool that once wrote offsets itself.
    let mut tool = s.connect_as("__admin_client");
    let v = s.newest::<ProduceRequest>();
    let allowed = request(-1, vec![data(v, &topic, &[(0, Some(batch))])]);
    s.call(&mut tool, "of the client that Kafka trusts", v, &allowed);
}

pub(crate) fn administration(s: &mut Session) {
    let mut c = s.connect();
    let name = offsets();
    let delete_records = |offset: i64| {
        DeleteRecordsRequest::default()
            .with_timeout_ms(10_000)
            .with_topics(vec![
                DeleteRecordsTopic::default()
                    .with_name(offsets())
                    .with_partitions(vec![
                        DeleteRecordsPartition::default().with_offset(offset),
                        DeleteRecordsPartition::default()
                            .with_partition_index(50)
                            .with_offset(offset),
                    ]),
            ])
    };
    for v in s.versions::<DeleteRecordsRequest>() {
        for offset in [0, -1] {
            let label = format!("delete records up to {offset}");
            s.call(&mut c, &label, v, &delete_records(offset));
        }
    }
    let create = CreateTopicsRequest::default()
        .with_timeout_ms(20_000)
        .with_topics(vec![
            CreatableTopic::default()
                .with_name(name.clone())
                .with_num_partitions(1)
                .with_replication_factor(1),
        ]);
    let v = s.newest::<CreateTopicsRequest>();
    s.call(&mut c, "create it", v, &create);
    for v in s.versions::<CreatePartitionsRequest>() {
        for count in [10, 50, 60] {
            let request = CreatePartitionsRequest::default()
                .with_timeout_ms(20_000)
                .with_validate_only(true)
                .with_topics(vec![
                    CreatePartitionsTopic::default()
                        .with_name(name.clone())
                        .with_count(count)
                        .with_assignments(None),
                ]);
            s.call(&mut c, &format!("{count} partitions"), v, &request);
        }
    }
}

/// The groups go with their topic, and it comes back for the next one.
pub(crate) fn deletion(s: &mut Session) {
    let read = s.topic("read", 1, &[]);
    let mut c = s.connect();
    let member = Member::of(&s.named("forgotten"));
    c.exchange(8, &commit(&member, -1, &read.name, 0, 5, ""));
    let wanted = Some(vec![(read.name.to_string(), vec![0])]);
    let committed = fetch(8, &[(&member.group, wanted)]);
    s.call(&mut c, "before", 8, &committed);
    let delete = DeleteTopicsRequest::default()
        .with_timeout_ms(20_000)
        .with_topic_names(vec![offsets()]);
    s.call(&mut c, "delete it", 5, &delete);
    eventually("the topic is gone", || {
        c.exchange(9, &metadata(&offsets())).topics[0].error_code == 3
    });
    eventually("the group has no coordinator", || {
        c.exchange(8, &committed).groups[0].error_code != 0
    });
    while_gone(s, &mut c, &member);
    warm_up(s);
    s.call(&mut c, "when it is back", 8, &committed);
}

/// The questions that are otherwise always answered: nobody can.
fn while_gone(s: &mut Session, c: &mut Connection, member: &Member) {
    for v in s.versions::<OffsetFetchRequest>() {
        let wanted = Some(vec![("never-made".to_string(), vec![0])]);
        let request = fetch(v, &[(&member.group, wanted)]);
        s.call(c, "offsets while it is gone", v, &request);
    }
    for v in s.versions::<DescribeGroupsRequest>() {
        let request = DescribeGroupsRequest::default().with_groups(vec![group(&member.group)]);
        s.call(c, "described while it is gone", v, &request);
    }
}
