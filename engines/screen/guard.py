"""A small guard as a screen: it reads a post first, and answers the posts that it is sure of.

How sure its scores are was measured beforehand, on held-out rows: ``guard.json`` says it, as a screen's manifest does.
The guard is an engine like any other, with a bundle of its own. This module needs no library beyond the engine's.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from sluicegate.engines.bundle import Calibration, Sha256
from sluicegate.engines.errors import ScreenError
from sluicegate.engines.protocol import Engine, EngineInfo, Prompt, Scored, believed
from sluicegate.engines.screen.manifest import MANIFEST_BYTES, ScreenGroup
from sluicegate.engines.screen.model import ScreenAnswer, group_of, is_written_in, side_of
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.schemas import Post, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


GUARD: Final = "guard.json"
_AGAIN: Final = "measure the guard again with `sluicegate adapt screen-guard`"
_MOST_PARTS = 2
"""A post and its folded form, each whole: of what is longer the large guard reads every part."""
_PAUSE_S = 5.0
"""After a fault the small guard is left alone for so long: no chunk of posts waits for one that is away."""


class GuardManifest(BaseModel):
    """Content of ``guard.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal["1.0"] = "1.0"
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    guard: Sha256
    """Digest of the bundle whose scores were measured."""
    data: Sha256
    """Of the rows that it was measured on."""
    rows: int = Field(ge=1)
    groups: Annotated[tuple[ScreenGroup, ...], Field(max_length=1024)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({(one.kind, one.language) for one in self.groups}) < len(self.groups):
            raise ValueError("groups: two are of one kind and language; keep one")
        return self

    @property
    def digest(self) -> str:
        """``sha256:…`` over the file in canonical form; it holds the guard's own digest."""
        canonical = orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(canonical).hexdigest()}"

    def content(self) -> bytes:
        """The file."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n"

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it from its folder.

        Raises:
            ScreenError: Which field is wrong, and the fix.
        """
        try:
            with (folder / GUARD).open("rb") as file:
                raw = file.read(MANIFEST_BYTES + 1)
        except OSError as error:
            raise ScreenError(f"{folder / GUARD}: cannot be read ({error.strerror}); {_AGAIN}") from error
        if len(raw) > MANIFEST_BYTES:
            raise ScreenError(f"{folder / GUARD}: has more than {MANIFEST_BYTES} bytes; {_AGAIN}")
        try:
            return cls.model_validate_json(raw, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))[:120] or "document"
            said = first["msg"].removeprefix("Value error, ")[:200]
            raise ScreenError(f"{GUARD}: {where}: {said}; {_AGAIN}") from None


class GuardScreen:
    """Asks a small guard first. One event loop. Its engine is entered and left by the caller.

    Args:
        manifest: How sure its scores are.
        engine: The small guard.
        segmenter: Makes its prompts.
        calibration: Of its bundle: what the policy sees. The manifest speaks of the scores before it.
        timeout_s: Seconds for a call; what has no answer by then goes to the large guard.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        manifest: GuardManifest,
        engine: Engine,
        segmenter: Segmenter,
        *,
        calibration: Calibration | None,
        timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.manifest = manifest
        self.digest = manifest.digest
        self.guard: EngineInfo | None = engine.info
        self.calibrated = calibration is not None
        self._engine = engine
        self._segmenter = segmenter
        self._calibration = calibration
        self._timeout_s = timeout_s
        self._clock = clock
        self._rests_until = 0.0
        self._groups = {(one.kind, one.language): one for one in manifest.groups}

    async def ask(self, posts: Sequence[Post]) -> list[ScreenAnswer | None]:
        """One answer for each post, in order; None where the large guard has to be asked.

        None if the post names no language, was not measured in its language and kind, has context, is too long, hides
        something or is not written as that language is; if the small guard failed on it; or if it is not sure.

        Raises:
            EngineUnavailable: The small guard is away. For some seconds every answer is None then.
        """
        found: list[ScreenAnswer | None] = [None] * len(posts)
        wanted = {
            at: group
            for at, post in enumerate(posts)
            if (group := group_of(post, self._groups)) is not None and is_written_in(post.text, group.scripts)
        }
        if not wanted or self._clock() < self._rests_until:
            return found
        prompts = await asyncio.to_thread(self._prompts, [posts[at] for at in wanted])
        asked = [(at, prompt) for at, its in zip(wanted, prompts, strict=True) for prompt in its]
        try:
            answers = await self._engine.score([prompt for _, prompt in asked], timeout_s=self._timeout_s)
        except Exception:
            self._rests_until = self._clock() + _PAUSE_S
            raise
        if len(answers) != len(asked):
            raise ScreenError("the small guard gave not one answer for each prompt")
        scores: dict[int, list[Scores | None]] = {}
        for (at, _), answer in zip(asked, map(believed, answers), strict=True):
            scores.setdefault(at, []).append(answer.scores if isinstance(answer, Scored) else None)
        for at, its in scores.items():
            found[at] = self._answer(posts[at], wanted[at], its)
        return found

    def _prompts(self, posts: Sequence[Post]) -> list[list[Prompt]]:
        """The prompts of each post; none of one that is long for the small guard."""
        limits = [LengthLimits(1 << 20, 1)] * len(posts)
        built = self._segmenter.build_many(posts, limits)
        return [
            [part.prompt for part in one.parts]
            if isinstance(one, Parts) and len(one.parts) <= _MOST_PARTS
            else []
            for one in built
        ]

    def _answer(self, post: Post, group: ScreenGroup, parts: Sequence[Scores | None]) -> ScreenAnswer | None:
        """What it says of a post by the part that it finds least safe; None if it failed on any."""
        scores = [one for one in parts if one is not None]
        if len(scores) < len(parts):
            return None
        worst = min(scores, key=lambda one: one.safe)
        side = side_of(group, worst.safe, worst.unsafe)
        if side is None:
            return None
        if self._calibration is not None:
            worst = self._calibration.calibrated(worst, post.kind, post.language)
        return ScreenAnswer(worst, *side)
