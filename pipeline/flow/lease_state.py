"""Who may ask a shared server about its suspects: this worker, another, or nobody yet. Pure.

A lease ends by itself, so that a worker that dies does not keep the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LEASE_S: Final = 60.0
"""A worker that dies while it asks its suspects keeps the others from the server for so long."""
_HEARD_S: Final = 2.0
"""Within so long the other workers have read of a lease: they follow the control topic at least twice a second."""
_UNHEARD_S: Final = 30.0
"""A claim that was not read back within so long is read by nobody: the topic can be read here, and not be written."""
_RENEW_S: Final = 20.0
"""A lease is renewed once no more than this is left of it; no suspect is asked in the last half of that."""


class LeaseState:
    """Of one server. The lease of whoever was first counts, until it is given back or over.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begins = self._ends = self._lent_until = 0.0
        self._claimed_at: float | None = None
        self.number = 0
        """Of this worker's leases, the last one; a lease that is renewed keeps its number."""
        self.lending = False
        """True while workers can agree by a lease."""

    @property
    def lent(self) -> bool:
        """True while another worker has it."""
        return self._clock() < self._lent_until

    @property
    def slot(self) -> bool:
        """True while this worker has it."""
        return self._clock() < self._ends

    @property
    def in_force(self) -> bool:
        """True while this worker has it, everybody has heard of it, and it does not end soon."""
        return self._begins <= self._clock() < self._ends - _RENEW_S / 2

    @property
    def wanted(self) -> bool:
        """True if a worker that wants it must claim it now, or again."""
        return self.lending and not self.lent and self._clock() > self._ends - _RENEW_S

    @property
    def is_half_over(self) -> bool:
        """True once so much of it has passed that a server which others keep at work is waited for no longer."""
        return self._clock() > self._ends - LEASE_S / 2

    @property
    def is_unheard(self) -> bool:
        """True while what this worker claims reaches nobody."""
        return self._claimed_at is not None and self._clock() >= self._claimed_at + _UNHEARD_S

    def claim(self) -> None:
        """This worker tells of a claim."""
        if self._claimed_at is None:
            self._claimed_at = self._clock()

    def heard(self) -> None:
        """What this worker told was read, or may be read by now."""
        self._claimed_at = None

    def begin(self, *, ours: bool, age_s: float = 0.0) -> None:
        """It begins, or is renewed: this worker's, or another's.

        Args:
            ours: True if this worker claimed it.
            age_s: Seconds since it began. A lease that is over begins nothing.
        """
        now = self._clock()
        ends = now + LEASE_S - age_s
        if ends <= now:
            return
        if ours:
            if not self.slot:
                self._begins = now + _HEARD_S
                self.number += 1
            self._ends, self._lent_until = max(self._ends, ends), 0.0
        else:
            self._ends, self._lent_until = 0.0, ends

    def end(self) -> None:
        """It is given back."""
        self._ends = self._lent_until = 0.0
