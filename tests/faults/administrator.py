"""What somebody with every right does to a cluster's topics while workers run."""

from __future__ import annotations

import time

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
)

_ANSWER_S = 30.0
_EVERYWHERE = ((ResourceType.BROKER, "kafka-cluster"), (ResourceType.TOPIC, "*"))


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def delete_topics(bootstrap: str, names: list[str]) -> None:
    """Delete topics, and wait until no broker lists them.

    Raises:
        RuntimeError: They were still listed after some time.
    """
    admin = _admin(bootstrap)
    for deleted in admin.delete_topics(names, operation_timeout=_ANSWER_S).values():
        deleted.result(_ANSWER_S)
    deadline = time.monotonic() + _ANSWER_S
    while set(names) & set(admin.list_topics(timeout=_ANSWER_S).topics):
        if time.monotonic() > deadline:
            raise RuntimeError(f"still listed: {names}")
        time.sleep(0.05)


def add_partitions(bootstrap: str, name: str, total: int) -> None:
    """Give a topic more partitions, so that it has this many."""
    admin = _admin(bootstrap)
    for added in admin.create_partitions([NewPartitions(name, total)]).values():
        added.result(_ANSWER_S)


def configure_topic(bootstrap: str, name: str, **config: str | None) -> None:
    """Set properties of a topic, or take them back to the cluster's own where the value is None.

    A property's dots are underscores here.
    """
    entries = [
        ConfigEntry(
            key.replace("_", "."),
            value or "",
            incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
        )
        for key, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    admin = _admin(bootstrap)
    for changed in admin.incremental_alter_configs([resource]).values():
        changed.result(_ANSWER_S)


def deny_writes(bootstrap: str, name: str) -> None:
    """Let everybody do everything with a topic but write to it."""
    rules = [
        _rule(name, AclOperation.ALL, AclPermissionType.ALLOW),
        _rule(name, AclOperation.WRITE, AclPermissionType.DENY),
    ]
    admin = _admin(bootstrap)
    for made in admin.create_acls(rules).values():
        made.result(_ANSWER_S)


def permit_writes(bootstrap: str, name: str) -> None:
    """Take back what :func:`deny_writes` did."""
    every = AclBindingFilter(
        ResourceType.TOPIC,
        name,
        ResourcePatternType.LITERAL,
        None,
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    admin = _admin(bootstrap)
    for removed in admin.delete_acls([every]).values():
        removed.result(_ANSWER_S)


def _rule(name: str, operation: AclOperation, permission: AclPermissionType) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC, name, ResourcePatternType.LITERAL, "User:*", "*", operation, permission
    )


def deny_creation(bootstrap: str) -> None:
    """Let everybody do everything but create topics."""
    rules = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, "User:*", "*", operation, permission)
        for kind, name in _EVERYWHERE
        for operation, permission in (
            (AclOperation.ALL, AclPermissionType.ALLOW),
            (AclOperation.CREATE, AclPermissionType.DENY),
        )
    ]
    admin = _admin(bootstrap)
    for made in admin.create_acls(rules).values():
        made.result(_ANSWER_S)


def permit_creation(bootstrap: str) -> None:
    """Take back what :func:`deny_creation` did."""
    every = [
        AclBindingFilter(
            kind,
            name,
            ResourcePatternType.LITERAL,
            None,
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        for kind, name in _EVERYWHERE
    ]
    admin = _admin(bootstrap)
    for removed in admin.delete_acls(every).values():
        removed.result(_ANSWER_S)
