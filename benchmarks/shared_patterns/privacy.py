"""What a pattern gives away: many of them mined from floods with planted personal data, and attacked with the circle's key."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared_patterns.floods import CAMPAIGNS, copy_of, everyday
from sluicegate.pipeline.patterns.masking import CommonWords
from sluicegate.pipeline.patterns.mining import ConfirmedCopy, MinedCluster, mine
from sluicegate.pipeline.patterns.sharing import residue
from sluicegate.pipeline.patterns.sketch import KEPT, all_checksums, checksums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

K = 5
ASKED = 5
"""Copies of each flood that were counted, and as many that were not: so many more make chance say less."""
AT = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(slots=True)
class PrivacyFigures:
    """Sums over all patterns."""

    patterns: int = 0
    not_shared: int = 0
    """Floods of which nothing was shared."""
    residual: int = 0
    """Patterns in which a planted phone number, name, link, mail address or amount could be told from another one, with the key."""
    scanned: int = 0
    """Patterns whose template has something left for a detector."""
    inside: list[int] = None  # type: ignore[assignment]  # set below
    outside: list[int] = None  # type: ignore[assignment]  # set below

    def __post_init__(self) -> None:
        self.inside, self.outside = [0] * (KEPT + 1), [0] * (KEPT + 1)

    @property
    def advantage(self) -> float:
        """How much better than a coin the best test is that says who was counted: the largest gap between two shares."""
        inside = outside = gap = 0.0
        for here, there in zip(reversed(self.inside), reversed(self.outside), strict=True):
            inside += here / max(1, sum(self.inside))
            outside += there / max(1, sum(self.outside))
            gap = max(gap, abs(inside - outside))
        return gap


def vocabulary(chance: random.Random, posts: int = 6_000) -> CommonWords:
    """The common words of an institution."""
    known = CommonWords(K)
    for number in range(posts):
        known.add(everyday(chance), f"author-{number % 1500}")
    return known


def measure(
    patterns: int,
    seed: int,
    *,
    detector: Callable[[str], bool],
    told: Callable[[int], None] = lambda _n: None,
) -> PrivacyFigures:
    """Mine so many patterns, each from a flood of its own, and attack each.

    Args:
        patterns: How many.
        seed: Of the floods.
        detector: A second look at what is left.
        told: Gets how many are done.
    """
    chance = random.Random(seed)  # noqa: S311 - so that a run can be repeated
    words, figures = vocabulary(chance), PrivacyFigures()
    for flood in _floods(chance):
        if figures.patterns >= patterns:
            return figures
        campaign, slots, authors = flood
        texts = [copy_of(campaign, chance, slots=slots) for _ in range(authors + ASKED)]
        # The last ones are of the same flood, by authors who were not counted.
        copies = [
            ConfirmedCopy(one.text, f"a{number}", "scam", "unsafe", "en", AT)
            for number, one in enumerate(texts[:authors])
        ]
        clusters = mine(copies, k=K, vocabulary=words, harmless=()).clusters
        if not clusters:
            figures.not_shared += 1
            continue
        cluster = max(clusters, key=lambda one: one.copies)
        figures.patterns += 1
        figures.scanned += residue(cluster.template, also=detector)
        figures.residual += _gives_away(campaign, slots, cluster, chance)
        for one in chance.sample(texts[:authors], ASKED):
            figures.inside[_seen(one.text, cluster)] += 1
        for one in texts[authors:]:
            figures.outside[_seen(one.text, cluster)] += 1
        if figures.patterns % 500 == 0:
            told(figures.patterns)
    raise AssertionError("floods never end")


def _floods(chance: random.Random) -> Iterator[tuple[str, dict[str, str], int]]:
    """Floods without end: some keep their slots in every copy, as one scammer with one number does."""
    names = list(CAMPAIGNS)
    number = 0
    while True:
        campaign = names[number % len(names)]
        number += 1
        slots: dict[str, str] = {}
        if number % 2:  # the same person in all copies: no k of authors hides it
            given = chance.choice(
                ("Wolfgang", "Beatrix", "Ingmar", "Soledad", "Priya", "Thandeka", "wolfgang", "maria")
            )
            slots["name"] = (
                f"{given} {chance.choice(('Quarshie', 'Lilienthal', 'Abernathy', 'Zhukova', 'quarshie'))}"
            )
            slots["phone"] = f"+49 151 555 {chance.randrange(10_000):04d}"
        yield campaign, slots, max(K, int(chance.lognormvariate(3.0, 0.8)))


def _gives_away(campaign: str, slots: dict[str, str], cluster: MinedCluster, chance: random.Random) -> bool:
    """True if somebody with the key and the template can tell what stood in a slot from what did not.

    The attacker fills the slot with the truth and with others, and compares the pairs of words that reach into it with the
    pattern. A pattern that has none of them answers every guess alike.
    """
    values = set(cluster.checksums)
    for slot, others in (("phone", _tails), ("name", _names)):
        if slot not in slots or f"{{{slot}}}" not in CAMPAIGNS[campaign]:
            continue
        filled = {name: slots.get(name, "") for name in ("name", "price", "link", "phone", "mail")}
        truth = _hits(campaign, filled, values)
        if any(_hits(campaign, filled | {slot: other}, values) != truth for other in others(chance)):
            return True
    return False


def _hits(campaign: str, filled: dict[str, str], values: set[int]) -> frozenset[int]:
    return frozenset(all_checksums(CAMPAIGNS[campaign].format(**filled)) & values)


def _tails(chance: random.Random) -> Iterator[str]:
    for _ in range(20):  # digits never enter a pair: `tests` try all 10,000
        yield f"+49 151 555 {chance.randrange(10_000):04d}"


def _names(_chance: random.Random) -> Iterator[str]:
    yield from (
        "Beatrix Quarshie",
        "Priya Abernathy",
        "Nobody Lilienthal",
        "maria zhukova",
        "Soledad Kowalczyk",
    )


def _seen(text: str, cluster: MinedCluster) -> int:
    """What a member sees of a text: how many of its values are in the pattern."""
    return len(set(checksums(text, KEPT)) & set(cluster.checksums))
