"""Which prompts ended the engine: what was in its work at each death, and what follows for each prompt. Pure.

A prompt that was in work at two deaths is a suspect, and is asked with nothing else in the engine's work. Its death
then is one more, and nothing else can have caused it. An answer clears a prompt of everything.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


LEASE_S: Final = 60.0
"""A worker that dies while it asks its suspects keeps the others from the server for so long."""
_HEARD_S: Final = 2.0
"""Within so long the other workers have read of a lease: they follow the control topic at least twice a second."""
_UNHEARD_S: Final = 30.0
"""A claim that was not read back within so long is read by nobody: the topic can be read here, and not be written."""
_RENEW_S: Final = 20.0
"""A lease is renewed once no more than this is left of it; no suspect is asked in the last half of that."""


class LeaseState:
    """Of one server. The lease of the first worker counts, until it is given back or over.

    Args:
        clock: Monotonic seconds.
        waits: Ask only once the other workers have heard of it, too, since they stop then what they send. Where they do
            not, it is enough that this worker has read that it was the first.
    """

    def __init__(self, clock: Callable[[], float], *, waits: bool = True) -> None:
        self._clock = clock
        self._heard_s = _HEARD_S if waits else 0.0
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
    def is_claimed(self) -> bool:
        """True while this worker has it, or has told of a claim that it has not read yet."""
        return self.slot or self._claimed_at is not None

    @property
    def in_force(self) -> bool:
        """True while this worker has it, everybody has heard of it, and it does not end soon."""
        return self._begins <= self._clock() < self._ends - _RENEW_S / 2

    @property
    def wanted(self) -> bool:
        """True if a worker that wants it must claim it now, or again."""
        return self.lending and not self.lent and self._clock() > self._ends - _RENEW_S

    @property
    def ends_soon(self) -> bool:
        """True once it would have to be renewed."""
        return self.slot and self._clock() > self._ends - _RENEW_S

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
                self._begins = now + self._heard_s
                self.number += 1
            self._ends, self._lent_until = max(self._ends, ends), 0.0
        else:
            self._ends, self._lent_until = 0.0, ends

    def end(self) -> None:
        """It is given back."""
        self._ends = self._lent_until = 0.0


REMEMBERED_S: Final = 600.0
"""A prompt that ended the engine is not asked again for so long. It is short, since an engine can end for reasons of
its own in just the wrong moments; it is long beside the crash loop that one copy after the other would make."""
_SUSPECT: Final = 2
"""The first death may be chance. A second one with the same prompt in work costs it no more than to be asked alone."""
_CONFIRMED: Final = 3
_ALONE: Final = 2
"""Two deaths with nothing else in work need no third."""
_BROKEN_OFF: Final = 5
"""Calls that broke off one after the other, while the same process answered all else: no death, and no answer either."""
_POISON: Final = 1024
_TALLIES: Final = 8192
"""This many prompts are remembered, some hundred bytes each: twice the 4096 that a worker has in work at most."""


class DeathTally(NamedTuple):
    """What happened with one prompt in the engine's work, since it was last answered."""

    deaths: tuple[str, ...] = ()
    """By their names, so that a death that several workers tell of counts once."""
    alone: int = 0
    """Those of them with nothing else in work."""
    broken_off: int = 0
    """Calls that broke off although the engine did not die."""
    until: float = 0.0
    """Monotonic seconds; written down, the seconds that are left."""
    own: bool = False
    """True if this worker counted some of it, and not only heard of it."""

    @property
    def often(self) -> bool:
        """True if something happened with it twice."""
        return len(self.deaths) >= _SUSPECT or self.broken_off >= _SUSPECT

    def beside(self, death: str) -> DeathTally:
        """The tally with one more death; the same if it is known."""
        return self if death in self.deaths else self._replace(deaths=(*self.deaths, death))


_NOTHING = DeathTally()


class KnownPrompts(TypedDict):
    """What is known of prompts, in a form that can be written down. Times are seconds that are left."""

    tallies: dict[str, DeathTally]
    poison: dict[str, float]


class _Memory(OrderedDict[str, float]):
    """Prompts, each until a monotonic time; beyond the bound the oldest is forgotten."""

    def keep(self, key: str, until: float, *, most: int) -> None:
        """Remember a prompt."""
        self.pop(key, None)
        self[key] = until
        if len(self) > most:
            self.popitem(last=False)


