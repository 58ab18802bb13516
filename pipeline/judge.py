"""The judge: asks the engine for scores and explanations, and waits for it where it is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import structlog

from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import ItemFailure
from sluicegate.pipeline.logs import frames
from sluicegate.pipeline.quarantine import Quarantine
from sluicegate.schemas import FailureCode

if TYPE_CHECKING:
    from sluicegate.engines.protocol import Engine, Explanation, Scored
    from sluicegate.pipeline.instruments import Instruments
    from sluicegate.pipeline.judgement import Judgement
    from sluicegate.pipeline.settings import EngineSettings

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")
Call = Literal["score", "explain"]
Ask = Callable[[Sequence["Judgement"]], Awaitable[list[_T | ItemFailure]]]

_RETRY_FIRST_S, _RETRY_MOST_S = 0.2, 5.0  # an absent engine is asked again after so long
_SUSPICIOUS = 3  # the first may be chance, the second a slow restart
LEAST_LABEL_MASS = 0.5
"""Below, the model would rather write something else than any label, and what is left of the three says nothing:
another model than the bundle's, or one that a text has led astray."""
_BESIDE_THE_LABELS = ItemFailure(FailureCode.LABELS_MISSING, "the labels have too little of the probability")
_ALONE_TRIES = 2  # one crash with nothing else in work may still be chance


class Judge:
    """Turns judgements into findings. Calls may overlap.

    ``on_absence`` is called each time the engine is found away, so that whoever waits for a
    judgement, in hand or not, may stop waiting.
    """

    def __init__(
        self,
        engine: Engine,
        settings: EngineSettings,
        instruments: Instruments,
        *,
        on_absence: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._holds = instruments.holds
        self._busy = instruments.busy
        self._metrics = instruments.metrics
        self._clock = instruments.clock
        self._tracing = instruments.tracing
        self._on_absence = on_absence
        self._quarantine = Quarantine()

    async def score(self, judgements: Sequence[Judgement]) -> dict[Judgement, ItemFailure]:
        """Set the scores of each judgement; return those that failed.

        A judgement that is in neither was abandoned by everybody who waited for it.
        """
        failed: dict[Judgement, ItemFailure] = {}
        for judgement, answer in (await self._ask("score", self._score_once, judgements)).items():
            if isinstance(answer, ItemFailure):
                failed[judgement] = answer
            elif answer.label_mass is not None and answer.label_mass < LEAST_LABEL_MASS:
                failed[judgement] = _BESIDE_THE_LABELS
            else:
                judgement.scores = answer.scores
                self._metrics.prompt_tokens.inc(len(judgement.prompt.token_ids))
                self._metrics.cached_tokens.inc(answer.cached_tokens)
        return failed

    async def explain(self, judgements: Sequence[Judgement]) -> dict[Judgement, Explanation | ItemFailure]:
        """Explain scored judgements."""
        return await self._ask("explain", self._explain_once, judgements)

    async def _score_once(self, items: Sequence[Judgement]) -> list[Scored | ItemFailure]:
        timeout_s = self._settings.score_timeout_s
        return await self._engine.score([item.prompt for item in items], timeout_s=timeout_s)

    async def _explain_once(self, items: Sequence[Judgement]) -> list[Explanation | ItemFailure]:
        prompts = [item.prompt for item in items]
        severities = [item.scores.severity for item in items if item.scores is not None]
        timeout_s = self._settings.explain_timeout_s
        return await self._engine.explain(prompts, severities, timeout_s=timeout_s)

    async def _ask(
        self, call: Call, ask: Ask[_T], items: Sequence[Judgement]
    ) -> dict[Judgement, _T | ItemFailure]:
        """Ask until there is an answer. While the engine is away the stream holds.

        An engine that comes back and goes away again with the same items is killed by one of them:
        they are asked about alone, in ever smaller groups, until that one is found.
        """
        strikes = 0
        with self._holds.waiter("engine") as declare_hold:
            while items := [item for item in items if item.live]:
                try:
                    async with self._quarantine.among():
                        return await self._try(call, ask, items)
                except EngineUnavailable as error:
                    declare_hold(str(error))
                    strikes += 1
                await self._wait_for_health(items)
                if strikes >= _SUSPICIOUS:
                    async with self._quarantine.alone():
                        return await self._isolate(call, ask, items)
        return {}

    async def _isolate(
        self, call: Call, ask: Ask[_T], items: Sequence[Judgement], tries: int = _ALONE_TRIES
    ) -> dict[Judgement, _T | ItemFailure]:
        """Find the item that ends the engine, with nothing else in work; its neighbours get their answers."""
        await self._wait_for_health(items)
        items = [item for item in items if item.live]
        if not items:
            return {}
        try:
            return await self._try(call, ask, items)
        except EngineUnavailable:
            if len(items) > 1:
                middle = len(items) // 2
                first = await self._isolate(call, ask, items[:middle])
                return first | await self._isolate(call, ask, items[middle:])
            if tries > 1:
                return await self._isolate(call, ask, items, tries - 1)
            answers = [ItemFailure(FailureCode.ENGINE_CRASH, f"the engine went away {_ALONE_TRIES} times")]
            self._report(call, items, answers)
            return {items[0]: answers[0]}

    async def _wait_for_health(self, items: Sequence[Judgement]) -> None:
        """Return once the engine answers a request of our own, or nobody waits for these items any more."""
        pause_s = _RETRY_FIRST_S
        while any(item.live for item in items):
            self._on_absence()
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 2, _RETRY_MOST_S)
            if (await self._engine.health()).ok:
                return

    async def _try(
        self, call: Call, ask: Ask[_T], items: Sequence[Judgement]
    ) -> dict[Judgement, _T | ItemFailure]:
        """Ask once.

        Raises:
            EngineUnavailable: The engine is away; nothing was answered.
        """
        started = self._clock.monotonic()
        try:
            posts = (member.arrival for item in items for member in item.members)
            with self._busy.work(len(items)), self._tracing.batch(call, posts):
                answers: list[Any] = await ask(items)
        except EngineUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the partition
            # Not log.exception: an exception's message may quote its input.
            _log.error("engine_fault", call=call, where=frames(error))
            answers = [ItemFailure(FailureCode.INTERNAL, type(error).__name__)] * len(items)
        finally:
            self._metrics.engine_seconds.labels(call).inc(self._clock.monotonic() - started)
        if len(answers) != len(items):
            answers = [ItemFailure(FailureCode.UNPARSABLE, f"{len(answers)} answers")] * len(items)
        self._report(call, items, answers)
        return dict(zip(items, answers, strict=True))

    def _report(self, call: str, items: Sequence[Judgement], answers: Sequence[Any]) -> None:
        for item, answer in zip(items, answers, strict=True):
            if isinstance(answer, ItemFailure):
                _log.warning(
                    "item_failed",
                    call=call,
                    code=answer.code.value,
                    detail=answer.detail,
                    posts=[member.arrival.post.id for member in item.members[:8]],
                )
