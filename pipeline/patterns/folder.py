"""The folder of an institution: its circle, the feeds it took in, its own, what people here found, and a journal.

Commands write it, one at a time; workers read :data:`~sluicegate.pipeline.patterns.matcher.LIVE`, which is replaced as a whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import orjson

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.patterns.circle import FILE, Circle, read_circle
from sluicegate.pipeline.patterns.feed import Head, open_feed, require_newer
from sluicegate.pipeline.patterns.matcher import LIVE, LivePattern, write_live
from sluicegate.pipeline.patterns.pattern import Feed, Pattern
from sluicegate.pipeline.patterns.sharing import overlaps
from sluicegate.pipeline.patterns.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

STATE = "state.json"
EVENTS = "events.jsonl"
MOST_OWNERS = 16
"""Patterns of one member that a value counts for: a post that has it costs a worker a step for each."""
_REMEMBERED = timedelta(days=90)
"""After a revoked pattern would have ended: its copies may be here so long, and would be shared again."""
_LOCK = ".lock"
_FEEDS = "feeds"
_USED = ("seed", "confirmed")
"""Standings of patterns that raise posts."""


@dataclass(frozen=True, slots=True)
class KnownPattern:
    """A pattern that was taken in, or is one's own."""

    pattern: Pattern
    member: str
    standing: Standing
    why: str
    confirmed: tuple[str, ...] = ()
    """Those of its values that people here confirmed."""
    harmful: int = 0
    """Its posts that people here had found harmful when they last confirmed it."""
    fresh: date | None = None
    """The day on which it first came, until it was held against what was here before: no worker has it until then."""


