//! All figures of a node as one page for Prometheus.
//!
//! Our own names begin with `corelog_`, are in base units, and carry the label `core`. Beside them
//! stand the names that Kafka's JMX exporter, Strimzi's dashboards and kafka_exporter use, summed
//! over the cores, as far as the figures mean the same here.

use std::collections::HashMap;
use std::time::Duration;

use super::text::{Kind, Page};
use crate::io::housekeeping::ProcessFigures;
use crate::metrics::{
    CommittedOffset, CoreSnapshot, Counter, Gauge, NodeFacts, PartitionFigures, Stage, lag,
};
use crate::model::{Offset, TopicPartition};

/// Everything that one page is made of.
pub(super) struct Figures<'a> {
    pub(super) facts: &'a NodeFacts,
    pub(super) cores: &'a [CoreSnapshot],
    pub(super) process: ProcessFigures,
    pub(super) uptime: Duration,
    pub(super) log_lines_dropped: u64,
    pub(super) is_ready: bool,
    pub(super) cluster_id: &'a str,
}

/// Upper bounds of the latency buckets, in microseconds.
const BUCKETS_US: [u64; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    1_000_000, 10_000_000,
];

/// The quantiles that are shown ready-made, core by core.
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// The page.
pub(super) fn page(figures: &Figures<'_>) -> String {
    let mut page = Page::default();
    node(&mut page, figures);
    cores(&mut page, figures);
    requests(&mut page, figures);
    latencies(&mut page, figures.cores);
    partitions(&mut page, figures.cores);
    groups(&mut page, figures.cores);
    kafka_names(&mut page, figures);
    page.finish()
}

fn total(cores: &[CoreSnapshot], counter: Counter) -> u64 {
    cores.iter().map(|core| core.counter(counter)).sum()
}

fn sum(cores: &[CoreSnapshot], gauge: Gauge) -> u64 {
    cores.iter().map(|core| core.gauge(gauge)).sum()
}

/// `part / whole`; 0 while there is no whole.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

fn node(page: &mut Page, figures: &Figures<'_>) {
    let facts = figures.facts;
    page.family(
        "corelog_build_info",
        Kind::Gauge,
        "The binary and the node; always 1.",
    );
    let labels: [(&str, &dyn std::fmt::Display); 3] = [
        ("version", &facts.version),
        ("node_id", &facts.node_id),
        ("cluster_id", &figures.cluster_id),
    ];
    page.sample(&labels, 1);
    let help = "What an acknowledgement means here: after the data sync, or after the write.";
    page.family("corelog_durability_info", Kind::Gauge, help);
    page.sample(&[("durability", &facts.durability)], 1);
    let help = "Whether recovery is over and the listeners accept.";
    page.single(
        "corelog_ready",
        Kind::Gauge,
        help,
        u8::from(figures.is_ready),
    );
    let help = "Time since the start.";
    page.single(
        "corelog_uptime_seconds",
        Kind::Gauge,
        help,
        figures.uptime.as_secs_f64(),
    );
    page.single(
        "corelog_cores",
        Kind::Gauge,
        "Shards of this node.",
        figures.cores.len(),
    );
    let help = "Log lines that were dropped because the writing thread was behind.";
    let name = "corelog_log_lines_dropped_total";
    page.single(name, Kind::Counter, help, figures.log_lines_dropped);

    let help =
        "Bytes copied in user space per byte of payload that came in, was made here or went out.";
    let copied = total(figures.cores, Counter::CopiedBytes);
    let payload_of = |counter| total(figures.cores, counter);
    let payload = payload_of(Counter::PayloadInBytes)
        + payload_of(Counter::PayloadOwnBytes)
        + payload_of(Counter::PayloadOutBytes);
    let name = "corelog_copied_bytes_per_payload_byte";
    page.single(name, Kind::Gauge, help, ratio(copied, payload));
    let help = "Data syncs per acknowledged produce request.";
    let syncs = total(figures.cores, Counter::Syncs);
    let acknowledged = total(figures.cores, Counter::AcknowledgedRequests);
    let name = "corelog_syncs_per_acknowledged_request";
    page.single(name, Kind::Gauge, help, ratio(syncs, acknowledged));

    let process = figures.process;
    let help = "Processor time, user and system.";
    page.single(
        "process_cpu_seconds_total",
        Kind::Counter,
        help,
        process.cpu_seconds,
    );
    let help = "Resident memory.";
    page.single(
        "process_resident_memory_bytes",
        Kind::Gauge,
        help,
        process.resident_bytes,
    );
    page.single(
        "process_open_fds",
        Kind::Gauge,
        "Open file descriptors.",
        process.open_files,
    );
}

