"""What the Python programs of tests/clients share: running checks, and facts that clients must agree on.

A program registers functions with `@checks.add` and ends with `checks.run()`. Each check has a time
limit; a failed one is reported and the others still run. The last line is

    RAN <client> <version>: <n> passed[, <m> failed]
"""

import argparse
import os
import random
import signal
import time
import traceback

CHECK_TIMEOUT_S = 90


class Checks:
    def __init__(self, client, version):
        self.client = client
        self.version = version
        self.checks = []

    def add(self, check):
        self.checks.append(check)
        return check

    def run(self):
        arguments = argparse.ArgumentParser(description=f"checks a broker with {self.client}")
        arguments.add_argument("broker", help="HOST:PORT of the broker under test")
        arguments.add_argument("only", nargs="*", help="names of the checks to run; all without any")
        arguments = arguments.parse_args()
        wanted = [c for c in self.checks if not arguments.only or c.__name__ in arguments.only]
        signal.signal(signal.SIGALRM, _time_is_up)
        passed, failed = 0, 0
        for check in wanted:
            started = time.monotonic()
            signal.alarm(CHECK_TIMEOUT_S)
            try:
                check(arguments.broker)
                passed += 1
                print(f"ok {check.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED {check.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
                traceback.print_exc()
            finally:
                signal.alarm(0)
        summary = f"RAN {self.client} {self.version}: {passed} passed"
        print(summary + (f", {failed} failed" if failed else ""), flush=True)
        raise SystemExit(1 if failed or not wanted else 0)


def _time_is_up(_signal, _frame):
    raise TimeoutError(f"no result after {CHECK_TIMEOUT_S} s")


def brokers_told(broker):
    """Whom the clients of a broker are told of, as HOST:PORT: itself, or one for each core behind its port."""
    host, port = broker.rsplit(":", 1)
    virtual = int(os.environ.get("VIRTUAL_BROKERS", "0"))
    return [f"{host}:{int(port) + 1 + core}" for core in range(virtual)] or [broker]


def fresh(stem):
    """A topic or group name that no earlier run has used, so that one broker serves many runs."""
    return f"{stem}-{random.getrandbits(48):012x}"


def equal(actual, expected, what=""):
    if actual != expected:
        raise AssertionError(f"{what or 'values differ'}: got {shorten(actual)}, want {shorten(expected)}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


def shorten(value):
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:600]}... ({len(text)} characters)"


def refused(operation, *errors):
    """Runs `operation`, which must raise one of `errors`; gives the exception back."""
    try:
        result = operation()
    except errors as error:
        return error
    raise AssertionError(f"want one of {[e.__name__ for e in errors]}, got the answer {shorten(result)}")


def eventually(condition, what, seconds=30, pause_s=0.1):
    """For what a client does in the background: its own metadata refresh, a rebalance, an expiry."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause_s)


def murmur2(data):
    """Kafka's 32-bit MurmurHash2 with its fixed seed, as an unsigned number."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    state = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        state = state * multiplier & mask ^ word
    if tail := data[whole:]:
        state = (state ^ int.from_bytes(tail, "little")) * multiplier & mask
    state = (state ^ state >> 13) * multiplier & mask
    return state ^ state >> 15


def java_partition(key, partitions):
    """The partition that Kafka's Java producer gives this key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


# Values that Kafka's own tests state for its hash.
for _text, _hash in [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]:
    equal(murmur2(_text), _hash & 0xFFFFFFFF, f"murmur2 of {_text!r}")
