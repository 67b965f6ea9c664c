"""confluent-kafka, on the current librdkafka, against a broker."""

import threading
import time

import confluent_kafka
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from checks import Checks, brokers_told, equal, eventually, fresh, holds, java_partition, refused

checks = Checks("confluent-kafka", f"{confluent_kafka.version()}, librdkafka {confluent_kafka.libversion()[0]}")


def admin(broker):
    return AdminClient({"bootstrap.servers": broker})


def create(broker, stem, partitions=1, config=None):
    topic = fresh(f"confluent-{stem}")
    client = admin(broker)
    client.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(20)
    return topic


def send(broker, records, **settings):
    """Produces dictionaries of produce() arguments, waits for all, gives the delivered messages."""
    delivered, errors = [], []

    def report(error, message):
        (errors if error else delivered).append(error or message)

    producer = Producer({"bootstrap.servers": broker, "linger.ms": 5, **settings})
    for record in records:
        while True:
            try:
                producer.produce(on_delivery=report, **record)
                break
            except BufferError:
                producer.poll(0.1)
    equal(producer.flush(30), 0, "messages still queued after flush")
    if errors:
        raise KafkaException(errors[0])
    return delivered


def consumer(broker, group=None, **settings):
    return Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": group or fresh("confluent-group"),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **settings,
        }
    )


def receive(client, count, seconds=30):
    """Polls until `count` messages are there; an error event fails the check."""
    messages, deadline = [], time.monotonic() + seconds
    while len(messages) < count:
        holds(time.monotonic() < deadline, f"got {len(messages)} of {count} messages in {seconds} s")
        message = client.poll(0.2)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        messages.append(message)
    return messages


def read(broker, topic, partitions, count, **settings):
    client = consumer(broker, **settings)
    client.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    messages = receive(client, count)
    client.close()
    return messages


@checks.add
def topics_are_created_described_and_deleted(broker):
    client = admin(broker)
    topic = create(broker, "admin", 3, {"retention.ms": "3600000"})
    described = client.describe_topics(TopicCollection([topic]))[topic].result(20)
    equal(described.name, topic)
    holds(str(described.topic_id) != "AAAAAAAAAAAAAAAAAAAAAA", "a topic has an id")
    equal([p.id for p in described.partitions], [0, 1, 2], "partitions")
    for partition in described.partitions:
        equal([n.id for n in partition.isr], [n.id for n in partition.replicas], "in-sync replicas")
        equal(partition.leader.id, partition.replicas[0].id, "leader")
    again = client.create_topics([NewTopic(topic, 1, 1)])[topic]
    error = refused(lambda: again.result(20), KafkaException)
    equal(error.args[0].code(), KafkaError.TOPIC_ALREADY_EXISTS)
    for name, partitions, replicas, code in [
        (fresh("zero"), 0, 1, KafkaError.INVALID_PARTITIONS),
        (fresh("replicas"), 1, 3, KafkaError.INVALID_REPLICATION_FACTOR),
        ("bad name!", 1, 1, KafkaError.TOPIC_EXCEPTION),
    ]:
        future = client.create_topics([NewTopic(name, partitions, replicas)])[name]
        equal(refused(lambda: future.result(20), KafkaException).args[0].code(), code, name)
    dry = fresh("dry")
    client.create_topics([NewTopic(dry, 2, 1)], validate_only=True)[dry].result(20)
    holds(dry not in client.list_topics(timeout=10).topics, "validate_only creates nothing")
    client.delete_topics([topic])[topic].result(20)
    eventually(lambda: topic not in client.list_topics(timeout=10).topics, "the topic is gone")
    error = refused(lambda: client.delete_topics([topic])[topic].result(20), KafkaException)
    equal(error.args[0].code(), KafkaError.UNKNOWN_TOPIC_OR_PART)


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
            timestamp=base_ms + i,
            headers=[("n", str(i).encode()), ("n", b"twice"), ("binary", bytes(range(256))), ("none", None)],
        )
        for i in range(3000)
    ]
    send(broker, sent)
    got = read(broker, topic, 3, 3000)
    for partition in range(3):
        mine = [m for m in got if m.partition() == partition]
        want = [r for r in sent if r["partition"] == partition]
        equal([m.offset() for m in mine], list(range(1000)), f"offsets of partition {partition}")
        equal([m.key() for m in mine], [r["key"] for r in want], "keys")
        equal([m.value() for m in mine], [r["value"] for r in want], "values")
        equal([m.timestamp()[1] for m in mine], [r["timestamp"] for r in want], "timestamps")
        equal([m.headers() for m in mine], [r["headers"] for r in want], "headers")


