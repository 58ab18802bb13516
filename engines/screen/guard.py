"""A small guard as a screen: it reads a post first, and answers the posts that it is sure of.

How sure its scores are was measured beforehand, on held-out rows: ``guard.json`` says it.
The guard is an engine like any other, with a bundle of its own. This module needs no library beyond the engine's.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from sluicegate.engines.bundle import Calibration, Sha256
from sluicegate.engines.errors import EngineUnavailable, ScreenError
from sluicegate.engines.protocol import Engine, EngineInfo, ItemFailure, Prompt, Scored, believed
from sluicegate.engines.screen.answering import ScreenAnswer, ScreenGroup, group_of, is_written_in, side_of
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.schemas import FailureCode, Post, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


GUARD: Final = "guard.json"
_GUARD_BYTES: Final = 1 << 20
_AGAIN: Final = "measure the guard again with `sluicegate adapt screen-guard`"
_PAUSE_S = 5.0
"""After a fault the small guard rests for so long: no chunk of posts waits for one that is away."""
_PAUSE_MOST_S = 60.0
"""The pause doubles up to this, until the small guard answers posts again."""
_GRACE_S = 0.5
"""An engine keeps its own deadline, and says which prompts it missed. One that does not is left after so long."""


class GuardManifest(BaseModel):
    """Content of ``guard.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal["1.0"] = "1.0"
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    guard: Sha256
    """Digest of the bundle whose scores were measured."""
    backend: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
    """What served it then: the same bundle has other scores elsewhere."""
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
                raw = file.read(_GUARD_BYTES + 1)
        except OSError as error:
            raise ScreenError(f"{folder / GUARD}: cannot be read ({error.strerror}); {_AGAIN}") from error
        if len(raw) > _GUARD_BYTES:
            raise ScreenError(f"{folder / GUARD}: has more than {_GUARD_BYTES} bytes; {_AGAIN}")
        try:
            return cls.model_validate_json(raw, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))[:120] or "document"
            said = first["msg"].removeprefix("Value error, ")[:200]
            raise ScreenError(f"{GUARD}: {where}: {said}; {_AGAIN}") from None


