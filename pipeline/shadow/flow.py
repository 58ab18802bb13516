"""The path of a post in a shadow: that of a worker, for the posts of the sample; nothing leaves but candidate's verdicts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from sluicegate.pipeline.flow.answers import Answer
from sluicegate.pipeline.flow.flow import Flow
from sluicegate.pipeline.flow.in_work import Arrival
from sluicegate.pipeline.flow.tried import TriedJudge
from sluicegate.pipeline.records import Outlet, Record, Slot
from sluicegate.pipeline.shadow.metrics import ShadowMetrics
from sluicegate.pipeline.shadow.sample import ShadowSample
from sluicegate.pipeline.shadow.shedding import LoadShedding
from sluicegate.schemas import MadeVerdict

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

_log = structlog.get_logger(__name__)

LOOK_S = 5.0
"""How often the lag is looked at: a worker's own measure of it is no newer."""


class ShadowOutlet:
    """Writes verdicts to the shadow's topic, for whichever topic they were made. Nothing else leaves.

    Args:
        outlet: Where to.
        topic: The shadow's.
    """

    def __init__(self, outlet: Outlet, topic: str) -> None:
        self._outlet = outlet
        self._topic = topic

    async def publish(self, records: Sequence[Record]) -> None:
        """Deliver the verdicts among the records. Raises only if nothing can ever be delivered again."""
        await self._outlet.publish(
            [
                replace(one, topic=self._topic)
                for one in records
                if isinstance(one, Record) and isinstance(one.event, MadeVerdict)
            ]
        )


class ShadowFlow(Flow):
    """Carries the posts of a sample to a candidate's verdicts, and lets the others pass.

    Args:
        path: As for :class:`~sluicegate.pipeline.flow.flow.Flow`.
        experiment: Its name.
        share: Of the posts that the candidate is to judge.
        lag_s: Tells the age of the oldest post that waits, in seconds.
        shown: Shows the share in force.
        tried: The incumbent, for the posts that the candidate acts on, so that both judge these, too.
    """

    def __init__(
        self,
        *path: Any,
        experiment: str,
        share: float,
        lag_s: Callable[[], float],
        shown: ShadowMetrics,
        tried: TriedJudge | None = None,
    ) -> None:
        super().__init__(*path, tried=tried)
        self._sample = ShadowSample(experiment, share)
        self._shedding = LoadShedding(share)
        self._lag_s = lag_s
        self._shown = shown
        shown.share.set(share)

    def _loops(self) -> list[Coroutine[None, None, None]]:
        return [*super()._loops(), self._shed()]

    def _decode(self, slots: Sequence[Slot]) -> tuple[list[Arrival], list[Answer]]:
        """The posts of the sample. All else is acknowledged: the incumbent answers it, or buries it."""
        arrivals, rejected = super()._decode(slots)
        sample = replace(self._sample, share=self._shedding.current)
        kept: list[Arrival] = []
        passed: list[Slot] = [one.slot for one in rejected]
        for one in arrivals:
            if sample.holds(one.post.tenant, one.post.id):
                kept.append(one)
            else:
                passed.append(one.slot)
                self._shown.passed.labels("shed" if self._holds(one) else "outside").inc()
        self._shown.passed.labels("no post").inc(len(rejected))
        self._window.finish(passed)
        return kept, []

    def _holds(self, arrival: Arrival) -> bool:
        return self._sample.holds(arrival.post.tenant, arrival.post.id)

    async def _shed(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            before = self._shedding.current
            self._shedding.look(lag_s := self._lag_s())
            if self._shedding.current != before:
                self._shown.share.set(self._shedding.current)
                _log.warning("shadow_share", share=self._shedding.current, before=before, lag_s=round(lag_s))
