"""Decider: the rules of one context as numbers, with every decision that they can lead to ready. Pure.

A post asks its policy several times. What does not change from post to post is worked out once here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from sluicegate.pipeline.policy.rules import Bars, Disposition, Finding, Rules, explains
from sluicegate.schemas import Action, Kind, Scores, Severity

SEVERITY = (Action.ALLOW, Action.REVIEW, Action.BLOCK)
"""Actions from mild to severe."""

FAILURE_MODE = "failure_mode"
CONFIRMED_PATTERN = "confirmed_pattern.block"
"""The rule of a decision that no bar made."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says of one post."""

    action: Action
    disposition: str
    rule: str
    """In the policy's own terms, such as ``categories.PII.block_at.unsafe>=0.6``."""
    parameters: Mapping[str, str | float | bool] = field(default_factory=dict)
    """Of the disposition."""


class Consequence(NamedTuple):
    """What follows once a threshold is reached, or none is."""

    severity: int
    """Of the action, as its place in :data:`SEVERITY`."""
    decision: Decision
    withheld: Decision
    """The same while blocks are withheld: review, as the rule that fired suggests it."""
    disposition: Disposition
    review: Disposition
    """The disposition of :attr:`withheld`."""

    @property
    def is_block(self) -> bool:
        """True if its action is block."""
        return self.decision.action is Action.BLOCK


def _consequence(action: Action, rule: str, bars: Bars) -> Consequence:
    given, review = bars.dispositions[action], bars.dispositions[Action.REVIEW]
    return Consequence(
        SEVERITY.index(action),
        Decision(action, given.name, rule, given.parameters),
        Decision(Action.REVIEW, review.name, rule, review.parameters),
        given,
        review,
    )


class ReadyBars:
    """The bars of one category, or the general ones."""

    __slots__ = ("_limits", "_otherwise", "bars", "category")

    def __init__(self, category: str | None, bars: Bars) -> None:
        self.category = category
        """None for the general ones."""
        self.bars = bars
        prefix = "" if category is None else f"categories.{category}."
        limits = []
        for action, at in ((Action.BLOCK, bars.block_at), (Action.REVIEW, bars.review_at)):
            for name, value in (("unsafe", at.unsafe), ("risk", at.risk)):
                rule = "" if value is None else f"{prefix}{action}_at.{name}>={value:g}"
                limits.append((inf if value is None else value, _consequence(action, rule, bars)))
        self._limits = tuple(limits)
        self._otherwise = _consequence(Action.ALLOW, f"{prefix}otherwise", bars)

    def result(self, unsafe: float, risk: float) -> Consequence:
        """What follows of these scores. Block is asked first, and P(unsafe) before the risk."""
        (block_unsafe, first), (block_risk, second), (review_unsafe, third), (review_risk, last) = (
            self._limits
        )
        if unsafe >= block_unsafe:
            return first
        if risk >= block_risk:
            return second
        if unsafe >= review_unsafe:
            return third
        return last if risk >= review_risk else self._otherwise


class Decider:
    """Decides all posts of one context.

    Args:
        rules: In force there.
        kind: Of the posts.
    """

    def __init__(self, rules: Rules, kind: Kind) -> None:
        self.rules = rules
        self._always = kind == "response" and rules.explain_responses
        self._explain_at = rules.explain_at
        self._text = rules.explain_text
        self._general = ReadyBars(None, rules)
        self._categories = tuple(ReadyBars(name, bars) for name, bars in rules.categories.items())
        self.failure = _consequence(rules.failure_mode, FAILURE_MODE, rules)
        """What follows where a post could not be scored."""

    def explain_as(self, scores: Scores) -> Severity | None:
        """The severity that an explanation is made to begin with; None where none is asked for.

        None is asked for of a confident allow, whatever its category, whose refusal nobody asked for. It begins
        with the likeliest severity. A guard that was made to call a text safe names no category, though: where a
        category could change what follows, it is made to begin with the likelier of the other two.
        """
        unsafe = scores.unsafe
        risk = unsafe + scores.controversial
        asked = self._always or risk >= self._explain_at or self._general.result(unsafe, risk).severity > 0
        if not asked and not any(bars.result(unsafe, risk).severity for bars in self._categories):
            return None
        likeliest = scores.severity
        return scores.harm if likeliest == "safe" and self.hangs_on_a_category(scores) else likeliest

    def wants_text(self, scores: Scores, wanted: Severity, *, reasons: bool) -> bool:
        """True if an explanation has to be written out, so that its likeliest category alone is not enough.

        Args:
            scores: Of the text.
            wanted: What :meth:`explain_as` says of it.
            reasons: True if the model's texts have a reason. It gives none where it is made to begin with safe.
        """
        if self._always or self._text == "always" or self.hangs_on_a_category(scores):
            return True
        return reasons and self._text == "reasons" and wanted != "safe"

    def hangs_on_a_category(self, scores: Scores) -> bool:
        """True if some bars lead to another action or disposition than others do, also while blocks are withheld."""
        unsafe = scores.unsafe
        risk = unsafe + scores.controversial
        general = self._general.result(unsafe, risk)
        for bars in self._categories:
            result = bars.result(unsafe, risk)
            if result.severity != general.severity or result.disposition != general.disposition:
                return True
            if result.is_block and result.review != general.review:
                return True
        return False

    def is_explained(self, scores: Scores, wanted: Severity, found: Finding) -> bool:
        """True if an explanation tells all that could change what follows.

        The likeliest category alone does not where a second one could.
        """
        return explains(found, wanted, text=self.hangs_on_a_category(scores))

    def deciding(self, scores: Scores, wanted: Severity | None, found: Finding | None) -> list[ReadyBars]:
        """The bars that are asked; the severest outcome decides.

        The categories that apply; where none does, the general bars. A category without bars of its
        own is judged by the general ones, and so is one that the model names and that does not apply: what
        is found beside it must not take them away. An explanation that these rules would not have
        asked for does not count: whether it is there depends on other tenants. Without one that they ask
        for, the text may be of any category: all bars are asked.

        Args:
            scores: Of the text.
            wanted: What :meth:`explain_as` says of it.
            found: The explanation; None for one that names no category.
        """
        if found is None or wanted is None:
            return [self._general]
        if not self.is_explained(scores, wanted, found):
            return [self._general, *self._categories]
        own = [
            ready
            for ready in self._categories
            if self.rules.categories[str(ready.category)].applies(str(ready.category), found)
        ]
        applied = {ready.category for ready in own}
        if not own or any(name not in applied for name in found.categories):
            own.append(self._general)
        return own

    def decide(self, scores: Scores, found: Finding | None) -> Consequence:
        """Decide a scored post.

        Where an explanation is asked for and ``found`` has none, the severest of all bars decides, or the
        failure mode if that is severer: nobody knows of which category the text is.
        """
        unsafe = scores.unsafe
        risk = unsafe + scores.controversial
        wanted = self.explain_as(scores)
        first, *others = self.deciding(scores, wanted, found)
        result = first.result(unsafe, risk)
        for bars in others:
            other = bars.result(unsafe, risk)
            if other.severity > result.severity:
                result = other
        unexplained = (
            wanted is not None and found is not None and not self.is_explained(scores, wanted, found)
        )
        return self.failure if unexplained and self.failure.severity > result.severity else result
