"""The judge: asks one engine for scores and explanations, through the circuit breaker that all its calls share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import structlog

from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.label_mass import believed
from sluicegate.engines.protocol import Health, ItemFailure
from sluicegate.pipeline.flow.circuit import Circuit, CircuitState, Outcome, told_by
from sluicegate.pipeline.flow.judgement import computed_tokens, keep_out
from sluicegate.pipeline.flow.quarantine import Killers, Quarantine
from sluicegate.pipeline.observe.logs import frames
from sluicegate.schemas import FailureCode

if TYPE_CHECKING:
    from sluicegate.engines.protocol import Engine, Explanation, Scored
    from sluicegate.pipeline.flow.circuit import Leave
    from sluicegate.pipeline.flow.depth import Depth
    from sluicegate.pipeline.flow.judgement import Judgement
    from sluicegate.pipeline.observe.instruments import Instruments
    from sluicegate.pipeline.settings.tree import EngineSettings

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")
Call = Literal["score", "explain"]
Ask = Callable[[Sequence["Judgement"]], Awaitable[list[_T | ItemFailure]]]

_LOOK_AGAIN_S = (
    0.2  # whoever waits for the engine sees within so long that nobody waits for the answer any more
)
_SUSPICIOUS = 3  # the first may be chance, the second a slow restart
_ALONE_TRIES = 2  # one crash with nothing else in work may still be chance
_KNOWN_KILLER = ItemFailure(FailureCode.ENGINE_CRASH, "it did so a few minutes ago")


class Judge:
    """Turns judgements into findings. Calls may overlap; all of them pass one circuit breaker.

    Args:
        engine: One adapter's.
        settings: Deadlines and the circuit's.
        instruments: What watches.
        adapter: Its name; None for the engine's own.
        quarantine: Shared by the judges whose engines are one server.
        turned: Told when the circuit breaker takes another state.
        depth: Learns from every answer.
    """

    def __init__(
        self,
        engine: Engine,
        settings: EngineSettings,
        instruments: Instruments,
        *,
        adapter: str | None = None,
        quarantine: Quarantine | None = None,
        turned: Callable[[], None] = lambda: None,
        depth: Depth | None = None,
    ) -> None:
        self._adapter = adapter
        self._tell = turned
        self._depth = depth
        self._engine = engine
        self._settings = settings
        self._holds = instruments.holds
        self._busy = instruments.busy
        self._metrics = instruments.metrics
        self._clock = instruments.clock
        self._tracing = instruments.tracing
        self._quarantine = quarantine or Quarantine()
        self._killers = Killers(self._clock.monotonic)
        self._turned = asyncio.Event()
        self._left_at: float | None = None
        self.answered_at = float("-inf")
        """Monotonic seconds of the last call that the engine answered."""
        self._circuit = Circuit(
            mute_calls=settings.circuit_mute_calls,
            first_pause_s=settings.circuit_pause_s,
            clock=self._clock.monotonic,
            on_change=self._circuit_turned,
        )

    @property
    def engine_at_work(self) -> bool:
        """False while the circuit breaker is open or half-open."""
        return self._circuit.closed

    @property
    def away_since(self) -> float | None:
        """Monotonic seconds at which the engine left its work; None while it is there, or on trial."""
        return self._left_at if self._circuit.state is CircuitState.OPEN else None

    async def score(self, judgements: Sequence[Judgement]) -> dict[Judgement, ItemFailure]:
        """Set the scores of each judgement; return those that failed.

        A judgement that is in neither was abandoned by everybody who waited for it.
        """
        failed: dict[Judgement, ItemFailure] = {}
        prompt_tokens = cached_tokens = 0
        for judgement, answer in (await self._ask("score", self._score_once, judgements)).items():
            finding = believed(answer)
            if isinstance(finding, ItemFailure):
                failed[judgement] = finding
            else:
                judgement.scores = finding.scores
                prompt_tokens += len(judgement.prompt.token_ids)
                cached_tokens += finding.cached_tokens
        self._metrics.prompt_tokens.inc(prompt_tokens)
        self._metrics.cached_tokens.inc(cached_tokens)
        return failed

    async def explain(self, judgements: Sequence[Judgement]) -> dict[Judgement, Explanation | ItemFailure]:
        """Explain scored judgements."""
        return await self._ask("explain", self._explain_once, judgements)

    async def _score_once(self, items: Sequence[Judgement]) -> list[Scored | ItemFailure]:
        timeout_s = self._settings.score_timeout_s
        return await self._engine.score([item.prompt for item in items], timeout_s=timeout_s)

    async def _explain_once(self, items: Sequence[Judgement]) -> list[Explanation | ItemFailure]:
        prompts = [item.prompt for item in items]
        severities = [item.explained_as for item in items if item.explained_as is not None]
        timeout_s = self._settings.explain_timeout_s
        return await self._engine.explain(prompts, severities, timeout_s=timeout_s)

    async def _ask(
        self, call: Call, ask: Ask[_T], items: Sequence[Judgement]
    ) -> dict[Judgement, _T | ItemFailure]:
        """Ask until there is an answer. While the circuit is open the stream holds.

        An engine that comes back and goes away again with the same items is killed by one of them:
        they are asked about alone, in ever smaller groups, until that one is found.
        """
        known = [item for item in items if (call, item.key) in self._killers]
        answers: dict[Judgement, _T | ItemFailure] = dict.fromkeys(known, _KNOWN_KILLER)
        self._report(call, known, [_KNOWN_KILLER] * len(known))
        items = [item for item in items if item not in answers]
        strikes = 0
        with self._holds.waiter("engine") as declare_hold:
            while items := [item for item in items if item.live]:
                try:
                    keep_out(items, kept_out=self._quarantine.closed)
                    async with self._quarantine.among():
                        keep_out(items, kept_out=False)
                        items = [item for item in items if item.live]
                        if items and (leave := self._circuit.admit()):
                            return answers | await self._try(leave, call, ask, items)
                except EngineUnavailable as error:
                    strikes += not error.refused
                else:  # outside: whoever wants to be alone does not wait for another adapter's return
                    if items:
                        await self._wait_at_circuit(declare_hold)
                if strikes >= _SUSPICIOUS:
                    return answers | await self._isolate(call, ask, items, declare_hold)
        return answers

    async def _isolate(
        self,
        call: Call,
        ask: Ask[_T],
        items: Sequence[Judgement],
        declare_hold: Callable[[str], None],
    ) -> dict[Judgement, _T | ItemFailure]:
        """Find the item that ends the engine, with nothing else in work; its neighbours get their answers.

        Alone only while it asks: an adapter that does not come back keeps no other out.
        """
        tries = _ALONE_TRIES
        while items := [item for item in items if item.live]:
            try:
                if self._circuit.state is not CircuitState.OPEN:  # or the others would drain for nothing
                    async with self._quarantine.alone():
                        if leave := await self._admitted_if_well():
                            return await self._try(leave, call, ask, items)
            except EngineUnavailable as error:
                if error.refused:  # full just now: that condemns nobody
                    continue
            else:
                await self._wait_at_circuit(declare_hold)
                continue
            if len(items) > 1:
                middle = len(items) // 2
                first = await self._isolate(call, ask, items[:middle], declare_hold)
                return first | await self._isolate(call, ask, items[middle:], declare_hold)
            tries -= 1
            if not tries:
                self._killers.add((call, items[0].key))
                crash = ItemFailure(FailureCode.ENGINE_CRASH, f"the engine went away {_ALONE_TRIES} times")
                self._report(call, items, [crash])
                return {items[0]: crash}
        return {}

    async def _admitted_if_well(self) -> Leave | None:
        """Leave of the circuit, if the engine is healthy: one that another's text has just ended says nothing of this one's."""
        if (leave := self._circuit.admit()) is None:
            return None
        health = Health(ok=False)
        try:
            health = await self._engine.health()
        finally:
            if not health.ok:
                self._circuit.report(leave, Outcome.AWAY, health.detail)
        return leave if health.ok else None

    async def _try(
        self, leave: Leave, call: Call, ask: Ask[_T], items: Sequence[Judgement]
    ) -> dict[Judgement, _T | ItemFailure]:
        """Ask once, with leave of the circuit.

        Raises:
            EngineUnavailable: The engine is away; nothing was answered.
        """
        outcome, reason = Outcome.NOTHING, ""
        alone, started = not self._busy.in_work, self._clock.monotonic()
        try:
            answers = await self._ask_once(call, ask, items)
            outcome = told_by(answers)
            if outcome is Outcome.ANSWERED:
                self.answered_at = self._clock.monotonic()
        except EngineUnavailable as error:
            outcome, reason = Outcome.AWAY, str(error)
            raise
        finally:
            self._circuit.report(leave, outcome, reason)
        if (
            outcome is Outcome.ANSWERED and self._depth is not None
        ):  # after the report: a turn of the circuit forgets all
            now, tokens = self.answered_at, computed_tokens(items, answers)
            self._depth.answered(now, len(items), now - started, alone=alone, tokens=tokens)
        self._report(call, items, answers)
        return dict(zip(items, answers, strict=True))

    async def _wait_at_circuit(self, declare_hold: Callable[[str], None]) -> None:
        """Declare a hold; ask for the engine's health if it is time, else wait until the circuit turns."""
        declare_hold(self._named(self._circuit.reason))
        if self._circuit.begin_asking():
            healthy = False
            try:
                healthy = (await self._engine.health()).ok
            finally:
                self._circuit.asked(healthy=healthy)
        else:
            await self._clock.wait(self._turned, until=self._clock.monotonic() + _LOOK_AGAIN_S)

    def _circuit_turned(self, state: CircuitState, reason: str) -> None:
        if state is CircuitState.CLOSED:
            self._left_at = None
        elif self._left_at is None:
            self._left_at = self._clock.monotonic()
        self._metrics.circuit_is(state, self._adapter)
        log = _log.info if state is CircuitState.CLOSED else _log.warning
        named = {"adapter": self._adapter} if self._adapter is not None else {}
        log("engine_circuit", state=state.value, **named, **({"reason": reason} if reason else {}))
        self._turned.set()  # wakes all who wait now
        self._turned.clear()
        self._tell()

    def _named(self, reason: str) -> str:
        return reason if self._adapter is None else f"adapter {self._adapter}: {reason}"

    async def _ask_once(self, call: Call, ask: Ask[_T], items: Sequence[Judgement]) -> list[Any]:
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
            return [ItemFailure(FailureCode.INTERNAL, type(error).__name__)] * len(items)
        finally:
            self._metrics.engine_seconds.labels(call).inc(self._clock.monotonic() - started)
        if len(answers) != len(items):
            return [ItemFailure(FailureCode.UNPARSABLE, f"{len(answers)} answers")] * len(items)
        return answers

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
