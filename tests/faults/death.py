"""Death at a point of the path, not by luck: a worker that finds an order for the point it is at dies there.

A scenario writes the point's name into a file, and how many posts have to wait for one in work. Whichever
worker comes to that point first takes the file away, writes down what it had in hand, and kills itself
with SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.flow.in_work import PostInWork
from sluicegate.pipeline.flow.work import Work
from sluicegate.pipeline.kafka.publisher import Publisher
from sluicegate.schemas import AssessedBy, MadeVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

REUSED, PUBLISHED = "reused", "published"
"""A shortcut's answer is not published yet; it is published and not acknowledged."""
_REUSES = {AssessedBy.NEAR_DUPLICATE, AssessedBy.SCREEN}


@dataclass(frozen=True, slots=True)
class Death:
    """What a worker had in hand when it died."""

    point: str
    at: datetime
    waiting: int
    """Near duplicates that waited for one in work."""
    posts: tuple[str, ...]
    """Ids of the posts that a shortcut answered, and that were at the point."""


class Orders:
    """The file of the orders, and the deaths beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def give(self, point: str, *, waiting: int = 0) -> None:
        """Order one death, with at least so many near duplicates that wait."""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps([point, waiting]))
        part.replace(self.path)

    def deaths(self) -> list[Death]:
        """Every death so far, in order."""
        told = [json.loads(one.read_text()) for one in self.path.parent.glob("death-*.json")]
        found = [
            Death(one["point"], datetime.fromisoformat(one["at"]), one["waiting"], tuple(one["posts"]))
            for one in told
        ]
        return sorted(found, key=lambda one: one.at)


def die_as_ordered(path: Path) -> None:
    """Let this process die where the file says, if something there is a shortcut's answer."""
    publish, enter = Publisher.publish, Work.enter
    seen: list[Work] = []

    def _enter(work: Work, *given: Any, **named: Any) -> list[PostInWork]:
        seen[:] = [work]
        return enter(work, *given, **named)

    def _waiting() -> int:
        return sum(work.followers for work in seen)

    async def _publish(publisher: Publisher, records: Sequence[Any]) -> None:
        ids = [found for record in records if (found := _shortened(record)) is not None]
        _die_if_ordered(path, REUSED, ids, _waiting())
        await publish(publisher, records)
        _die_if_ordered(path, PUBLISHED, ids, _waiting())

    Work.enter = _enter  # type: ignore[assignment, method-assign] # to see who waits
    Publisher.publish = _publish  # type: ignore[assignment, method-assign] # that is the fault


def _shortened(record: Any) -> str | None:
    """Id of a post that a shortcut answered; None of any other record."""
    event = record.event
    return event.post_id if isinstance(event, MadeVerdict) and event.assessed_by in _REUSES else None


def _die_if_ordered(path: Path, point: str, ids: list[str], waiting: int) -> None:
    if not ids or not _is_ordered(path, point, waiting):
        return
    try:
        path.unlink()
    except FileNotFoundError:
        return  # another worker was first
    note: dict[str, Any] = {"point": point, "at": datetime.now(UTC).isoformat(), "waiting": waiting}
    path.with_name(f"death-{os.getpid()}.json").write_text(json.dumps(note | {"posts": ids}))
    os.kill(os.getpid(), signal.SIGKILL)


def _is_ordered(path: Path, point: str, waiting: int) -> bool:
    try:
        wanted, least = json.loads(path.read_text())
    except FileNotFoundError:
        return False
    return bool(wanted == point and waiting >= least)