@checks.add
def null_and_empty_stay_apart(broker):
    topic = create(broker, "null", 1)
    pairs = [(b"k", None), (None, b"v"), (b"", b""), (None, None), (b"k", b"")]
    send(broker, [dict(topic=topic, partition=0, key=k, value=v) for k, v in pairs])
    equal([(m.key(), m.value()) for m in read(broker, topic, 1, len(pairs))], pairs)


@checks.add
def every_codec(broker):
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        topic = create(broker, f"codec-{codec}", 1)
        values = [f"{codec} {i} ".encode() * 50 for i in range(500)]
        sent = [dict(topic=topic, value=v, headers=[("h", codec.encode())]) for v in values]
        send(broker, sent, **{"compression.type": codec, "linger.ms": 50})
        got = read(broker, topic, 1, len(values))
        equal([m.value() for m in got], values, codec)
        equal([m.offset() for m in got], list(range(len(values))), f"offsets with {codec}")
        # A start in the middle of a compressed batch.
        client = consumer(broker)
        client.assign([TopicPartition(topic, 0, 123)])
        equal(receive(client, 1)[0].value(), values[123], f"from the middle with {codec}")
        client.close()


@checks.add
def keys_go_to_javas_partition(broker):
    topic = create(broker, "keyed", 7)
    keys = [f"customer-{i}".encode() for i in range(300)]
    delivered = send(
        broker, [dict(topic=topic, key=k, value=b"v") for k in keys], partitioner="murmur2_random"
    )
    for message in delivered:
        equal(message.partition(), java_partition(message.key(), 7), f"partition of {message.key()}")


@checks.add
def large_records_pass_and_too_large_ones_are_refused(broker):
    topic = create(broker, "large", 1)
    # Does not compress, so the size on the wire is the size here.
    value = bytes((i * 7919 >> 3) & 0xFF for i in range(900_000))
    limits = {"message.max.bytes": 4_000_000}
    send(broker, [dict(topic=topic, value=value)] * 3, **limits)
    got = read(broker, topic, 1, 3)
    holds(all(m.value() == value for m in got), "900 kB come back")
    error = refused(
        lambda: send(broker, [dict(topic=topic, value=value * 2)], **limits), KafkaException
    )
    equal(error.args[0].code(), KafkaError.MSG_SIZE_TOO_LARGE)
    raised = create(broker, "larger", 1, {"max.message.bytes": "3000000"})
    send(broker, [dict(topic=raised, value=value * 2)], **limits)
    equal(len(read(broker, raised, 1, 1)[0].value()), 1_800_000, "a topic's own limit")


@checks.add
def replay_by_timestamp(broker):
    topic = create(broker, "replay", 1)
    base_ms = int(time.time() * 1000) - 600_000
    send(broker, [dict(topic=topic, value=str(i).encode(), timestamp=base_ms + i * 1000) for i in range(100)])
    client = consumer(broker)
    for ask, want in [(base_ms, 0), (base_ms + 1, 1), (base_ms + 50_000, 50), (base_ms + 98_500, 99)]:
        found = client.offsets_for_times([TopicPartition(topic, 0, ask)], timeout=10)[0]
        equal(found.offset, want, f"offset at base + {ask - base_ms} ms")
    past_end = client.offsets_for_times([TopicPartition(topic, 0, base_ms + 10**7)], timeout=10)[0]
    equal(past_end.offset, -1, "no record is that late")
    found = client.offsets_for_times([TopicPartition(topic, 0, base_ms + 50_000)], timeout=10)
    client.assign(found)
    equal([m.value() for m in receive(client, 3)], [b"50", b"51", b"52"])
    equal(client.get_watermark_offsets(TopicPartition(topic, 0), timeout=10), (0, 100), "watermarks")
    client.close()


@checks.add
def an_idempotent_producer_writes_each_record_once(broker):
    topic = create(broker, "idempotent", 2)
    sent = [dict(topic=topic, partition=i % 2, value=str(i).encode()) for i in range(20_000)]
    send(broker, sent, **{"enable.idempotence": True, "linger.ms": 0, "batch.num.messages": 200})
    got = read(broker, topic, 2, 20_000)
    for partition in range(2):
        values = [int(m.value()) for m in got if m.partition() == partition]
        equal(values, list(range(partition, 20_000, 2)), f"records of partition {partition}")


