"""Faust's options for our settings: as a library, of which a worker wants the consumer and nothing else. Pure."""

from __future__ import annotations

from typing import Any

from sluicegate.pipeline.settings.tree import KafkaSettings

_NEVER_S = 10 * 365 * 86_400.0


def faust_options(kafka: KafkaSettings) -> dict[str, Any]:
    """All but the group, the credentials and what is a class of Faust's."""
    return {
        "broker": [f"aiokafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
        "store": "memory://",
        "web_enabled": False,
        "topic_allow_declare": False,  # no topic of Faust's own
        "topic_disable_leader": True,
        "table_standby_replicas": 0,
        "consumer_auto_offset_reset": "earliest",  # a new group must not skip what is there
        "stream_wait_empty": True,
        "broker_commit_interval": kafka.commit_interval_s,
        "broker_session_timeout": kafka.session_timeout_s,
        "broker_heartbeat_interval": kafka.session_timeout_s / 10,
        "broker_rebalance_timeout": kafka.rebalance_timeout_s,
        # Faust fetches nothing while its buffers are full, and aiokafka would leave the group for that,
        # and never come back: it asks for a fetch first, which only a member makes.
        "broker_max_poll_interval": _NEVER_S,
        "broker_request_timeout": max(90.0, kafka.session_timeout_s + 5, kafka.rebalance_timeout_s + 5),
        "worker_redirect_stdouts": False,
    }
