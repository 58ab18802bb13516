"""The engines' servers of one worker: who waits for each, what outlives the worker, and what workers tell one another."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import secrets
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.engines.backends import Backend
from sluicegate.engines.protocol import Engine
from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.facts import DEATH_PROMPTS, Death, Fact, Lease, Line, Poison
from sluicegate.pipeline.flow.server_state import ServerState
from sluicegate.pipeline.flow.suspects import LEASE_S, REMEMBERED_S, DeathTally, KnownPrompts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


_log = structlog.get_logger(__name__)

_MOST_BYTES = 4 << 20
_MOST_FILES = 64
_Name = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_Seconds = Annotated[float, Field(allow_inf_nan=False)]


class Left(BaseModel):
    """What a process left when it ended."""

    model_config = ConfigDict(frozen=True)

    at_s: _Seconds
    """Unix time."""
    in_work: frozenset[_Name]
    tallies: dict[_Name, DeathTally]
    poison: dict[_Name, _Seconds]
    lease: Line | None = None
    """The holder's name, if it had the lease or had claimed it: it is given back for it."""


def default_folder() -> Path:
    """A folder of this user's in the system's temporary folder.

    It is not looked for by writing, as Python's ``tempfile`` does: where no file may grow, a worker starts all the same.
    """
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"sluicegate-{os.getuid()}"  # noqa: S108 - of this user alone, see adopt