@checks.add
def acks_of_every_kind(broker):
    topic = create(broker, "acks", 1)
    for acks in ["0", "1", "all"]:
        send(broker, [dict(topic=topic, value=acks.encode()) for _ in range(100)], acks=acks)
    got = read(broker, topic, 1, 300)
    equal([m.value() for m in got], [b"0"] * 100 + [b"1"] * 100 + [b"all"] * 100)


@checks.add
def an_unknown_topic_is_created_by_its_first_producer(broker):
    topic = fresh("confluent-auto")
    send(broker, [dict(topic=topic, value=b"first")])
    equal(read(broker, topic, 1, 1)[0].value(), b"first")


class Member(threading.Thread):
    """One group member, polling until told to stop; remembers what it was assigned and what it got."""

    def __init__(self, broker, group, topic, **settings):
        super().__init__(daemon=True)
        self.client = consumer(broker, group, **{"session.timeout.ms": 6000, "heartbeat.interval.ms": 500, **settings})
        self.assigned, self.messages, self.error = set(), [], None
        self.stopping = threading.Event()
        self.client.subscribe([topic], on_assign=self.on_assign, on_revoke=self.on_revoke)
        self.start()

    def on_assign(self, _client, partitions):
        self.assigned |= {p.partition for p in partitions}

    def on_revoke(self, _client, partitions):
        self.assigned -= {p.partition for p in partitions}

    def run(self):
        try:
            while not self.stopping.is_set():
                message = self.client.poll(0.1)
                if message is None:
                    continue
                if message.error():
                    raise KafkaException(message.error())
                self.messages.append(message)
                self.client.commit(message, asynchronous=True)
        except Exception as error:
            self.error = error
        finally:
            self.client.close()

    def stop(self):
        self.stopping.set()
        self.join(30)
        if self.error:
            raise self.error


def shared_out(members, partitions):
    owned = [m.assigned for m in members]
    return all(owned) and sum(map(len, owned)) == partitions and set().union(*owned) == set(range(partitions))


def group_grows_and_shrinks(broker, strategy):
    topic, group = create(broker, "group", 6), fresh("confluent-group")
    settings = {"partition.assignment.strategy": strategy}
    members = []
    try:
        for size in range(1, 5):
            members.append(Member(broker, group, topic, **settings))
            eventually(lambda: shared_out(members, 6), f"{size} members share 6 partitions")
        client = admin(broker)
        description = client.describe_consumer_groups([group])[group].result(20)
        equal(description.state, ConsumerGroupState.STABLE, "state")
        equal(len(description.members), 4, "members")
        equal(description.partition_assignor, strategy, "assignor")
        send(broker, [dict(topic=topic, partition=i % 6, value=str(i).encode()) for i in range(600)])
        everything = {str(i).encode() for i in range(600)}
        eventually(
            lambda: {m.value() for member in members for m in member.messages} == everything,
            "every record reached a member",
        )
        equal(sum(len(m.messages) for m in members), 600, "each record once")
        for leaving in (members[3], members[0]):
            leaving.stop()
            members.remove(leaving)
            eventually(lambda: shared_out(members, 6), f"{len(members)} members share 6 partitions")
    finally:
        for member in members:
            member.stop()
    committed = consumer(broker, group)
    positions = committed.committed([TopicPartition(topic, p) for p in range(6)], timeout=10)
    equal([p.offset for p in positions], [100] * 6, "what the members committed")
    committed.close()


@checks.add
def a_group_of_one_to_four_with_range(broker):
    group_grows_and_shrinks(broker, "range")


@checks.add
def a_group_of_one_to_four_with_cooperative_sticky(broker):
    group_grows_and_shrinks(broker, "cooperative-sticky")


@checks.add
def a_group_resumes_where_it_committed(broker):
    topic, group = create(broker, "resume", 1), fresh("confluent-group")
    send(broker, [dict(topic=topic, value=str(i).encode()) for i in range(20)])
    first = consumer(broker, group)
    first.subscribe([topic])
    receive(first, 8)
    position = TopicPartition(topic, 0, 8, "after the eighth")
    first.commit(offsets=[position], asynchronous=False)
    first.close()
    second = consumer(broker, group)
    held = second.committed([TopicPartition(topic, 0)], timeout=10)[0]
    equal((held.offset, held.metadata), (8, "after the eighth"), "the committed position")
    second.subscribe([topic])
    equal([m.value() for m in receive(second, 12)], [str(i).encode() for i in range(8, 20)])
    second.close()


