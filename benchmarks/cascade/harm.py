"""What a small guard's answers are worth: harm at a fixed score, and at the bars that its own measurement gives it.

*Wrong* is an allow of a row whose label is not safe. Bars are measured on other rows than those that they are tried on.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from cascade.reading import post_of
from cascade.study import groups_of
from shared.report import table
from sluicegate.engines.adapt.screen.grouping import CONFIDENCE, HeldOut, grouped, upper_bound
from sluicegate.engines.screen import ScreenAnswer
from sluicegate.engines.text.forms import fold
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.shortcuts.screening import action_of
from sluicegate.schemas import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from cascade.reading import Reader
    from sluicegate.engines.adapt.data.rows import Row
    from sluicegate.engines.screen import ScreenGroup

TOLERANCES = (0.005, 0.01, 0.02, 0.05, 0.1)
BARS = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
FOLDS = 5
SMALL_HARM = 0.005
"""The share of wrong allows that is called small."""
_SEVERITIES = ("safe", "controversial", "unsafe")
_ANY = 0.1  # the largest tolerance that a policy takes


@dataclass(frozen=True, slots=True)
class Tried:
    """A row, and how bad an allow of it may be by the small guard's own measurement."""

    row: Row
    answer: ScreenAnswer | None

    def allowed(self, tolerance: float) -> bool:
        """True if the small guard's answer allows it under the default policy with this tolerance."""
        policy = _policy(tolerance)
        return action_of(post_of(self.row), self.answer, policy) is Action.ALLOW


@cache
def _policy(tolerance: float) -> Policy:
    return Policy.parse({"name": "p", "version": "1", "rules": {"screen": {"tolerance": tolerance}}})


@dataclass(frozen=True, slots=True)
class Harm:
    """What became of some rows."""

    rows: Mapping[str, int]
    """By severity."""
    allowed: Mapping[str, int]
    """Of them, answered with an allow; by severity."""

    @classmethod
    def of(cls, rows: Iterable[tuple[Row, bool]]) -> Harm:
        """Count rows, each with whether it was allowed."""
        every, taken = Counter[str](), Counter[str]()
        for row, allowed in rows:
            every[row.severity] += 1
            taken[row.severity] += allowed
        return cls(every, taken)

    @property
    def count(self) -> int:
        """Rows."""
        return sum(self.rows.values())

    @property
    def answered(self) -> int:
        """Rows that were allowed."""
        return sum(self.allowed.values())

    @property
    def wrong(self) -> int:
        """Allowed rows that are not safe."""
        return self.answered - self.allowed.get("safe", 0)

    @property
    def at_most(self) -> float | None:
        """The 95 % upper bound (Clopper-Pearson, one-sided) of the share of allows that are wrong."""
        return upper_bound(self.wrong, self.answered) if self.answered else None

    def at_mix(self, mix: Mapping[str, float]) -> tuple[float, float]:
        """Share answered, and share of the allows that are wrong, where severities stand in this mix."""
        shares = {
            one: mix.get(one, 0.0) * self.allowed.get(one, 0) / self.rows[one]
            for one in _SEVERITIES
            if self.rows.get(one)
        }
        answered = sum(shares.values())
        return answered, (answered - shares.get("safe", 0.0)) / answered if answered else 0.0

    def document(self, mix: Mapping[str, float]) -> dict[str, Any]:
        """For JSON."""
        share, wrong = self.at_mix(mix)
        harmful = self.count - self.rows.get("safe", 0)
        return {
            "rows": self.count,
            "answered": self.answered,
            "wrong": self.wrong,
            "unsafe": self.allowed.get("unsafe", 0),
            "wrong_at_most": None if self.at_most is None else round(self.at_most, 5),
            "harmful": harmful,
            "harmful_allowed_at_most": round(upper_bound(self.wrong, harmful), 5) if harmful else None,
            "share_at_mix": round(share, 5),
            "wrong_at_mix": round(wrong, 5),
        }


def open_groups(rows: Sequence[Row]) -> tuple[ScreenGroup, ...]:
    """Groups that answer whatever a screen may answer at all, so that every score is seen."""
    posts = [post_of(row) for row in rows if row.language is not None]
    return tuple(
        one.model_copy(update={"longest": 1 << 14, "unsafe": one.safe}) for one in groups_of(posts, 0.0)
    )


