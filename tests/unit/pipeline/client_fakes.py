"""A cluster in memory for the client: what it sends, and what its readers get."""

from __future__ import annotations

import json
import queue
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from sluicegate.pipeline.kafka.producer import Placed, Refused
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.schemas import Post, Verdict, content_hash, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KAFKA, TOPICS = KafkaSettings(), TopicSettings()
_GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "v1.0" / "verdict" / "allowed.json").read_text())
_NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def verdict(
    post_id: str = "a", at: float = 0, *, name: str = "", revision: int = 0, **changes: Any
) -> Verdict:
    """A verdict on a post, judged ``at`` seconds past noon; equal names give equal ids."""
    given = {
        "post_id": post_id,
        "revision": revision,
        "judged_at": _NOON + timedelta(seconds=at),
        "verdict_id": str(uuid5(NAMESPACE_OID, f"{post_id} {revision} {name or at}")),
        **changes,
    }
    return Verdict.model_validate({**_GOLDEN, **given}, strict=False)


def verdict_on(post: Post, **changes: Any) -> Verdict:
    """The verdict on exactly this post."""
    given = {"revision": post.revision, "tenant": post.tenant, "content_hash": content_hash(post)}
    return verdict(post.id, **{**given, **changes})


@dataclass
class Cluster:
    """Stands for the brokers: what was sent, what is there to read, and what goes wrong."""

    sent: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    records: queue.Queue[TopicRecord | Exception] = field(default_factory=queue.Queue)
    committed: list[int] = field(default_factory=list)
    on_sent: Callable[[Post], None] = lambda _post: None
    full: int = 0
    """So many offers find the queue full."""
    refusal: Refused | None = None
    silent: bool = False
    """No delivery is ever reported."""
    patience_s: float = 0.02
    """How long a member that waits for a record waits."""
    closed: int = 0
    offset: int = 0

    def put(self, event: Any, topic: str = TOPICS.allow, *, key: bytes | None = None) -> None:
        """Publish an event, or raw bytes."""
        value = event if isinstance(event, bytes) else encode(event)
        if key is None and isinstance(event, Verdict):
            key = event.post_id.encode()
        self.records.put(TopicRecord(topic, 0, self.offset, key, value))
        self.offset += 1

    def take(self, timeout_s: float) -> TopicRecord | None:
        try:
            found = self.records.get(timeout=timeout_s) if timeout_s else self.records.get_nowait()
        except queue.Empty:
            return None
        if isinstance(found, Exception):
            raise found
        return found


class FakeProducer:
    """In place of the producer."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._open: list[Callable[[Placed | Refused], None]] = []

    def send(
        self,
        topic: str,
        value: bytes,
        key: bytes,
        headers: Sequence[tuple[str, bytes]],
        *,
        report: Callable[[Placed | Refused], None],
    ) -> bool:
        cluster = self._cluster
        if cluster.full:
            cluster.full -= 1
            return False
        cluster.sent.append((topic, key, value))
        if cluster.silent:
            self._open.append(report)
        elif cluster.refusal:
            report(cluster.refusal)
        else:
            report(Placed(topic, 0, len(cluster.sent) - 1))
            cluster.on_sent(Post.model_validate_json(value))
        return True

    def flush(self, timeout_s: float) -> int:
        return len(self._open)

    def close(self, timeout_s: float) -> None:
        self._cluster.closed += 1
        for report in self._open:
            report(Refused("_PURGE_QUEUE", fatal=False))


class FakeTail:
    """In place of the tail."""

    trouble: str | None = None

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def open(self) -> None:
        pass

    def read(self, timeout_s: float) -> list[TopicRecord]:
        found = self._cluster.take(timeout_s)
        return [found] if found else []

    def close(self) -> None:
        self._cluster.closed += 1


class FakeMember:
    """In place of the group member."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def open(self) -> None:
        pass

    def take(self, timeout_s: float) -> TopicRecord | None:
        return self._cluster.take(self._cluster.patience_s if timeout_s else 0)

    def done(self, record: TopicRecord) -> None:
        self._cluster.committed.append(record.offset)

    def close(self) -> None:
        self._cluster.closed += 1
