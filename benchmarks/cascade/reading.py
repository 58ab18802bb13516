"""What the small guard says of labelled rows, read as a worker has it read them. What it said is kept: a stopped run goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shared.judging import Store, ask
from sluicegate.engines.adapt.evaluate.labelled_rows import draw
from sluicegate.engines.screen import GuardManifest, GuardScreen, ScreenAnswer
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.adapt.data.rows import Row
    from sluicegate.engines.backends import Backend
    from sluicegate.engines.protocol import EngineInfo, ItemFailure, Prompt, Scored
    from sluicegate.engines.screen import ScreenGroup

SEED = 0
_STEP = 250
"""Rows that are drawn at a time: a run that was stopped leaves a smaller sample of the same kind."""
_CHUNK = 256
_LIMITS = LengthLimits(1 << 20, 1)
_CALL_S = 600.0


def post_of(row: Row) -> Post:
    """What a producer would have sent."""
    return Post(id=row.id, text=row.text, kind=row.kind, context=row.context, language=row.language)


class Remembered:
    """An engine that says again what the small guard said."""

    def __init__(self, info: EngineInfo, store: Store) -> None:
        self.info = info
        self._store = store

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        """What is kept of each prompt; a failure where nothing is."""
        del timeout_s
        return [self._store.of(prompt) for prompt in prompts]

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"a kept answer cannot be asked for {name}")


class Reader:
    """The small guard over labelled rows.

    Args:
        backend: Its engine, which is asked for what is not kept.
        store: What it said.
    """

    def __init__(self, backend: Backend, store: Store) -> None:
        self.backend = backend
        self._store = store
        self._segmenter = Segmenter(backend.prompter, folds=True, passages=backend.passages)

    async def read(self, rows: Sequence[Row], count: int) -> list[Row]:
        """Have it score a sample, and return the sample."""
        for size in (*range(_STEP, count, _STEP), count):
            taken = draw(rows, size, seed=SEED)
            for first in range(0, len(taken), _CHUNK):
                # As the screen shows them: without language and region.
                posts = [
                    post_of(row).model_copy(update={"language": None})
                    for row in taken[first : first + _CHUNK]
                ]
                built = self._segmenter.build_many(posts, [_LIMITS] * len(posts))
                parts = [part for one in built if isinstance(one, Parts) for part in one.parts]
                await ask(self.backend, [part.prompt for part in parts], self._store, f"{size:,} rows")
        return draw(rows, count, seed=SEED)

    async def answers(
        self, rows: Sequence[Row], groups: Sequence[ScreenGroup], *, calibrated: bool = True
    ) -> list[ScreenAnswer | None]:
        """What a screen of these groups says of rows, by the product's own path."""
        engine = Remembered(self.backend.engine.info, self._store)
        digest = engine.info.digest
        screen = GuardScreen(
            GuardManifest(
                name="small",
                guard=digest,
                backend=engine.info.backend,
                data=digest,
                rows=1,
                groups=tuple(groups),
            ),
            engine,
            self._segmenter,
            calibration=self.backend.calibration if calibrated else None,
            timeout_s=_CALL_S,
            clock=time.monotonic,
        )
        return await screen.ask([post_of(row) for row in rows])
