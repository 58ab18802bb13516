"""The matcher: which shared pattern a post is a copy of. In the worker, beside the policy; a match raises, and never blocks."""

from __future__ import annotations

import asyncio
from array import array
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, NamedTuple, Self

import orjson
import structlog

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.patterns.circle import FILE, Circle, read_circle
from sluicegate.pipeline.patterns.sketch import ASKED_FIRST, LOOKED_UP, NEEDED, VALUE_BYTES, checksums, keyed
from sluicegate.schemas import SHARED_PATTERN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
    from pathlib import Path

_log = structlog.get_logger(__name__)

LIVE = "live.bin"
"""The file that commands write and workers read."""
UNCONFIRMED_MOST = 50
"""Posts that a pattern raises in an hour and a worker while nobody here has confirmed it: a poisoned one costs reviewers no more."""
UNCONFIRMED_TOTAL = 1_000
"""The same of all of them together: a poisoned one under ever new ids costs no more than this."""
_BUDGET_S = 3600.0
_ALL = "all unconfirmed"
_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class LivePattern:
    """What a worker knows of a pattern beside its values."""

    id: str
    expires_on: date
    confirmed: bool
    """True of values that people here confirmed. Such a pattern stands twice: with these, and with all of its values."""


class Match(NamedTuple):
    """What a post is a copy of."""

    code: str
    """The reason code, which names the pattern."""
    confirmed: bool
    """True once people here have confirmed it, so that a tenant's policy may act on it."""


def write_live(patterns: Iterable[tuple[LivePattern, str, Iterable[str]]]) -> bytes:
    """The content of the file that workers read.

    Args:
        patterns: Each with the name of its key, and its values in hexadecimal.
    """
    known: list[tuple[str, int, bool]] = []
    values: dict[str, list[bytes]] = {}
    owners: dict[str, array[int]] = {}
    for number, (pattern, key, its) in enumerate(patterns):
        known.append((pattern.id, pattern.expires_on.toordinal(), pattern.confirmed))
        for value in dict.fromkeys(its):  # one that came twice would be a match by itself
            values.setdefault(key, []).append(bytes.fromhex(value))
            owners.setdefault(key, array("I")).append(number)
    keys = [(key, len(found)) for key, found in values.items()]
    head = orjson.dumps({"format": 1, "patterns": known, "keys": keys})
    tables = (b"".join(found) + owners[key].tobytes() for key, found in values.items())
    return len(head).to_bytes(4, "little") + head + b"".join(tables)


class PatternIndex:
    """Patterns by their values, as one worker has them. It never changes.

    Args:
        content: What :func:`write_live` made.
        keys: Secrets of the circle, by name; patterns of another key are left out.

    Raises:
        PatternError: The content is damaged.
    """

    def __init__(self, content: bytes, keys: Mapping[str, bytes]) -> None:
        try:
            self._read(content, keys)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise PatternError(
                f"{LIVE} is damaged ({type(error).__name__}); `sluicegate patterns import` without a feed writes it again"
            ) from error

    def _read(self, content: bytes, keys: Mapping[str, bytes]) -> None:
        at = 4 + int.from_bytes(content[:4], "little")
        head = orjson.loads(content[4:at])
        if head["format"] != 1:
            raise ValueError("of another release")
        self.patterns = [
            LivePattern(name, date.fromordinal(expires), confirmed)
            for name, expires, confirmed in head["patterns"]
        ]
        self._count = len({name for name, _, _ in head["patterns"]})
        self._tables: list[tuple[Callable[[int], bytes], Callable[[bytes], int | list[int] | None]]] = []
        for key, count in head["keys"]:
            values, at = content[at : at + VALUE_BYTES * count], at + VALUE_BYTES * count
            owners = array("I", content[at : at + 4 * count])
            at += 4 * count
            if key in keys:
                self._tables.append((keyed(keys[key]), _table(values, owners).get))

    @classmethod
    def empty(cls) -> Self:
        """Without any pattern."""
        return cls(write_live(()), {})

    def __len__(self) -> int:
        """How many patterns there are."""
        return self._count

    def find(self, text: str) -> list[int]:
        """Numbers of the patterns that a text is a copy of; mostly none.

        Args:
            text: Of a post.
        """
        if not self._tables:
            return []
        values = checksums(text, LOOKED_UP)
        if len(values) < ASKED_FIRST:
            return []
        for value_of, get in self._tables:
            # Nearly all posts end here, so it is written out. Of the copies of a flood, few have neither of these two.
            if get(value_of(values[0])) is not None or get(value_of(values[1])) is not None:
                hits: dict[int, int] = {}
                for value in set(values):
                    found = get(value_of(value))
                    for number in () if found is None else (found,) if isinstance(found, int) else found:
                        hits[number] = hits.get(number, 0) + 1
                if matched := [number for number, count in hits.items() if count >= NEEDED]:
                    return matched
        return []


