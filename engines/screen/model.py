"""The screen's model: scores and a bounded error for the posts that it is sure of, nothing for the rest.

Without the extra ``screen`` this module can be imported, and :meth:`Screen.load` says what to install.
"""

from __future__ import annotations

import asyncio
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from sluicegate.engines.errors import ScreenError
from sluicegate.engines.protocol import EngineInfo
from sluicegate.engines.screen.manifest import MOST_CHARACTERS, ScreenGroup, ScreenManifest, error_of, spoken
from sluicegate.engines.text.forms.invisible import hides_something
from sluicegate.schemas import Kind, Post, Scores, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


__all__ = ["Screen", "ScreenAnswer", "ScreenError", "Screener", "answer_within"]

_AT_ONCE: Final = 128
"""Posts whose features are held together: some megabytes."""


@dataclass(frozen=True, slots=True)
class ScreenAnswer:
    """What a screen says of one post."""

    scores: Scores
    """Calibrated probabilities of the three severities."""
    severity: Severity
    """``safe`` or ``unsafe``: the side on which it is sure."""
    error: float
    """Upper bound (95 %) of the share of such answers that are wrong, measured on held-out rows of that
    language and kind."""


class Screener(Protocol):
    """What answers posts before the engine does: light weights, or a small guard."""

    digest: str
    """Of all that decides its answers."""
    guard: EngineInfo | None
    """The small guard that is asked; None where there is none."""
    calibrated: bool
    """True if the scores of its answers are."""
    away: str | None
    """Why it rests and answers nothing, for people; None while it is at work."""
    faults: int
    """Calls for posts that failed, whole or late."""

    async def ask(self, posts: Sequence[Post]) -> list[ScreenAnswer | None]:
        """One answer for each post, in order; None where the engine has to be asked. May raise: that is None for all."""
        ...


class JudgedTexts(Protocol):
    """What weights find in texts, as arrays."""

    @property
    def probabilities(self) -> Any:
        """``[texts, 3]``: safe, controversial, unsafe; not yet calibrated."""
        ...

    @property
    def known(self) -> Any:
        """``[texts]``: share of a text's features that training rows had."""
        ...


class TextWeights(Protocol):
    """What a screen asks of its weights. They need numpy, and this module does not load it."""

    def judged(self, texts: Sequence[str]) -> JudgedTexts:
        """What they find in texts in their plain form, at least one."""
        ...


class Screen:
    """A loaded screen; see :meth:`load`. It keeps nothing of a post, and threads may share it."""

    guard: EngineInfo | None = None
    """Light weights ask nobody."""
    calibrated = True
    away: str | None = None
    faults = 0

    def __init__(self, manifest: ScreenManifest, weights: TextWeights) -> None:
        self.manifest = manifest
        self.digest = manifest.digest
        """``sha256:…`` of the folder's contents."""
        self._weights = weights
        self._groups = {(one.kind, one.language): one for one in manifest.groups}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the folder of a screen.

        Raises:
            ScreenError: What does not fit, or is missing, and the fix.
        """
        try:
            from sluicegate.engines.screen.weights import read_folder  # noqa: PLC0415 - an extra

            return cls(*read_folder(folder))
        except ImportError as error:
            raise ScreenError(f"{error.name} is missing: pip install 'sluicegate[screen]'") from error

    async def ask(self, posts: Sequence[Post]) -> list[ScreenAnswer | None]:
        """:meth:`answers`, in a thread."""
        return await asyncio.to_thread(self.answers, posts)

    def answers(self, posts: Sequence[Post]) -> list[ScreenAnswer | None]:
        """One answer for each post, in order; None where the engine has to be asked.

        None if the post names no language, was not calibrated on in its language and kind, has context,
        is too long, hides something, is not written as that language is, has too few features that are known, or if it is not sure.
        """
        found: list[ScreenAnswer | None] = [None] * len(posts)
        asked = self._asked(posts)
        while part := list(islice(asked, _AT_ONCE)):
            judged = self._weights.judged([text for _, _, text in part])
            for (at, group, _), three, known in zip(
                part, judged.probabilities.tolist(), judged.known.tolist(), strict=True
            ):
                if known >= group.least_known:
                    found[at] = self._answer(group, three)
        return found

    def _asked(self, posts: Sequence[Post]) -> Iterator[tuple[int, ScreenGroup, str]]:
        """Number, group and plain text of every post that the screen can know something of."""
        from sluicegate.engines.screen.weights import plain  # noqa: PLC0415 - an extra

        for at, post in enumerate(posts):
            group = group_of(post, self._groups)
            if group is None:
                continue
            text = plain(post.text)
            if is_written_in(text, group.scripts):
                yield at, group, text

    def _answer(self, group: ScreenGroup, three: Sequence[float]) -> ScreenAnswer | None:
        safe, controversial, unsafe = three
        side = side_of(group, safe, unsafe)
        if side is None:
            return None
        raw = Scores(safe=safe, controversial=controversial, unsafe=unsafe)
        return ScreenAnswer(self.manifest.calibration.calibrated(raw, group.kind, group.language), *side)


def group_of(post: Post, groups: Mapping[tuple[Kind, str], ScreenGroup]) -> ScreenGroup | None:
    """The group that a post is of; None where no screen may answer it, whatever it finds.

    Args:
        post: The post.
        groups: By kind and language.
    """
    if post.language is None or post.context is not None or len(post.text) > MOST_CHARACTERS:
        return None
    group = groups.get((post.kind, spoken(post.language)))
    if group is None or len(post.text) > group.longest:
        return None
    # What is read has it no more, and who reads the text may.
    return None if hides_something(post.text) else group


def side_of(group: ScreenGroup, safe: float, unsafe: float) -> tuple[Severity, float] | None:
    """The side on which scores are sure, and their error; None where they are not sure enough for any step."""
    severity: Severity = "safe" if safe >= unsafe else "unsafe"
    error = error_of(group.safe, safe) if severity == "safe" else error_of(group.unsafe, unsafe)
    return None if error is None else (severity, error)


def scripts(text: str) -> frozenset[str]:
    """First words of the Unicode names of a text's letters, such as ``LATIN``; marks, digits and signs have none."""
    return frozenset(filter(None, map(_script, set(text))))


def is_written_in(text: str, known: Sequence[str]) -> bool:
    """True if a text has letters of the first of these scripts, and of no others than these.

    Latin words stand in texts of every language: alone, they are most likely another one than the tag says.
    """
    found = scripts(text)
    return known[0] in found and found.issubset(known)


@lru_cache(maxsize=1 << 16)
def _script(one: str) -> str:
    return unicodedata.name(one, "UNNAMED").partition(" ")[0].partition("-")[0] if one.isalpha() else ""


def answer_within(answer: ScreenAnswer | None, tolerance: float) -> bool:
    """True if there is an answer, and its error is not above the tolerance."""
    return answer is not None and answer.error <= tolerance
