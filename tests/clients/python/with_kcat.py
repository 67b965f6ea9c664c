"""Debian's kcat, whose librdkafka of 2023 picks old request versions and gates features on old ranges."""

import json
import os
import re
import subprocess
import time

from confluent_kafka.admin import AdminClient, NewTopic

from checks import Checks, brokers_told, equal, eventually, fresh, holds, java_partition

VERSION = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout
checks = Checks(
    "kcat",
    re.search(r"Version (\S+)", VERSION)[1] + ", librdkafka " + re.search(r"librdkafka (\S+)", VERSION)[1],
)


def kcat(broker, *arguments, stdin=b"", fails=False):
    done = subprocess.run(["kcat", "-b", broker, *arguments], input=stdin, capture_output=True, timeout=60)
    if fails:
        holds(done.returncode != 0, f"kcat {arguments} fails")
        return done.stderr.decode()
    holds(done.returncode == 0, f"kcat {arguments} ended with {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def create(broker, stem, partitions):
    """kcat cannot create a topic, so the ones with several partitions are made by another client."""
    topic = fresh(f"kcat-{stem}")
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)
    return topic


def consume(broker, topic, form="%s\\n", *arguments):
    out = kcat(broker, "-C", "-q", "-t", topic, "-o", "beginning", "-e", "-f", form, *arguments)
    return out.decode().splitlines()


@checks.add
def produce_creates_the_topic_and_consume_reads_it(broker):
    topic = fresh("kcat-first")
    kcat(broker, "-P", "-t", topic, stdin=b"".join(b"line %d\n" % i for i in range(1000)))
    equal(consume(broker, topic, "%p %o %s\\n"), [f"0 {i} line {i}" for i in range(1000)])
    # From the end, relative, absolute, and a count.
    equal(kcat(broker, "-C", "-q", "-t", topic, "-o", "-3", "-e"), b"line 997\nline 998\nline 999\n")
    equal(kcat(broker, "-C", "-q", "-t", topic, "-o", "500", "-c", "2"), b"line 500\nline 501\n")
    equal(kcat(broker, "-C", "-q", "-t", topic, "-o", "end", "-e"), b"")


@checks.add
def metadata_is_listed(broker):
    topic = create(broker, "list", 3)
    listed = json.loads(kcat(broker, "-L", "-J"))
    names = [b["name"] for b in listed["brokers"]]
    holds(set(brokers_told(broker)) <= set(names), f"{brokers_told(broker)} are among the brokers: {names}")
    holds(listed["controllerid"] in [b["id"] for b in listed["brokers"]], "the controller is a broker")
    one = json.loads(kcat(broker, "-L", "-J", "-t", topic))["topics"]
    equal([t["topic"] for t in one], [topic])
    equal([p["partition"] for p in one[0]["partitions"]], [0, 1, 2])
    for partition in one[0]["partitions"]:
        equal(partition["replicas"], [{"id": partition["leader"]}], "replicas")
        equal(partition["isrs"], [{"id": partition["leader"]}], "in-sync replicas")
    text = kcat(broker, "-L", "-t", topic).decode()
    holds(f'topic "{topic}" with 3 partitions' in text, text)


@checks.add
def keys_headers_nulls_and_timestamps(broker):
    topic = fresh("kcat-headers")
    produce = ["-P", "-t", topic, "-K", ":", "-H", "trace=abc", "-H", "trace=again", "-H", "empty="]
    kcat(broker, *produce, stdin=b"alpha:one\nbeta:two\n")
    kcat(broker, "-P", "-t", topic, "-K", ":", "-Z", stdin=b"gone:\n")
    got = [json.loads(line) for line in kcat(broker, "-C", "-q", "-t", topic, "-o", "beginning", "-e", "-J").splitlines()]
    equal([(m["key"], m["payload"]) for m in got], [("alpha", "one"), ("beta", "two"), ("gone", None)])
    equal(got[0]["headers"], ["trace", "abc", "trace", "again", "empty", ""])
    now_ms = time.time() * 1000
    holds(all(m["tstype"] == "create" and abs(m["ts"] - now_ms) < 60_000 for m in got), "timestamps are of now")


@checks.add
def every_codec(broker):
    lines = [f"{i} ".encode() * 40 for i in range(500)]
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        topic = fresh(f"kcat-{codec}")
        produce = ["-P", "-t", topic, "-z", codec, "-X", "linger.ms=100"]
        kcat(broker, *produce, stdin=b"\n".join(lines) + b"\n")
        equal(consume(broker, topic), [line.decode() for line in lines], codec)


@checks.add
def offsets_by_timestamp(broker):
    topic = fresh("kcat-time")
    stamps = []
    for i in range(4):
        stamps.append(int(time.time() * 1000))
        kcat(broker, "-P", "-t", topic, stdin=b"%d\n" % i)
        time.sleep(0.05)
    late = int(time.time() * 1000) + 60_000
    for ask, want in [(stamps[0], 0), (stamps[2], 2), (stamps[3], 3), (-2, 0), (-1, 4)]:
        out = kcat(broker, "-Q", "-t", f"{topic}:0:{ask}").decode()
        equal(out.strip(), f"{topic} [0] offset {want}", f"query for {ask}")
    holds("offset -1" in kcat(broker, "-Q", "-t", f"{topic}:0:{late}").decode(), "nothing is that late")
    from_second = kcat(broker, "-C", "-q", "-t", topic, "-o", f"s@{stamps[1]}", "-o", f"e@{stamps[3]}", "-e")
    equal(from_second, b"1\n2\n", "between two timestamps")