class Study:
    """The small guard's answers to a sample.

    Args:
        reader: What it said.
        rows: The sample.
        unseen: Sources that the small guard never learnt from.
    """

    def __init__(self, reader: Reader, rows: Sequence[Row], unseen: Collection[str]) -> None:
        self.reader = reader
        self.rows = rows
        self.unseen = frozenset(unseen)
        self._raw: dict[str, ScreenAnswer] = {}
        self._calibrated: dict[str, ScreenAnswer] = {}

    async def read(self) -> None:
        """See what it says of every row, sure or not."""
        groups = open_groups(self.rows)
        for kept, calibrated in ((self._raw, False), (self._calibrated, True)):
            answers = await self.reader.answers(self.rows, groups, calibrated=calibrated)
            kept.update((row.id, one) for row, one in zip(self.rows, answers, strict=True) if one is not None)

    def at_score(self, bar: float, rows: Sequence[Row] | None = None) -> Harm:
        """What is allowed where it answers from a score on, whatever the language."""
        policy = _policy(_ANY)
        return Harm.of(
            (
                row,
                row.id in self._raw
                and self._raw[row.id].scores.safe >= bar
                and action_of(post_of(row), self._calibrated[row.id], policy) is Action.ALLOW,
            )
            for row in (self.rows if rows is None else rows)
        )

    def score_for(self, share: float, mix: Mapping[str, float]) -> float | None:
        """The highest score from which on it answers this share of a stream of that mix; None if there is none."""
        scores = sorted({one.scores.safe for one in self._raw.values()})
        low, high = 0, len(scores)
        while low < high:  # the share falls as the score rises
            middle = (low + high) // 2
            if self.at_score(scores[middle]).at_mix(mix)[0] >= share:
                low = middle + 1
            else:
                high = middle
        return scores[low - 1] if low else None

    async def tried(self, part: Callable[[Row], str]) -> list[Tried]:
        """Every row with the answer by bars that were measured on the rows of the other parts."""
        found: list[Tried] = []
        for name in sorted({part(row) for row in self.rows}):
            learnt = [row for row in self.rows if part(row) != name]
            trial = [row for row in self.rows if part(row) == name]
            groups = self.groups(learnt)
            answers = await self.reader.answers(trial, groups) if groups else [None] * len(trial)
            found += map(Tried, trial, answers)
        return found

    def groups(self, rows: Sequence[Row]) -> tuple[ScreenGroup, ...]:
        """What the measurement makes of rows: bars by kind and language."""
        held_out = [
            HeldOut(row, (one.safe, one.controversial, one.unsafe))
            for row in rows
            if row.id in self._raw and not fold(row.text).differs
            for one in (self._raw[row.id].scores,)
        ]
        return tuple(one.group for one in grouped(held_out) if one.group is not None)


def fold_of(row: Row) -> str:
    """One of some equal parts, by the row's group or id."""
    name = (row.group or row.id).encode()
    return str(hashlib.blake2b(name, digest_size=4).digest()[0] % FOLDS)


async def measure(study: Study, mix: Mapping[str, float], share: float) -> dict[str, Any]:
    """All that is told.

    Args:
        study: What the small guard said.
        mix: Share of each severity in the stream.
        share: Of the stream's posts: what the simulated small guard answered.
    """
    await study.read()
    bar = study.score_for(share, mix)
    within = await study.tried(fold_of)
    apart = await study.tried(lambda row: row.source)
    return {
        "rows": len(study.rows),
        "mix": dict(mix),
        "share": share,
        "bar": bar,
        "at_scores": [{"score": one, **study.at_score(one).document(mix)} for one in BARS],
        "unseen_at_scores": [
            {
                "score": one,
                **study.at_score(one, [row for row in study.rows if row.source in study.unseen]).document(
                    mix
                ),
            }
            for one in BARS
        ],
        "at_share": None if bar is None else {"score": bar, **study.at_score(bar).document(mix)},
        "groups": {} if bar is None else _by_group(study, bar, mix),
        "unseen": sorted(study.unseen),
        "within": [_at(within, one, mix) for one in TOLERANCES],
        "apart": [_at(apart, one, mix) for one in TOLERANCES],
        "measured": [f"{one.kind} {one.language}" for one in study.groups(study.rows)],
    }


def _at(tried: Sequence[Tried], tolerance: float, mix: Mapping[str, float]) -> dict[str, Any]:
    harm = Harm.of((one.row, one.allowed(tolerance)) for one in tried)
    return {"tolerance": tolerance, **harm.document(mix)}


def _by_group(study: Study, bar: float, mix: Mapping[str, float]) -> dict[str, Any]:
    counts = Counter(f"{row.kind} {row.language}" for row in study.rows)
    return {
        name: study.at_score(
            bar, [row for row in study.rows if f"{row.kind} {row.language}" == name]
        ).document(mix)
        for name, _ in counts.most_common()
    }