class InWorkFile:
    """One per worker. A folder that cannot be written costs the memory of crashes, and is told once.

    Args:
        folder: Made if it is missing, for this user alone. Workers may share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._told = False

    def adopt(self) -> list[Left]:
        """Take over, and remove, the files of workers that are gone; then begin one of our own."""
        found: list[Left] = []
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.stat().st_uid != os.getuid():
                raise PermissionError(f"{self._folder} belongs to somebody else")
            for path in sorted(self._folder.glob("*.in-work"))[:_MOST_FILES]:
                found += self._adopted(path)
            path = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}.in-work"
            early = path.with_suffix(".new")  # without its lock it would be taken for one that was left
            self._descriptor = os.open(early, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            early.rename(path)
        except OSError as error:
            self._cannot(error)
        return found

    def write(self, in_work: Collection[str], known: KnownPrompts, *, lease: str | None) -> None:
        """Put this in place of what the file says."""
        if self._descriptor is None:
            return
        document: dict[str, Any] = {"at_s": time.time(), "in_work": in_work, **known, "lease": lease}
        line = orjson.dumps(document, default=tuple, option=orjson.OPT_APPEND_NEWLINE)
        try:
            os.pwrite(self._descriptor, line, 0)  # what is left of a longer one stands behind the first line
        except OSError as error:
            self._cannot(error)

    def _adopted(self, path: Path) -> list[Left]:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return []  # another worker that starts took it over, or it is nobody's file
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            first = os.pread(descriptor, _MOST_BYTES, 0).partition(b"\n")[0]
            path.unlink()
        except OSError:
            return []  # its writer lives, or another worker takes it over just now
        finally:
            os.close(descriptor)
        try:
            left = Left.model_validate_json(first)
        except ValidationError:
            return []  # it never came to its first line, or is another's
        gone_s = max(0.0, time.time() - left.at_s)
        tallies = {key: tally._replace(until=tally.until - gone_s) for key, tally in left.tallies.items()}
        poison = {key: left_s - gone_s for key, left_s in left.poison.items()}
        return [left.model_copy(update={"tallies": tallies, "poison": poison})]

    def _cannot(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            _log.warning("in_work_not_kept", folder=str(self._folder), why=error.strerror or str(error))


_CLAIM_AGAIN_S = (
    5.0  # a claim that lost against another is lost for ever: it is made again once that one is over
)
_OTHERS_FIRST_S = (
    1.0  # after a lease was given back; a worker that waits for it claims it as soon as it has read that
)
_IN_PROCESS = "in process"
_OWN = b"servers of workers' own"
"""Stands for all of them in a lease: a text that ends one of them ends each."""


class Server:
    """One server: its state, and an event for those who wait for it. One event loop.

    Args:
        clock: The worker's.
        address: Hash of its address; None if no other worker can know it, as it is this worker's own.
        holder: Names it among the servers of all workers.
        tell: Tells other workers.
        file: Keeps what is in work where a crash of the engine ends the worker.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        address: str | None,
        holder: str,
        tell: Callable[[Fact], None],
        file: InWorkFile | None = None,
    ) -> None:
        self._clock = clock
        self._leased = address or _digest(_OWN)
        self._holder = holder
        self._tell = tell
        self._file = file
        self._claim_at = 0.0
        self._lent_to = ""
        self.turned = asyncio.Event()
        """Set for a moment whenever something else may be sent than before."""
        self.state = ServerState(
            clock.monotonic,
            origin=f"{holder} {secrets.token_hex(4)}",
            address=address,
            died=self._died,
            found=self._found,
            several=self._several,
        )
        for left in file.adopt() if file is not None else ():
            self.state.prompts.restore(left.tallies, left.poison)
            if left.in_work:
                _log.warning("engine_died_with_the_worker", prompts=len(left.in_work))
                death = secrets.token_hex(8)
                self._died(death, left.in_work)
                self.state.prompts.died_with(left.in_work, death, attributable=True)
            if (
                left.lease is not None
            ):  # behind the death and what follows from it: whoever is next knows of both
                tell(self._lease(left.lease, is_open=False))
        self.note()

    async def meet(self, engine: Engine) -> None:
        """Ask which process answers, before the first call."""
        generation = await engine.generation()
        if not self.state.met:
            self.state.seen(generation)

    def note(self) -> None:
        """Write down what is in work; before a call, and after it."""
        if self._file is not None:
            lease = self._holder if self.state.lease.is_claimed else None
            self._file.write(self.state.in_work, self.state.prompts.known, lease=lease)

    def changed(self) -> None:
        """Wake all who wait, and see whether other workers must hear of something."""
        self.tend()
        self.turned.set()
        self.turned.clear()

    def tend(self) -> None:
        """Claim a lease if one is wanted, or give it back."""
        if self.state.spares_lease:
            self.state.lease.end()
            self._claim_at = self._clock.monotonic() + _OTHERS_FIRST_S
            self._tell(self._lease(self._holder, is_open=False))
        elif self.state.wants_lease and self._clock.monotonic() >= self._claim_at:
            self._claim_at = self._clock.monotonic() + _CLAIM_AGAIN_S
            self.state.lease.claim()
            self.note()
            self._tell(self._lease(self._holder, is_open=True))

    def follow(self, *, followed: bool) -> None:
        """Say whether other workers can be heard."""
        if not followed:
            self.state.lease.heard()  # the topic is tried again once it is followed again
        self.state.lease.lending = followed

    def learn(self, fact: Lease, age_s: float = 0.0) -> None:
        """Take in a lease. The first claim counts until it is over, in the order in which all workers read them.

        Args:
            fact: The lease.
            age_s: Seconds since it was told, by the clocks of both workers.
        """
        if fact.server != self._leased:
            return
        ours = fact.holder == self._holder
        if ours:
            self.state.lease.heard()
        if self.state.lease.lent and fact.holder != self._lent_to:
            return
        if fact.state == "closed":
            if not ours and self.state.lease.lent:
                self._claim_at = 0.0
            if ours or self.state.lease.lent:
                self.state.lease.end()
        elif ours or not self.state.lease.slot:
            self._lent_to = "" if ours else fact.holder
            # What is followed is read as it comes, by all workers at once, however their clocks differ. What is read
            # again is as old as it says. Our own has our own clock.
            exact = ours or not self.state.lease.lending
            self.state.lease.begin(ours=ours, age_s=age_s if exact else 0.0)
        self.changed()

    def _lease(self, holder: str, *, is_open: bool) -> Lease:
        return Lease(
            state="open" if is_open else "closed",
            generation=0,
            at=self._clock.utc(),
            by=_host(),
            why="prompts that may end the engine are asked one at a time" if is_open else "it is done",
            server=self._leased,
            holder=holder,
        )

    def _died(self, death: str, keys: Collection[str]) -> None:
        names, at = sorted(keys), self._clock.utc()
        for part, first in enumerate(range(0, len(names), DEATH_PROMPTS)):
            prompts = tuple(names[first : first + DEATH_PROMPTS])
            why = f"an engine ended with {len(names)} prompts in its work"
            self._tell(
                Death(
                    state="open",
                    generation=0,
                    at=at,
                    by=_host(),
                    why=why,
                    death=death,
                    part=part,
                    prompts=prompts,
                )
            )

    def _several(self) -> None:
        _log.warning(
            "several_servers_behind_one_address", why="a process answers that was thought to have ended"
        )

    def _found(self, key: str, certain: bool) -> None:
        why = "the engine ended with nothing else in its work" if certain else "the engine seems to end by it"
        _log.error("poison_prompt" if certain else "prompt_set_aside", prompt=key, why=why)
        at = self._clock.utc()
        fact = Poison(state="open", generation=0, at=at, by=_host(), why=why, prompt=key, certain=certain)
        self._tell(fact)