@checks.add
def a_static_member_returns_without_a_rebalance(broker):
    topic, group = create(broker, "static", 4), fresh("confluent-group")
    settings = {"partition.assignment.strategy": "range"}
    members = [Member(broker, group, topic, **settings, **{"group.instance.id": f"host-{i}"}) for i in range(2)]
    eventually(lambda: shared_out(members, 4), "two static members share 4 partitions")
    before = {m.assigned == {0, 1} for m in members}
    kept = set(members[1].assigned)
    revocations = []
    members[1].on_revoke = lambda _c, partitions: revocations.append(partitions)
    members[0].stop()
    members[0] = Member(broker, group, topic, **settings, **{"group.instance.id": "host-0"})
    eventually(lambda: shared_out(members, 4), "the returned member has its partitions again")
    equal({m.assigned == {0, 1} for m in members}, before, "assignment")
    equal((members[1].assigned, revocations), (kept, []), "the other member is left alone")
    for member in members:
        member.stop()


@checks.add
def partitions_are_added(broker):
    topic, client = create(broker, "partitions", 2), admin(broker)
    client.create_partitions([NewPartitions(topic, 5)])[topic].result(20)
    eventually(lambda: len(client.list_topics(topic, timeout=10).topics[topic].partitions) == 5, "5 partitions")
    fewer = client.create_partitions([NewPartitions(topic, 3)])[topic]
    equal(refused(lambda: fewer.result(20), KafkaException).args[0].code(), KafkaError.INVALID_PARTITIONS)
    send(broker, [dict(topic=topic, partition=4, value=b"new")])


@checks.add
def configs_are_described_and_altered(broker):
    topic, client = create(broker, "configs", 1, {"retention.ms": "7200000"}), admin(broker)
    resource = ConfigResource(ResourceType.TOPIC, topic)

    def described():
        return client.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])[resource].result(20)

    entries = described()
    equal((entries["retention.ms"].value, entries["retention.ms"].is_default), ("7200000", False))
    equal((entries["cleanup.policy"].value, entries["cleanup.policy"].is_default), ("delete", True))
    holds(len(entries) >= 20, f"all topic configs are told, got {sorted(entries)}")

    change = ConfigResource(
        ResourceType.TOPIC,
        topic,
        incremental_configs=[
            ConfigEntry("max.message.bytes", "2000", incremental_operation=AlterConfigOpType.SET),
            ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
        ],
    )
    client.incremental_alter_configs([change])[change].result(20)
    eventually(lambda: described()["max.message.bytes"].value == "2000", "the new limit shows")
    equal(described()["retention.ms"].value, "604800000", "a deleted config falls back to the default")
    error = refused(lambda: send(broker, [dict(topic=topic, value=bytes(range(256)) * 20)]), KafkaException)
    equal(error.args[0].code(), KafkaError.MSG_SIZE_TOO_LARGE, "the new limit is in force")

    wrong = ConfigResource(
        ResourceType.TOPIC,
        topic,
        incremental_configs=[ConfigEntry("retention.ms", "soon", incremental_operation=AlterConfigOpType.SET)],
    )
    error = refused(lambda: client.incremental_alter_configs([wrong])[wrong].result(20), KafkaException)
    equal(error.args[0].code(), KafkaError.INVALID_CONFIG)

    whole = ConfigResource(ResourceType.TOPIC, topic, set_config={"retention.bytes": "1000000"})
    client.alter_configs([whole])[whole].result(20)
    eventually(lambda: described()["retention.bytes"].value == "1000000", "alter_configs shows")
    equal(described()["max.message.bytes"].is_default, True, "alter_configs replaces all of them")

    node = next(iter(client.list_topics(timeout=10).brokers))
    broker_resource = ConfigResource(ResourceType.BROKER, str(node))
    configs = client.describe_configs([broker_resource])[broker_resource].result(20)
    for key in ["num.partitions", "auto.create.topics.enable", "log.retention.hours", "message.max.bytes"]:
        holds(key in configs, f"the broker tells {key}")


