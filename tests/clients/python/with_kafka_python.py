"""kafka-python against a broker: a client written from the protocol, not on librdkafka."""

import threading
import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    GroupIdNotFoundError,
    InvalidPartitionsError,
    MessageSizeTooLargeError,
    NoError,
    NonEmptyGroupError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from checks import Checks, brokers_told, equal, eventually, fresh, holds, java_partition, refused

checks = Checks("kafka-python", kafka.__version__)


def admin(broker):
    return KafkaAdminClient(bootstrap_servers=broker)


def create(broker, stem, partitions=1, configs=None):
    topic = fresh(f"kafka-python-{stem}")
    client = admin(broker)
    options = {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}
    client.create_topics({topic: options}, wait_for_metadata=True)
    client.close()
    return topic


def send(broker, records, **settings):
    """Produces dictionaries of send() arguments and gives the metadata of each, in order."""
    producer = KafkaProducer(bootstrap_servers=broker, **settings)
    futures = [producer.send(**record) for record in records]
    producer.flush(30)
    metadata = [future.get(10) for future in futures]
    producer.close()
    return metadata


def consumer(broker, *topics, **settings):
    defaults = {"auto_offset_reset": "earliest", "enable_auto_commit": False}
    return KafkaConsumer(*topics, bootstrap_servers=broker, **{**defaults, **settings})


def receive(client, count, seconds=30):
    records, deadline = [], time.monotonic() + seconds
    while len(records) < count:
        holds(time.monotonic() < deadline, f"got {len(records)} of {count} records in {seconds} s")
        for batch in client.poll(timeout_ms=200).values():
            records += batch
    return records


def read(broker, topic, partitions, count):
    client = consumer(broker)
    client.assign([TopicPartition(topic, p) for p in range(partitions)])
    client.seek_to_beginning()
    records = receive(client, count)
    client.close()
    return records


@checks.add
def records_come_back_whole_and_in_order(broker):
    topic = create(broker, "order", 3)
    base_ms = int(time.time() * 1000) - 60_000
    sent = [
        dict(
            topic=topic,
            partition=i % 3,
            key=f"key-{i}".encode(),
            value=f"value-{i}".encode() * 5,
            timestamp_ms=base_ms + i,
            headers=[("n", str(i).encode()), ("n", b"twice"), ("binary", bytes(range(256)))],
        )
        for i in range(1500)
    ]
    send(broker, sent)
    got = read(broker, topic, 3, 1500)
    for partition in range(3):
        mine = [r for r in got if r.partition == partition]
        want = [r for r in sent if r["partition"] == partition]
        equal([r.offset for r in mine], list(range(500)), f"offsets of partition {partition}")
        equal([r.key for r in mine], [r["key"] for r in want], "keys")
        equal([r.value for r in mine], [r["value"] for r in want], "values")
        equal([r.timestamp for r in mine], [r["timestamp_ms"] for r in want], "timestamps")
        equal([list(map(tuple, r.headers)) for r in mine], [r["headers"] for r in want], "headers")


@checks.add
def null_and_empty_stay_apart(broker):
    topic = create(broker, "null", 1)
    pairs = [(b"k", None), (None, b"v"), (b"", b""), (b"k", b"")]
    send(broker, [dict(topic=topic, partition=0, key=k, value=v) for k, v in pairs])
    equal([(r.key, r.value) for r in read(broker, topic, 1, len(pairs))], pairs)


@checks.add
def every_codec(broker):
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        topic = create(broker, f"codec-{codec}", 1)
        values = [f"{codec} {i} ".encode() * 50 for i in range(300)]
        send(broker, [dict(topic=topic, value=v) for v in values], compression_type=codec, linger_ms=50)
        got = read(broker, topic, 1, len(values))
        equal([r.value for r in got], values, codec)
        equal([r.offset for r in got], list(range(len(values))), f"offsets with {codec}")


@checks.add
def keys_go_to_javas_partition(broker):
    topic = create(broker, "keyed", 7)
    keys = [f"customer-{i}".encode() for i in range(300)]
    metadata = send(broker, [dict(topic=topic, key=k, value=b"v") for k in keys])
    equal([m.partition for m in metadata], [java_partition(k, 7) for k in keys], "partitions")


@checks.add
def large_records_pass_and_too_large_ones_are_refused(broker):
    topic = create(broker, "large", 1)
    value = bytes((i * 7919 >> 3) & 0xFF for i in range(900_000))
    limit = {"max_request_size": 4_000_000}
    send(broker, [dict(topic=topic, value=value)] * 3, **limit)
    holds(all(r.value == value for r in read(broker, topic, 1, 3)), "900 kB come back")
    refused(lambda: send(broker, [dict(topic=topic, value=value * 2)], **limit), MessageSizeTooLargeError)


