"""Act on verdicts with a plain Kafka client: each at least once, and none that a later one on the same post has replaced."""

import json
import os
import sys
from datetime import datetime

from confluent_kafka import Consumer

servers, wanted = os.environ["SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS"], int(sys.argv[1])
options = {"group.id": "my-platform", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
consumer = Consumer({"bootstrap.servers": servers, **options})
consumer.subscribe(["verdicts.allow", "verdicts.review", "verdicts.block", "posts.deadletter"])
# Which verdict counts, by post: on a platform, a column beside the post in its database.
counts: dict[tuple[str, str], tuple[int, datetime, str]] = {}
while wanted and (message := consumer.poll(30)):
    if message.error():
        sys.exit(str(message.error()))
    event = json.loads(message.value())
    if message.topic() == "posts.deadletter":
        print("never judged:", event["code"], event["detail"])
    else:
        post = event["tenant"], event["post_id"]
        version = event["revision"], datetime.fromisoformat(event["judged_at"]), event["verdict_id"]
        if post not in counts or version > counts[post]:
            counts[post] = version
            print(event["post_id"], event["action"], event["policy"]["rule"])
    consumer.commit(message, asynchronous=False)  # after acting: after a crash it comes again
    wanted -= 1
consumer.close()
