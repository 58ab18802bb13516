"""The shadow: a worker under a group of its own, with a candidate's engine or policy. It judges a sample, and acts on nothing.

It writes to one topic, tells other workers nothing, and commits in its own group. So it may be killed, lag or fail, and
no worker of the incumbent's notices.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.flow.flow import Flow
from sluicegate.pipeline.flow.screening import open_screen
from sluicegate.pipeline.flow.tried import Beside
from sluicegate.pipeline.kafka.check import require_rights
from sluicegate.pipeline.kafka.member import begin_at_end
from sluicegate.pipeline.kafka.publisher import Publisher
from sluicegate.pipeline.kafka.source import Source
from sluicegate.pipeline.kafka.topics import plan_shadow_topics
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.file import PolicyFile
from sluicegate.pipeline.settings.tree import ScreenSettings, Settings, variable
from sluicegate.pipeline.shadow.flow import ShadowFlow, ShadowOutlet
from sluicegate.pipeline.shadow.metrics import ShadowMetrics
from sluicegate.pipeline.shadow.standing import Standing
from sluicegate.pipeline.worker import Worker
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from prometheus_client import CollectorRegistry


def experiment_of(settings: Settings) -> str:
    """The experiment that the settings name.

    Raises:
        SettingsError: They name none.
    """
    if settings.candidate.experiment is None:
        raise SettingsError(
            "candidate.experiment names no experiment; give it a name of its own, for example "
            f"{variable('candidate', 'experiment')}=adapter-2"
        )
    return settings.candidate.experiment


def shadow_settings(settings: Settings) -> Settings:
    """A candidate's settings as its shadow runs with them.

    Its group is its own, so that it takes no post from a worker. It shares no cache: a store that is full of a candidate's
    findings has less room for the incumbent's. It has no screen, as a candidate that acts has none.

    Raises:
        SettingsError: No experiment is named.
    """
    experiment = experiment_of(settings)
    kafka = settings.kafka.model_copy(update={"group": f"{settings.kafka.group}.shadow.{experiment}"})
    cache = settings.cache.model_copy(update={"redis_url": None})
    policy = settings.policy.model_copy(update={"path": settings.candidate.policy or settings.policy.path})
    changed = {"kafka": kafka, "cache": cache, "policy": policy, "screen": ScreenSettings()}
    return settings.model_copy(update=changed)


@dataclass(frozen=True, slots=True)
class SwappedJudge:
    """The incumbent in a shadow: it judges what the candidate acts on."""

    policy: Policy
    standing: Standing

    def judges(self, post: Post) -> bool:
        """Whether the candidate acts on a post, so that the incumbent's verdict would be missing."""
        return self.standing.judges(post)


class ShadowWorker(Worker):
    """Takes all posts, judges those of a sample, and publishes what the candidate would have decided.

    Args:
        settings: The candidate's: those of the workers, with another engine, adapter or policy.

    Raises:
        SettingsError: As :func:`shadow_settings`.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(shadow_settings(settings))
        self._swapped = self._open_swapped(settings)
        self._shown = ShadowMetrics(self._instruments.metrics.registry)

    def _open_swapped(self, settings: Settings) -> SwappedJudge | None:
        """The incumbent, where the settings have both and facts can be verified."""
        if settings.candidate.policy is None:
            return None
        incumbent = PolicyFile(settings.policy.path, adapters=settings.engine.adapters).current
        screen = open_screen(settings.screen, self._backends)
        beside = Beside(
            incumbent=lambda: incumbent,
            engines={name: backend.engine.info.digest for name, backend in self._backends.items()},
            screen=screen.digest if screen is not None else None,
            is_ready=lambda: True,  # it is about the live workers' engines
            lost=lambda: None,
            instruments=self._instruments,
        )
        return SwappedJudge(incumbent, Standing(settings, beside))

    def _registry(self) -> CollectorRegistry:
        return self._shown.registry

    async def _check_cluster(self, publisher: Publisher) -> None:
        settings = self._settings
        for name in (settings.topics.posts, settings.topics.shadow):
            await publisher.require_topic(name)
        await asyncio.to_thread(require_rights, settings, plan_shadow_topics(settings))

    async def _open_flow(self, stack: AsyncExitStack, publisher: Publisher) -> Flow:
        settings = self._settings
        if self._swapped is not None:
            await stack.enter_async_context(self._swapped.standing)
        return ShadowFlow(
            settings,
            self._backends,
            lambda: self._policies.current,
            self._window,
            ShadowOutlet(publisher, settings.topics.shadow),
            self._instruments,
            self._screen,
            experiment=experiment_of(settings),
            share=settings.candidate.share,
            lag_s=lambda: self._source.lag_s if self._source is not None else 0.0,
            shown=self._shown,
            tried=self._swapped,
        )

    async def _open_control(self, stack: AsyncExitStack, flow: Flow) -> None:
        """Share nothing: what trips here is the candidate's, and stops nobody."""

    async def _take_posts(self, source: Source) -> None:
        # What came before is judged already, and would be a backlog to begin with.
        await asyncio.to_thread(begin_at_end, self._settings.kafka, self._settings.topics.posts)
        await super()._take_posts(source)
