"""The outcome of a scenario: was every post answered, and did no failure become an allow?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.collector import account

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from support.collector import Record, Sent

Fact = str | int | float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of one scenario."""

    posts: int
    """Records that the brokers accepted on the input topic."""
    verdicts: int
    """Verdict records, repeats included."""
    repeats: int
    """Records beyond the first with the same id, and further ids of one post."""
    dead_letters: int
    lost: int
    """Records with neither a verdict nor a dead letter."""
    wrong: int
    """Failures that became ``allow``, ids with two actions, and posts with two actions where that is asked."""
    notes: dict[str, Fact] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """True if nothing was lost and nothing is wrong."""
        return self.lost == 0 and self.wrong == 0


def judge_outcome(
    sent: Sequence[Sent],
    records: Sequence[Record],
    *,
    open_tenants: Collection[str] = (),
    one_action: bool = True,
    notes: dict[str, Fact] | None = None,
) -> Outcome:
    """Balance what came out against what went in.

    Args:
        sent: What the brokers accepted.
        records: Everything on the output topics.
        open_tenants: Tenants whose failure mode is ``allow`` by their own choice.
        one_action: A post's verdicts must agree on the action, whatever their ids. True with a
            deterministic engine, an unchanged policy and no breaker.
        notes: Facts to keep beside the figures.
    """
    found = account(sent, records)
    verdicts = [record.body for record in records if not record.is_dead_letter]
    unasked_allows = sum(
        body["action"] == "allow" and body.get("failure") is not None and body["tenant"] not in open_tenants
        for body in verdicts
    )
    actions: defaultdict[tuple[str, str, int], set[str]] = defaultdict(set)
    for body in verdicts:
        actions[body["tenant"], body["post_id"], body["revision"]].add(body["action"])
    torn = sum(len(seen) > 1 for seen in actions.values()) if one_action else 0
    extra: dict[str, Fact] = {"unasked": found.unasked} if found.unasked else {}
    return Outcome(
        posts=found.sent,
        verdicts=found.verdicts,
        repeats=found.repeats_same_id + found.repeats_other_id,
        dead_letters=found.dead_letters,
        lost=len(found.lost),
        wrong=unasked_allows + len(found.two_actions) + torn,
        notes=(notes or {}) | extra,
    )
