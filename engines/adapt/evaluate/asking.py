"""Asking: many prompts through an engine, whatever it does meanwhile; each gets an answer or a failure of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from sluicegate.engines.adapt.evaluate.errors import EvaluationError
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import ItemFailure
from sluicegate.schemas import FailureCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sluicegate.engines.protocol import Engine

T = TypeVar("T")
Q = TypeVar("Q")

_CALLS = 2  # one is computed while the next is on its way
_TRIES = 3  # of a call that the engine goes away under, before its items are asked one by one
_PAUSE_S = 0.5
_PATIENCE_S = 120.0  # a large model's server needs that long to start again
_CRASHED = ItemFailure(FailureCode.ENGINE_CRASH, "the engine went away each time")


class Asking:
    """Asks an engine in micro-batches.

    Args:
        engine: Entered.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def all(
        self,
        items: Sequence[Q],
        ask: Callable[[Sequence[Q]], Awaitable[list[T | ItemFailure]]],
        answered: Callable[[Q, T | ItemFailure], None],
    ) -> None:
        """Ask for every item; ``answered`` is called once for each, in any order.

        An item under which the engine goes away again and again is asked alone, after all others,
        and answers ``engine_crash`` if it still does.

        Raises:
            EvaluationError: The engine stays away, or answers with another number of items.
        """
        size = self._engine.info.saturating_prompts
        batches = [items[at : at + size] for at in range(0, len(items), size)]
        batches.reverse()
        suspects: list[Q] = []

        async def work() -> None:
            """Take batches until none is left; those that nobody answered are suspects."""
            while batches:
                batch = batches.pop()
                answers = await self._tried(batch, ask)
                if answers is None:
                    suspects.extend(batch)
                    continue
                for item, answer in zip(batch, answers, strict=True):
                    answered(item, answer)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_CALLS):
                    group.create_task(work())
        except* EvaluationError as faults:
            raise faults.exceptions[0] from None
        for item in suspects:
            answers = await self._tried([item], ask)
            answered(item, _CRASHED if answers is None else answers[0])

    async def _tried(
        self, batch: Sequence[Q], ask: Callable[[Sequence[Q]], Awaitable[list[T | ItemFailure]]]
    ) -> list[T | ItemFailure] | None:
        """The answers; None if the engine went away under every try."""
        tries = 0
        while tries < _TRIES:
            try:
                answers = await ask(batch)
            except EngineUnavailable as error:
                tries += not error.refused
                await self._wait(str(error))
                continue
            if len(answers) != len(batch):
                raise EvaluationError(
                    f"the engine answered {len(answers)} of {len(batch)} prompts in one call; it breaks the protocol"
                )
            return answers
        return None

    async def _wait(self, why: str) -> None:
        """Until the engine is well.

        Raises:
            EvaluationError: It stays away.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_S
        while loop.time() < deadline:
            await asyncio.sleep(_PAUSE_S)
            if (await self._engine.health()).ok:
                return
        raise EvaluationError(
            f"the engine is away ({why[:200]}); what was judged is kept: run the same command again to go on"
        )
