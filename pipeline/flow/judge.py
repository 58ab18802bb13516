"""The judge: asks one adapter's engine for scores and explanations, as the state of its server allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Literal, Protocol, TypeVar

import structlog

from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import (
    Engine,
    Explanation,
    Generation,
    Health,
    ItemFailure,
    Prompt,
    Scored,
    believed,
)
from sluicegate.pipeline.flow.adapter_state import NO_ANSWER, Availability, CallOutcome, told_by
from sluicegate.pipeline.flow.depth import Depth
from sluicegate.pipeline.flow.server_state import Permit
from sluicegate.pipeline.flow.servers import Server, prompt_name
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.records import InWork
from sluicegate.pipeline.settings.tree import EngineSettings
from sluicegate.schemas import FailureCode, Post, Scores, Severity

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Asker(InWork, Protocol):
    """A post that waits for an answer of the engine."""

    @property
    def post(self) -> Post:
        """That post."""
        ...


class Question(Protocol):
    """One prompt that the engine is asked about, for every post that waits for its answer."""

    key: bytes
    prompt: Prompt
    tokens: int
    explained_as: Severity | None
    in_text: bool
    sent_at: float | None

    @property
    def live(self) -> bool:
        """False once nobody waits for the answer any more."""
        ...

    @property
    def posts(self) -> Sequence[Asker]:
        """Who waits for it; a post that has several parts may come several times."""
        ...

    def note_scores(self, scores: Scores) -> None:
        """Hear at once what the engine says of it: the rest may be asked one at a time, for long."""
        ...


_Q = TypeVar("_Q", bound=Question)
Call = Literal["score", "explain"]
_CALLS: tuple[Call, ...] = ("score", "explain")
Ask = Callable[[Sequence["Question"]], Awaitable[list[_T | ItemFailure]]]

_LOOK_AGAIN_S = (
    0.2  # a caller that waits for the engine sees within this time that nobody waits for the answer any more
)
_POISON = ItemFailure(FailureCode.ENGINE_CRASH, "the engine ended by it within the last ten minutes")
_SET_ASIDE = ItemFailure(FailureCode.ENGINE_UNAVAILABLE, "the engine seems to end by it, and cannot tell")
_ASIDE = (
    "the engine seems to end by a prompt, and does not tell whether anything else was in its work: "
    "that prompt waits, up to its tenant's max_wait_seconds"
)


class Judge:
    """Turns judgements into findings. Calls may overlap; the state of the engine's server admits each of them.

    Args:
        engine: One adapter's.
        settings: Deadlines, and when the engine counts as mute.
        instruments: What watches.
        server: Shared by the judges whose engines are one server.
        adapter: Its name; None for the engine's own.
        turned: Told when the adapter is up, away or on trial.
        depth: Learns from every answer.
        freed: Told when a call waits that others may overtake, so that it takes no room from them.
    """

    def __init__(  # noqa: PLR0913 - all that it watches and tells
        self,
        engine: Engine,
        settings: EngineSettings,
        instruments: Instruments,
        server: Server,
        *,
        adapter: str | None = None,
        turned: Callable[[], None] = lambda: None,
        depth: Depth | None = None,
        freed: Callable[[], None] = lambda: None,
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
        self._server = server
        self._state = server.state
        self._freed = freed
        self._aside: dict[object, Sequence[Question]] = {}
        self.adapter_state = server.state.enrol(
            adapter,
            mute_calls=settings.circuit_mute_calls,
            first_pause_s=settings.circuit_pause_s,
            on_change=self._stands,
        )
        """Whether this adapter is up, away or on trial; to be read."""

    @property
    def aside(self) -> Collection[Sequence[Question]]:
        """The calls of which nothing is left but suspects that other workers keep back, each with all its prompts: others overtake it."""
        return self._aside.values()

    def keeps_back(self, judgement: Question) -> bool:
        """True while this was sent and is not in the engine's hands: suspects are asked, or it is set aside."""
        if judgement.sent_at is None:
            return False
        names = [prompt_name(call, judgement.key) for call in _CALLS]
        return any(map(self._state.keeps_back, names)) or self._state.prompts.is_aside(names[0])

    def is_suspect(self, judgement: Question) -> bool:
        """True if it may end the engine: what is asked in one call with it would wait for it."""
        names = (prompt_name(call, judgement.key) for call in _CALLS)
        return self._state.prompts.first_suspect(names) is not None

    def sets_aside(self, judgement: Question) -> bool:
        """True if it is not scored for now, since the engine seems to end by it."""
        return self._state.prompts.is_aside(prompt_name("score", judgement.key))

    async def wait_aside(self, judgement: Question) -> None:
        """Hold the stream, and say why, until a judgement is no longer set aside or nobody waits for it."""
        with self._holds.waiter("engine") as declare_hold:
            while judgement.live and self.sets_aside(judgement):
                declare_hold(self._named(_ASIDE))
                await self._clock.sleep(_LOOK_AGAIN_S)

    async def score(self, judgements: Sequence[_Q]) -> dict[_Q, ItemFailure]:
        """Tell each judgement its scores; return those that failed.

        A judgement that is in neither was abandoned by everybody who waited for it.
        """
        failed: dict[_Q, ItemFailure] = {}
        prompt_tokens = cached_tokens = 0
        for judgement, answer in (await self._ask("score", self._score_once, judgements)).items():
            if isinstance(answer, ItemFailure):
                failed[judgement] = answer
            else:
                prompt_tokens += len(judgement.prompt.token_ids)
                cached_tokens += answer.cached_tokens
        self._metrics.prompt_tokens.inc(prompt_tokens)
        self._metrics.cached_tokens.inc(cached_tokens)
        return failed

    async def explain(self, judgements: Sequence[_Q]) -> dict[_Q, Explanation | ItemFailure]:
        """Explain scored judgements."""
        return await self._ask("explain", self._explain_once, judgements)

    async def _score_once(self, items: Sequence[Question]) -> list[Scored | ItemFailure]:
        timeout_s = self._settings.score_timeout_s
        answers = await self._engine.score([item.prompt for item in items], timeout_s=timeout_s)
        believable = [believed(answer) for answer in answers]
        if len(answers) == len(items):
            for item, answer in zip(items, believable, strict=True):
                if isinstance(answer, Scored):
                    item.note_scores(answer.scores)
        return believable

    async def _explain_once(self, items: Sequence[Question]) -> list[Explanation | ItemFailure]:
        prompts = [item.prompt for item in items]
        severities = [item.explained_as for item in items if item.explained_as is not None]
        timeout_s, texts = self._settings.explain_timeout_s, [item.in_text for item in items]
        return await self._engine.explain(prompts, severities, timeout_s=timeout_s, texts=texts)

    async def _ask(self, call: Call, ask: Ask[_T], items: Sequence[_Q]) -> dict[_Q, _T | ItemFailure]:
        """Ask until there is an answer for each that is live and not set aside. While the engine is away the stream holds."""
        names = {item: prompt_name(call, item.key) for item in items}
        answers: dict[_Q, _T | ItemFailure] = {}
        visitor = object()
        try:
            with self._holds.waiter("engine") as declare_hold:
                while open_now := self._open(call, names, answers):
                    if not self._state.met:
                        await self._server.meet(self._engine)
                    permit = self._state.admit(visitor, self._adapter, [names[item] for item in open_now])
                    is_suspect = self._state.prompts.is_suspect
                    if (
                        permit is None
                        and self._state.goes_on
                        and all(is_suspect(names[one]) for one in open_now)
                    ):
                        self._step_aside(visitor, items)
                    else:
                        self._aside.pop(visitor, None)
                    if permit is None:
                        await self._wait(declare_hold)
                        continue
                    try:
                        asked = [item for item in open_now if names[item] in permit.keys]
                        answers |= await self._try(permit, call, ask, asked)
                    except EngineUnavailable:
                        continue
        finally:
            self._aside.pop(visitor, None)
            self._state.leave(visitor)
            self._server.changed()
        return answers

    def _step_aside(self, visitor: object, items: Sequence[Question]) -> None:
        is_new = visitor not in self._aside
        self._aside[visitor] = items
        if is_new:
            self._freed()

    def _open(self, call: Call, names: dict[_Q, str], answers: dict[_Q, _T | ItemFailure]) -> list[_Q]:
        """What is still to be asked. Poison is answered here; what is set aside is left out."""
        prompts = self._state.prompts
        left = [item for item in names if item not in answers and item.live]
        if prompts.answers_for_none:
            return left
        poison = [item for item in left if prompts.is_poison(names[item])]
        aside = [item for item in left if prompts.is_aside(names[item]) and item not in poison]
        for found, failure in ((poison, _POISON), (aside if call == "explain" else [], _SET_ASIDE)):
            answers.update(dict.fromkeys(found, failure))
            self._report(call, found, [failure] * len(found))
        return [item for item in left if item not in answers and item not in aside]

    async def _try(
        self, permit: Permit, call: Call, ask: Ask[_T], items: Sequence[_Q]
    ) -> dict[_Q, _T | ItemFailure]:
        """Ask once, with the server's permission.

        Raises:
            EngineUnavailable: The engine is away; nothing was answered.
        """
        outcome, reason, refused, left = CallOutcome.NOTHING, "", False, permit.keys
        failed: tuple[str, ...] = ()
        alone, started = not self._busy.in_work, self._clock.monotonic()
        self._server.note()
        try:
            answers = await self._ask_once(call, ask, items)
            outcome, left = told_by(answers), ()
            if any_failed := any(isinstance(answer, ItemFailure) for answer in answers):
                left = _failing(call, items, answers, (FailureCode.TIMED_OUT,))
                failed = _failing(call, items, answers, NO_ANSWER)
        except EngineUnavailable as error:
            outcome, reason, refused, left = CallOutcome.AWAY, str(error), error.refused, ()
            raise
        finally:
            self._state.report(permit, outcome, reason=reason, refused=refused, left=left, failed=failed)
            self._server.note()
            self._server.changed()
        if outcome is CallOutcome.ANSWERED and self._depth is not None:
            # After the report: a turn of the state forgets all.
            now, tokens = self._clock.monotonic(), computed_tokens(items, answers)
            self._depth.answered(now, len(items), now - started, alone=alone, tokens=tokens)
        if any_failed:
            self._report(call, items, answers)
        return dict(zip(items, answers, strict=True))

    async def _wait(self, declare_hold: Callable[[str], None]) -> None:
        """Declare a hold; ask for the engine's health if it is time, else wait until something turns."""
        declare_hold(self._named(self._state.reason(self._adapter)))
        self._server.tend()
        if self._state.begin_asking(self._adapter):
            health, generation = Health(ok=False), None
            try:
                health = await self._engine.health()
                generation = await self._generation(health)
            finally:
                self._state.asked(
                    self._adapter, healthy=health.ok, generation=generation, reason=health.detail
                )
                self._server.note()
                self._server.changed()
        else:
            until = self._clock.monotonic() + _LOOK_AGAIN_S
            await self._clock.wait(self._server.turned, until=until)

    async def _generation(self, health: Health) -> Generation | None:
        return await self._engine.generation() if health.ok else None

    def _stands(self, state: Availability, reason: str) -> None:
        self._metrics.circuit_is(state, self._adapter)
        log = _log.info if state is Availability.UP else _log.warning
        named = {"adapter": self._adapter} if self._adapter is not None else {}
        log("engine_circuit", state=state.value, **named, **({"reason": reason} if reason else {}))
        self._server.changed()
        self._tell()

    def _named(self, reason: str) -> str:
        return reason if self._adapter is None else f"adapter {self._adapter}: {reason}"

    async def _ask_once(self, call: Call, ask: Ask[_T], items: Sequence[Question]) -> list[Any]:
        started = self._clock.monotonic()
        try:
            posts = (post for item in items for post in item.posts)
            with self._busy.work(len(items)), self._tracing.batch(call, posts):
                answers: list[Any] = await ask(items)
        except EngineUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the partition
            # Not log.exception: an exception's message may quote its input.
            _log.error("engine_fault", call=call, where=frames(error))
            return [ItemFailure(FailureCode.INTERNAL, type(error).__name__)] * len(items)
        finally:
            self._metrics.engine_called(call, self._clock.monotonic() - started)
        if len(answers) != len(items):
            return [ItemFailure(FailureCode.UNPARSABLE, f"{len(answers)} answers")] * len(items)
        return answers

    def _report(self, call: str, items: Sequence[Question], answers: Sequence[Any]) -> None:
        for item, answer in zip(items, answers, strict=True):
            if isinstance(answer, ItemFailure):
                _log.warning(
                    "item_failed",
                    call=call,
                    code=answer.code.value,
                    detail=answer.detail,
                    posts=[asker.post.id for asker in item.posts[:8]],
                )


def _failing(
    call: Call, items: Sequence[Question], answers: Sequence[object], codes: Collection[FailureCode]
) -> tuple[str, ...]:
    """The prompts whose answer is one of these failures."""
    return tuple(
        prompt_name(call, item.key)
        for item, answer in zip(items, answers, strict=True)
        if isinstance(answer, ItemFailure) and answer.code in codes
    )


def computed_tokens(judgements: Sequence[Question], answers: Sequence[object]) -> int:
    """Prompt tokens that were read for scores: not those that a cache of prefixes served, or may have served untold."""
    computed = 0
    for one, answer in zip(judgements, answers, strict=True):
        if isinstance(answer, Scored):
            prompt = one.prompt
            computed += max(1, len(prompt.token_ids) - max(answer.cached_tokens, prompt.shared_tokens))
    return computed