class _Tallies:
    """Tallies by prompt. Beyond the bound the oldest goes of those that say least."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # What is only heard of never makes this worker forget what it counted: others tell of thousands at once.
        self._ranks: dict[tuple[bool, bool], OrderedDict[str, DeathTally]] = {
            (own, often): OrderedDict() for often in (False, True) for own in (False, True)
        }

    def __bool__(self) -> bool:
        """False where no prompt is remembered: of a busy engine that never ended."""
        return any(self._ranks.values())

    def get(self, key: str) -> DeathTally | None:
        """What is remembered of a prompt."""
        for rank in self._ranks.values():
            if key in rank:
                return rank[key]
        return None

    def keep(self, key: str, tally: DeathTally, *, heard: bool) -> None:
        """Remember a prompt; ``heard`` if another worker told of it."""
        self.pop(key)
        self._ranks[tally.own, tally.often][key] = tally
        if self._is_over():
            self._drop_old()
        if self._is_over():
            goes = (rank for (own, _), rank in self._ranks.items() if rank and not (own and heard))
            next(goes).popitem(last=False)

    def pop(self, key: str) -> None:
        """Forget a prompt."""
        for rank in self._ranks.values():
            rank.pop(key, None)

    def _is_over(self) -> bool:
        return sum(map(len, self._ranks.values())) > _TALLIES

    def _drop_old(self) -> None:
        now = self._clock()
        for rank in self._ranks.values():
            while rank and next(iter(rank.values())).until <= now:
                rank.popitem(last=False)

    def items(self) -> Iterator[tuple[str, DeathTally]]:
        """All of them."""
        for rank in self._ranks.values():
            yield from rank.items()


class Suspects:
    """What is known of the prompts of one server. Prompts are named by a hash, never by their text.

    Args:
        clock: Monotonic seconds.
        found: Told of each prompt that is found to be poison here (True), or is set aside (False).
    """

    def __init__(self, clock: Callable[[], float], found: Callable[[str, bool], None]) -> None:
        self._clock = clock
        self._found = found
        self._tallies = _Tallies(clock)
        self._poison = _Memory()
        self._aside = _Memory()

    def is_poison(self, key: str) -> bool:
        """True if it ended the engine within the last ten minutes, and nothing else can have done so."""
        return key in self._poison and self._poison[key] > self._clock()

    def is_aside(self, key: str) -> bool:
        """True if the engine seems to end by it, and nobody can tell: it waits, and is not taken for poison."""
        return key in self._aside and self._aside[key] > self._clock()

    @property
    def answers_for_none(self) -> bool:
        """True while no prompt is poison or set aside."""
        return not self._poison and not self._aside

    def first_suspect(self, keys: Iterable[str]) -> str | None:
        """The first of these that must be asked with nothing else in the engine's work."""
        return next((key for key in keys if self.is_suspect(key)), None) if self._tallies else None

    def is_suspect(self, key: str) -> bool:
        """True if it must be asked with nothing else in the engine's work."""
        tally = self._of(key)
        return len(tally.deaths) >= _SUSPECT or tally.broken_off >= _CONFIRMED

    def died_with(self, keys: Iterable[str], death: str, *, attributable: bool) -> None:
        """The engine ended with these in its work, or nobody can tell that it did not.

        Args:
            keys: All that this worker had in its work.
            death: A name for it.
            attributable: True if it ended for certain, and nobody else can have had anything in its work.
        """
        names = frozenset(keys)
        only = len(names) == 1
        for key in names:
            tally = self._of(key).beside(death)
            tally = tally._replace(alone=tally.alone + (only and attributable))
            self._remember(key, tally, REMEMBERED_S)
            if only and attributable and (len(tally.deaths) >= _CONFIRMED or tally.alone >= _ALONE):
                self._remember(key, tally, 2 * REMEMBERED_S)  # the next time it is asked alone at once
                self._poison.keep(key, self._clock() + REMEMBERED_S, most=_POISON)
                self._found(key, True)
            elif only and not attributable and len(tally.deaths) >= _CONFIRMED:
                self._set_aside(key, tally)

    def heard_of(self, keys: Iterable[str], death: str, left_s: float) -> None:
        """Another worker tells that an engine ended with these in its work. None of them is taken for poison by that alone."""
        for key in keys if left_s > 0 else ():
            tally = self._of(key).beside(death)
            for_s = max(tally.until - self._clock(), min(left_s, REMEMBERED_S))
            self._tallies.keep(key, tally._replace(until=self._clock() + for_s), heard=True)

    def broke_off(self, keys: Iterable[str]) -> None:
        """Calls with these broke off, and the engine did not die."""
        names = frozenset(keys)
        for key in names:
            tally = self._of(key)
            tally = tally._replace(broken_off=tally.broken_off + 1)
            self._remember(key, tally, REMEMBERED_S)
            if len(names) == 1 and tally.broken_off >= _BROKEN_OFF:
                self._set_aside(key, tally)

    def cleared(self, keys: Iterable[str]) -> None:
        """The engine answered these."""
        for key in keys if self._tallies else ():
            self._tallies.pop(key)

    def learn(self, key: str, left_s: float, *, certain: bool = True) -> None:
        """Another worker, or this one before it was started again, found that a prompt is poison, or set it aside."""
        if left_s > 0:
            memory = self._poison if certain else self._aside
            memory.keep(key, self._clock() + min(left_s, REMEMBERED_S), most=_POISON)

    @property
    def known(self) -> KnownPrompts:
        """All of it, to be read by a process that takes this one's place."""
        now = self._clock()
        tallies = {key: tally._replace(until=tally.until - now) for key, tally in self._tallies.items()}
        return KnownPrompts(tallies=tallies, poison={key: until - now for key, until in self._poison.items()})

    def restore(self, tallies: Mapping[str, DeathTally], poison: Mapping[str, float]) -> None:
        """Take over what :attr:`known` told of processes that are gone."""
        for key, left in tallies.items():
            if left.until > 0:
                here = self._of(key)
                both = tuple(sorted({*here.deaths, *left.deaths}))
                self._remember(
                    key, DeathTally(both, here.alone + left.alone), min(left.until, 2 * REMEMBERED_S)
                )
        for key, left_s in poison.items():
            self.learn(key, left_s)

    def _of(self, key: str) -> DeathTally:
        found = self._tallies.get(key)
        return found if found is not None and found.until > self._clock() else _NOTHING

    def _set_aside(self, key: str, tally: DeathTally) -> None:
        self._remember(key, tally, 2 * REMEMBERED_S)
        self._aside.keep(key, self._clock() + REMEMBERED_S, most=_POISON)
        self._found(key, False)

    def _remember(self, key: str, tally: DeathTally, for_s: float) -> None:
        self._tallies.keep(key, tally._replace(until=self._clock() + for_s, own=True), heard=False)
