"""Mutants that may survive: what they change makes no difference that a test could see, or should.

Each entry names its mutant, quotes the change, and says why. An entry whose mutant is gone, has changed or is
caught is stale, and fails the run: so this list cannot rot.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accepted:
    """One survivor, with its reason."""

    name: str
    text: str
    """The change, as the run tells it."""
    why: str


ACCEPTED: tuple[Accepted, ...] = (
    Accepted(
        "pipeline/policy/layers.py:_named:and-for-or:1",
        "tag is None or not names -> ((tag is None) and (not names))",
        "It saves time: nothing covers no tag, and among no names there is none that covers one.",
    ),
    Accepted(
        "pipeline/policy/reading.py:unreachable:left-out-condition:1",
        "key in left and _meets(laid, path) -> ((_meets(laid, path)))",
        "It discards what is not there, which does nothing.",
    ),
    Accepted(
        "pipeline/policy/reading.py:unreachable:moved-boundary:1",
        "count > _MOST_CONTEXTS -> count >= _MOST_CONTEXTS",
        "The bound is a round number of combinations. A policy of exactly so many takes seconds to look through.",
    ),
    Accepted(
        "pipeline/policy/reading.py:_right:left-out-condition:2",
        "isinstance(key, str) and key in _RIGHT -> ((key in _RIGHT))",
        "The condition is there for the type checker: a number is no key of that table.",
    ),
    Accepted(
        "pipeline/flow/work.py:Work._conclude:left-out-condition:4",
        "found.by is AssessedBy.ENGINE and len(members) > 1 -> ((len(members) > 1))",
        "It saves a copy for each further member: the copy would say the same.",
    ),
    Accepted(
        "pipeline/flow/work.py:Work._note:left-out-condition:2",
        "post.parts is not None and post.parts.parts[number].folded -> ((post.parts.parts[number].folded))",
        "The condition is there for the type checker: who has no parts waits for nothing to be found of them.",
    ),
    Accepted(
        "pipeline/flow/window.py:Window.__init__:one-more:1",
        "0.0 -> (0.0 + 1)",
        "It is set together with the oldest post, and is not read without one.",
    ),
)
