"""Who may do what on the brokers: users with their rights, as an administrator or Strimzi's operators make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka.admin import AclOperation, ResourceType

from sluicegate.pipeline.kafka.topics import plan_topics
from sluicegate.pipeline.settings.tree import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chart.rendering import Answer
    from support.kafka_security import SecuredKafka


def grant(cluster: SecuredKafka, user: str, kind: str, name: str, operations: Iterable[str]) -> None:
    """Let a user do this with the ``topic`` or ``group`` of this name, in Kafka's own words."""
    wanted = [AclOperation[operation.upper()] for operation in operations]
    cluster.allow(ResourceType[kind.upper()], name, *wanted, user=user)


def grant_planned(
    cluster: SecuredKafka,
    topics: dict[str, str],
    *,
    tests: str,
    worker: str | None = None,
    creator: str | None = None,
) -> None:
    """The rights that ``sluicegate topics plan`` prints, and no other, on a release's topics.

    Args:
        cluster: The brokers.
        topics: Names by role.
        tests: User of `helm test`, who writes posts and reads what comes of them.
        worker: User of the workers.
        creator: User of the topics Job.
    """
    for topic in plan_topics(load_settings(topics=topics), partitions=1, replication=1):
        rights = {
            tests: {*topic.producer, *topic.consumer},
            worker: topic.worker,
            creator: ("Create", "Describe"),
        }
        for user, operations in rights.items():
            if user is not None and operations:
                grant(cluster, user, "topic", topic.name, operations)


def operate(cluster: SecuredKafka, release: Answer, password: str) -> dict[str, dict[str, bytes]]:
    """A stand-in for Strimzi's operators: topics and users as rendered, no right more; the users' Secrets."""
    for topic in release.all("KafkaTopic"):
        spec = topic["spec"]
        assert spec["replicas"] == 1, "one broker"
        config = {name: str(value) for name, value in spec["config"].items()}
        cluster.create_topic(spec["topicName"], spec["partitions"], config=config)
    secrets = {}
    for user in release.all("KafkaUser"):
        name, spec = user["metadata"]["name"], user["spec"]
        assert spec["authentication"]["type"] == "scram-sha-512"
        cluster.add_user(name, password)
        for rule in spec["authorization"]["acls"]:
            resource = rule["resource"]
            assert resource["patternType"] == "literal"
            grant(cluster, name, resource["type"], resource["name"], rule["operations"])
        secrets[name] = {"password": password.encode(), "sasl.jaas.config": b"unused"}
    return secrets