fn cores(page: &mut Page, figures: &Figures<'_>) {
    for counter in Counter::ALL {
        page.family(
            &format!("corelog_{}_total", counter.name()),
            Kind::Counter,
            counter.help(),
        );
        for (index, core) in figures.cores.iter().enumerate() {
            page.sample(&[("core", &index)], core.counter(*counter));
        }
    }
    for gauge in Gauge::ALL {
        page.family(
            &format!("corelog_{}", gauge.name()),
            Kind::Gauge,
            gauge.help(),
        );
        for (index, core) in figures.cores.iter().enumerate() {
            page.sample(&[("core", &index)], core.gauge(*gauge));
        }
    }
    let help = "Connections that are open.";
    page.family("corelog_connections", Kind::Gauge, help);
    for (index, core) in figures.cores.iter().enumerate() {
        page.sample(&[("core", &index)], open_connections(core));
    }
    let help = "How often the core published its figures: once a second while it moves.";
    page.family("corelog_core_heartbeats_total", Kind::Counter, help);
    for (index, core) in figures.cores.iter().enumerate() {
        page.sample(&[("core", &index)], core.publish_count());
    }
    // The same names on every core; the first core that published tells them.
    let executor = figures.cores.iter().map(CoreSnapshot::executor);
    let names = executor
        .clone()
        .find(|statistics| !statistics.is_empty())
        .unwrap_or(&[]);
    for (name, _) in names {
        let help = "What the core's executor did.";
        page.family(
            &format!("corelog_executor_{name}_total"),
            Kind::Counter,
            help,
        );
        for (index, statistics) in executor.clone().enumerate() {
            if let Some((_, value)) = statistics.iter().find(|(known, _)| known == name) {
                page.sample(&[("core", &index)], value);
            }
        }
    }
}

/// A core may accept a connection and another one count its end; the sum over cores is exact.
fn open_connections(core: &CoreSnapshot) -> i64 {
    let accepted = core.counter(Counter::ConnectionsAccepted) as i64;
    accepted - core.counter(Counter::ConnectionsClosed) as i64
}

fn requests(page: &mut Page, figures: &Figures<'_>) {
    page.family(
        "corelog_requests_total",
        Kind::Counter,
        "Requests received, by API.",
    );
    for (index, core) in figures.cores.iter().enumerate() {
        for (key, count) in core.requests() {
            let api = (figures.facts.api_name)(key).unwrap_or("other");
            page.sample(&[("core", &index), ("api", &api), ("key", &key)], count);
        }
    }
    let help = "Kafka error codes sent to clients.";
    page.family("corelog_errors_total", Kind::Counter, help);
    for (index, core) in figures.cores.iter().enumerate() {
        for (code, count) in core.errors() {
            let error = (figures.facts.error_name)(code).unwrap_or("other");
            page.sample(
                &[("core", &index), ("error", &error), ("code", &code)],
                count,
            );
        }
    }
}

