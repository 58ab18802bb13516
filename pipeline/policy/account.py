"""Account: why a policy decides as it does, down to the line of the file. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.pipeline.policy.decider import FAILURE_MODE
from sluicegate.pipeline.policy.layers import Laid
from sluicegate.pipeline.policy.policy import Policy
from sluicegate.pipeline.policy.rules import (
    Bars,
    BlockBreaker,
    CategoryBars,
    Finding,
    Rules,
    ScreenRules,
    Subject,
    explains,
    measures,
)
from sluicegate.pipeline.policy.yaml_text import Where, dotted
from sluicegate.schemas import Action, Scores, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class RuleOrigin:
    """Where a value is written."""

    place: str
    """As in ``tenants.teens.rules``; ``built-in``; or a preset and where it was asked for."""
    line: int | None


@dataclass(frozen=True, slots=True)
class Check:
    """One threshold, compared."""

    rule: str
    """Such as ``categories.PII.block_at.unsafe``."""
    threshold: float | None
    value: float
    fired: bool
    said: str
    """Why it fired, or why it did not."""
    origin: RuleOrigin


@dataclass(frozen=True, slots=True)
class CategoryCheck:
    """Whether a category with rules of its own, or one that was named, counts for this text."""

    category: str
    applies: bool
    said: str


@dataclass(frozen=True, slots=True)
class Account:
    """A decision and its reasons."""

    action: Action
    disposition: str
    parameters: Mapping[str, str | float | bool]
    rule: str
    origin: RuleOrigin
    """Of the rule that fired; of the failure mode; where nothing fired, of nothing in particular."""
    places: tuple[str, ...]
    """Parts of the policy that hold for this post, in order."""
    adapter: str | None
    """Whose engine judges; None for the engine's own."""
    adapter_origin: RuleOrigin
    breaker: str
    """From which volume on blocks become review."""
    breaker_origin: RuleOrigin
    screen: str
    """What a screen may answer here, where the worker has one."""
    screen_origin: RuleOrigin
    explanation: str
    """Whether categories are asked for, and why."""
    categories: tuple[CategoryCheck, ...]
    checks: tuple[Check, ...]


def account_for(policy: Policy, subject: Subject, scores: Scores | None, found: Finding | None) -> Account:
    """Give the reasons of a decision.

    Args:
        policy: Decides.
        subject: The post, or a verdict on it.
        scores: None for a post that could not be scored.
        found: What the explanation says of categories, where there is one.
    """
    return _Accountant(policy, subject).account(scores, found)


