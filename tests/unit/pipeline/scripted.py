"""An engine whose calls a test can count, break and hold up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile
from sluicegate.engines.errors import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.protocol import Explanation, ItemFailure, Scored


RULES = FakeProfile(rules={"[bad]": "unsafe", "[odd]": "controversial", "[good]": "safe"})


def post(number: int, text: str = "[good] hello", **fields: Any) -> dict[str, Any]:
    return {"id": f"p{number}", "text": f"{text} {number}", **fields}


class ScriptedEngine(FakeEngine):
    """A fake engine whose calls a test can count, break and hold up."""

    def __init__(self, profile: FakeProfile = RULES) -> None:
        super().__init__(profile)
        self.scored: list[int] = []
        self.explained: list[int] = []
        self.killed: list[int] = []
        self.away = 0
        self.killer: str | None = None
        self.fault: Exception | None = None
        self.drop_answer = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
        if self.away:
            self.away -= 1
            raise EngineUnavailable("nobody answers")
        if self.killer and any(self.killer in self._tokenizer.decode(prompt.token_ids) for prompt in prompts):
            self.killed.append(len(prompts))
            FakeEngine.lives += 1
            raise EngineUnavailable("it crashed")
        if self.fault is not None:
            raise self.fault
        self.scored.append(len(prompts))
        await self.gate.wait()
        answers = await super().score(prompts, timeout_s=timeout_s)
        return answers[:-1] if self.drop_answer else answers

    async def explain(
        self, prompts: Sequence[Any], severities: Sequence[Any], *, timeout_s: float, texts: Any = None
    ) -> list[Explanation | ItemFailure]:
        if prompts:
            self.explained.append(len(prompts))
        return await super().explain(prompts, severities, timeout_s=timeout_s, texts=texts)
