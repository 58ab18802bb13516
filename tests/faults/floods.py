"""Floods: mutated and exact copies of a few texts beside posts that nobody else has, each with its truth.

A word in every text decides what the fake engine finds, and no mutation touches it. Texts of one flood
differ in that word alone: whoever reuses too much answers one with what was found of another.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sluicegate.schemas import Severity, Verdict

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from faults.stage import Stage

# No member may be thrown out for being slow on a busy machine: that would be another fault.
ON = {"cache.near_duplicates.enabled": "true", "kafka.session_timeout_s": "10"}
SEVERITIES: tuple[Severity, ...] = ("safe", "controversial", "unsafe")
WORDS: dict[Severity, str] = {"safe": "library", "controversial": "whisky", "unsafe": "bazooka"}
RULES: dict[str, Severity] = {word: severity for severity, word in WORDS.items()}
ACTIONS: dict[Severity, str] = {"safe": "allow", "controversial": "review", "unsafe": "block"}
"""What the built-in policy makes of them, were each judged alone."""
_COPIES = 90
_OPENING, _ENDING = "Everybody who reads this should come along", "and tell all of your friends"
_MUTATED, _EXACT = 0.5, 0.7


def text_of(flood: object, severity: Severity) -> str:
    """The text of a flood, as it was first written."""
    return f"{_OPENING} to the {WORDS[severity]} of flood {flood} {_ENDING}!!!!!"


def mutated(text: str, rng: random.Random) -> str:
    """A near duplicate: characters that nobody sees among the first words, and stops drawn out at the end."""
    places = rng.sample(range(1, len(_OPENING)), rng.randrange(1, 4))
    seen = "".join("\u200b" * (place in places) + one for place, one in enumerate(text))
    return seen + "!" * rng.choice((0, 0, rng.randrange(1, 20)))


def copies(flood: object, count: int, rng: random.Random, *, first: int = 0) -> list[dict[str, Any]]:
    """So many mutated copies of the texts of one flood, of each severity in turn."""
    kinds = [SEVERITIES[number % len(SEVERITIES)] for number in range(count)]
    return [
        {"id": f"{severity}-{flood}-{first + number}", "text": mutated(text_of(flood, severity), rng)}
        for number, severity in enumerate(kinds)
    ]


def flood_post(number: int, rng: random.Random) -> dict[str, Any]:
    """A mutated copy, an exact one, or a text of its own; its id begins with its truth."""
    severity, draw, flood = rng.choice(SEVERITIES), rng.random(), number // _COPIES
    text = text_of(flood if draw < _EXACT else f"of one, {number}", severity)
    return {"id": f"{severity}-{number}", "text": mutated(text, rng) if draw < _MUTATED else text}


def truth_of(post_id: str) -> Severity:
    """What a fresh judgement finds of a post."""
    found = post_id.partition("-")[0]
    return next(one for one in SEVERITIES if one == found)


def by_default(verdict: Verdict) -> str:
    """The action that a fresh judgement of the same post leads to under the built-in policy."""
    return ACTIONS[truth_of(verdict.post_id)]


def verdicts_of(stage: Stage) -> list[Verdict]:
    """Everything published but dead letters."""
    return [
        Verdict.model_validate(one.body, strict=False) for one in stage.lane.read() if not one.is_dead_letter
    ]


def check_truth(stage: Stage, wanted: Callable[[Verdict], str | None] = by_default) -> list[Verdict]:
    """Demand that every judged post has the action that a fresh judgement gives, and that reuse was at work."""
    found = verdicts_of(stage)
    actions: dict[str, str] = {one.verdict_id: one.action for one in found}
    judged = [one for one in found if one.failure is None]
    untrue = [one for one in judged if one.action != wanted(one)]
    allows = sum(one.action == "allow" for one in untrue)
    stage.require(not untrue, f"{len(untrue)} actions that no fresh judgement gives, {allows} of them allow")
    count = Counter(one.assessed_by.value for one in judged)
    stage.require(count["near_duplicate"], "no near duplicate was reused: nothing was shown")
    reused = [one for one in judged if one.reused_from is not None]
    stray = sum(one.reused_from not in actions for one in reused)
    stage.require(not stray, f"{stray} verdicts reuse one that does not stand")
    stage.note(
        "assessed", near_duplicates=count["near_duplicate"], engine=count["engine"], cache=count["cache"]
    )
    return found
