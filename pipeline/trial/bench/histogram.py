"""Histogram: durations in bounded memory, with percentiles that never look better than they were. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

GROWTH = 1.02
"""Each bucket's upper edge is so many times that of the one below: the error of a percentile."""

_FLOOR_MS = 0.1
_MOST_MS = 7 * 86_400_000.0  # a week; 1,138 buckets in all
_LOG_GROWTH = math.log(GROWTH)


@dataclass(slots=True)
class Histogram:
    """Counts durations in milliseconds. Percentiles are the upper edge of their bucket: up to 2 % too long."""

    count: int = 0
    most_ms: float = 0.0
    _sum_ms: float = 0.0
    _buckets: dict[int, int] = field(default_factory=dict)

    def add(self, ms: float) -> None:
        """Count one; what is negative counts as 0."""
        ms = min(max(0.0, ms), _MOST_MS)
        # The small number: an edge itself belongs to the bucket that ends there.
        bucket = 0 if ms <= _FLOOR_MS else math.ceil(math.log(ms / _FLOOR_MS) / _LOG_GROWTH - 1e-9)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self._sum_ms += ms
        self.most_ms = max(self.most_ms, ms)

    @property
    def mean_ms(self) -> float | None:
        """The mean, exact; None of nothing."""
        return self._sum_ms / self.count if self.count else None

    def percentile_ms(self, share: float) -> float | None:
        """The smallest upper edge that at least this share does not exceed; None of nothing."""
        if not self.count:
            return None
        rank, seen = max(1, math.ceil(share * self.count - 1e-9)), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(_FLOOR_MS * GROWTH**bucket, self.most_ms)
        raise AssertionError("the counts of the buckets add up to the count")

    def summary(self) -> dict[str, float | None]:
        """Mean, percentiles and maximum as JSON values."""
        return {
            "mean_ms": rounded(self.mean_ms),
            **{f"p{percent}_ms": rounded(self.percentile_ms(percent / 100)) for percent in (50, 95, 99)},
            "max_ms": rounded(self.most_ms) if self.count else None,
        }


def rounded(value: float | None, digits: int = 1) -> float | None:
    """A figure as a report shows it."""
    return None if value is None else round(value, digits)
