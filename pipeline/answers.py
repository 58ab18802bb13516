"""Answers: what goes out for each post held, and under which topic, key and headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.pipeline.clock import milliseconds
from sluicegate.pipeline.records import dead_letter_record, verdict_record
from sluicegate.pipeline.verdicts import Provenance, bury, decide, engine_reference
from sluicegate.schemas import Timings

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluicegate.engines.protocol import EngineInfo, ItemFailure
    from sluicegate.pipeline.clock import Clock
    from sluicegate.pipeline.judgement import Arrival
    from sluicegate.pipeline.policy import Policy
    from sluicegate.pipeline.records import Record
    from sluicegate.pipeline.settings import Settings
    from sluicegate.pipeline.window import Held
    from sluicegate.schemas import AssessedBy, Assessment, Rejection


@dataclass(frozen=True, slots=True)
class Answer:
    """A post held and the record that answers it."""

    held: Held
    record: Record
    event_id: str
    """Verdict id or dead-letter id."""


class Answers:
    """Decides (step 7) and makes records."""

    def __init__(
        self, settings: Settings, *, engine: EngineInfo, policy: Callable[[], Policy], clock: Clock
    ) -> None:
        self._settings = settings
        self._engine = engine_reference(engine)
        self._policy = policy
        self._clock = clock

    def verdict(
        self,
        arrival: Arrival,
        finding: Assessment | ItemFailure,
        by: AssessedBy,
        *,
        sent_at: float | None = None,
        reused_from: str | None = None,
    ) -> Answer:
        """Answer a post.

        Args:
            arrival: The post and its place in the window.
            finding: What was found, or why nothing could be.
            by: Who found it.
            sent_at: Monotonic seconds of the hand-over to the engine; None if nothing was asked of it.
            reused_from: The verdict whose assessment is reused.
        """
        held, now = arrival.held, self._clock.monotonic()
        sent_at = now if sent_at is None else max(sent_at, held.taken_at)  # it may have joined later
        timings = Timings(
            queued_ms=milliseconds(sent_at - held.taken_at),
            engine_ms=milliseconds(now - sent_at),
            total_ms=milliseconds(now - held.taken_at),
        )
        provenance = Provenance(self._engine, by, reused_from, timings, self._clock.utc())
        verdict = decide(arrival.post, finding, self._policy(), provenance)
        return Answer(held, verdict_record(verdict, held.delivery, self._settings.topics), verdict.verdict_id)

    def dead_letter(self, held: Held, rejection: Rejection) -> Answer:
        """Bury a record that can never be judged."""
        kept_bytes = self._settings.limits.dead_letter_bytes
        letter = bury(held.delivery, rejection, payload_bytes=kept_bytes, now=self._clock.utc())
        record = dead_letter_record(letter, held.delivery, self._settings.topics)
        return Answer(held, record, letter.dead_letter_id)