class Servers:
    """Every server that a worker's engines stand on.

    Args:
        clock: The worker's.
        file: Keeps what is in work of engines in this process.
    """

    def __init__(self, clock: Clock, file: InWorkFile | None = None) -> None:
        self._clock = clock
        self._file = file
        self._holder = f"{_host()[:100]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._servers: dict[str | object, Server] = {}
        self._early: list[Fact] = []
        self._announce: Callable[[Fact], None] = self._early.append

    def announce_to(self, announce: Callable[[Fact], None]) -> None:
        """Say what tells other workers; it is told at once of what was found before."""
        self._announce = announce
        early, self._early = self._early, []
        for fact in early:
            announce(fact)

    def of(self, backend: Backend) -> Server:
        """The server of an engine: one for all with one address, and for all in this process."""
        place = backend.server or (_IN_PROCESS if backend.in_process else object())
        if place not in self._servers:
            self._servers[place] = Server(
                self._clock,
                address=_digest(backend.server.encode()) if backend.server is not None else None,
                # Several of one worker's own are as strange to one another as those of several workers.
                holder=f"{self._holder}-{len(self._servers)}",
                tell=self._tell,
                file=self._file if backend.in_process else None,
            )
        return self._servers[place]

    def _tell(self, fact: Fact) -> None:
        self._announce(fact)

    def follow(self, *, followed: bool) -> None:
        """Say whether other workers can be heard."""
        for server in self._servers.values():
            server.follow(followed=followed)

    def learn(self, facts: Iterable[Poison | Death | Lease]) -> None:
        """Take in what other workers tell, and what this one told. Old facts are passed over."""
        for fact in facts:
            age_s = max(0.0, (self._clock.utc() - fact.at).total_seconds())  # another's clock may be ahead
            for server in self._servers.values():
                if isinstance(fact, Poison):
                    server.state.prompts.learn(fact.prompt, REMEMBERED_S - age_s, certain=fact.certain)
                elif isinstance(fact, Death):
                    server.state.prompts.heard_of(fact.prompts, fact.death, REMEMBERED_S - age_s)
                elif age_s < 2 * LEASE_S:
                    server.learn(fact, age_s)


def prompt_name(call: str, key: bytes) -> str:
    """What a call's prompt is called in facts and files: a hash of the call and of the prompt's key in the cache."""
    return _digest(call.encode() + b"\0" + key)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _host() -> str:
    return socket.gethostname()[:200] or "a worker"
