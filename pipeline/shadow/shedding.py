"""Shedding: what part of its share a shadow judges while it lags. Pure.

A lower share holds the posts of the higher one that come first by their hash, whatever they say. So what is shed is no
choice among texts, and the comparator, which expects the whole share, counts it as missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BEHIND_S = 30.0
"""A shadow that is further behind sheds. It is more than a slow micro-batch takes, and little beside the time for which a
verdict of the incumbent waits for the candidate's."""
USELESS_S = 300.0
"""What is older than this might come too late to be compared: nothing of it is judged."""
_DOWN, _UP = 0.5, 1.25
"""Each look halves the share, or adds a quarter to it: quickly out of a backlog, slowly into the next one."""
_LEAST = 1 / 64
"""Of the whole share: where the way up begins again."""


@dataclass(slots=True)
class LoadShedding:
    """The share in force. Tell it with :meth:`look`, every few seconds, how far the shadow is behind.

    Args:
        share: The whole share, from 0 to 1.
    """

    share: float
    current: float = field(init=False)
    """The share that is judged now."""

    def __post_init__(self) -> None:
        self.current = self.share

    def look(self, lag_s: float) -> None:
        """Take in the age of the oldest post that waits, in seconds."""
        if lag_s > USELESS_S:
            self.current = 0.0
        elif lag_s > BEHIND_S:
            self.current *= _DOWN
        elif lag_s < BEHIND_S / 2:
            self.current = min(self.share, max(self.current * _UP, self.share * _LEAST))
