"""The commands with which introductions to Kafka begin, in their order and with their names.

List the topics, describe one, produce lines to it, consume them from the beginning in a group, look
at a group's lag: what a reader of such a text types first, so it must work as printed there, with
topics and groups that nobody has prepared.
"""

import subprocess

from checks import Checks, equal, eventually, fresh, holds
from with_java_tools import CONSOLE_CONSUMER, CONSOLE_PRODUCER, GROUPS, KAFKA, TOPICS, VERSION, run, table

checks = Checks("introduction-commands (kafka-tools)", VERSION)
TOPIC, GROUP = fresh("order-events"), fresh("order-processing-group")
ORDERS = [f'{{"order": {i}, "amount": {i * 10}}}' for i in range(1, 6)]


@checks.add
def topics_list(broker):
    run(TOPICS, broker, "--list")
    holds(TOPIC not in run(TOPICS, broker, "--list").splitlines(), "the topic is not there yet")


@checks.add
def console_producer_to_a_topic_that_nobody_created(broker):
    run(CONSOLE_PRODUCER, broker, "--topic", TOPIC, stdin="".join(f"{order}\n" for order in ORDERS))
    eventually(lambda: TOPIC in run(TOPICS, broker, "--list").splitlines(), "the topic is listed")


@checks.add
def topics_describe(broker):
    described = run(TOPICS, broker, "--describe", "--topic", TOPIC)
    holds(f"Topic: {TOPIC}\t" in described and "Leader: " in described, described)


@checks.add
def console_consumer_from_the_beginning_in_a_group(broker):
    command = [KAFKA, "run", CONSOLE_CONSUMER, "--bootstrap-server", broker, "--topic", TOPIC]
    # As typed: no count and no timeout, so it goes on until somebody stops it.
    with subprocess.Popen([*command, "--from-beginning", "--group", GROUP], stdout=subprocess.PIPE, text=True) as consumer:
        try:
            equal([consumer.stdout.readline().rstrip("\n") for _ in ORDERS], ORDERS)
            # A running member, so the description names it.
            rows = table(run(GROUPS, broker, "--describe", "--group", GROUP))
            holds(rows[0]["CONSUMER-ID"].startswith("console-consumer-"), f"a member: {rows}")
        finally:
            consumer.terminate()
            consumer.wait(30)


@checks.add
def consumer_groups_describe(broker):
    row = table(run(GROUPS, broker, "--describe", "--group", GROUP))[0]
    equal((row["TOPIC"], row["CURRENT-OFFSET"], row["LOG-END-OFFSET"], row["LAG"]), (TOPIC, "5", "5", "0"))
    run(CONSOLE_PRODUCER, broker, "--topic", TOPIC, stdin="late\n")
    row = table(run(GROUPS, broker, "--describe", "--group", GROUP))[0]
    equal((row["LOG-END-OFFSET"], row["LAG"]), ("6", "1"), "a record that the group has not read")


checks.run()
