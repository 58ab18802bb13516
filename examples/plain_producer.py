"""Publish posts with a plain Kafka client: one JSON object a line on standard input. The record's key is the post's id."""

import json
import os
import sys

from confluent_kafka import KafkaError, Message, Producer

servers = os.environ["SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS"]
producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 20})
refused: list[str] = []


def told(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        refused.append(message.key().decode())


for line in sys.stdin:
    while True:
        try:
            producer.produce("posts", line.strip(), json.loads(line)["id"], on_delivery=told)
            break
        except BufferError:  # the queue is full: the brokers are slower than standard input
            producer.poll(0.1)
    producer.poll(0)
left = producer.flush()
print(f"{len(refused)} refused, {left} without an answer: send those again, a repeat is safe", *refused)
sys.exit(1 if refused or left else 0)