class GuardScreen:
    """Asks a small guard first. One event loop. Its engine is entered and left by the caller.

    A post is shown to it as the rows were when it was measured: the whole text, without language and region. What
    would be shown otherwise, or in more prompts than one, is the large guard's.

    A small guard that fails, or is late, rests. Then its health is asked beside the posts, and it is asked about
    posts again once it is well.

    Args:
        manifest: How sure its scores are.
        engine: The small guard.
        segmenter: Makes its prompts, folded forms and passages among them.
        calibration: Of its bundle: what the policy sees. The manifest speaks of the scores before it.
        timeout_s: Seconds for a call; what has no answer by then goes to the large guard.
        clock: Monotonic seconds.
        patience_s: Seconds that the least patient post waits at all; None for no bound. A call takes half of it at most.
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
        patience_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.manifest = manifest
        self.digest = manifest.digest
        self.guard: EngineInfo = engine.info
        self.calibrated = calibration is not None
        self.away: str | None = None
        self.faults = 0
        self._engine = engine
        self._segmenter = segmenter
        self._calibration = calibration
        self._timeout_s = timeout_s
        self._clock = clock
        self._patience_s = patience_s
        self._rests_until = 0.0
        self._pause_s = _PAUSE_S
        self._trial: asyncio.Task[None] | None = None
        self._groups = {(one.kind, one.language): one for one in manifest.groups}

    async def ask(self, posts: Sequence[Post]) -> list[ScreenAnswer | None]:
        """One answer for each post, in order; None where the large guard has to be asked.

        None if the post names no language, was not measured in its language and kind, has context, is too long, hides
        something, has a folded form or is not written as that language is; if the small guard rests or failed on it;
        or if it is not sure.
        """
        found: list[ScreenAnswer | None] = [None] * len(posts)
        wanted = {
            at: group
            for at, post in enumerate(posts)
            if (group := group_of(post, self._groups)) is not None and is_written_in(post.text, group.scripts)
        }
        if not wanted or not self._is_at_work():
            return found
        prompts = await asyncio.to_thread(self._prompts, [posts[at] for at in wanted])
        asked = [(at, prompt) for at, prompt in zip(wanted, prompts, strict=True) if prompt is not None]
        if not asked:
            return found
        answers = await self._score([prompt for _, prompt in asked])
        for (at, _), answer in zip(
            asked, answers, strict=False
        ):  # none of a call that failed as a whole, or of what is left
            if isinstance(answer, Scored):
                found[at] = self._answer(posts[at], wanted[at], answer.scores)
        return found

    async def _score(self, prompts: Sequence[Prompt]) -> list[Scored | ItemFailure]:
        """The answers to the first prompts: as many as there is time for. The large guard reads what is left of a backlog."""
        answers: list[Scored | ItemFailure] = []
        until, took_s = self._clock() + self._within_s(), 0.0
        room = self._engine.info.useful_prompts
        while self.away is None and len(answers) < len(prompts):
            began = self._clock()
            if answers and began + took_s > until:
                break
            answers += await self._call(prompts[len(answers) :][:room], until - began)
            took_s = self._clock() - began
        return answers

    async def _call(self, prompts: Sequence[Prompt], within_s: float) -> list[Scored | ItemFailure]:
        """One answer for each prompt; none at all where the call failed as a whole."""
        answers: list[Scored | ItemFailure] = []
        try:
            async with asyncio.timeout(within_s + min(_GRACE_S, within_s)):
                answers = [believed(one) for one in await self._engine.score(prompts, timeout_s=within_s)]
            why = _ails(answers, len(prompts), within_s)
        except Exception as error:  # noqa: BLE001 - whatever it is, the large guard answers
            why = _told(error, within_s)
        if why is None:
            self._pause_s = _PAUSE_S
            return answers
        self.faults += 1
        self._rest(why)
        return answers if len(answers) == len(prompts) else []

    def _within_s(self) -> float:
        """Seconds for a call: a small guard that hangs must not use up the wait of a post that the large one can judge."""
        patience_s = self._patience_s()
        return self._timeout_s if patience_s is None else min(self._timeout_s, patience_s / 4)

    def _rest(self, why: str) -> None:
        self.away = why
        self._rests_until = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _PAUSE_MOST_S)

    def _is_at_work(self) -> bool:
        """False while it rests. After the pause this has its health asked; no post waits for that."""
        if self.away is None:
            return True
        if self._trial is None and self._clock() >= self._rests_until:
            self._trial = asyncio.create_task(self._try(), name="health of the small guard")
        return False

    async def _try(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                health = await self._engine.health()
            why = None if health.ok else health.detail or "it is not well"
        except Exception as error:  # noqa: BLE001 - as for posts
            why = _told(error, self._timeout_s)
        finally:
            self._trial = None
        if why is None:
            self.away = None
        else:
            self._rest(why)

    def _prompts(self, posts: Sequence[Post]) -> list[Prompt | None]:
        """The prompt of each post; None of one that is more than its whole text, which alone was measured."""
        shown = [post.model_copy(update={"language": None, "region": None}) for post in posts]
        limits = [LengthLimits(1 << 20, 1)] * len(posts)
        built = self._segmenter.build_many(shown, limits)
        return [
            one.parts[0].prompt
            if isinstance(one, Parts) and len(one.parts) == 1 and not one.parts[0].folded
            else None
            for one in built
        ]

    def _answer(self, post: Post, group: ScreenGroup, scores: Scores) -> ScreenAnswer | None:
        side = side_of(group, scores.safe, scores.unsafe)
        if side is None:
            return None
        if self._calibration is not None:
            scores = self._calibration.calibrated(scores, post.kind, post.language)
        return ScreenAnswer(scores, *side)


def _ails(answers: Sequence[Scored | ItemFailure], prompts: int, within_s: float) -> str | None:
    """Why these answers are those of one that has to rest; None of one that is well."""
    if len(answers) != prompts:
        return "it gave not one answer for each prompt"
    failures = [one for one in answers if isinstance(one, ItemFailure)]
    if late := sum(one.code is FailureCode.TIMED_OUT for one in failures):
        return f"{late} of {prompts} prompts had no answer within {within_s:g} s"
    if len(failures) == prompts:
        return f"{failures[0].code.value}: {failures[0].detail}"
    return None


def _told(error: Exception, within_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {within_s:g} s"
    if isinstance(error, EngineUnavailable):
        return str(error)
    return f"a fault in the engine's client ({type(error).__name__})"
