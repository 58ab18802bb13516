"""What another policy would have changed, from verdicts that were given. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.policy.decider import SEVERITY, Decision
from sluicegate.pipeline.policy.policy import Policy
from sluicegate.schemas import Action, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator


_NO_CATEGORY = "(none)"
_ALL_OTHERS = "(all others)"
_EXAMPLES = 3


@dataclass(slots=True)
class ChangedExample:
    """One verdict that would have come out differently. It holds neither text nor the post's id."""

    verdict_id: str
    tenant: str
    scores: dict[str, float] | None
    old_rule: str
    new_rule: str


@dataclass(slots=True)
class Diff:
    """Counts of what would have changed. Feed it verdicts with :meth:`add`."""

    old: Policy
    new: Policy
    examples_kept: int = _EXAMPLES
    verdicts: int = 0
    repeats: int = 0
    """Verdicts with an id that was counted already: delivery is at least once."""
    decided_by_others: int = 0
    """Verdicts that a policy other than ``old`` had decided: the old side is computed for them, too."""
    decided_by_namesakes: int = 0
    """Of these, verdicts whose policy has the name and the version of ``old`` all the same."""
    of_other_engines: int = 0
    """Verdicts with scores of an engine that ``new`` is not for: a worker that has it keeps its policy."""
    undecidable: int = 0
    """Not explained in a way that tells categories, of which one could change what follows. Or the new
    policy names another adapter than the old one, whose scores nobody knows."""
    unchanged: int = 0
    disposition_only: int = 0
    """Same action, another disposition or other parameters."""
    directions: Counter[str] = field(default_factory=Counter)
    """By ``old -> new`` action."""
    tenants: dict[str, Counter[str]] = field(default_factory=dict)
    categories: dict[str, Counter[str]] = field(default_factory=dict)
    examples: dict[str, list[ChangedExample]] = field(default_factory=dict)
    _counted: set[bytes] = field(default_factory=set, init=False, repr=False)

    def add(self, verdict: Verdict) -> None:
        """Decide a verdict's finding by both policies, and count what differs. One that came before is a repeat."""
        # A topic may hold millions of ids, and a foreign one may have any length.
        mark = hashlib.blake2b(verdict.verdict_id.encode(), digest_size=16).digest()
        if mark in self._counted:
            self.repeats += 1
            return
        self._counted.add(mark)
        self.verdicts += 1
        if verdict.policy.digest != self.old.digest:
            self.decided_by_others += 1
            self.decided_by_namesakes += (verdict.policy.name, verdict.policy.version) == _named(self.old)
        strange = bool(self.new.engines) and verdict.engine.digest not in self.new.engines
        self.of_other_engines += strange and verdict.scores is not None
        if self.old.rules(verdict).adapter != self.new.rules(verdict).adapter:
            self.undecidable += 1
            return
        before, after = decide_again(self.old, verdict), decide_again(self.new, verdict)
        if before is None or after is None:
            self.undecidable += 1
            return
        if before.action is after.action:
            same = (before.disposition, before.parameters) == (after.disposition, after.parameters)
            self.unchanged += same
            self.disposition_only += not same
            return
        direction = f"{before.action} -> {after.action}"
        self.directions[direction] += 1
        self.tenants.setdefault(verdict.tenant, Counter())[direction] += 1
        for category in verdict.categories or (_NO_CATEGORY,):
            self.categories.setdefault(category, Counter())[direction] += 1
        kept = self.examples.setdefault(direction, [])
        if len(kept) < self.examples_kept:
            scores = verdict.scores.model_dump() if verdict.scores else None
            kept.append(ChangedExample(verdict.verdict_id, verdict.tenant, scores, before.rule, after.rule))

    @property
    def stricter(self) -> int:
        """Verdicts whose action would have been severer."""
        return sum(self.directions[name] for name in _directions(1))

    @property
    def milder(self) -> int:
        """Verdicts whose action would have been milder."""
        return sum(self.directions[name] for name in _directions(-1))

    @property
    def namesakes(self) -> bool:
        """True if the two policies differ and have one name and one version, so that people take them for one."""
        return _named(self.old) == _named(self.new) and self.old.digest != self.new.digest

    @property
    def breakers(self) -> list[str]:
        """Tenants whose block-volume breaker differs. No verdict tells what that would have done."""
        named = sorted(self.old.scope.tenants | self.new.scope.tenants)
        return [
            tenant or _ALL_OTHERS
            for tenant in (None, *named)
            if self.old.breaker(tenant) != self.new.breaker(tenant)
        ]

    def document(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "old": _reference(self.old),
            "new": _reference(self.new),
            "namesakes": self.namesakes,
            "verdicts": self.verdicts,
            "repeats": self.repeats,
            "unchanged": self.unchanged,
            "stricter": self.stricter,
            "milder": self.milder,
            "disposition_only": self.disposition_only,
            "undecidable": self.undecidable,
            "of_other_engines": self.of_other_engines,
            "decided_by_others": self.decided_by_others,
            "decided_by_namesakes": self.decided_by_namesakes,
            "breakers": self.breakers,
            "directions": dict(self.directions),
            "tenants": {name: dict(counts) for name, counts in self.tenants.items()},
            "categories": {name: dict(counts) for name, counts in self.categories.items()},
            "examples": {name: [asdict(one) for one in kept] for name, kept in self.examples.items()},
        }


def decide_again(policy: Policy, verdict: Verdict) -> Decision | None:
    """What a policy makes of a verdict's finding; None where that hangs on a category that nobody knows.

    Args:
        policy: It reads the same adapter's scores as the policy that decided: the caller knows that.
        verdict: Any that was given, a failure too.
    """
    scores = verdict.scores
    if scores is None:
        return policy.decide_failure(verdict)
    found, wanted = _dated(verdict), policy.explain_as(verdict, scores)
    decider = policy.decider(verdict)
    if wanted is None or found.explanation_failure is not None or decider.is_explained(scores, wanted, found):
        return policy.decide(verdict, scores, found)
    if decider.hangs_on_a_category(scores):
        return None
    return policy.decide(verdict, scores)  # a worker would have asked, whatever the answer


def _dated(verdict: Verdict) -> Verdict:
    """A verdict that says what its explanation began with. Before verdicts said so, that was the severity.

    Where nothing of an explanation is on such a verdict, it counts as none.
    """
    told = verdict.categories or verdict.category_scores or verdict.refusal is not None
    if verdict.explained_as is not None or verdict.explanation_failure is not None or not told:
        return verdict
    return verdict.model_copy(update={"explained_as": verdict.severity})


def _directions(way: int) -> Iterator[str]:
    for number, before in enumerate(SEVERITY):
        for after in SEVERITY[number + 1 :]:
            pair: tuple[Action, Action] = (before, after) if way > 0 else (after, before)
            yield f"{pair[0]} -> {pair[1]}"


def _named(policy: Policy) -> tuple[str, str]:
    return policy.name, policy.version


def _reference(policy: Policy) -> dict[str, Any]:
    return {
        "name": policy.name,
        "version": policy.version,
        "digest": policy.digest,
        "engines": sorted(policy.engines),
    }