@checks.add
def records_are_deleted(broker):
    topic, client = create(broker, "delete-records", 1), admin(broker)
    send(broker, [dict(topic=topic, value=str(i).encode()) for i in range(50)])
    partition = TopicPartition(topic, 0, 20)
    result = client.delete_records([partition])[partition].result(20)
    equal(result.low_watermark, 20, "the new start")
    equal(read(broker, topic, 1, 30)[0].offset(), 20, "the first record that is left")
    beyond = TopicPartition(topic, 0, 51)
    error = refused(lambda: client.delete_records([beyond])[beyond].result(20), KafkaException)
    equal(error.args[0].code(), KafkaError.OFFSET_OUT_OF_RANGE)
    everything = TopicPartition(topic, 0, -1)
    equal(client.delete_records([everything])[everything].result(20).low_watermark, 50, "all records")
    client = consumer(broker, **{"auto.offset.reset": "error"})
    client.assign([TopicPartition(topic, 0, 10)])
    error = refused(lambda: receive(client, 1), KafkaException)
    equal(error.args[0].code(), KafkaError._AUTO_OFFSET_RESET, "a deleted offset is out of range")
    client.close()


@checks.add
def offsets_are_listed(broker):
    topic, client = create(broker, "offsets", 1), admin(broker)
    base_ms = int(time.time() * 1000) - 60_000
    # The largest timestamp is not the last one.
    for offset_ms in [10, 30, 20]:
        send(broker, [dict(topic=topic, value=b"v", timestamp=base_ms + offset_ms)])
    for spec, offset, timestamp in [
        (OffsetSpec.earliest(), 0, -1),
        (OffsetSpec.latest(), 3, -1),
        (OffsetSpec.max_timestamp(), 1, base_ms + 30),
        (OffsetSpec.for_timestamp(base_ms + 15), 1, base_ms + 30),
        (OffsetSpec.for_timestamp(base_ms + 31), -1, -1),
    ]:
        partition = TopicPartition(topic, 0)
        result = client.list_offsets({partition: spec})[partition].result(20)
        equal((result.offset, result.timestamp), (offset, timestamp), f"{spec}")


@checks.add
def groups_are_administered(broker):
    topic, group, client = create(broker, "group-admin", 2), fresh("confluent-group"), admin(broker)
    send(broker, [dict(topic=topic, partition=i % 2, value=b"v") for i in range(10)])
    member = consumer(broker, group)
    member.subscribe([topic])
    receive(member, 10)
    member.commit(asynchronous=False)
    listed = client.list_consumer_groups().result(20)
    equal(listed.errors, [], "errors of listing groups")
    holds(group in [g.group_id for g in listed.valid], "the group is listed")
    stable = client.list_consumer_groups(states={ConsumerGroupState.STABLE}).result(20)
    holds(group in [g.group_id for g in stable.valid], "the group is among the stable ones")
    error = refused(lambda: client.delete_consumer_groups([group])[group].result(20), KafkaException)
    equal(error.args[0].code(), KafkaError.NON_EMPTY_GROUP)
    member.close()

    def state():
        return client.describe_consumer_groups([group])[group].result(20).state

    eventually(lambda: state() == ConsumerGroupState.EMPTY, "the group is empty after its member left")
    ask = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, p) for p in range(2)])
    held = client.list_consumer_group_offsets([ask])[group].result(20)
    equal([p.offset for p in held.topic_partitions], [5, 5], "committed offsets")
    reset = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 2)])
    client.alter_consumer_group_offsets([reset])[group].result(20)
    everything = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(20)
    equal(sorted((p.partition, p.offset) for p in everything.topic_partitions), [(0, 2), (1, 5)], "after a reset")
    client.delete_consumer_groups([group])[group].result(20)
    error = refused(lambda: client.delete_consumer_groups([group])[group].result(20), KafkaException)
    equal(error.args[0].code(), KafkaError.GROUP_ID_NOT_FOUND)


@checks.add
def the_cluster_is_described(broker):
    client = admin(broker)
    cluster = client.describe_cluster().result(20)
    holds(cluster.cluster_id, "a cluster id")
    holds(cluster.controller.id in [n.id for n in cluster.nodes], "the controller is one of the nodes")
    names = [f"{n.host}:{n.port}" for n in cluster.nodes]
    holds(set(brokers_told(broker)) <= set(names), f"{brokers_told(broker)} are among the nodes: {names}")


checks.run()
