"""Apache Kafka's own command-line tools, run by class, and through them the Java clients."""

import json
import os
import re
import subprocess
import tempfile

from checks import Checks, brokers_told, equal, eventually, fresh, holds, java_partition

KAFKA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../ci/kafka")
VERSION = subprocess.run([KAFKA, "version"], capture_output=True, text=True, check=True).stdout.strip()
checks = Checks("kafka-tools", VERSION)

TOPICS = "org.apache.kafka.tools.TopicCommand"
CONSOLE_PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
CONFIGS = "kafka.admin.ConfigCommand"
GET_OFFSETS = "org.apache.kafka.tools.GetOffsetShell"
DELETE_RECORDS = "org.apache.kafka.tools.DeleteRecordsCommand"
LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand"
API_VERSIONS = "org.apache.kafka.tools.BrokerApiVersionsCommand"
CLUSTER = "org.apache.kafka.tools.ClusterTool"
VERIFIABLE_PRODUCER = "org.apache.kafka.tools.VerifiableProducer"
VERIFIABLE_CONSUMER = "org.apache.kafka.tools.VerifiableConsumer"
PRODUCER_PERFORMANCE = "org.apache.kafka.tools.ProducerPerformance"
CONSUMER_PERFORMANCE = "org.apache.kafka.tools.ConsumerPerformance"
END_TO_END_LATENCY = "org.apache.kafka.tools.EndToEndLatency"
TRANSACTIONS = "org.apache.kafka.tools.TransactionsCommand"


def run(tool, broker, *arguments, stdin="", fails=False):
    command = [KAFKA, "run", tool, *arguments]
    if broker:
        command += ["--bootstrap-server", broker]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=80)
    if (done.returncode != 0) != fails:
        raise AssertionError(
            f"{tool} {arguments} ended with {done.returncode}\n--- out\n{done.stdout}\n--- err\n{done.stderr}"
        )
    return done.stdout + done.stderr if fails else done.stdout


def create(broker, stem, partitions=1, *options):
    topic = fresh(f"tools-{stem}")
    run(TOPICS, broker, "--create", "--topic", topic, "--partitions", str(partitions), *options)
    return topic


def produce(broker, topic, lines, *options):
    run(CONSOLE_PRODUCER, broker, "--topic", topic, *options, stdin="".join(f"{line}\n" for line in lines))


def consume(broker, topic, count, *options, partition=None):
    """Reads through a group, which waits for others to join, or one partition without any."""
    limit = ["--max-messages", str(count), "--timeout-ms", "30000"]
    where = ["--from-beginning"] if partition is None else ["--partition", str(partition), "--offset", "earliest"]
    return run(CONSOLE_CONSUMER, broker, "--topic", topic, *where, *limit, *options).splitlines()


