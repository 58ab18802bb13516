"""The Python client: publish posts, consume verdicts, gate by a verdict. See ``docs/client.md``."""

from sluicegate.pipeline.client.client import Client, OnTimeout, Reply
from sluicegate.pipeline.client.consumer import Counts, VerdictConsumer
from sluicegate.pipeline.client.errors import (
    ClientClosedError,
    ClientError,
    DeadLetteredError,
    HandlerError,
    NotDeliveredError,
    NoVerdictError,
)
from sluicegate.pipeline.client.producer import PostProducer, Receipt
from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.schemas import Action, Authority, Post, Resolution, Turn, Verdict

__all__ = [
    "Action",
    "Authority",
    "Client",
    "ClientClosedError",
    "ClientError",
    "ClusterError",
    "Counts",
    "DeadLetteredError",
    "HandlerError",
    "KafkaSettings",
    "NoVerdictError",
    "NotDeliveredError",
    "OnTimeout",
    "Post",
    "PostProducer",
    "Receipt",
    "Reply",
    "Resolution",
    "TopicSettings",
    "Turn",
    "Verdict",
    "VerdictConsumer",
]
