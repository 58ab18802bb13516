"""What the acceptance on a GPU decides by: pure functions of what was measured. Tested without a GPU."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.engines.build.sizing import Demand, rate_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.backends.gpu import GpuName
    from sluicegate.engines.build.recipe import Quantisation

MOST_FLIPS: Final = 0.01
"""Share of posts whose severity may differ between a quantised engine and BF16."""
LEAST_MASS: Final = 0.99
"""Probability of the three labels together, on harmless posts."""
SLOWER: Final = 0.5
FASTER: Final = 3.0
"""Measured speed over reckoned speed: outside of them, the sizing calculator misleads and has to be corrected."""
MOST_GROWTH_MIB: Final = 256.0
PUBLISHED: Final = {
    # Qwen3Guard Technical Report (arXiv 2510.14276), Gen-8B: F1 strict and loose, per cent.
    "simple_safety_tests": (99.5, 97.4),
    "openai_moderation": (68.8, 81.3),
    "xstest_responses": (92.1, 93.7),
}
PUBLISHED_POINTS: Final = 1.0
"""How far a quantised engine may be from them."""
_Z: Final = 1.6449  # of one side, 95 %


@dataclass(frozen=True, slots=True)
class Flips:
    """Posts that two engines judge differently."""

    posts: int
    flips: int
    failures: int
    """Answered by one of them at most; in no other count."""

    @property
    def share(self) -> float:
        """Of the posts that both answered."""
        return self.flips / self.posts

    @property
    def upper(self) -> float:
        """Upper end of the one-sided 95 % interval of the share (Wilson)."""
        n, p, z = self.posts, self.share, _Z
        middle = p + z * z / (2 * n)
        return (middle + z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)


def count_flips(one: Sequence[str | None], other: Sequence[str | None]) -> Flips:
    """Compare severities, post by post; None is a failure.

    Raises:
        ValueError: They are not of the same posts, or nothing can be compared.
    """
    pairs = [
        (left, right)
        for left, right in zip(one, other, strict=True)
        if left is not None and right is not None
    ]
    if not pairs:
        raise ValueError("no post was scored by both engines")
    return Flips(len(pairs), sum(left != right for left, right in pairs), len(one) - len(pairs))


def growth_mib(samples: Sequence[float]) -> float:
    """How much memory grew: median of the last quarter of the samples less that of the second one.

    The first quarter fills caches and counts for nothing.

    Raises:
        ValueError: There are fewer than eight samples.
    """
    quarter = len(samples) // 4
    if quarter < 2:
        raise ValueError("a soak needs eight samples at least; let it run longer")
    return statistics.median(samples[-quarter:]) - statistics.median(samples[quarter : 2 * quarter])


def contradicts(severity: str, categories: Sequence[str]) -> bool:
    """Whether a text names a category for what is safe, or none for what is not."""
    return (severity == "safe") == bool(categories)


def f1_percent(harmful: Sequence[bool], severities: Sequence[str], *, strict: bool) -> float:
    """F1 of harmful posts, per cent; strict counts controversial as harmful. 0 where none is found.

    Raises:
        ValueError: Nothing is labelled harmful.
    """
    if not any(harmful):
        raise ValueError("no row is labelled harmful, so F1 says nothing")
    found = [severity == "unsafe" or (strict and severity == "controversial") for severity in severities]
    both = sum(a and b for a, b in zip(harmful, found, strict=True))
    return 200.0 * both / (sum(harmful) + sum(found))


def reckoned_posts_s(
    gpu: GpuName, quantisation: Quantisation, *, prompt_tokens: float, shared_tokens: int
) -> float:
    """What the sizing calculator says of scoring such prompts alone, on a GPU kept busy."""
    demand = Demand(
        gpu,
        tokens_per_post=prompt_tokens - shared_tokens,
        quantisation=quantisation,
        explained=0.0,
        static_tokens=shared_tokens,
        shared_tokens=shared_tokens,
    )
    return rate_of(demand).posts_s