def table(text):
    """The rows of a tool's aligned table, by the words of its heading."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    heading = next(i for i, row in enumerate(rows) if row[0] in ("GROUP", "TOPIC", "ID"))
    return [dict(zip(rows[heading], row)) for row in rows[heading + 1 :]]


@checks.add
def api_versions_are_told(broker):
    told = run(API_VERSIONS, broker)
    holds(all(f"{one} (id: " in told for one in brokers_told(broker)), told)
    # What the Java clients cannot do without. They would stop with UnsupportedVersionException.
    for api in ["Produce", "Fetch", "ListOffsets", "Metadata", "OffsetCommit", "JoinGroup", "InitProducerId"]:
        line = next((line for line in told.splitlines() if f"\t{api}(" in line), None)
        holds(line and "usable" in line, f"{api} is usable: {line}")


@checks.add
def topics_are_created_listed_described_altered_and_deleted(broker):
    topic = create(broker, "topics", 3, "--config", "retention.ms=7200000")
    holds(topic in run(TOPICS, broker, "--list").splitlines(), "listed")
    described = run(TOPICS, broker, "--describe", "--topic", topic)
    holds("PartitionCount: 3" in described and "ReplicationFactor: 1" in described, described)
    holds("retention.ms=7200000" in described, described)
    equal(len(re.findall(r"Partition: \d+\s+Leader: (\d+)\s+Replicas: \1\s+Isr: \1\b", described)), 3, described)
    holds("already exists" in run(TOPICS, broker, "--create", "--topic", topic, fails=True), "exists")
    run(TOPICS, broker, "--create", "--topic", topic, "--if-not-exists")
    run(TOPICS, broker, "--alter", "--topic", topic, "--partitions", "5")
    eventually(
        lambda: "PartitionCount: 5" in run(TOPICS, broker, "--describe", "--topic", topic), "5 partitions"
    )
    fewer = run(TOPICS, broker, "--alter", "--topic", topic, "--partitions", "2", fails=True)
    holds("would not be an increase" in fewer or "Invalid" in fewer, fewer)
    run(TOPICS, broker, "--delete", "--topic", topic)
    eventually(lambda: topic not in run(TOPICS, broker, "--list").splitlines(), "deleted")
    holds("does not exist" in run(TOPICS, broker, "--describe", "--topic", topic, fails=True), "unknown")


@checks.add
def the_console_produces_and_consumes_keys_and_headers(broker):
    topic = create(broker, "console", 7)
    lines = [f"trace:{i},kind:test\tcustomer-{i}\tvalue {i}" for i in range(40)]
    reading = ["parse.key=true", "parse.headers=true", "headers.separator=,", "headers.key.separator=:"]
    options = [word for option in reading for word in ("--reader-property", option)]
    produce(broker, topic, lines, *options)
    printing = ["print.key=true", "print.headers=true", "print.partition=true", "print.timestamp=true"]
    options = [word for option in printing for word in ("--formatter-property", option)]
    got = [line.split("\t") for line in consume(broker, topic, 40, *options)]
    for stamp, partition, headers, key, value in got:
        number = key.removeprefix("customer-")
        holds(re.fullmatch(r"CreateTime:\d{13}", stamp), stamp)
        equal(partition, f"Partition:{java_partition(key.encode(), 7)}", f"partition of {key}")
        equal((headers, value), (f"trace:{number},kind:test", f"value {number}"))
    equal(len({row[3] for row in got}), 40, "different keys")


@checks.add
def the_console_uses_every_codec_and_null_values(broker):
    for codec in ["gzip", "snappy", "lz4", "zstd"]:
        topic = create(broker, codec)
        lines = [f"{codec} {i} " * 20 for i in range(200)]
        produce(broker, topic, lines, "--compression-codec", codec)
        equal(consume(broker, topic, 200, partition=0), lines, codec)
    topic = create(broker, "null")
    reading = ["parse.key=true", "key.separator=:", "null.marker=NULL"]
    produce(broker, topic, ["a:1", "a:NULL"], *[w for o in reading for w in ("--reader-property", o)])
    printing = ["print.key=true", "null.literal=<null>"]
    options = [w for o in printing for w in ("--formatter-property", o)]
    equal(consume(broker, topic, 2, *options, partition=0), ["a\t1", "a\t<null>"])


@checks.add
def groups_are_listed_described_reset_and_deleted(broker):
    topic, group = create(broker, "groups", 2), fresh("tools-group")
    produce(broker, topic, [f"{i}" for i in range(30)])
    equal(len(consume(broker, topic, 30, "--group", group)), 30, "consumed in a group")
    equal(run(GROUPS, broker, "--list").splitlines().count(group), 1, "listed once")
    states = run(GROUPS, broker, "--list", "--state", "Empty")
    holds(group in states, "listed as empty")

    def positions():
        rows = table(run(GROUPS, broker, "--describe", "--group", group))
        return {int(r["PARTITION"]): (r["CURRENT-OFFSET"], r["LOG-END-OFFSET"], r["LAG"]) for r in rows}

    equal(sum(int(end) for _, end, _ in positions().values()), 30, "end offsets")
    equal({lag for _, _, lag in positions().values()}, {"0"}, "no lag")
    state = table(run(GROUPS, broker, "--describe", "--group", group, "--state"))[0]
    equal(state["GROUP"], group)
    told = run(GROUPS, broker, "--describe", "--group", group, "--state")
    holds(any(one in told for one in brokers_told(broker)), f"the coordinator's address: {told}")
    reset = ["--reset-offsets", "--group", group, "--topic", topic]
    dry = table(run(GROUPS, broker, *reset, "--to-earliest", "--dry-run"))
    equal({r["NEW-OFFSET"] for r in dry}, {"0"}, "the plan")
    equal({lag for _, _, lag in positions().values()}, {"0"}, "a dry run changes nothing")
    run(GROUPS, broker, *reset, "--to-earliest", "--execute")
    equal({at for at, _, _ in positions().values()}, {"0"}, "after the reset")
    run(GROUPS, broker, *reset, "--to-datetime", "2000-01-01T00:00:00.000", "--execute")
    equal({at for at, _, _ in positions().values()}, {"0"}, "reset by time")
    run(GROUPS, broker, *reset, "--to-latest", "--execute")
    equal({lag for _, _, lag in positions().values()}, {"0"}, "reset to the end")
    deleted = run(GROUPS, broker, "--delete-offsets", "--group", group, "--topic", f"{topic}:0")
    holds("Successful" in deleted, deleted)
    equal(set(positions()), {0, 1} if positions().get(0, ("",))[0] == "-" else {1}, "one position is gone")
    holds("was successful" in run(GROUPS, broker, "--delete", "--group", group), "deleted")
    holds(group not in run(GROUPS, broker, "--list").splitlines(), "gone")


@checks.add
def configs_are_described_and_altered(broker):
    topic = create(broker, "configs", 1, "--config", "retention.ms=7200000")
    entity = ["--entity-type", "topics", "--entity-name", topic]
    described = run(CONFIGS, broker, "--describe", *entity)
    holds("retention.ms=7200000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=7200000" in described, described)
    everything = run(CONFIGS, broker, "--describe", *entity, "--all")
    for line in ["cleanup.policy=delete", "max.message.bytes=1048588", "compression.type=producer"]:
        holds(f"  {line} sensitive=false" in everything, f"{line} in {everything}")
    run(CONFIGS, broker, "--alter", *entity, "--add-config", "max.message.bytes=2000000,flush.ms=1000")
    run(CONFIGS, broker, "--alter", *entity, "--delete-config", "retention.ms,flush.ms")
    described = run(CONFIGS, broker, "--describe", *entity)
    holds("max.message.bytes=2000000" in described and "retention.ms" not in described, described)
    wrong = run(CONFIGS, broker, "--alter", *entity, "--add-config", "retention.ms=soon", fails=True)
    holds("InvalidConfig" in wrong or "Invalid value" in wrong, wrong)
    node = re.search(r"\(id: (\d+) ", run(API_VERSIONS, broker))[1]
    brokers = ["--entity-type", "brokers", "--entity-name", node]
    everything = run(CONFIGS, broker, "--describe", *brokers, "--all")
    for key in ["num.partitions", "log.retention.hours", "auto.create.topics.enable", "node.id", "log.dirs"]:
        holds(f"  {key}=" in everything, f"the broker tells {key}")


@checks.add
def offsets_are_told_and_records_deleted(broker):
    topic = create(broker, "offsets", 2)
    produce(broker, topic, [f"{i}" for i in range(20)], "--command-property", "partitioner.ignore.keys=true")

    def offsets(*options):
        rows = run(GET_OFFSETS, broker, "--topic", topic, *options).split()
        return {int(r.split(":")[1]): int(r.split(":")[2]) for r in rows}

    equal(sum(offsets().values()), 20, "end offsets")
    equal(offsets("--time", "earliest"), {0: 0, 1: 0})
    full = max(offsets(), key=lambda p: offsets()[p])
    holds(0 <= offsets("--time", "max-timestamp")[full] < offsets()[full], "a record has the largest timestamp")
    equal(offsets("--time", "0")[full], 0, "the first record since 1970")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"version": 1, "partitions": [{"topic": topic, "partition": full, "offset": 3}]}, file)
        file.flush()
        told = run(DELETE_RECORDS, broker, "--offset-json-file", file.name)
    holds(f"partition: {topic}-{full}\tlow_watermark: 3" in told, told)
    equal(offsets("--time", "earliest")[full], 3, "the new start")


@checks.add
def log_dirs_and_the_cluster_are_described(broker):
    topic = create(broker, "log-dirs", 2)
    produce(broker, topic, ["x" * 1000] * 20)
    told = run(LOG_DIRS, broker, "--describe", "--topic-list", topic)
    brokers = json.loads(told.splitlines()[-1])["brokers"]
    equal(len(brokers), len(brokers_told(broker)), "one answer of each broker")
    directories = [d for b in brokers for d in b["logDirs"]]
    equal([d["error"] for d in directories], [None for _ in brokers])
    partitions = [p for d in directories for p in d["partitions"]]
    equal(sorted(p["partition"] for p in partitions), [f"{topic}-0", f"{topic}-1"], "each partition once")
    sizes = {p["partition"]: p["size"] for p in partitions}
    holds(sum(sizes.values()) > 1000, f"sizes: {sizes}")
    holds(re.fullmatch(r"Cluster ID: \S+\n", run(CLUSTER, None, "cluster-id", "--bootstrap-server", broker)), "id")
    endpoints = table(run(CLUSTER, None, "list-endpoints", "--bootstrap-server", broker))
    names = [f"{e['HOST']}:{e['PORT']}" for e in endpoints]
    holds(set(brokers_told(broker)) <= set(names), f"endpoints: {endpoints}")


@checks.add
def the_verifiable_producer_is_read_by_verifiable_consumers(broker):
    topic, group = create(broker, "verifiable", 4), fresh("tools-group")
    consumers = []

    def start(instance):
        command = [KAFKA, "run", VERIFIABLE_CONSUMER, "--bootstrap-server", broker, "--topic", topic]
        command += ["--group-id", group, "--session-timeout", "6000", "--reset-policy", "earliest", "--verbose"]
        command += ["--group-instance-id", instance] if instance else []
        out = tempfile.NamedTemporaryFile("r", suffix=".jsonl")
        consumers.append((subprocess.Popen(command, stdout=open(out.name, "w"), stderr=subprocess.DEVNULL), out))

    def events(index):
        out = consumers[index][1]
        out.seek(0)
        return [json.loads(line) for line in out.read().splitlines() if line.endswith("}")]

    def owned(index):
        assigned = [e for e in events(index) if e["name"] in ("partitions_assigned", "partitions_revoked")]
        if not assigned or assigned[-1]["name"] == "partitions_revoked":
            return []
        return [p["partition"] for p in assigned[-1]["partitions"]]

    def values():
        data = [e for i in range(len(consumers)) for e in events(i) if e["name"] == "record_data"]
        return sorted(int(e["value"]) for e in data)

    def write():
        told = run(VERIFIABLE_PRODUCER, broker, "--topic", topic, "--max-messages", "2000", "--acks", "-1")
        events = [json.loads(line) for line in told.splitlines()]
        summary = next(e for e in events if e["name"] == "tool_data")
        equal((summary["sent"], summary["acked"]), (2000, 2000), "acknowledged")

    try:
        start(None)
        eventually(lambda: sorted(owned(0)) == [0, 1, 2, 3], "one consumer owns all")
        start("static-1")
        eventually(lambda: owned(0) and owned(1) and sorted(owned(0) + owned(1)) == [0, 1, 2, 3], "two share")
        write()
        eventually(lambda: len(values()) >= 2000, "2,000 records")
        equal(values(), list(range(2000)), "each record once")
        consumers[0][0].terminate()
        consumers[0][0].wait(20)
        eventually(lambda: sorted(owned(1)) == [0, 1, 2, 3], "the one that is left owns all")
        write()
        eventually(lambda: len(values()) >= 4000, "4,000 records")
        equal(values(), sorted([*range(2000), *range(2000)]), "each record once")
    finally:
        for process, out in consumers:
            process.terminate()
            process.wait(20)
            out.close()


@checks.add
def the_performance_tools_run(broker):
    topic = create(broker, "performance", 2)
    for acks, idempotent in [("all", "true"), ("1", "false")]:
        properties = ["--command-property", f"acks={acks}", "--command-property", f"enable.idempotence={idempotent}"]
        size = ["--num-records", "20000", "--record-size", "200", "--throughput", "-1"]
        told = run(PRODUCER_PERFORMANCE, broker, "--topic", topic, *size, *properties)
        holds("20000 records sent" in told, told)
    told = run(CONSUMER_PERFORMANCE, broker, "--topic", topic, "--num-records", "40000", "--timeout", "30000")
    row = dict(zip(*[[c.strip() for c in line.split(",")] for line in told.splitlines()[-2:]]))
    equal(row["data.consumed.in.nMsg"], "40000", told)
    latency = ["--topic", topic, "--num-records", "50", "--producer-acks", "all", "--record-size", "100"]
    holds("Percentiles" in run(END_TO_END_LATENCY, broker, *latency), "end to end latency")


@checks.add
def producers_of_a_partition_are_described(broker):
    topic = create(broker, "producers")
    produce(broker, topic, ["a", "b", "c"])
    told = run(TRANSACTIONS, None, "--bootstrap-server", broker, "describe-producers", "--topic", topic, "--partition", "0")
    row = told.splitlines()[1].split()
    equal((row[1], row[3]), ("0", "2"), f"epoch and last sequence: {told}")


if __name__ == "__main__":
    checks.run()