class _Accountant:
    def __init__(self, policy: Policy, subject: Subject) -> None:
        self._policy = policy
        self._subject = subject
        self._laid: Laid = policy.laid(subject)
        self._decider = policy.decider(subject)
        self._rules: Rules = self._decider.rules

    def account(self, scores: Scores | None, found: Finding | None) -> Account:
        categories: tuple[CategoryCheck, ...] = ()
        checks: tuple[Check, ...] = ()
        if scores is None:
            decision = self._policy.decide_failure(self._subject)
            said = "nothing was scored, so nothing is explained"
            origin = self._origin((FAILURE_MODE,))
        else:
            decision = self._policy.decide(self._subject, scores, found)
            wanted = self._decider.explain_as(scores)
            said = self._explanation(scores, wanted, found)
            if wanted is not None and found is not None:
                categories = self._categories(scores, wanted, found)
            checks = self._checks(scores, wanted, found, decision.rule)
            fired = [one.origin for one in checks if one.fired]
            if decision.rule == FAILURE_MODE:
                fired = [self._origin((FAILURE_MODE,))]
            origin = fired[0] if fired else RuleOrigin("no threshold was reached", None)
        return Account(
            action=decision.action,
            disposition=decision.disposition,
            parameters=decision.parameters,
            rule=decision.rule,
            origin=origin,
            places=self._places(),
            adapter=self._rules.adapter,
            adapter_origin=self._origin(("adapter",)),
            breaker=_breaker(self._rules.block_breaker),
            breaker_origin=self._newest_origin("block_breaker"),
            screen=_screen(self._rules.screen),
            screen_origin=self._newest_origin("screen"),
            explanation=said,
            categories=categories,
            checks=checks,
        )

    def _explanation(self, scores: Scores, wanted: Severity | None, found: Finding | None) -> str:
        said = self._why_asked(scores)
        if wanted not in (None, scores.severity):
            said += f"; it is made to begin with {wanted}, since a category could change what follows"
        if wanted is None or found is None or self._decider.is_explained(scores, wanted, found):
            return said
        if found.explanation_failure is not None:
            lacks = f"it failed ({found.explanation_failure})"
        elif found.explained_as is None:
            lacks = "there is none"
        elif explains(found, wanted):
            lacks = "this one tells the likeliest category alone, and a second one could change what follows"
        else:
            lacks = f"this one began with {found.explained_as}, which says nothing of categories"
        return f"{said}; {lacks}: every bar is asked, and the failure mode"

    def _why_asked(self, scores: Scores) -> str:
        rules, risk = self._rules, measures(scores)["risk"]
        if self._subject.kind == "response" and rules.explain_responses:
            return "asked for: this is a response (explain_responses)"
        if risk >= rules.explain_at:
            return f"asked for: risk {risk:.3g} has reached explain_at {rules.explain_at:g}"
        if rules.outcome(scores)[0] is not Action.ALLOW:
            return "asked for: this is no allow"
        for name, bars in rules.categories.items():
            if bars.outcome(scores)[0] is not Action.ALLOW:
                return f"asked for: this would be no allow if it were {name}"
        return (
            f"not asked for: risk {risk:.3g} is below explain_at {rules.explain_at:g}, and this is an allow"
        )

    def _categories(self, scores: Scores, wanted: Severity, found: Finding) -> tuple[CategoryCheck, ...]:
        if not self._decider.is_explained(scores, wanted, found):
            return tuple(
                CategoryCheck(name, True, "nobody knows without an explanation, so its rules are asked")
                for name in self._rules.categories
            )
        named = [name for name in found.categories if name not in self._rules.categories]
        return (
            *(
                CategoryCheck(name, bars.applies(name, found), _why_applies(name, bars, found))
                for name, bars in self._rules.categories.items()
            ),
            *(CategoryCheck(name, True, "named; judged by the general rules") for name in named),
        )

    def _checks(
        self, scores: Scores, wanted: Severity | None, found: Finding | None, rule: str
    ) -> tuple[Check, ...]:
        deciding = self._decider.deciding(scores, wanted, found)
        asked = [
            check for one in deciding for check in self._bar_checks(one.category, one.bars, scores, rule)
        ]
        if all(one.category is not None for one in deciding):
            asked += [
                Check(
                    one.rule,
                    one.threshold,
                    one.value,
                    False,
                    "not asked: categories with rules of their own apply",
                    one.origin,
                )
                for one in self._bar_checks(None, self._rules, scores, rule)
                if one.threshold is not None
            ]
        return tuple(asked)

    def _bar_checks(self, category: str | None, bars: Bars, scores: Scores, rule: str) -> list[Check]:
        prefix: Where = () if category is None else ("categories", category)
        checks = []
        for action in (Action.BLOCK, Action.REVIEW):
            for name, value in measures(scores).items():
                threshold: float | None = getattr(getattr(bars, f"{action}_at"), name)
                place = (*prefix, f"{action}_at", name)
                fired = rule == f"{dotted(place)}>={threshold:g}" if threshold is not None else False
                checks.append(
                    Check(
                        dotted(place),
                        threshold,
                        value,
                        fired,
                        _why(value, threshold, fired=fired),
                        self._origin(place),
                    )
                )
        return checks

    def _origin(self, path: Where) -> RuleOrigin:
        """Where a value comes from; a category's, where it says nothing itself, from the general one."""
        own = path if path in self._laid else path[2:]
        layer = self._laid[own][1]
        if not layer.where:
            return RuleOrigin("built-in", None)
        if layer.preset is not None:
            return RuleOrigin(
                f"preset {layer.preset}, {dotted(layer.where[:-1])}", self._policy.written.line(layer.where)
            )
        where = (*layer.where, *own)
        return RuleOrigin(dotted(layer.where), self._policy.written.line(where))

    def _newest_origin(self, section: str) -> RuleOrigin:
        """Where the last of a section's values is written."""
        paths = [path for path in self._laid if path[0] == section]
        order = {id(layer): number for number, layer in enumerate(self._policy.layers)}
        return self._origin(max(paths, key=lambda path: order[id(self._laid[path][1])]))

    def _places(self) -> tuple[str, ...]:
        context = self._policy.scope.context_of(self._subject)
        return tuple(
            f"{dotted(layer.where)} = {layer.preset}" if layer.preset else dotted(layer.where) or "built-in"
            for layer in self._policy.layers
            if layer.when.matches(context)
        )


def _breaker(limits: BlockBreaker) -> str:
    said = []
    if limits.share is not None:
        said.append(f"more than {limits.share * 100:g} % of at least {limits.least_posts} posts")
    if limits.count is not None:
        said.append(f"more than {limits.count} posts")
    if not said:
        return "never trips: share and count are null"
    return f"blocks become review beyond {' or '.join(said)} in {limits.interval_seconds:g} s"


def _screen(limits: ScreenRules) -> str:
    if limits.tolerance is None:
        return "answers nothing: no tolerance"
    may = "allow or block" if limits.may_block else "allow"
    return f"may {may} where at most {limits.tolerance * 100:g} % of its answers are wrong"


def _why(value: float, threshold: float | None, *, fired: bool) -> str:
    if threshold is None:
        return "never: null"
    if fired:
        return f"{value:.3g} has reached {threshold:g}"
    if value < threshold:
        return f"{value:.3g} is below {threshold:g}"
    return f"{value:.3g} has reached {threshold:g}, but what fired comes first"


def _why_applies(name: str, bars: CategoryBars, found: Finding) -> str:
    if bars.applies_at is None:
        return "named" if name in found.categories else "not named"
    if not found.category_scores:
        said = "named" if name in found.categories else "not named"
        return f"{said}; this engine gives no category scores"
    score = found.category_scores.get(name, 0.0)
    if score >= bars.applies_at:
        return f"its score {score:.3g} has reached applies_at {bars.applies_at:g}"
    beside = "; named, so the general rules are asked" if name in found.categories else ""
    return f"its score {score:.3g} is below applies_at {bars.applies_at:g}{beside}"