@checks.add
def replay_by_timestamp(broker):
    topic = create(broker, "replay", 1)
    base_ms = int(time.time() * 1000) - 600_000
    send(broker, [dict(topic=topic, value=b"%d" % i, timestamp_ms=base_ms + i * 1000) for i in range(100)])
    client, partition = consumer(broker), TopicPartition(topic, 0)
    for ask, want in [(base_ms, 0), (base_ms + 1, 1), (base_ms + 50_000, 50), (base_ms + 98_500, 99)]:
        found = client.offsets_for_times({partition: ask})[partition]
        at = base_ms + want * 1000
        equal((found.offset, found.timestamp), (want, at), f"offset at base + {ask - base_ms} ms")
    equal(client.offsets_for_times({partition: base_ms + 10**7})[partition], None, "no record is that late")
    client.assign([partition])
    client.seek(partition, 50)
    equal([r.value for r in receive(client, 3)][:3], [b"50", b"51", b"52"])
    equal(client.beginning_offsets([partition]), {partition: 0})
    equal(client.end_offsets([partition]), {partition: 100})
    client.close()


@checks.add
def acks_and_idempotence(broker):
    topic = create(broker, "acks", 1)
    for acks in [0, 1, "all"]:
        records = [dict(topic=topic, value=str(acks).encode())] * 100
        send(broker, records, acks=acks, enable_idempotence=False)
    send(broker, [dict(topic=topic, value=b"%d" % i) for i in range(3000)], enable_idempotence=True)
    values = [r.value for r in read(broker, topic, 1, 3300)]
    equal(values[:300], [b"0"] * 100 + [b"1"] * 100 + [b"all"] * 100)
    equal(values[300:], [b"%d" % i for i in range(3000)], "idempotent records")


@checks.add
def an_unknown_topic_is_created_by_its_first_producer(broker):
    topic = fresh("kafka-python-auto")
    send(broker, [dict(topic=topic, value=b"first")])
    equal(read(broker, topic, 1, 1)[0].value, b"first")


class Member(threading.Thread):
    """One group member on its own thread, committing what it has read."""

    def __init__(self, broker, group, topic):
        super().__init__(daemon=True)
        self.client = consumer(
            broker, topic, group_id=group, session_timeout_ms=6000, heartbeat_interval_ms=500
        )
        # A member that joins before it knows its topic is assigned nothing, and joins again. This
        # client (3.0.12) loses that second assignment when the poll that asked for it has ended.
        holds(self.client.partitions_for_topic(topic), f"{topic} has partitions")
        self.records, self.assigned, self.error = [], set(), None
        self.stopping = threading.Event()
        self.start()

    def run(self):
        try:
            while not self.stopping.is_set():
                for batch in self.client.poll(timeout_ms=100).values():
                    self.records += batch
                    self.client.commit()
                self.assigned = {p.partition for p in self.client.assignment()}
        except Exception as error:
            self.error = error
        finally:
            self.client.close()

    def stop(self):
        self.stopping.set()
        self.join(30)
        if self.error:
            raise self.error


@checks.add
def a_group_of_one_to_three(broker):
    topic, group = create(broker, "group", 6), fresh("kafka-python-group")
    members = []

    def shared_out():
        owned = [m.assigned for m in members]
        return all(owned) and sum(map(len, owned)) == 6 and set().union(*owned) == set(range(6))

    try:
        for size in range(1, 4):
            members.append(Member(broker, group, topic))
            eventually(shared_out, f"{size} members share 6 partitions")
        send(broker, [dict(topic=topic, partition=i % 6, value=b"%d" % i) for i in range(300)])
        everything = sorted(b"%d" % i for i in range(300))
        eventually(
            lambda: sorted(r.value for m in members for r in m.records) == everything, "each record once"
        )
        members.pop(0).stop()
        eventually(shared_out, "2 members share 6 partitions")
    finally:
        for member in members:
            member.stop()


@checks.add
def a_group_resumes_where_it_committed(broker):
    topic, group = create(broker, "resume", 1), fresh("kafka-python-group")
    partition = TopicPartition(topic, 0)
    send(broker, [dict(topic=topic, value=b"%d" % i) for i in range(20)])
    first = consumer(broker, topic, group_id=group)
    receive(first, 8)
    first.commit({partition: OffsetAndMetadata(8, "after the eighth", -1)})
    first.close()
    second = consumer(broker, topic, group_id=group)
    held = second.committed(partition, metadata=True)
    equal((held.offset, held.metadata), (8, "after the eighth"), "the committed position")
    equal([r.value for r in receive(second, 12)], [b"%d" % i for i in range(8, 20)])
    second.close()


@checks.add
def topics_are_administered(broker):
    client = admin(broker)
    topic = create(broker, "admin", 2)
    holds(topic in client.list_topics(), "the topic is listed")
    again = lambda: client.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
    refused(again, TopicAlreadyExistsError)
    client.create_partitions({topic: 5})
    eventually(lambda: len(client.describe_topics([topic])[0]["partitions"]) == 5, "5 partitions")
    refused(lambda: client.create_partitions({topic: 3}), InvalidPartitionsError)
    pages = client.describe_topic_partitions([topic], response_partition_limit=3)
    equal(len(pages["topics"][0]["partitions"]), 3, "the first page")
    equal(pages["next_cursor"]["partition_index"], 3, "where the next page starts")
    client.delete_topics([topic])
    eventually(lambda: topic not in client.list_topics(), "the topic is gone")
    refused(lambda: client.delete_topics([topic]), UnknownTopicOrPartitionError)
    client.close()