def _table(values: bytes, owners: array[int]) -> dict[bytes, int | list[int]]:
    """Owners by value. Nearly all values have one; those of several have a list."""
    pieces = [values[at : at + VALUE_BYTES] for at in range(0, len(values), VALUE_BYTES)]
    table: dict[bytes, int | list[int]] = {}
    for value, owner in zip(pieces, owners, strict=True):
        known = table.setdefault(value, owner)
        if isinstance(known, list):
            known.append(owner)
        elif known != owner:
            table[value] = [known, owner]
    return table


def read_index(folder: Path) -> PatternIndex:
    """The patterns that stand in a folder; none before the first import.

    Raises:
        PatternError: The circle's file or that of the patterns cannot be used.
    """
    circle = read_circle(folder / FILE)
    try:
        content = (folder / LIVE).read_bytes()
    except FileNotFoundError:
        return PatternIndex.empty()
    except OSError as error:
        raise PatternError(
            f"{folder / LIVE}: cannot be read ({error.strerror}); check your rights"
        ) from error
    return PatternIndex(content, _secrets(circle, datetime.now(UTC).date()))


def _secrets(circle: Circle, today: date) -> dict[str, bytes]:
    return {key.id: key.value for key in circle.keys if key.last_day >= today}


class Matcher:
    """Raises copies of shared patterns to review, for the tenants that opted in. One event loop.

    Args:
        folder: The folder of ``patterns.path``.
        tenants: Those that opted in.
        instruments: For metrics and the clock.

    Raises:
        PatternError: The folder cannot be used.
    """

    def __init__(self, folder: Path, tenants: Collection[str], instruments: Instruments) -> None:
        self._folder = folder
        self._tenants = frozenset(tenants)
        self._metrics, self._clock = instruments.metrics, instruments.clock
        self._seen = self._mark()
        self._today = self._clock.utc().date()
        self._take(read_index(folder))
        self._spent: dict[str, list[float]] = {}
        """By pattern, and of all: since when raised posts are counted, and how many there were."""

    def match(self, tenant: str, text: str) -> Match | None:
        """The pattern that a post is to be raised by; None for nearly all posts.

        A fault of ours is logged, and matches nothing: the policy has decided already.
        """
        if tenant not in self._tenants:
            return None
        try:
            found = self._index.find(text)
            return self._first_good(found) if found else None
        except Exception as error:  # noqa: BLE001 - see above
            self._metrics.pattern_matches.labels("fault").inc()
            _log.error("pattern_fault", fault=type(error).__name__)
            return None

    def _first_good(self, found: Iterable[int]) -> Match | None:
        patterns = self._index.patterns
        for pattern in sorted((patterns[number] for number in found), key=lambda one: not one.confirmed):
            if pattern.expires_on < self._today:
                continue
            if pattern.confirmed or self._has_budget(pattern.id):
                self._metrics.pattern_matches.labels("raised").inc()
                return Match(f"{SHARED_PATTERN}{pattern.id}", pattern.confirmed)
            self._metrics.pattern_matches.labels("over_budget").inc()
        return None

    def _has_budget(self, pattern: str) -> bool:
        now = self._clock.monotonic()
        for name, most in ((pattern, UNCONFIRMED_MOST), (_ALL, UNCONFIRMED_TOTAL)):
            spent = self._spent.setdefault(name, [now, 0.0])
            if now - spent[0] >= _BUDGET_S:
                spent[:] = [now, 0.0]
            spent[1] += 1
            if spent[1] == most + 1:
                _log.warning(
                    "pattern_over_budget",
                    pattern=name,
                    raised=most,
                    fix="decide its cases at the review desk, then run `sluicegate patterns import`; "
                    "or `sluicegate patterns revoke` it",
                )
            if spent[1] > most:
                return False
        return True

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Take up what commands change, within the context: about a second later."""
        watching = asyncio.create_task(self._watch(), name="patterns")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _watch(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(_LOOK_AGAIN_S)
            today, mark = self._clock.utc().date(), await asyncio.to_thread(self._mark)
            if (mark, today) == (self._seen, self._today):
                continue
            self._today = today
            try:
                index = await asyncio.to_thread(read_index, self._folder)
            except Exception as error:  # noqa: BLE001 - were this to end, what is revoked would never leave
                fault = str(error) if isinstance(error, PatternError) else type(error).__name__
                if fault != told:  # it is tried again every second
                    _log.error("patterns_not_read", fault=fault, in_force=len(self._index))
                told = fault
                continue
            self._seen, told, before = mark, "", [self._index]
            self._take(index)
            del index
            # A million values take a tenth of a second to give up: not in the loop that answers posts.
            await asyncio.to_thread(before.clear)
            _log.info("patterns_read", in_force=len(self._index))

    def _mark(self) -> tuple[tuple[int, int, int], ...]:
        """Changes when a file is replaced."""
        marks = []
        for name in (LIVE, FILE):
            try:
                found = (self._folder / name).stat()
                marks.append((found.st_ino, found.st_size, found.st_mtime_ns))
            except OSError:
                marks.append((0, 0, 0))
        return tuple(marks)

    def _take(self, index: PatternIndex) -> None:
        self._index = index
        self._metrics.patterns.set(len(index))
