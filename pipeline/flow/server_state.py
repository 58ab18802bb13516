"""One engine's server as a worker knows it: what may be sent to it now, and which prompts end it. Pure.

Each adapter on the server is up, away or on trial for itself. Their deaths are one: what was in the server's work,
of whichever adapter, is counted when another process answers in its place. After the second death with the same
prompts in work these are asked one at a time, with nothing else in the server's work.

A death is what the engine's generation says: the same process after a broken connection is none. Where the server is
shared, workers agree by a lease who asks its suspects. Where the server tells no generation, no prompt is taken for poison.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.engines.protocol import Generation
from sluicegate.pipeline.flow.adapter_state import AdapterState, Availability, CallOutcome, Leave
from sluicegate.pipeline.flow.suspects import LeaseState, Suspects

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Sequence


_LINGER_S: Final = 30.0
"""A server may work so long on what was given up: the chart's servers end an explanation of 64 tokens well before."""
_LOOK_AGAIN_S: Final = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """Permission for one call. It must be reported."""

    adapter: str | None
    keys: tuple[str, ...]
    leave: Leave
    life: int
    """Of the server, at the time of the call."""
    one: bool
    """True if it is a suspect that is asked with nothing else in work."""
    sole: bool
    """True if nobody else had anything in the server's work either, as far as anybody can tell."""