fn latencies(page: &mut Page, cores: &[CoreSnapshot]) {
    let help = "How long a stage of a request's way took, over all cores.";
    page.family("corelog_stage_latency_seconds", Kind::Histogram, help);
    for stage in Stage::ALL {
        let latencies = || cores.iter().filter_map(|core| core.latency(*stage));
        let stage = stage.name();
        let count: u64 = latencies().map(|latency| latency.count()).sum();
        for bound in BUCKETS_US.map(Duration::from_micros) {
            let upto: u64 = latencies().map(|latency| latency.count_up_to(bound)).sum();
            page.suffixed(
                "_bucket",
                &[("stage", &stage), ("le", &bound.as_secs_f64())],
                upto,
            );
        }
        page.suffixed("_bucket", &[("stage", &stage), ("le", &"+Inf")], count);
        let sum: Duration = latencies().map(|latency| latency.sum()).sum();
        page.suffixed("_sum", &[("stage", &stage)], sum.as_secs_f64());
        page.suffixed("_count", &[("stage", &stage)], count);
    }
    let help = "The latency of a stage that this part did not exceed, since the start.";
    page.family("corelog_stage_latency_quantile_seconds", Kind::Gauge, help);
    for (index, core) in cores.iter().enumerate() {
        for stage in Stage::ALL {
            let Some(latency) = core.latency(*stage).filter(|latency| latency.count() > 0) else {
                continue;
            };
            for quantile in QUANTILES {
                let seconds = latency.quantile(quantile).as_secs_f64();
                let stage = stage.name();
                let labels: [(&str, &dyn std::fmt::Display); 3] =
                    [("core", &index), ("stage", &stage), ("quantile", &quantile)];
                page.sample(&labels, seconds);
            }
        }
    }
}

fn partitions(page: &mut Page, cores: &[CoreSnapshot]) {
    let all = || cores.iter().flat_map(|core| core.partitions());
    let mut family = |name: &str, help: &str, value: &dyn Fn(&PartitionFigures) -> i64| {
        page.family(name, Kind::Gauge, help);
        for figures in all() {
            let labels: [(&str, &dyn std::fmt::Display); 2] = [
                ("topic", &figures.partition.topic),
                ("partition", &figures.partition.index),
            ];
            page.sample(&labels, value(figures));
        }
    };
    let help = "The first offset that can be read.";
    family("kafka_log_log_logstartoffset", help, &|figures| {
        figures.log_start_offset.0
    });
    let help = "The offset that the next record gets.";
    family("kafka_log_log_logendoffset", help, &|figures| {
        figures.log_end_offset.0
    });
    let help = "Logical bytes of the log.";
    family("kafka_log_log_size", help, &|figures| {
        figures.size_bytes as i64
    });
    let help = "Up to where readers see.";
    family("kafka_topic_partition_current_offset", help, &|figures| {
        figures.high_watermark.0
    });
}

fn groups(page: &mut Page, cores: &[CoreSnapshot]) {
    let committed = || cores.iter().flat_map(|core| core.committed());
    let ends: HashMap<&TopicPartition, Offset> = cores
        .iter()
        .flat_map(|core| core.partitions())
        .map(|figures| (&figures.partition, figures.log_end_offset))
        .collect();
    let mut family = |name: &str, help: &str, value: &dyn Fn(&CommittedOffset) -> Option<i64>| {
        page.family(name, Kind::Gauge, help);
        for offset in committed() {
            let Some(value) = value(offset) else { continue };
            let labels: [(&str, &dyn std::fmt::Display); 3] = [
                ("consumergroup", &offset.group),
                ("topic", &offset.partition.topic),
                ("partition", &offset.partition.index),
            ];
            page.sample(&labels, value);
        }
    };
    let help = "The offset that the group reads next.";
    family("kafka_consumergroup_current_offset", help, &|committed| {
        Some(committed.offset.0)
    });
    let help = "Records that the group has not committed yet.";
    family("kafka_consumergroup_lag", help, &|committed| {
        let end = ends.get(&committed.partition).copied();
        lag(committed, end).map(|records| records as i64)
    });
}

