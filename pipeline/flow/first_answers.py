"""First answers: whether each engine of a worker has scored a prompt of the worker's own since it started.

That prompt is no post: it has no tenant and no verdict, no cache keeps it, and no metric counts it. An engine that
scored it once counts for the rest of the worker's life. A later outage is a hold.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import structlog

from sluicegate.engines.backends import Backend, Backends
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import ItemFailure, Scored, believed
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.tree import EngineSettings
from sluicegate.schemas import FailureCode, Post

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from types import TracebackType


_log = structlog.get_logger(__name__)

_TEXT = "Hello"
_PAUSE_MOST_S = 5.0
"""An engine that was put right is noticed within so long, and one that is away costs a request in that time."""
_LOOK_AGAIN_S = 0.2
_NO_ANSWER_YET = "it was asked, and has not answered yet"
_NO_SCORES = "its server answers, but not with scores: check url, dialect and model"
_TOO_SLOW = "no answer within score_timeout_s: check that the server is not overloaded, and that url is right"
_ANOTHER_MODEL = "its server answers with other words than the labels: it must serve the model of the bundle"


class FirstAnswers:
    """Asks each engine about a prompt of its own until it was scored. Use as an async context manager.

    Args:
        backends: By adapter; entered by the caller.
        settings: How long a call may take, and the first pause after one that failed. The pause doubles up to 5 s.
        policy: The policy in force.
        instruments: The clock and the holds.
        guard: The adapter that answers as a screen only. Nobody waits for it, unless the policy names it for posts, too.
        tried: Adapters of a candidate's policy. The same holds for these.
    """

    def __init__(
        self,
        backends: Backends,
        settings: EngineSettings,
        policy: Callable[[], Policy],
        instruments: Instruments,
        *,
        guard: str | None = None,
        tried: Collection[str | None] = (),
    ) -> None:
        self._optional = {*tried, guard} - {None}
        self._backends = backends
        self._settings = settings
        self._policy = policy
        self._clock = instruments.clock
        self._holds = instruments.holds
        self._missing = dict.fromkeys(map(_place, backends), _NO_ANSWER_YET)
        self._turned = asyncio.Event()
        self._asking: list[asyncio.Task[None]] = []

    @property
    def missing(self) -> Mapping[str, str]:
        """The engines that posts need and that have scored nothing yet, by the section of their settings, and why; for people."""
        spared = self._spared
        return {place: why for place, why in self._missing.items() if place not in spared}

    @property
    def _spared(self) -> set[str]:
        """Of a small guard that no post needs, and of a candidate: the engine answers in their place."""
        return {*map(_place, self._optional - self._policy().adapters)}

    def has_answered(self, adapters: Iterable[str | None]) -> bool:
        """True once each of these engines has scored something."""
        return self._missing.keys().isdisjoint(map(_place, adapters))

    async def wait(self, stop: asyncio.Event) -> None:
        """Return once this worker has something to answer to posts, or is told to stop.

        That is so once each engine has answered. Until then posts wait in Kafka, for other workers or for this one.
        Two waits are bounded, and then the worker works with what it has: a post that its policy lets wait for
        ``max_wait_seconds`` only, and all posts where just some of the engines are missing. Meanwhile this is a hold.
        """
        since = self._clock.monotonic()
        with self._holds.waiter("engine") as declare_hold:
            while not stop.is_set() and not self._is_enough(self._clock.monotonic() - since):
                if why := [f"{place}: {why}" for place, why in self.missing.items() if why != _NO_ANSWER_YET]:
                    declare_hold(f"the worker does not join its group yet: {'; '.join(why)}")
                await self._clock.wait(self._turned, until=self._clock.monotonic() + _LOOK_AGAIN_S)
                self._turned.clear()

    def _is_enough(self, waited_s: float) -> bool:
        missing = self.missing
        if not missing:
            return True
        impatient_s = self._policy().least_wait_seconds
        if impatient_s is not None and waited_s >= impatient_s:
            return True
        needed = {*map(_place, self._backends)} - self._spared
        return len(missing) < len(needed) and waited_s >= self._settings.adapter_wait_s

    async def _ask(self, place: str, backend: Backend) -> None:
        pause_s = self._settings.circuit_pause_s
        while why := await self._fault(backend):
            if self._missing[place] != why:
                _log.warning("engine_not_ready", engine=place, reason=why)
            self._missing[place] = why
            self._turned.set()
            if backend.server is None:  # by this an engine of the worker's own sees that it must start again
                await backend.engine.health()
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, max(_PAUSE_MOST_S, self._settings.circuit_pause_s))
        del self._missing[place]
        self._turned.set()
        _log.info("engine_ready", engine=place)

    async def _fault(self, backend: Backend) -> str:
        """Ask once; why there are no scores, empty if there are."""
        try:
            prompt = backend.prompter.build(Post(id="own", text=_TEXT))
            if isinstance(prompt, ItemFailure):
                return f"a prompt for a short text does not fit: {prompt.detail}"
            answers = await backend.engine.score([prompt], timeout_s=self._settings.score_timeout_s)
        except EngineUnavailable as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must neither end the worker nor the asking
            _log.error("engine_fault", call="score", where=frames(error))
            return f"a fault in the engine's client ({type(error).__name__})"
        return _told(believed(answers[0]) if len(answers) == 1 else None)

    async def __aenter__(self) -> Self:
        self._asking = [
            asyncio.create_task(self._ask(_place(name), backend), name=f"first answer of {_place(name)}")
            for name, backend in self._backends.items()
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)


def _place(adapter: str | None) -> str:
    return "engine" if adapter is None else f"engine.adapters.{adapter}"


def _told(answer: Scored | ItemFailure | None) -> str:
    """What an answer says of the engine; empty if it is scores."""
    if isinstance(answer, Scored):
        return ""
    if answer is None:
        return _NO_SCORES
    advice = {FailureCode.LABELS_MISSING: _ANOTHER_MODEL, FailureCode.TIMED_OUT: _TOO_SLOW}
    return f"{advice.get(answer.code, _NO_SCORES)} ({answer.code.value}: {answer.detail})"
