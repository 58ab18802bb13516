"""Near duplicates: the reduced form of a text, the index of what was judged, and when a finding stands for a copy. Pure."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass

from sluicegate.engines.text.forms import UNSEEN
from sluicegate.engines.text.forms.invisible import hides_something, joined_alike, without_invisible
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Assessment, Post, Scores

_MOVE = 0.05
"""Scores of one text move by up to 0.03 with the company that it has in a batch (measured on the CPU engine)."""


def is_sure(post: Post, finding: Assessment, policy: Policy, *, least: float) -> bool:
    """True if one severity has at least so much, and the action is the same were the scores a little different.

    Args:
        post: The post judged.
        finding: Of it; its scores as the policy sees them.
        policy: Decides.
        least: Probability of the likeliest severity.
    """
    scores = finding.scores
    if (
        finding.explanation_failure is not None
        or max(scores.safe, scores.controversial, scores.unsafe) < least
    ):
        return False
    actions = {policy.decide(post, moved, finding).action for moved in (scores, *_neighbours(scores))}
    return len(actions) == 1


def _neighbours(scores: Scores) -> list[Scores]:
    kept = {name: value * (1 - _MOVE) for name, value in scores.model_dump().items()}
    return [Scores(**{**kept, name: value + _MOVE}) for name, value in kept.items()]


_ENTRY_BYTES = 400
"""A key and an entry without an assessment."""
_ASSESSMENT_BYTES = 1_200
"""An assessment without words. With its entry 1,593 bytes, and explained 2,668: resident memory, measured over
100,000 entries of the same objects on CPython 3.11."""
_CHARACTER_BYTES = 4
_SCORE_BYTES = 128


@dataclass(frozen=True, slots=True)
class KnownText:
    """What became of a text that was judged."""

    assessment: Assessment | None
    """As the engine gave it; None where it was too unsure to stand for another text."""
    verdict_id: str
    expires_at: float
    """Monotonic seconds."""
    folded: bool = False
    """True if it is a finding on the text's folded form."""

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        if self.assessment is None:
            return _ENTRY_BYTES
        words = len(self.assessment.reason or "") + sum(map(len, self.assessment.categories))
        scores = len(self.assessment.category_scores) * _SCORE_BYTES
        return _ENTRY_BYTES + _ASSESSMENT_BYTES + words * _CHARACTER_BYTES + scores


@dataclass(frozen=True, slots=True)
class NearKey:
    """What two posts have in common where one may stand in for the other."""

    key: bytes
    stands: bool
    """False if this one's finding may stand for no other: no engine read its reduced form."""
    policy: str
    """Digest of the policy that the key is of."""


class Index:
    """Least recently used goes first. One event loop; no locks.

    Args:
        entries: Most of them.
        size_bytes: Most bytes of all together.
    """

    def __init__(self, entries: int, size_bytes: int) -> None:
        self._most, self._most_bytes = entries, size_bytes
        self._known: OrderedDict[bytes, KnownText] = OrderedDict()
        self.size_bytes = 0
        """About what is held."""

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: bytes, now: float) -> KnownText | None:
        """What is known, unless it has expired. To ask does not make it last longer."""
        known = self._known.get(key)
        if known is None:
            return None
        if now >= known.expires_at:
            self._drop(key)
            return None
        self._known.move_to_end(key)
        return known

    def put(self, key: bytes, known: KnownText) -> None:
        """Keep, dropping the least recently used beyond either bound."""
        self._drop(key)
        self._known[key] = known
        self.size_bytes += known.size_bytes
        while len(self._known) > self._most or self.size_bytes > self._most_bytes:
            self._drop(next(iter(self._known)))

    def _drop(self, key: bytes) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            self.size_bytes -= known.size_bytes


_MOST_CHARACTERS = 4_096
"""Copies that flood a stream are short; to reduce a long text costs time that its judgement does not repay."""
_LONGER = 2
"""A text has at most this many times the characters of its reduced form: the rest is padding that an engine reads."""
_LEAST_LETTERS, _LETTER_SHARE = 6, 0.5
"""This many different letters, and most of the text made of letters: pictures made of characters have neither."""
_RUN = 5
"""Nothing is spelt with a letter five times in a row, so five and more are the same. Three are not four: in
Portuguese "kkkk" laughs, and KKK is a name."""

_LINE_ENDS = frozenset("\n\r")
# One or two over and over of what people draw out. All else may count: tallies, strokes, pictures, and numbers
# in digits, in Chinese and in Roman.
_RUNS = re.compile(
    r"([!?.…~abefghjknopqrstuwyzABEFGHJKNOPQRSTUWYZäöüáéóúаеоуэыюяАЕОУЭЫЮЯ哈呵嘿啊ㅋㅎㅠㅜ]{1,2}?)\1{4}\1+"
)
_VISIBLE_ASCII = re.compile("[!-~\\d]+")
_ANCHOR = re.compile(r"[\d@#/\\_]|[^\W_][.:=&][^\W_]")
_INNER_DOT = re.compile(r"\w[.:@/]\w")


def reduced_form(text: str) -> str | None:
    """What is compared of a text; None where no other text may stand in for it.

    Taken away are characters that nobody sees and that hide nothing, and, in a text of one line, letters and
    stops that come more than five times in a row.
    """
    if len(text) > _MOST_CHARACTERS or hides_something(text):
        return None
    seen, fired = without_invisible(text)
    if not fired <= UNSEEN or not joined_alike(text, seen):
        return None
    # In several lines repeats may be a picture.
    reduced = _RUNS.sub(lambda match: match[1] * _RUN, seen) if _LINE_ENDS.isdisjoint(seen) else seen
    if len(text) > _LONGER * len(reduced) or not _is_prose(reduced):
        return None
    if not _anchors(text) == _anchors(seen) == _anchors(reduced):
        return None  # a number, a mention or a link was changed
    if reduced != seen and any(_RUNS.search(word) and _INNER_DOT.search(word) for word in seen.split()):
        return None  # the same for a host name in other scripts
    return reduced


def _is_prose(text: str) -> bool:
    letters = list(filter(str.isalpha, text))
    solid = len(text) - sum(map(str.isspace, text))
    return len(set(letters)) >= _LEAST_LETTERS and len(letters) >= _LETTER_SHARE * solid


def _anchors(text: str) -> list[str]:
    """Numbers, mentions, tags, links and paths, each as it was written and with the signs around it."""
    return [run for run in _VISIBLE_ASCII.findall(text) if _ANCHOR.search(run)]