/// Names that dashboards made for Apache Kafka ask for.
fn kafka_names(page: &mut Page, figures: &Figures<'_>) {
    let cores = figures.cores;
    let requests = |wanted: i16| -> u64 {
        let all = cores.iter().flat_map(CoreSnapshot::requests);
        all.filter(|(key, _)| *key == wanted)
            .map(|(_, count)| count)
            .sum()
    };
    let topic = "kafka_server_brokertopicmetrics";
    let counters = [
        ("messagesin", total(cores, Counter::RecordsIn)),
        ("bytesin", total(cores, Counter::PayloadInBytes)),
        ("bytesout", total(cores, Counter::PayloadOutBytes)),
        ("totalproducerequests", requests(0)),
        ("totalfetchrequests", requests(1)),
        (
            "failedproducerequests",
            total(cores, Counter::FailedProduces),
        ),
        ("failedfetchrequests", total(cores, Counter::FailedFetches)),
    ];
    for (name, value) in counters {
        let help = "As Apache Kafka's BrokerTopicMetrics, of all topics.";
        page.single(&format!("{topic}_{name}_total"), Kind::Counter, help, value);
    }
    let help = "As Apache Kafka's RequestMetrics.";
    page.family(
        "kafka_network_requestmetrics_requests_total",
        Kind::Counter,
        help,
    );
    let keys: std::collections::BTreeSet<i16> = cores
        .iter()
        .flat_map(CoreSnapshot::requests)
        .map(|(key, _)| key)
        .collect();
    for key in keys {
        let name = (figures.facts.api_name)(key).unwrap_or("other");
        page.sample(&[("request", &name)], requests(key));
    }
    let partitions = sum(cores, Gauge::Partitions);
    let offline = sum(cores, Gauge::OfflinePartitions);
    let gauges = [
        ("kafka_server_replicamanager_partitioncount", partitions),
        (
            "kafka_server_replicamanager_leadercount",
            partitions - offline.min(partitions),
        ),
        ("kafka_server_replicamanager_offlinereplicacount", offline),
        // One node: it has each partition's only replica, which is never behind itself.
        ("kafka_server_replicamanager_underreplicatedpartitions", 0),
        ("kafka_server_replicamanager_underminisrpartitioncount", 0),
        ("kafka_controller_kafkacontroller_activecontrollercount", 1),
        (
            "kafka_controller_kafkacontroller_offlinepartitionscount",
            offline,
        ),
        (
            "kafka_controller_kafkacontroller_globalpartitioncount",
            partitions,
        ),
        (
            "kafka_coordinator_group_groupmetadatamanager_numgroups",
            sum(cores, Gauge::Groups),
        ),
    ];
    for (name, value) in gauges {
        page.single(
            name,
            Kind::Gauge,
            "As Apache Kafka's bean of this name.",
            value,
        );
    }
    let open: i64 = cores.iter().map(open_connections).sum();
    let name = "kafka_server_socketservermetrics_connections";
    page.single(name, Kind::Gauge, "Connections that are open.", open);
}