class ServerState:
    """One per server; one event loop.

    Args:
        clock: Monotonic seconds.
        died: Told of each death that is certain: its name, and what was in work.
        origin: Names this state among those of all workers.
        address: Names the server among all servers that several workers share; None if it is this worker's own.
        found: Told of each prompt that is found to be poison here, or set aside, and which of both.
        several: Told once that several processes answer behind one address.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        origin: str = "",
        address: str | None = None,
        died: Callable[[str, Collection[str]], None] = lambda _death, _keys: None,
        found: Callable[[str, bool], None] = lambda _key, _certain: None,
        several: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._origin, self._address = origin, address
        self._tell_death = died
        self._tell_many = several
        self.prompts = Suspects(clock, found)
        """What is known of prompts."""
        self.lease = LeaseState(clock)
        """Who may ask about suspects, where other workers may share the server."""
        self.met = False
        """False until the engine was asked for its generation."""
        self._adapters: dict[str | None, AdapterState] = {}
        self._work: set[Permit] = set()
        self._lingering: dict[str, float] = {}
        self._visitors: dict[Hashable, str | None] = {}
        self._kept: dict[Hashable, frozenset[str]] = {}
        self._generation: Generation | None = None
        self._process: str | None = None
        self._past: set[str] = set()
        self._many = False
        self._life = 0
        self._lost: frozenset[str] | None = None
        self._lost_sole = False
        self._doubts = 0
        self._doubt = False
        self._looking = False
        self._looks: dict[str | None, tuple[int, int | None]] = {}
        self._look_at = 0.0
        self._idle = False
        self._looked_by: int | None = None

    def enrol(
        self,
        adapter: str | None,
        *,
        mute_calls: int,
        first_pause_s: float,
        on_change: Callable[[Availability, str], None],
    ) -> AdapterState:
        """Add an adapter of this server; its own state, to be read."""
        self._adapters[adapter] = AdapterState(
            mute_calls=mute_calls, first_pause_s=first_pause_s, clock=self._clock, on_change=on_change
        )
        return self._adapters[adapter]

    def admit(self, visitor: Hashable, adapter: str | None, keys: Sequence[str]) -> Permit | None:
        """Permission to ask about some or all of these prompts now: about the first suspect alone, or about all.

        Args:
            visitor: Who asks. It must say :meth:`leave` in the end.
            adapter: Whose prompts they are.
            keys: Their names, at least one; none of them poison or set aside.
        """
        suspect = self.prompts.first_suspect(keys)
        if suspect is None:
            self._visitors.pop(visitor, None)
        else:
            self._visitors[visitor] = adapter
        self._kept[visitor] = frozenset(keys)
        if self._doubt or self.lease.lent:
            return None
        first = self._first()
        if suspect is None:
            if first is not None or any(permit.one for permit in self._work):
                return None
        elif first != visitor or not self._free_for_one():
            return None
        leave = self._adapters[adapter].admit()
        if leave is None:
            return None
        told = self._generation is not None
        sole = self._exclusive or (told and suspect is not None and self.lease.in_force and self._idle)
        chosen = tuple(keys) if suspect is None else (suspect,)
        permit = Permit(adapter, chosen, leave, self._life, suspect is not None, sole)
        self._work.add(permit)
        self._kept[visitor] -= frozenset(chosen)
        self._looked_by = None
        return permit

    def leave(self, visitor: Hashable) -> None:
        """This visitor asks no more."""
        self._visitors.pop(visitor, None)
        self._kept.pop(visitor, None)

    def report(
        self,
        permit: Permit,
        outcome: CallOutcome,
        *,
        reason: str = "",
        refused: bool = False,
        left: Collection[str] = (),
        failed: Collection[str] = (),
    ) -> None:
        """Say what a call told.

        Args:
            permit: Its permission.
            outcome: What it tells of the engine.
            reason: Why the engine is away; for people, without text of a post.
            refused: The server was there and took nothing: that says nothing of the prompts.
            left: Prompts that the server may still be at work on, since nobody waited for their answer.
            failed: Prompts that met a fault of the engine: that is no answer, and clears them of nothing.
        """
        self._work.discard(permit)
        self._adapters[permit.adapter].report(permit.leave, outcome, reason)
        now = self._clock()
        self._lingering = {key: until for key, until in self._lingering.items() if until > now}
        self._lingering |= dict.fromkeys(left, now + _LINGER_S)
        if outcome is CallOutcome.AWAY:
            if not refused and permit.life == self._life:
                self._lose(permit)
        elif outcome is CallOutcome.ANSWERED:
            answered = set(permit.keys).difference(left, failed)
            self.prompts.cleared(answered)
            if self._lost is not None:
                self._lost -= answered

    def begin_asking(self, adapter: str | None) -> bool:
        """True for the one who shall ask for health and generation now; :meth:`asked` must follow."""
        state = self._adapters[adapter]
        if state.away:
            due = state.begin_asking()
        else:
            due = (self._doubt or self._wants_look()) and not self._looking and self._clock() >= self._look_at
            self._looking = self._looking or due
        if due:
            self._looks[adapter] = self._doubts, self._agreement
        return due

    def asked(
        self, adapter: str | None, *, healthy: bool, generation: Generation | None, reason: str = ""
    ) -> None:
        """Say what the engine's health and generation are."""
        state = self._adapters[adapter]
        doubts, agreement = self._looks.pop(adapter, (-1, None))
        is_news = doubts == self._doubts
        self._looking = False
        self._look_at = self._clock() + _LOOK_AGAIN_S
        # No news is what was told of the time before a call was lost.
        if healthy and is_news:
            self._look_at = 0.0 if self._doubt else self._look_at
            self.seen(generation)
            self._idle, self._looked_by = generation is None or generation.idle, agreement
        if state.away:
            state.asked(healthy=healthy)
        elif not healthy:
            state.leave(reason)

    def seen(self, generation: Generation | None) -> None:
        """Say which process answers. Another one than before means that what was lost was in work at a death."""
        before = self._generation
        if generation is not None:
            # A process that is back after another stands beside it, behind one address: none of them tells of the other's end.
            # A look that tells nothing, such as one in a network that fails, says of no process that it has ended.
            if self._process not in (None, generation.process):
                self._past.add(self._process)
            self._process = generation.process
            is_one = not self._many
            self._many = self._many or generation.process in self._past
            if self._many and is_one:
                self._tell_many()
        self._generation = generation = None if self._many else generation
        lost, self._lost = self._lost, None
        self.met, self._doubt = True, False
        if before is not None and generation is not None and before.process == generation.process:
            self.prompts.broke_off(lost or ())
            return
        self._life += 1
        self._lingering.clear()
        if lost and (before is not None or generation is None):  # else nothing is known of the process before
            self._count_death(lost, before if generation is not None else None)

    def _count_death(self, lost: frozenset[str], ended: Generation | None) -> None:
        death = f"{self._origin} {self._life}"
        if ended is not None and not ended.exclusive and self._address is not None:
            death = f"{self._address} {ended.process}"  # which the other workers on it call the same
        death = hashlib.sha256(death.encode()).hexdigest()[:16]
        if ended is not None:
            self._tell_death(death, lost)
        self.prompts.died_with(lost, death, attributable=ended is not None and self._lost_sole)

    def keeps_back(self, key: str) -> bool:
        """True while this prompt was to be sent, and is not in the engine's work."""
        return any(key in keys for keys in self._kept.values())

    @property
    def in_work(self) -> set[str]:
        """What the engine has in its work, and what was in it when it was lost, until that is explained."""
        return {key for permit in self._work for key in permit.keys} | (self._lost or frozenset())

    def reason(self, adapter: str | None) -> str:
        """Why an adapter's prompts wait now; for people."""
        if own := self._adapters[adapter].reason:
            return own
        if self.lease.lent:
            return "another worker asks this server about prompts that may end it, one at a time"
        if self._doubt:
            return "the engine's server broke off its calls"
        return "prompts that may have ended the engine are asked one at a time"

    @property
    def wants_lease(self) -> bool:
        """True if a suspect waits for the server, and other workers must hear of it first, or again."""
        return not self._exclusive and self._first() is not None and self.lease.wanted

    @property
    def spares_lease(self) -> bool:
        """True if this worker has a lease and no suspect any more."""
        return self.lease.slot and not self._visitors and not any(one.one for one in self._work)

    @property
    def _exclusive(self) -> bool:
        return self._generation is not None and self._generation.exclusive

    def _first(self) -> Hashable | None:
        """Whose suspect is next. One whose adapter is away lets the others work meanwhile."""
        waiting = (one for one, adapter in self._visitors.items() if not self._adapters[adapter].away)
        return next(waiting, None)

    def _free_for_one(self) -> bool:
        now = self._clock()
        self._lingering = {key: until for key, until in self._lingering.items() if until > now}
        if self._work or self._lingering:
            return False
        # A server that others keep at work is asked in the end. A prompt that it dies of then is not taken for poison.
        return self._exclusive or (self._fresh and (self._idle or self.lease.is_half_over))

    @property
    def _agreement(self) -> int | None:
        """By which lease this worker may ask; 0 if workers cannot agree, None if it must not ask yet."""
        if self.lease.in_force:
            return self.lease.number
        return None if self.lease.lending and not self.lease.is_unheard else 0

    @property
    def _fresh(self) -> bool:
        """True if the server was looked at since the others let this worker ask. Before that they may have sent more."""
        return self._looked_by is not None and self._looked_by == self._agreement

    def _wants_look(self) -> bool:
        """True if a suspect waits, and nobody knows whether the server is well, and whether others keep it at work."""
        known = self._exclusive or (self._fresh and self._idle)
        agreed = self._agreement is not None
        return not known and not self._work and agreed and self._first() is not None

    def _lose(self, permit: Permit) -> None:
        self._doubt = True
        self._doubts += 1
        self._look_at = 0.0
        if self._lost is None:
            now = self._clock()
            beside = (one.keys for one in self._work if one.life == self._life)
            lingering = {key for key, until in self._lingering.items() if until > now}
            self._lost = frozenset(permit.keys).union(lingering, *beside)
            self._lost_sole = permit.sole and (self._exclusive or self.lease.in_force)
