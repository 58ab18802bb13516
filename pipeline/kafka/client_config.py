"""What every Kafka client of ours is configured with."""

from __future__ import annotations

from typing import Any

from sluicegate.pipeline.kafka.credentials import librdkafka_security
from sluicegate.pipeline.settings.tree import KafkaSettings


def client_config(kafka: KafkaSettings) -> dict[str, Any]:
    """Librdkafka's settings for reaching the cluster; callers add those of their role.

    Raises:
        SettingsError: A file that the security settings name is missing or of no use.
    """
    return {
        "bootstrap.servers": kafka.bootstrap_servers,
        "client.id": "sluicegate",
        **librdkafka_security(kafka.security),
        # librdkafka prints connection trouble on stderr by itself; errors reach us as values.
        "log_level": 2,
    }