#[cfg(test)]
pub(super) use tests::facts as facts_for_tests;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metrics::{self, Board, partition_of};
    use crate::model::CoreId;

    pub(in crate::admin) fn facts() -> NodeFacts {
        NodeFacts {
            version: "1.2.3",
            node_id: 1,
            durability: "sync",
            api_name: |key| (key == 0).then_some("Produce"),
            error_name: |code| (code == 3).then_some("UNKNOWN_TOPIC_OR_PARTITION"),
        }
    }

    fn cores() -> Vec<CoreSnapshot> {
        let board = Board::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                metrics::add(Counter::PayloadInBytes, 1000);
                metrics::add(Counter::CopiedBytes, 500);
                metrics::add(Counter::Syncs, 2);
                metrics::add(Counter::AcknowledgedRequests, 8);
                metrics::count_request(0);
                metrics::count_request(99);
                metrics::count_error(3);
                metrics::set(Gauge::Partitions, 1);
                metrics::record(Stage::Sync, Duration::from_micros(300));
                board.publish(CoreId(0), &[("turns", 11)]);
            });
        });
        board.publish_partitions(
            CoreId(1),
            vec![PartitionFigures {
                partition: partition_of("orders", 0),
                log_start_offset: Offset(2),
                log_end_offset: Offset(10),
                high_watermark: Offset(9),
                size_bytes: 4096,
            }],
        );
        // The group's coordinator is another core than the partition's owner; the second
        // partition is not known (any more).
        let committed = |index, offset| CommittedOffset {
            group: "readers".into(),
            partition: partition_of("orders", index),
            offset: Offset(offset),
        };
        board.publish_committed(CoreId(0), vec![committed(0, 4), committed(1, 4)]);
        board.read()
    }

    fn shown() -> String {
        page(&Figures {
            facts: &facts(),
            cores: &cores(),
            process: ProcessFigures::default(),
            uptime: Duration::from_secs(5),
            log_lines_dropped: 0,
            is_ready: true,
            cluster_id: "cluster",
        })
    }

    #[test]
    fn figures_stand_under_their_names() {
        let page = shown();
        let lines: BTreeSet<&str> = page.lines().collect();
        for expected in [
            "corelog_build_info{version=\"1.2.3\",node_id=\"1\",cluster_id=\"cluster\"} 1",
            "corelog_durability_info{durability=\"sync\"} 1",
            "corelog_payload_in_bytes_total{core=\"0\"} 1000",
            "corelog_payload_in_bytes_total{core=\"1\"} 0",
            "corelog_copied_bytes_per_payload_byte 0.5",
            "corelog_syncs_per_acknowledged_request 0.25",
            "corelog_requests_total{core=\"0\",api=\"Produce\",key=\"0\"} 1",
            "corelog_requests_total{core=\"0\",api=\"other\",key=\"99\"} 1",
            "corelog_errors_total{core=\"0\",error=\"UNKNOWN_TOPIC_OR_PARTITION\",code=\"3\"} 1",
            "corelog_stage_latency_seconds_bucket{stage=\"sync\",le=\"0.00025\"} 0",
            "corelog_stage_latency_seconds_bucket{stage=\"sync\",le=\"0.0005\"} 1",
            "corelog_stage_latency_seconds_bucket{stage=\"sync\",le=\"+Inf\"} 1",
            "corelog_stage_latency_seconds_sum{stage=\"sync\"} 0.0003",
            "corelog_stage_latency_seconds_count{stage=\"append\"} 0",
            "corelog_executor_turns_total{core=\"0\"} 11",
            "kafka_log_log_logendoffset{topic=\"orders\",partition=\"0\"} 10",
            "kafka_consumergroup_lag{consumergroup=\"readers\",topic=\"orders\",partition=\"0\"} 6",
            "kafka_server_brokertopicmetrics_bytesin_total 1000",
            "kafka_server_replicamanager_partitioncount 1",
        ] {
            assert!(lines.contains(expected), "{expected}\n{page}");
        }
        let lags = page
            .lines()
            .filter(|line| line.starts_with("kafka_consumergroup_lag{"));
        assert_eq!(lags.count(), 1, "a partition that is not known has no lag");
    }

    #[test]
    fn each_family_is_opened_once_and_each_sample_belongs_to_the_open_one() {
        let mut opened = BTreeSet::new();
        let mut open = String::new();
        let mut samples = BTreeSet::new();
        for line in shown().lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                open = rest.split(' ').next().unwrap_or("").to_string();
                assert!(opened.insert(open.clone()), "{open} is opened twice");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let name = series.split('{').next().unwrap_or("");
                let suffix = name
                    .strip_prefix(open.as_str())
                    .expect("of the open family");
                assert!(
                    matches!(suffix, "" | "_bucket" | "_sum" | "_count"),
                    "{line}"
                );
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(samples.insert(series.to_string()), "{series} stands twice");
            }
        }
        assert!(opened.len() > 50);
    }
}
