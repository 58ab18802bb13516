"""Two institutions, each with streams, a worker, people who decide, and the commands of `sluicegate patterns`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import orjson

from shared_patterns.floods import CAMPAIGNS, copy_of, everyday
from sluicegate.pipeline.kafka.producer import Producer, Refused
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.pipeline.trial.local import WorkerProcess
from sluicegate.schemas import (
    SHARED_PATTERN,
    Action,
    Authority,
    Basis,
    Post,
    Resolution,
    ResolutionCause,
    Verdict,
    encode,
    resolution_id,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

TENANT = "default"
_LOOK_S = 0.3


@dataclass(slots=True)
class Ledger:
    """What was sent, and what became of it. Times are monotonic seconds."""

    sent: dict[str, tuple[float, str | None]] = field(default_factory=dict)
    """By post: when, and of which flood; None for a harmless one."""
    before: set[str] = field(default_factory=set)
    """Posts from before both floods. People have decided about them already."""
    verdicts: dict[str, tuple[float, Verdict]] = field(default_factory=dict)

    def raised(self) -> dict[str, float]:
        """Posts that a pattern raised, and when."""
        return {
            name: at
            for name, (at, verdict) in self.verdicts.items()
            if any(code.startswith(SHARED_PATTERN) for code in verdict.reason_codes)
        }


class Institution:
    """One of the two. Use as an async context manager.

    Args:
        name: In the circle.
        folder: For its settings, its patterns and its worker's log.
        bootstrap: Its brokers.
        topics: Its topics.
        rules: What its engine finds, by a part of a text; the first that is found decides.
        more: Further settings.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        bootstrap: str,
        topics: TopicSettings,
        rules: dict[str, str],
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.folder = folder
        self.ledger = Ledger()
        self._bootstrap, self._topics = bootstrap, topics
        (folder / "patterns").mkdir(parents=True)
        profile = folder / "engine.json"
        profile.write_bytes(orjson.dumps({"rules": rules}))
        # The fake engine takes no time: what is measured is the way of a pattern.
        self._variables = {
            "kafka.bootstrap_servers": bootstrap,
            "kafka.group": f"sluicegate-{name}",
            "engine.backend": "fake",
            "engine.fake_profile": str(profile),
            "patterns.path": str(folder / "patterns"),
            "patterns.tenants": orjson.dumps([TENANT]).decode(),
            "ops.port": "0",
            "drain.finish_s": "5",
            "drain.flush_s": "3",
            "drain.leave_s": "5",
            **{f"topics.{setting}": topic for setting, topic in topics.model_dump().items()},
            **more,
        }
        self._worker = WorkerProcess(self._variables, folder / "worker.log")
        self._producer = Producer(KafkaSettings(bootstrap_servers=bootstrap), polls=True)
        self._refused: list[str] = []

    async def __aenter__(self) -> Self:
        await self._worker.__aenter__()
        await self._worker.ready()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._worker.__aexit__()
        self._producer.close(5.0)

    def send(self, text: str, author: str, campaign: str | None) -> None:
        """Publish a post."""
        post = _post(self.name, text, author)
        self.ledger.sent[post.id] = time.monotonic(), campaign
        self._put(self._topics.posts, encode(post), post.id)

    async def stream(
        self, posts: Sequence[str], chance: random.Random, *, per_s: float, until: float
    ) -> None:
        """Publish harmless posts, one after the other, until a time."""
        number = 0
        while time.monotonic() < until:
            text = posts[number % len(posts)] if posts else everyday(chance)
            self.send(text, f"neighbour-{chance.randrange(900)}", None)
            number += 1
            await asyncio.sleep(1 / per_s)

    async def live_before(self, posts: Sequence[str], chance: random.Random, count: int) -> None:
        """Publish so many harmless posts at once, as if they had come in the weeks before."""
        for number in range(count):
            text = posts[number % len(posts)] if posts else everyday(chance)
            post = _post(self.name, text, f"neighbour-{chance.randrange(900)}")
            self.ledger.before.add(post.id)
            self._put(self._topics.posts, encode(post), post.id)
            if number % 100 == 0:
                await asyncio.sleep(0)

    async def flood(self, chance: random.Random, *, per_s: float, after_s: float, until: float) -> None:
        """Publish changed copies of all floods, each by another author, from a time on."""
        await asyncio.sleep(after_s)
        names = list(CAMPAIGNS)
        while time.monotonic() < until:
            one = copy_of(chance.choice(names), chance)
            self.send(one.text, f"stranger-{self.name}-{chance.randrange(10**9)}", one.campaign)
            await asyncio.sleep(1 / per_s)

    async def watch(self, until: float, *, decide_per_s: float) -> None:
        """Read verdicts as they come, and have people decide about reviews: so many in a second, the oldest first."""
        waiting: list[Verdict] = []
        decided = 0
        began = time.monotonic()
        topics = [self._topics.allow, self._topics.review, self._topics.block]
        with TopicReader(
            KafkaSettings(bootstrap_servers=self._bootstrap), topics, start="beginning"
        ) as reader:
            while time.monotonic() < until:
                for record in await asyncio.to_thread(reader.read, _LOOK_S):
                    verdict = Verdict.model_validate_json(record.value or b"")
                    self.ledger.verdicts[verdict.post_id] = time.monotonic(), verdict
                    if verdict.action is not Action.ALLOW:
                        if verdict.post_id in self.ledger.before:
                            self._decide(verdict)
                        else:
                            waiting.append(verdict)
                able = int((time.monotonic() - began) * decide_per_s) - decided
                for verdict in waiting[: max(0, able)]:
                    self._decide(verdict)
                    decided += 1
                del waiting[: max(0, able)]

    def _decide(self, verdict: Verdict) -> None:
        """What the review desk publishes when a person has decided. The simulated person is always right."""
        harmful = self.ledger.sent.get(verdict.post_id, (0.0, None))[1] is not None
        action = Action.BLOCK if harmful else Action.ALLOW
        resolution = Resolution(
            resolution_id=resolution_id(
                verdict_id=verdict.verdict_id,
                content=verdict.content_hash,
                decision=uuid4().hex,
                action=action,
            ),
            verdict_id=verdict.verdict_id,
            verdict_judged_at=verdict.judged_at,
            post_id=verdict.post_id,
            revision=verdict.revision,
            tenant=verdict.tenant,
            kind=verdict.kind,
            content_hash=verdict.content_hash,
            author_id=verdict.author_id,
            action=action,
            disposition="takedown" if harmful else "none",
            severity="unsafe" if harmful else "safe",
            categories=("Scams",) if harmful else (),
            authority=Authority.REVIEWER,
            reviewer="somebody",
            role="reviewer",
            basis=Basis.SINGLE,
            cause=ResolutionCause.REVIEW,
            seen=("text",),
            decided_at=datetime.now(UTC),
        )
        self._put(self._topics.resolutions, encode(resolution), verdict.post_id)

    async def command(self, *words: str | Path) -> tuple[int, str]:
        """Run `sluicegate patterns` as this institution: its exit code, and what it says."""
        variables = {
            f"SLUICEGATE_{name.upper().replace('.', '__')}": value for name, value in self._variables.items()
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sluicegate", "patterns", *map(str, words)),
            env={**os.environ, **variables},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    async def share(self, to: Path, until: float, pause_s: float, told: Callable[[str], None]) -> None:
        """Make a draft, have a second person approve it, and lay the feed out, again and again."""
        private = self.folder / f"{self.name}.pem"
        draft = self.folder / "draft.json"
        while time.monotonic() < until - pause_s:
            code, said = await self.command("export", "--draft", draft, "--as", "ann")
            if code == 0 and " 0 clusters" not in said:
                partial = to.with_suffix(".partial")
                words = ("export", "--approve", draft, "--member", self.name, "--signing-key", private)
                code, said = await self.command(*words, "--out", partial, "--as", "bob")
                if code == 0:
                    partial.replace(to)
            if code:
                told(f"{self.name}: {said}")
            await asyncio.sleep(pause_s)

    async def receive(self, inbox: Path, until: float, pause_s: float, told: Callable[[str], None]) -> None:
        """Take the feed in when it has changed, and learn what people decided, again and again."""
        seen = 0
        while time.monotonic() < until - pause_s:
            mark = _changed(inbox)
            words = [inbox] if mark != seen else []
            code, said = await self.command("import", *words, "--as", "cid")
            seen = mark
            if code:
                told(f"{self.name}: {said}")
            await asyncio.sleep(pause_s)

    def _put(self, topic: str, value: bytes, key: str) -> None:
        def reported(outcome: object) -> None:
            if isinstance(outcome, Refused):
                self._refused.append(topic)

        self._producer.put(topic, value, key.encode(), report=reported)


def _post(place: str, text: str, author: str) -> Post:
    return Post(
        id=f"{place}-{uuid4().hex[:12]}",
        text=text,
        author_id=author,
        tenant=TENANT,
        created_at=datetime.now(UTC),
    )


def _changed(path: Path) -> int:
    """When a file was last replaced; 0 if it is not there."""
    return path.stat().st_mtime_ns if path.exists() else 0


def write_keys(folders: Iterable[tuple[str, Path]]) -> dict[str, bytes]:
    """A signing key for each member in its folder; the public ones."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - only here
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - the same

    public = {}
    for name, folder in folders:
        key = Ed25519PrivateKey.generate()
        (folder / f"{name}.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        public[name] = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    return public
