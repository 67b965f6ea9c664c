"""aiokafka, the asyncio client, against a broker."""

import asyncio
import functools
import time

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from checks import Checks, equal, fresh, holds, java_partition

checks = Checks("aiokafka", aiokafka.__version__)


def check(coroutine):
    @functools.wraps(coroutine)
    def run(broker):
        asyncio.run(coroutine(broker))

    return checks.add(run)


async def soon(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        holds(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        await asyncio.sleep(0.1)


class Admin:
    """`async with Admin(broker) as client`"""

    def __init__(self, broker):
        self.client = AIOKafkaAdminClient(bootstrap_servers=broker)

    async def __aenter__(self):
        await self.client.start()
        return self.client

    async def __aexit__(self, *_):
        await self.client.close()


async def create(broker, stem, partitions=1, configs=None):
    topic = fresh(f"aiokafka-{stem}")
    async with Admin(broker) as client:
        answer = await client.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})])
        equal([error[1] for error in answer.topic_errors], [0], "create_topics")
    return topic


async def send(broker, records, **settings):
    async with AIOKafkaProducer(bootstrap_servers=broker, **settings) as producer:
        futures = [await producer.send(**record) for record in records]
        return await asyncio.gather(*futures)


def consumer(broker, *topics, **settings):
    defaults = {"auto_offset_reset": "earliest", "enable_auto_commit": False}
    return AIOKafkaConsumer(*topics, bootstrap_servers=broker, **{**defaults, **settings})


async def receive(client, count):
    return [await asyncio.wait_for(client.getone(), 30) for _ in range(count)]


async def read(broker, topic, partitions, count):
    client = consumer(broker)
    await client.start()
    client.assign([TopicPartition(topic, p) for p in range(partitions)])
    records = await receive(client, count)
    await client.stop()
    return records


@check
async def records_come_back_whole_and_in_order(broker):
    topic = await create(broker, "order", 3)
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
    await send(broker, sent)
    got = await read(broker, topic, 3, 1500)
    for partition in range(3):
        mine = [r for r in got if r.partition == partition]
        want = [r for r in sent if r["partition"] == partition]
        equal([r.offset for r in mine], list(range(500)), f"offsets of partition {partition}")
        equal([r.key for r in mine], [r["key"] for r in want], "keys")
        equal([r.value for r in mine], [r["value"] for r in want], "values")
        equal([r.timestamp for r in mine], [r["timestamp_ms"] for r in want], "timestamps")
        equal([list(r.headers) for r in mine], [r["headers"] for r in want], "headers")


@check
async def null_and_empty_stay_apart(broker):
    topic = await create(broker, "null")
    pairs = [(b"k", None), (None, b"v"), (b"", b""), (b"k", b"")]
    await send(broker, [dict(topic=topic, partition=0, key=k, value=v) for k, v in pairs])
    equal([(r.key, r.value) for r in await read(broker, topic, 1, len(pairs))], pairs)


@check
async def every_codec(broker):
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        topic = await create(broker, f"codec-{codec}")
        values = [f"{codec} {i} ".encode() * 50 for i in range(300)]
        records = [dict(topic=topic, value=v) for v in values]
        await send(broker, records, compression_type=codec, linger_ms=50)
        got = await read(broker, topic, 1, len(values))
        equal([r.value for r in got], values, codec)
        equal([r.offset for r in got], list(range(len(values))), f"offsets with {codec}")


@check
async def keys_go_to_javas_partition(broker):
    topic = await create(broker, "keyed", 7)
    keys = [f"customer-{i}".encode() for i in range(300)]
    metadata = await send(broker, [dict(topic=topic, key=k, value=b"v") for k in keys])
    equal([m.partition for m in metadata], [java_partition(k, 7) for k in keys], "partitions")


@check
async def large_records_pass_and_too_large_ones_are_refused(broker):
    topic = await create(broker, "large")
    value = bytes((i * 7919 >> 3) & 0xFF for i in range(900_000))
    limit = {"max_request_size": 4_000_000}
    await send(broker, [dict(topic=topic, value=value)] * 3, **limit)
    holds(all(r.value == value for r in await read(broker, topic, 1, 3)), "900 kB come back")
    try:
        await send(broker, [dict(topic=topic, value=value * 2)], **limit)
    except MessageSizeTooLargeError:
        return
    raise AssertionError("1.8 MB were accepted")


@check
async def replay_by_timestamp(broker):
    topic = await create(broker, "replay")
    base_ms = int(time.time() * 1000) - 600_000
    records = [dict(topic=topic, value=b"%d" % i, timestamp_ms=base_ms + i * 1000) for i in range(100)]
    await send(broker, records)
    client, partition = consumer(broker), TopicPartition(topic, 0)
    await client.start()
    client.assign([partition])
    for ask, want in [(base_ms, 0), (base_ms + 1, 1), (base_ms + 50_000, 50), (base_ms + 98_500, 99)]:
        found = (await client.offsets_for_times({partition: ask}))[partition]
        equal(found.offset, want, f"offset at base + {ask - base_ms} ms")
    late = await client.offsets_for_times({partition: base_ms + 10**7})
    equal(late[partition], None, "no record is that late")
    client.seek(partition, 50)
    equal([r.value for r in await receive(client, 3)], [b"50", b"51", b"52"])
    equal(await client.beginning_offsets([partition]), {partition: 0})
    equal(await client.end_offsets([partition]), {partition: 100})
    await client.stop()


