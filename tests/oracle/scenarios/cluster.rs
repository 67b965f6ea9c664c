//! ApiVersions, DescribeCluster, DescribeLogDirs.

use kafka_protocol::messages::{
    ApiVersionsRequest, DescribeClusterRequest, DescribeLogDirsRequest, TopicName,
    describe_log_dirs_request::DescribableLogDirTopic,
};

use crate::batch::Batch;
use crate::session::{Session, text};

pub(crate) fn api_versions(s: &mut Session) {
    let common = s.common().clone();
    let mut c = s.connect();
    for v in s.versions::<ApiVersionsRequest>() {
        let mut request = ApiVersionsRequest::default();
        if v >= 3 {
            request = request
                .with_client_software_name(text("oracle"))
                .with_client_software_version(text("1.0"));
        }
        c.send(v, &request);
        let (mut response, _) = c.receive::<ApiVersionsRequest>();
        // Kafka's APIs that corelog does not have are not compared, only the ranges of the others.
        response
            .api_keys
            .retain(|k| common.contains_key(&k.api_key));
        s.note::<ApiVersionsRequest>("ranges", v, &response);

        if v >= 3 {
            for (what, name, version) in [
                ("empty name", "", "1.0"),
                ("bad name", "bad name!", "1.0"),
                ("bad version", "oracle", "-1.0"),
            ] {
                let request = request
                    .clone()
                    .with_client_software_name(text(name))
                    .with_client_software_version(text(version));
                let mut c = s.connect();
                c.send(v, &request);
                let (mut response, _) = c.receive::<ApiVersionsRequest>();
                response
                    .api_keys
                    .retain(|k| common.contains_key(&k.api_key));
                s.note::<ApiVersionsRequest>(what, v, &response);
            }
        }
    }
}

pub(crate) fn describe_cluster(s: &mut Session) {
    let mut c = s.connect();
    for v in s.versions::<DescribeClusterRequest>() {
        for operations in [false, true] {
            let request = DescribeClusterRequest::default()
                .with_include_cluster_authorized_operations(operations);
            let label = if operations {
                "with operations"
            } else {
                "plain"
            };
            s.call(&mut c, label, v, &request);
        }
        if v >= 1 {
            for endpoint in [0, 2, 7] {
                let request = DescribeClusterRequest::default().with_endpoint_type(endpoint);
                s.call(&mut c, &format!("endpoint type {endpoint}"), v, &request);
            }
        }
        if v >= 2 {
            let request = DescribeClusterRequest::default().with_include_fenced_brokers(true);
            s.call(&mut c, "with fenced brokers", v, &request);
        }
    }
}

pub(crate) fn describe_log_dirs(s: &mut Session) {
    let topic = s.topic("sizes", 2, &[]);
    s.append(&topic, 0, Batch::of(&["a", "b"]).bytes());
    s.append(&topic, 0, Batch::sized(3, 500).bytes());
    let mut c = s.connect();
    let ask = |name: &TopicName, partitions: &[i32]| {
        DescribableLogDirTopic::default()
            .with_topic(name.clone())
            .with_partitions(partitions.to_vec())
    };
    for v in s.versions::<DescribeLogDirsRequest>() {
        for (label, topics) in [
            ("one topic", vec![ask(&topic.name, &[0, 1])]),
            ("one partition", vec![ask(&topic.name, &[0])]),
            ("an unknown partition", vec![ask(&topic.name, &[7])]),
            (
                "an unknown topic",
                vec![ask(&TopicName(text("never-made")), &[0])],
            ),
            ("no topic", vec![]),
        ] {
            let request = DescribeLogDirsRequest::default().with_topics(Some(topics));
            s.call(&mut c, label, v, &request);
        }
        // All topics: other scenarios and the brokers' own ones differ, this one's part may not.
        let mut response = c.exchange(v, &DescribeLogDirsRequest::default().with_topics(None));
        for result in &mut response.results {
            result.topics.retain(|t| t.name == topic.name);
        }
        s.note::<DescribeLogDirsRequest>("all topics", v, &response);
    }
}
