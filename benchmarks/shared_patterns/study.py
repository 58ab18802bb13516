"""The flood that begins at one institution and comes to another: run, and counted."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared_patterns.institutions import Institution, Ledger, write_keys
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.patterns.circle import FILE, new_circle
from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.schemas import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NORTH_FINDS = {
    "customs fee": "controversial",
    "from home": "controversial",
    "login from": "controversial",
    "fell into": "controversial",
    "to our town": "controversial",
    "Gebühr": "controversial",
    "": "safe",
}
"""The first institution's engine knows a word or two of each flood, which some copies have lost; the second one's knows none."""
BEFORE = 6_000
"""Posts that each one had in the weeks before: its common words come from these, as in the part about privacy."""
CALM_S, LATER_S = 10.0, 10.0
"""The flood begins at the first one after this time, and at the second one after this more."""


@dataclass(frozen=True, slots=True)
class FloodFigures:
    """What the run came to."""

    found_after_s: float
    """From the first copy at the first institution to the first one that a pattern raised at the second."""
    recall: float
    """Of the copies that came to the second one from then on: the share that a pattern raised."""
    recall_by_flood: dict[str, float]
    copies: int
    """That came to the second one from then on."""
    false_raised: float
    """Share of the second one's harmless posts that a pattern raised."""
    harmless: int
    blocked_by_pattern: int
    """Verdicts of the second one that have a pattern's code and block, and blocks of any kind there: its engine finds nothing."""
    unanswered: int
    """Posts of either without a verdict at the end."""


async def run(
    folder: Path,
    *,
    seconds: float,
    seed: int,
    posts: Sequence[str],
    told: Callable[[str], None],
    bootstrap: str | None = None,
) -> FloodFigures:
    """Run both institutions side by side.

    Args:
        folder: For all files.
        seconds: How long.
        seed: Of floods and posts.
        posts: Harmless ones for both; none takes written ones.
        told: Gets what a command complains of.
        bootstrap: A cluster that has the topics of :func:`topics_of`; without it, each has an embedded broker.
    """
    today = datetime.now(UTC).date()
    for name in ("north", "south"):
        (folder / name).mkdir(parents=True)
    public = write_keys((name, folder / name) for name in ("north", "south"))
    circle = new_circle("alps", public, k=5, licence="for moderation by members of the circle", today=today)
    async with AsyncExitStack() as stack:
        both = []
        for name, rules in (("north", NORTH_FINDS), ("south", {"": "safe"})):
            topics, address = topics_of(name), bootstrap
            if address is None:
                broker = EmbeddedBroker([*topics.model_dump().values()])
                address = (await stack.enter_async_context(broker)).address
            one = Institution(name, folder / name, address, topics, rules)
            path = folder / name / "patterns" / FILE
            path.write_bytes(circle.encode())
            path.chmod(0o600)
            both.append(await stack.enter_async_context(one))
        north, south = both
        for number, one in enumerate(both):
            chance = random.Random(seed + 20 + number)  # noqa: S311 - so that a run can be repeated
            await one.live_before(posts, chance, BEFORE)
        until = time.monotonic() + seconds
        inbox = folder / "inbox.feed"
        async with asyncio.TaskGroup() as tasks:
            for number, one in enumerate(both):
                chance = random.Random(seed + number)  # noqa: S311 - so that a run can be repeated
                tasks.create_task(one.stream(posts, chance, per_s=30, until=until - 8))
                flooded = random.Random(seed + 10 + number)  # noqa: S311 - the same
                after_s = CALM_S + LATER_S * number
                tasks.create_task(one.flood(flooded, per_s=4, after_s=after_s, until=until - 8))
                tasks.create_task(one.watch(until, decide_per_s=4))
            tasks.create_task(north.share(inbox, until, 3, told))
            tasks.create_task(south.receive(inbox, until, 3, told))
    return figures(north.ledger, south.ledger)


def topics_of(name: str) -> TopicSettings:
    """The topics of one institution."""
    return TopicSettings(
        **{setting: f"{name}.{topic}" for setting, topic in TopicSettings().model_dump().items()}
    )


def figures(north: Ledger, south: Ledger) -> FloodFigures:
    """Count.

    Raises:
        ValueError: No pattern ever raised a copy at the second one.
    """
    raised = south.raised()
    copies = {name: (at, flood) for name, (at, flood) in south.sent.items() if flood is not None}
    found = [at for name, at in raised.items() if name in copies]
    if not found:
        raise ValueError("no pattern raised a copy at the second institution")
    first = min(found)
    began = min(at for at, flood in north.sent.values() if flood is not None)
    later = {name: flood for name, (at, flood) in copies.items() if at >= first}
    harmless = [name for name, (_, flood) in south.sent.items() if flood is None]
    by_flood = {
        flood: sum(name in raised for name, its in later.items() if its == flood) / count
        for flood in sorted({str(one) for one in later.values()})
        if (count := sum(its == flood for its in later.values()))
    }
    blocks = sum(
        verdict.action is Action.BLOCK or (verdict.action is not Action.REVIEW and bool(verdict.reason_codes))
        for _, verdict in south.verdicts.values()
    )
    return FloodFigures(
        found_after_s=first - began,
        recall=sum(name in raised for name in later) / len(later),
        recall_by_flood=by_flood,
        copies=len(later),
        false_raised=sum(name in raised for name in harmless) / len(harmless),
        harmless=len(harmless),
        blocked_by_pattern=blocks,
        unanswered=sum(len((one.sent.keys() | one.before) - one.verdicts.keys()) for one in (north, south)),
    )