@check
async def acks_and_idempotence(broker):
    topic = await create(broker, "acks")
    for acks in [0, 1, "all"]:
        await send(broker, [dict(topic=topic, value=str(acks).encode())] * 100, acks=acks)
    records = [dict(topic=topic, value=b"%d" % i) for i in range(3000)]
    await send(broker, records, enable_idempotence=True)
    values = [r.value for r in await read(broker, topic, 1, 3300)]
    equal(values[:300], [b"0"] * 100 + [b"1"] * 100 + [b"all"] * 100)
    equal(values[300:], [b"%d" % i for i in range(3000)], "idempotent records")


@check
async def an_unknown_topic_is_created_by_its_first_producer(broker):
    topic = fresh("aiokafka-auto")
    await send(broker, [dict(topic=topic, value=b"first")])
    equal((await read(broker, topic, 1, 1))[0].value, b"first")


class Member:
    """One group member as a task, committing what it has read."""

    def __init__(self, broker, group, topic):
        self.client = consumer(
            broker, topic, group_id=group, session_timeout_ms=6000, heartbeat_interval_ms=500
        )
        self.records = []
        self.task = asyncio.create_task(self.run())

    async def run(self):
        await self.client.start()
        try:
            while True:
                for batch in (await self.client.getmany(timeout_ms=100)).values():
                    self.records += batch
                    await self.client.commit()
        finally:
            await self.client.stop()

    def owned(self):
        if self.task.done():
            self.task.result()
        return {p.partition for p in self.client.assignment()}

    async def stop(self):
        self.task.cancel()
        await asyncio.wait([self.task], timeout=30)
        holds(self.task.done(), "a member leaves within 30 s")


@check
async def a_group_of_one_to_four(broker):
    topic, group, members = await create(broker, "group", 6), fresh("aiokafka-group"), []

    def shared_out():
        owned = [m.owned() for m in members]
        return all(owned) and sum(map(len, owned)) == 6 and set().union(*owned) == set(range(6))

    for size in range(1, 5):
        members.append(Member(broker, group, topic))
        await soon(shared_out, f"{size} members share 6 partitions")
    await send(broker, [dict(topic=topic, partition=i % 6, value=b"%d" % i) for i in range(300)])
    everything = sorted(b"%d" % i for i in range(300))
    await soon(lambda: sorted(r.value for m in members for r in m.records) == everything, "each record once")
    for _ in range(2):
        await members.pop(0).stop()
        await soon(shared_out, f"{len(members)} members share 6 partitions")
    for member in members:
        await member.stop()


@check
async def a_group_resumes_where_it_committed(broker):
    topic, group = await create(broker, "resume"), fresh("aiokafka-group")
    partition = TopicPartition(topic, 0)
    await send(broker, [dict(topic=topic, value=b"%d" % i) for i in range(20)])
    first = consumer(broker, topic, group_id=group)
    await first.start()
    await receive(first, 8)
    await first.commit({partition: OffsetAndMetadata(8, "after the eighth")})
    await first.stop()
    second = consumer(broker, topic, group_id=group)
    await second.start()
    equal(await second.committed(partition), 8, "the committed position")
    equal([r.value for r in await receive(second, 12)], [b"%d" % i for i in range(8, 20)])
    await second.stop()
    async with Admin(broker) as client:
        held = await client.list_consumer_group_offsets(group)
        equal(held[partition].offset, 8, "as the admin client tells it")
        equal(held[partition].metadata, "after the eighth")
        listed = [name for name, *_ in await client.list_consumer_groups()]
        holds(group in listed, "the group is listed")
        described = (await client.describe_consumer_groups([group]))[0].groups[0]
        equal(described[:3], (0, group, "Empty"), "describe")


@check
async def topics_configs_and_records_are_administered(broker):
    topic = await create(broker, "admin", 2, {"retention.ms": "7200000"})
    async with Admin(broker) as client:
        holds(topic in await client.list_topics(), "the topic is listed")
        again = await client.create_topics([NewTopic(topic, 1, 1)])
        equal(again.topic_errors[0][1], 36, "TOPIC_ALREADY_EXISTS")
        await client.create_partitions({topic: NewPartitions(5)})
        described = (await client.describe_topics([topic]))[0]
        equal(len(described["partitions"]), 5, "partitions")
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)

        async def config(key):
            answer = (await client.describe_configs([resource]))[0].resources[0]
            return {entry[0]: entry[1] for entry in answer[4]}[key]

        equal(await config("retention.ms"), "7200000")
        change = ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "8000000"})
        equal((await client.alter_configs([change]))[0].resources[0][0], 0, "alter_configs")
        equal(await config("retention.ms"), "8000000")
        await send(broker, [dict(topic=topic, partition=0, value=b"%d" % i) for i in range(50)])
        partition = TopicPartition(topic, 0)
        deleted = await client.delete_records({partition: RecordsToDelete(20)})
        equal(deleted, {partition: 20}, "the new start")
        equal((await read(broker, topic, 1, 30))[0].offset, 20, "the first record that is left")
        equal((await client.describe_cluster())["cluster_id"] != "", True, "a cluster id")
        await client.delete_topics([topic])
        holds(topic not in await client.list_topics(), "the topic is gone")


checks.run()