@checks.add
def keyed_partitioning(broker):
    topic = create(broker, "keyed", 7)
    keys = [f"customer-{i}" for i in range(100)]
    produce = ["-P", "-t", topic, "-K", ":", "-X", "topic.partitioner=murmur2_random"]
    kcat(broker, *produce, stdin="".join(f"{k}:v\n" for k in keys).encode())
    got = dict(line.split() for line in consume(broker, topic, "%k %p\\n"))
    equal(got, {k: str(java_partition(k.encode(), 7)) for k in keys})


@checks.add
def large_and_too_large(broker):
    topic, path = fresh("kcat-large"), f"/tmp/{fresh('kcat-large')}"
    limit = ["-X", "message.max.bytes=4000000"]
    try:
        with open(path, "wb") as file:
            file.write(bytes((i * 7919 >> 3) & 0xFF for i in range(900_000)))
        kcat(broker, "-P", "-t", topic, *limit, path)
        out = kcat(broker, "-C", "-q", "-t", topic, "-o", "beginning", "-e", "-D", "")
        with open(path, "rb") as file:
            holds(out == file.read(), "900 kB come back")
        with open(path, "ab") as file:
            file.write(b"x" * 900_000)
        error = kcat(broker, "-P", "-t", topic, *limit, path, fails=True)
        holds("Message size too large" in error, error)
    finally:
        os.unlink(path)


@checks.add
def idempotence_and_acks(broker):
    topic = fresh("kcat-idempotent")
    lines = [str(i) for i in range(5000)]
    text = "".join(f"{line}\n" for line in lines).encode()
    kcat(broker, "-P", "-t", topic, "-X", "enable.idempotence=true", stdin=text)
    equal(consume(broker, topic), lines)
    for acks in ["0", "1", "all"]:
        topic = fresh(f"kcat-acks-{acks}")
        kcat(broker, "-P", "-t", topic, "-X", f"topic.acks={acks}", stdin=text)
        eventually(lambda: consume(broker, topic) == lines, f"all records with acks={acks}")


class Member:
    """A `kcat -G` process; its standard error tells each assignment."""

    def __init__(self, broker, group, topic):
        quick = ["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500", "-X", "auto.offset.reset=earliest"]
        self.name = f"/tmp/{fresh('kcat-member')}"
        self.out, self.err = open(self.name, "wb+"), open(f"{self.name}.err", "wb+")
        command = ["kcat", "-b", broker, "-u", *quick, "-f", "%p %s\\n", "-G", group, topic]
        self.process = subprocess.Popen(command, stdout=self.out, stderr=self.err)

    def assigned(self):
        with open(f"{self.name}.err", encoding="utf-8") as file:
            told = [line for line in file.read().splitlines() if "rebalanced" in line]
        last = told[-1] if told else ""
        return {int(p) for p in re.findall(r"\[(\d+)\]", last)} if "assigned" in last else set()

    def lines(self):
        with open(self.name, encoding="utf-8") as file:
            return file.read().splitlines()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)

    def remove(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for file in (self.out, self.err):
            file.close()
            os.unlink(file.name)


@checks.add
def a_group_of_one_to_three_and_its_resumption(broker):
    topic, group, members, left = create(broker, "group", 6), fresh("kcat-group"), [], []

    def shared_out():
        owned = [m.assigned() for m in members]
        return all(owned) and sum(map(len, owned)) == 6 and set().union(*owned) == set(range(6))

    def produce(start):
        for partition in range(6):
            text = "".join(f"{start + i}-{partition}\n" for i in range(20)).encode()
            kcat(broker, "-P", "-t", topic, "-p", str(partition), stdin=text)

    def everything(count):
        lines = [line for m in members + left for line in m.lines()]
        holds(len(lines) == len(set(lines)), "no record reaches two members")
        return len(lines) == count

    try:
        for size in range(1, 4):
            members.append(Member(broker, group, topic))
            eventually(shared_out, f"{size} members share 6 partitions")
        produce(0)
        eventually(lambda: everything(120), "120 records")
        leaving = members.pop(0)
        left.append(leaving)
        leaving.stop()
        eventually(shared_out, "2 members share 6 partitions")
        produce(100)
        eventually(lambda: everything(240), "240 records")
        for member in members:
            member.stop()
        produce(200)
        members.append(Member(broker, group, topic))
        eventually(lambda: everything(360), "a later member goes on where the group committed")
    finally:
        for member in members + left:
            member.remove()


@checks.add
def an_unknown_partition_is_an_error(broker):
    topic = create(broker, "unknown", 1)
    error = kcat(broker, "-P", "-t", topic, "-p", "5", stdin=b"x\n", fails=True)
    holds("Unknown partition" in error or "unknown partition" in error.lower(), error)


checks.run()