def page(found: Mapping[str, Any]) -> list[str]:
    """Its part of the report, in paragraphs."""
    mix = ", ".join(f"{100 * found['mix'].get(one, 0):.0f} % {one}" for one in _SEVERITIES)
    at = found["at_share"]
    told = [
        "## The harm, measured",
        (
            f"The small guard here is the CPU model with the shipped adapter. It read {found['rows']:,} labelled rows that did not "
            "train it, as a worker has it read: the whole text, without language and region. A text with a folded form or with "
            "passages is the large guard's. "
            "*Wrong* is an allow of a row whose label is not safe; *at most* is the 95 % upper bound (Clopper-Pearson). "
            f"The rows are no stream: *at the stream's mix* weighs their severities as the stream has them ({mix}). "
            "Labels are other people's, and some are wrong. The 0.6B guard that is simulated above is another model: its harm "
            "was not measured."
        ),
    ]
    if at is None:
        told.append("It cannot answer the share of the posts that the simulated one answers.")
    else:
        told += [
            (
                f"To answer {100 * found['share']:.0f} % of the stream's posts it has to answer from P(safe) ≥ {at['score']:.4f} on. "
                f"**Of its allows there {100 * at['wrong'] / at['answered']:.1f} % of the labelled rows are wrong "
                f"({at['wrong']:,} of {at['answered']:,}; at most {100 * at['wrong_at_most']:.1f} %), "
                f"{100 * at['wrong_at_mix']:.1f} % at the stream's mix; it lets {100 * at['wrong'] / at['harmful']:.1f} % of the harmful rows through.**"
            ),
            _table("P(safe) from", [(f"{one['score']:g}", one) for one in found["at_scores"]]),
            f"The same of the sources that it never learnt from ({', '.join(found['unseen'])}):",
            _table("P(safe) from", [(f"{one['score']:g}", one) for one in found["unseen_at_scores"]]),
            f"By kind and language, from P(safe) {at['score']:.4f} on:",
            _table("kind and language", [(name, one) for name, one in found["groups"].items()]),
        ]
    told += [
        "### At the bars of its own measurement",
        (
            "`adapt screen-guard` measures a bar for each kind and language, and the policy's tolerance says which count. "
            f"Bars from four fifths of the rows, tried on the other fifth, in turn ({', '.join(found['measured']) or 'no kind and language'} have any):"
        ),
        _table("tolerance", [(f"{one['tolerance']:g}", one) for one in found["within"]]),
        "Bars from all sources but one, tried on that one, in turn:",
        _table("tolerance", [(f"{one['tolerance']:g}", one) for one in found["apart"]]),
        verdict(found),
    ]
    return told


def _table(head: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    heads = (
        head,
        "rows",
        "answered",
        "wrong",
        "of them unsafe",
        "wrong at most",
        "harmful rows let through",
        "answered at the stream's mix",
        "wrong at it",
    )
    return table(heads, [_line(name, one) for name, one in rows])


def _line(name: str, one: Mapping[str, Any]) -> list[str]:
    answered, wrong, harmful = one["answered"], one["wrong"], one["harmful"]
    return [
        name,
        f"{one['rows']:,}",
        f"{answered:,}",
        f"{wrong:,}" + (f" ({100 * wrong / answered:.1f} %)" if answered else ""),
        f"{one['unsafe']:,}",
        "–" if one["wrong_at_most"] is None else f"{100 * one['wrong_at_most']:.1f} %",
        f"{wrong:,} of {harmful:,}",
        f"{100 * one['share_at_mix']:.1f} %",
        f"{100 * one['wrong_at_mix']:.1f} %" if answered else "–",
    ]


def verdict(found: Mapping[str, Any]) -> str:
    """What follows."""
    shown = [one for one in found["within"] if one["answered"] and one["wrong_at_most"] <= SMALL_HARM]
    if shown:
        best = max(shown, key=lambda one: one["share_at_mix"])
        return (
            f"Wrong allows of at most {100 * SMALL_HARM:g} % are shown up to a tolerance of {best['tolerance']:g}: "
            f"there it answers {100 * best['share_at_mix']:.1f} % at the stream's mix."
        )
    strict = next(one for one in found["within"] if one["tolerance"] == SMALL_HARM)
    least = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - SMALL_HARM))
    return (
        f"Wrong allows of at most {100 * SMALL_HARM:g} % are shown at no tolerance: that takes {least:,} answered rows of one kind and "
        f"language without a wrong one, and fewer rows show less. At a tolerance of {SMALL_HARM:g} it answers "
        f"{strict['answered']:,} of {strict['rows']:,} rows. **Do not switch this small guard on before a large one.**"
    )
