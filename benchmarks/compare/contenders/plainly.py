"""What every contender does with a post, done plainly: decode, prompt, ask, decide, encode, publish."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from confluent_kafka import KafkaException, Producer

from compare.plan import BARE_PARTS
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt, Scored
from sluicegate.engines.text.segmenter import LengthLimits, Segmenter
from sluicegate.pipeline.flow.decision import Provenance, assess, decide, engine_reference
from sluicegate.pipeline.observe.instruments import BusyMeter
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.engine_choice import fake_profile
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import AssessedBy, FailureCode, Post, Segments, Timings, decode_post, verdict_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.backends import Backend
    from sluicegate.schemas import Severity

_CALL_S = 60.0
_NO_TIMES = Timings(queued_ms=0, engine_ms=0, total_ms=0)
_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Task:
    """What a contender is told, as a file of JSON."""

    bootstrap: str
    group: str
    posts: str
    """Topic to read."""
    verdicts: str
    """Topic to write."""
    system: str
    backend: str
    profile: str
    """The fake engine's; empty for the CPU model."""
    counts: str
    """File for JSON lines of what it counts itself."""
    values: str = ""
    """For the engine alone: file with the posts."""
    in_flight: int = 0

    @classmethod
    def read(cls) -> Task:
        """From the file that the command line names."""
        return cls(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))

    def open(self) -> Backend:
        """The engine and its prompter."""
        if self.backend == "fake":
            return open_backend(EngineChoice("fake", fake=fake_profile(Path(self.profile))))
        return open_backend(EngineChoice("llama_cpp"))


class Counting:
    """Counts prompts in work around an engine that does not count itself, with a line of JSON now and then."""

    def __init__(self, path: str, saturating: int) -> None:
        self._path = Path(path)
        self._meter = BusyMeter(saturating, time.monotonic)
        self._told = float("-inf")
        self.work = self._meter.work

    def tell(self, **sums: float) -> None:
        """Write a line, if the last one is some time old."""
        now = time.monotonic()
        if now - self._told >= _EVERY_S:
            self._told = now
            line = {"at_s": time.time(), "saturated_s": self._meter.busy_s(), **sums}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


class Judge:
    """Asks an engine about posts, and makes verdicts of what it says."""

    def __init__(self, task: Task, backend: Backend) -> None:
        self.backend = backend
        self.policy = Policy.load(None)
        self._stamp = engine_reference(backend.engine.info, calibrated=backend.calibration is not None)
        # The fake engine writes its own counts.
        saturating = backend.engine.info.saturating_prompts
        self._counting = Counting(task.counts, saturating) if task.backend != "fake" else None
        limits = Settings().limits
        self._limits = LengthLimits(limits.post_tokens, limits.segments)
        self._segmenter = (
            Segmenter(backend.prompter, folds=limits.folded_forms, passages=backend.passages)
            if task.system == BARE_PARTS
            else None
        )

    def decode(self, value: bytes) -> Post:
        """A record as a post. The streams compared hold nothing else."""
        post = decode_post(value)
        if not isinstance(post, Post):
            raise TypeError(f"a record that is no post ({post.code}); give a stream of posts")
        return post

    async def judge(self, posts: Sequence[Post]) -> list[bytes]:
        """Verdicts on some posts: all scored in one call, those explained in another whose policy asks."""
        asked = self._prompts(posts)
        if self._counting is None:
            found = await self._ask(asked)
        else:
            self._counting.tell()
            with self._counting.work(len(asked)):
                found = await self._ask(asked)
            self._counting.tell()
        too_long = ItemFailure(FailureCode.TOO_LONG)
        return [self.encoded(post, found.get(post.id, too_long)) for post in posts]

    def _prompts(self, posts: Sequence[Post]) -> list[tuple[Post, Prompt]]:
        """What the engine is asked: one prompt of a post, or all that this pipeline makes of it."""
        if self._segmenter is None:
            prompts = self.backend.prompter.build_many(posts)
            return [(post, one) for post, one in zip(posts, prompts, strict=True) if isinstance(one, Prompt)]
        cut = self._segmenter.build_many(posts, [self._limits] * len(posts))
        return [
            (post, part.prompt)
            for post, parts in zip(posts, cut, strict=True)
            if not isinstance(parts, ItemFailure)
            for part in parts.parts
        ]

    async def _ask(self, asked: Sequence[tuple[Post, Prompt]]) -> dict[str, Any]:
        engine = self.backend.engine
        scored = await engine.score([prompt for _, prompt in asked], timeout_s=_CALL_S)
        found: dict[str, Any] = {}
        wanted: list[tuple[Post, Prompt, Scored, Severity]] = []
        for (post, prompt), one in zip(asked, scored, strict=True):
            # Of several parts one will do: only the time counts.
            found[post.id] = one if isinstance(one, ItemFailure) else assess(self.calibrated(post, one), None)
            if isinstance(one, Scored) and (
                severity := self.policy.explain_as(post, self.calibrated(post, one))
            ):
                wanted.append((post, prompt, one, severity))
        if wanted:
            told: Sequence[Explanation | ItemFailure] = await engine.explain(
                [prompt for _, prompt, *_ in wanted],
                [severity for *_, severity in wanted],
                timeout_s=_CALL_S,
                texts=[self.wants_text(post, one) for post, _, one, _ in wanted],
            )
            for (post, _, one, severity), explanation in zip(wanted, told, strict=True):
                found[post.id] = assess(self.calibrated(post, one), explanation, severity)
        return found

    def calibrated(self, post: Post, scored: Scored) -> Any:
        """The scores that the policy sees."""
        calibration = self.backend.calibration
        return (
            calibration.calibrated(scored.scores, post.kind, post.language) if calibration else scored.scores
        )

    def wants_text(self, post: Post, scored: Scored) -> bool:
        """True if the policy wants its explanation written out."""
        reasons = self.backend.engine.info.reasons
        return self.policy.wants_text(post, self.calibrated(post, scored), reasons=reasons)

    def encoded(self, post: Post, finding: Any) -> bytes:
        """The verdict on a post, as its record's value."""
        provenance = Provenance(
            engine=self._stamp,
            assessed_by=AssessedBy.ENGINE,
            reused_from=None,
            segments=Segments(),
            timings=_NO_TIMES,
            judged_at=datetime.now(UTC),
        )
        return verdict_bytes(decide(post, finding, self.policy, provenance))


class Sink:
    """One confluent-kafka producer and its thread."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 5,
                "log_level": 2,
            }
        )
        threading.Thread(target=self._poll, daemon=True).start()

    def _poll(self) -> None:
        while True:
            self._producer.poll(0.1)

    async def send(self, rows: Sequence[tuple[bytes | None, bytes]]) -> None:
        """Publish keys and values; return when the brokers have all of them."""
        if not rows:
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        left = [len(rows)]

        def finish(error: Any) -> None:
            if not done.done():
                done.set_exception(KafkaException(error)) if error else done.set_result(None)

        def delivered(error: Any, _message: Any) -> None:
            left[0] -= 1
            if error or left[0] == 0:
                loop.call_soon_threadsafe(finish, error)

        for key, value in rows:
            await self._produce(key, value, delivered)
        await done

    async def send_later(self, key: bytes | None, value: bytes) -> None:
        """Hand over a record without waiting for the brokers."""
        await self._produce(key, value, None)

    async def _produce(self, key: bytes | None, value: bytes, delivered: Any) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=delivered)
            except BufferError:
                await asyncio.sleep(0.01)
            else:
                return


def write_line(path: str, line: dict[str, float]) -> None:
    """Append a line of JSON."""
    with Path(path).open("ab") as file:
        file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