@checks.add
def configs_are_described_and_altered(broker):
    client, topic = admin(broker), create(broker, "configs", 1, {"retention.ms": "7200000"})
    topic_type, broker_type = ConfigResourceType.TOPIC, ConfigResourceType.BROKER

    def described():
        answer = client.describe_configs([ConfigResource(topic_type, topic)], config_filter="all")
        return answer["topic"][topic]

    equal(described()["retention.ms"]["value"], "7200000")
    holds(len(described()) >= 20, f"all topic configs are told, got {sorted(described())}")
    for incremental, size in [(True, "2000"), (False, "3000")]:
        change = ConfigResource(topic_type, topic, {"max.message.bytes": size})
        client.alter_configs([change], incremental=incremental)
        eventually(lambda: described()["max.message.bytes"]["value"] == size, f"{size} shows")
    client.reset_configs([ConfigResource(topic_type, topic, ["retention.ms"])])
    eventually(lambda: described()["retention.ms"]["value"] == "604800000", "back to the default")
    wrong = ConfigResource(topic_type, topic, {"retention.ms": "soon"})
    answer = client.alter_configs([wrong])["topic"][topic]
    holds("InvalidConfig" in repr(answer), f"a bad value is refused: {answer}")
    node = str(client.describe_cluster()["brokers"][0]["broker_id"])
    answer = client.describe_configs([ConfigResource(broker_type, node)], config_filter="all")
    holds("num.partitions" in answer["broker"][node], "the broker's configs are told")
    client.close()


@checks.add
def records_are_deleted_and_offsets_listed(broker):
    client, topic = admin(broker), create(broker, "delete-records", 1)
    partition = TopicPartition(topic, 0)
    send(broker, [dict(topic=topic, value=b"%d" % i) for i in range(50)])
    equal(client.delete_records({partition: 20})[partition]["low_watermark"], 20, "the new start")
    equal(read(broker, topic, 1, 30)[0].offset, 20, "the first record that is left")
    refused(lambda: client.delete_records({partition: 51}), OffsetOutOfRangeError)
    for spec, want in [(OffsetSpec.EARLIEST, 20), (OffsetSpec.LATEST, 50)]:
        equal(client.list_partition_offsets({partition: spec})[partition].offset, want, spec)
    client.close()


@checks.add
def groups_are_administered(broker):
    client, topic, group = admin(broker), create(broker, "groups", 2), fresh("kafka-python-group")
    partitions = [TopicPartition(topic, p) for p in range(2)]
    send(broker, [dict(topic=topic, partition=i % 2, value=b"v") for i in range(10)])
    member = consumer(broker, topic, group_id=group)
    receive(member, 10)
    member.commit()
    equal(client.describe_groups([group])[group]["group_state"], "Stable")
    holds(group in [g["group_id"] for g in client.list_groups(states_filter=["Stable"])], "listed as stable")
    holds(NonEmptyGroupError.__name__ in repr(client.delete_groups([group])), "a group with a member stays")
    member.close()
    eventually(lambda: client.describe_groups([group])[group]["group_state"] == "Empty", "empty")
    held = client.list_group_offsets({group: None})[group]
    equal({p: o.offset for p, o in held.items()}, {p: 5 for p in partitions}, "committed offsets")
    equal(
        client.reset_group_offsets(group, {partitions[0]: OffsetSpec.EARLIEST})[partitions[0]]["offset"], 0
    )
    altered = client.alter_group_offsets(group, {partitions[1]: OffsetAndMetadata(3, "", -1)})
    equal(altered, {partitions[1]: NoError}, "alter")
    held = client.list_group_offsets({group: None})[group]
    equal({p.partition: o.offset for p, o in held.items()}, {0: 0, 1: 3}, "after a reset")
    equal(client.delete_group_offsets(group, [partitions[0]]), {partitions[0]: NoError}, "delete offsets")
    equal(list(client.list_group_offsets({group: None})[group]), [partitions[1]], "what is left")
    client.delete_groups([group])
    holds(GroupIdNotFoundError.__name__ in repr(client.delete_groups([group])), "the group is gone")
    client.close()


@checks.add
def the_cluster_and_its_disks_are_described(broker):
    client, topic = admin(broker), create(broker, "log-dirs", 1)
    send(broker, [dict(topic=topic, value=b"x" * 10_000)])
    cluster = client.describe_cluster()
    holds(cluster["cluster_id"], "a cluster id")
    names = [f"{b['host']}:{b['port']}" for b in cluster["brokers"]]
    holds(set(brokers_told(broker)) <= set(names), f"{brokers_told(broker)} are among the brokers: {names}")
    directories = client.describe_log_dirs({topic: [0]})
    holds(topic in repr(directories), f"the topic has a place: {directories}")
    producers = client.describe_producers([TopicPartition(topic, 0)])
    holds(producers, "describe_producers answers")
    client.close()


checks.run()