class PatternFolder:
    """Reads and changes a folder. Use :meth:`opened`, which lets nobody else change it meanwhile.

    Args:
        path: The folder, with the circle's file in it.
        today: The present day, UTC.
    """

    def __init__(self, path: Path, today: date) -> None:
        self._path = path
        self.today = today
        self.circle: Circle = read_circle(path / FILE)
        self._state: dict[str, Any] = {"heads": {}, "local": {}, "drafts": {}, "fresh": {}, "read": {}}
        if (path / STATE).exists():
            self._state |= orjson.loads((path / STATE).read_bytes())
        self._feeds: dict[str, Feed] = {}
        for file in sorted((path / _FEEDS).glob("*.json")):
            feed = Feed.decode(file.read_bytes())
            self._feeds[feed.member] = feed

    @classmethod
    @contextmanager
    def opened(cls, path: Path, *, today: date | None = None) -> Iterator[Self]:
        """Open a folder alone; another command waits.

        Raises:
            PatternError: It is no folder, or what is in it cannot be used.
        """
        if not path.is_dir():
            raise PatternError(
                f"{path}: is no folder; make it, and put the circle's file there as {FILE} (docs/patterns.md)"
            )
        with (path / _LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield cls(path, today or datetime.now(UTC).date())

    @property
    def heads(self) -> dict[str, Head]:
        """The newest feed of each member."""
        return {member: Head(*head) for member, head in self._state["heads"].items()}

    def feed(self, member: str) -> Feed | None:
        """The newest feed of a member, as it was taken in."""
        return self._feeds.get(member)

    def known(self) -> list[KnownPattern]:
        """Every pattern of a member of the circle that has not expired, with what it is worth here."""
        found, fresh = [], self._state["fresh"]
        for member, feed in sorted(self._feeds.items()):
            if member not in self.circle.members:
                continue
            for pattern in feed.patterns:
                if pattern.expires_on >= self.today:
                    local = self._state["local"].get(pattern.id, {})
                    found.append(
                        KnownPattern(
                            pattern,
                            member,
                            local.get("standing", "seed"),
                            local.get("why", ""),
                            tuple(local.get("values", ())),
                            local.get("harmful", 0),
                            date.fromisoformat(fresh[pattern.id]) if pattern.id in fresh else None,
                        )
                    )
        return found

    def take(self, content: bytes) -> tuple[Feed, list[Pattern], list[str], str | None]:
        """Take a signed feed in, in place of the one before. Nothing is written before :meth:`save`.

        What it no longer has is out of use with that. What is new in it comes into use by :meth:`admit`.

        Returns:
            The feed, its patterns that are new here, ids that it no longer has, and what never came in between.

        Raises:
            PatternError: It is refused; the message says why.
        """
        feed = open_feed(content, self.circle, self.today)
        gap = require_newer(feed, self.heads.get(feed.member))
        before = self._feeds.get(feed.member)
        had = {one.id: one for one in before.patterns} if before is not None else {}
        others = {one.id for name, its in self._feeds.items() if name != feed.member for one in its.patterns}
        if stolen := next((one.id for one in feed.patterns if one.id in others), None):
            raise PatternError(
                f"pattern {stolen} is another member's; {feed.member} may share and revoke its own alone"
            )
        for one in feed.patterns:
            if (old := had.get(one.id)) and (one.key, set(one.values)) != (old.key, set(old.values)):
                raise PatternError(
                    f"pattern {one.id} has other values than when it was looked at here; ask {feed.member} for it under a new id"
                )
        self._feeds[feed.member] = feed
        self._state["heads"][feed.member] = [feed.sequence, feed.digest]
        new = [one for one in feed.patterns if one.id not in had]
        self._state["fresh"] |= {one.id: self.today.isoformat() for one in new}
        self._revoke_again(feed.member, new)
        gone = sorted(had.keys() - {one.id for one in feed.patterns})
        for name in gone:
            if self._state["local"].get(name, {}).get("standing") in _USED:
                del self._state["local"][name]  # should it come again, it begins anew
        return feed, new, gone, gap

    def _revoke_again(self, member: str, new: Iterable[Pattern]) -> None:
        """What people here revoked stays away where its member shares it under another id, as it does when it has grown."""
        theirs = [
            (name, how)
            for name, how in self._state["local"].items()
            if "was" in how and how["was"]["member"] == member
        ]
        for one in new if theirs else ():
            for name, how in theirs:
                if one.key == how["was"]["key"] and overlaps(one, how["was"]["values"]):
                    self.judge(one.id, "revoked", by=how["by"], why=f"like {name}: {how['why']}")
                    break

    def remember(self, pattern: str, *, own: bool) -> None:
        """Keep the values of a pattern that was revoked by a person, so that it does not come again under another id.

        Args:
            pattern: Its id.
            own: True if its members were told: it is not shared again either.
        """
        known = next(one for one in self.known() if one.pattern.id == pattern)
        self._state["local"][pattern]["was"] = {
            "member": known.member,
            "key": known.pattern.key,
            "values": known.pattern.values,
            "own": own,
            "until": (known.pattern.expires_on + _REMEMBERED).isoformat(),
        }

    def withdrawn(self) -> list[tuple[str, Sequence[str]]]:
        """The key and the values of each pattern of one's own that was revoked."""
        known = (how["was"] for how in self._state["local"].values() if "was" in how)
        return [(was["key"], was["values"]) for was in known if was["own"]]

    def admit(self, patterns: Iterable[str]) -> None:
        """Let workers have these patterns."""
        for one in patterns:
            self._state["fresh"].pop(one, None)

    def judge(
        self,
        pattern: str,
        standing: Standing,
        *,
        by: str,
        why: str,
        confirmed: tuple[str, ...] = (),
        harmful: int = 0,
    ) -> None:
        """Note what a pattern is worth here, and who says so.

        Args:
            pattern: Its id.
            standing: What it is worth from now on.
            by: The actor.
            why: The reason.
            confirmed: Those of its values that people here confirmed.
            harmful: Its posts that they found harmful.
        """
        self._state["local"][pattern] = {"standing": standing, "by": by, "why": why, "at": _now()}
        if harmful:
            self._state["local"][pattern] |= {"values": confirmed, "harmful": harmful}
        self.note(by, f"pattern {standing}", pattern, why=why)

    def read_up_to(self, topic: str) -> dict[int, int]:
        """Offsets at which reading of a topic of feeds goes on, by partition; none where it was never read."""
        read = self._state["read"]
        return {int(one): at for one, at in read["offsets"].items()} if read.get("topic") == topic else {}

    def note_read(self, topic: str, offsets: dict[int, int]) -> None:
        """Remember how far a topic of feeds was read."""
        self._state["read"] = {"topic": topic, "offsets": {str(one): at for one, at in offsets.items()}}

    def note_draft(self, content: bytes, by: str) -> None:
        """Remember a draft, so that nobody changes it before it is approved."""
        self._state["drafts"][_digest(content)] = by

    def author_of_draft(self, content: bytes) -> str:
        """Who made a draft.

        Raises:
            PatternError: Nobody made it here, it was changed, or it was approved before.
        """
        by = self._state["drafts"].get(_digest(content))
        if by is None:
            raise PatternError(
                "this draft was not made here, was changed, or was approved before; make one with `patterns export --draft`"
            )
        return str(by)

    def forget_drafts(self) -> None:
        """No draft is open any more: what was approved takes their place."""
        self._state["drafts"] = {}

    def note(self, actor: str, what: str, of: str, **details: Any) -> None:
        """Add a line to the journal, at once: who did what, to what, when. It holds no text of a post."""
        line = {"at": _now(), "actor": actor, "what": what, "of": of, **details}
        with (self._path / EVENTS).open("ab") as journal:
            journal.write(orjson.dumps(line) + b"\n")
            journal.flush()
            os.fsync(journal.fileno())

    def save(self) -> int:
        """Write what changed; the workers' file last, so that a fault before it changes nothing for them.

        Returns:
            How many patterns lost a value that stands in more than :data:`MOST_OWNERS` of their member.
        """
        (self._path / _FEEDS).mkdir(exist_ok=True)
        for member, feed in self._feeds.items():
            _replace(self._path / _FEEDS / f"{member}.json", feed.encode())
        known = self.known()
        ids = {one.pattern.id for one in known}
        # What was refused here stays refused, should its member share it again.
        self._state["local"] = {
            name: how
            for name, how in self._state["local"].items()
            if name in ids or how["standing"] not in _USED
        }
        for how in self._state["local"].values():
            if "was" in how and how["was"]["until"] < self.today.isoformat():
                del how["was"]
        # What has expired, or is of a member that has left, may come again, and was not looked at.
        self.admit(
            self._state["fresh"].keys() - {one.id for feed in self._feeds.values() for one in feed.patterns}
        )
        _replace(self._path / STATE, orjson.dumps(self._state, option=orjson.OPT_INDENT_2))
        live: list[tuple[LivePattern, str, Sequence[str]]] = []
        owners, fewer = Counter[tuple[str, str, str]](), 0
        for one in known:
            if one.standing not in _USED or one.fresh:
                continue
            pattern = one.pattern
            # The first in the feed keep it. Each member has its own count: none takes values from another's patterns.
            values = [
                value for value in pattern.values if owners[one.member, pattern.key, value] < MOST_OWNERS
            ]
            owners.update((one.member, pattern.key, value) for value in values)
            fewer += len(values) < len(pattern.values)
            live.append((LivePattern(pattern.id, pattern.expires_on, confirmed=False), pattern.key, values))
            if one.confirmed:
                live.append(
                    (LivePattern(pattern.id, pattern.expires_on, confirmed=True), pattern.key, one.confirmed)
                )
        _replace(self._path / LIVE, write_live(live))
        return fewer

    def events(self) -> list[dict[str, Any]]:
        """The journal, oldest first."""
        path = self._path / EVENTS
        return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        partial.chmod(0o640)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
