"""Answers: what goes out for each post held, and under which topic, key and headers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.segmenter import Parts
from sluicegate.pipeline.clock import milliseconds
from sluicegate.pipeline.flow.breaker import Breaker
from sluicegate.pipeline.flow.decision import Provenance, assess, bury, decide, withhold, worst
from sluicegate.pipeline.flow.work import Found, PartInWork, PostInWork
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.policy import FAILURE_MODE, Policy
from sluicegate.pipeline.records import Outgoing, Slot, dead_letter_record, verdict_record
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import (
    Action,
    AssessedBy,
    Assessment,
    EngineRef,
    FailureCode,
    Post,
    Rejection,
    Segments,
    Timings,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable


_log = structlog.get_logger(__name__)
_WHOLE = Segments()  # of a text that is one part, uncut: most are


@dataclass(frozen=True, slots=True)
class Answer:
    """A post held and the record that answers it."""

    slot: Slot
    record: Outgoing
    event_id: str
    """Verdict id or dead-letter id; empty for a record that is forwarded."""
    arrival: PostInWork | None = None
    """The post; None where no engine was asked."""
    found: Found | None = None
    """What decided."""


class Answers:
    """Decides (step 7) and makes records."""

    def __init__(
        self,
        settings: Settings,
        *,
        policy: Callable[[], Policy],
        instruments: Instruments,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._clock = instruments.clock
        self._metrics = instruments.metrics
        self.breaker = Breaker(instruments.clock, instruments.metrics)

    def settle(self, member: PartInWork, found: Found) -> Answer | None:
        """Note what was found of one part; the answer, once the policy in force has what it asks for of every part."""
        arrival = member.arrival
        if arrival.over or arrival.parts is None:
            return None
        before = arrival.found.get(member.part)
        # A part that is found already was asked about again, for its explanation: its scores stay if that fails.
        if before is not None and isinstance(before.finding, Assessment):
            finding = found.finding
            if isinstance(finding, ItemFailure):
                finding = assess(before.finding.scores, finding)
            found = replace(before, finding=finding)
            arrival.again.discard(member.part)
        arrival.found[member.part] = found
        arrival.slot.moved_at = self._clock.monotonic()
        if before is None and arrival.parts.parts[member.part].folded:
            self._metrics.folded_parts.labels(found.by.value).inc()
        parts = len(arrival.parts.parts)
        if len(arrival.found) < parts or (parts > 1 and arrival.lacking(self._policy())):
            return None
        return self._verdict(arrival, [arrival.found[number] for number in range(len(arrival.parts.parts))])

    def stand_in(self, arrival: PostInWork, found: Found, *, folded: bool) -> Answer:
        """Answer a post of parts with a finding that stands for all of them.

        Args:
            arrival: The post.
            found: What was found of another one.
            folded: Whether that was found of its folded form: this post's, where it has one, decides, too.
        """
        forms = [part.folded for part in arrival.parts.parts] if arrival.parts is not None else [False]
        self._metrics.folded_parts.labels(found.by.value).inc(sum(forms))
        deciding = forms.index(folded) if folded in forms else 0
        return self._verdict(arrival, [found] * len(forms), deciding)

    def give_up(self, arrival: PostInWork, failure: ItemFailure) -> Answer:
        """Answer a post with what was found so far; every other part has failed."""
        parts = len(arrival.parts.parts) if arrival.parts is not None else 1
        failed = Found(failure, AssessedBy.NONE)
        for number in arrival.lacking(self._policy()):
            bare = arrival.found[number]
            if isinstance(bare.finding, Assessment):
                arrival.found[number] = replace(bare, finding=assess(bare.finding.scores, failure))
        return self._verdict(arrival, [arrival.found.get(number, failed) for number in range(parts)])

    def _verdict(self, arrival: PostInWork, found: list[Found], deciding: int | None = None) -> Answer:
        """7: the worst part decides, unless it is said which. A fault of ours gives the failure mode; it must not stop the partition."""
        arrival.answered = True
        try:
            return self._decide(arrival, found, deciding)
        except Exception as error:  # noqa: BLE001 - see above
            _log.error("decision_fault", post=arrival.post.id, where=frames(error))
            failed = Found(ItemFailure(FailureCode.INTERNAL, type(error).__name__), AssessedBy.NONE)
            return self._decide(arrival, [failed] * len(found))

    def _decide(self, arrival: PostInWork, found: list[Found], deciding: int | None = None) -> Answer:
        policy = self._policy()
        # Each part is calibrated before they are compared.
        findings = [
            arrival.route.finding(one.finding, arrival.post)
            if isinstance(one.finding, Assessment)
            else one.finding
            for one in found
        ]
        number = deciding
        if number is None:
            least = arrival.parts.least_unsafe if arrival.parts is not None else {}
            number = worst(arrival.post, findings, policy, folded=_folded(arrival.parts), least_unsafe=least)
        slot, now = arrival.slot, self._clock.monotonic()
        asked = [one.sent_at for one in found if one.sent_at is not None]
        sent_at = max(min(asked, default=now), slot.taken_at)  # it may have joined later
        timings = Timings(
            queued_ms=milliseconds(sent_at - slot.taken_at),
            engine_ms=milliseconds(now - sent_at),
            total_ms=milliseconds(now - slot.taken_at),
        )
        provenance = Provenance(
            engine=arrival.route.stamp,
            assessed_by=found[number].by,
            reused_from=found[number].reused_from,
            segments=_segments(arrival.parts, number),
            timings=timings,
            judged_at=self._clock.utc(),
            form_rules=_form_rules(arrival.parts, number),
        )
        verdict = self._unless_withheld(
            decide(arrival.post, findings[number], policy, provenance), arrival.post, policy
        )
        record = verdict_record(verdict, slot.delivery, self._settings.topics)
        return Answer(slot, record, verdict.verdict_id, arrival, found[number])

    def without_engine(
        self, slot: Slot, post: Post, finding: Assessment | ItemFailure, stamp: EngineRef
    ) -> Answer:
        """Answer a post of which no engine was asked.

        Args:
            slot: Its place in the window.
            post: The post.
            finding: As the policy sees it: nothing is calibrated here.
            stamp: Who found it.
        """
        policy, now = self._policy(), self._clock.monotonic()
        took_ms = milliseconds(now - slot.taken_at)
        provenance = Provenance(
            engine=stamp,
            assessed_by=finding.assessed_by if isinstance(finding, Assessment) else AssessedBy.NONE,
            reused_from=None,
            segments=_WHOLE,
            timings=Timings(queued_ms=took_ms, engine_ms=0, total_ms=took_ms),
            judged_at=self._clock.utc(),
        )
        verdict = self._unless_withheld(decide(post, finding, policy, provenance), post, policy)
        record = verdict_record(verdict, slot.delivery, self._settings.topics)
        return Answer(slot, record, verdict.verdict_id)

    def _unless_withheld(self, verdict: Verdict, post: Post, policy: Policy) -> Verdict:
        """The verdict, or what becomes of it while its tenant's breaker is open.

        A failure mode counts neither as a post nor as a block: it is the tenant's own wish, and
        says nothing of a rule or a model.
        """
        if verdict.policy.rule == FAILURE_MODE:
            return verdict
        opened = self.breaker.admit(
            post.tenant,
            policy.rules(post).block_breaker,
            policy.digest,
            blocked=verdict.action is Action.BLOCK,
        )
        return verdict if opened is None else withhold(verdict, post, policy, open_since=opened.at)

    def dead_letter(self, slot: Slot, rejection: Rejection) -> Answer:
        """Bury a record that can never be judged."""
        kept_bytes = self._settings.limits.dead_letter_bytes
        letter = bury(slot.delivery, rejection, payload_bytes=kept_bytes, now=self._clock.utc())
        record = dead_letter_record(letter, slot.delivery, self._settings.topics)
        return Answer(slot, record, letter.dead_letter_id)


def _folded(parts: Parts | None) -> set[int]:
    return {number for number, part in enumerate(parts.parts) if part.folded} if parts is not None else set()


def _form_rules(parts: Parts | None, deciding: int) -> tuple[str, ...]:
    return parts.rules if parts is not None and deciding in _folded(parts) else ()


def _segments(parts: Parts | None, deciding: int) -> Segments:
    """What to tell of the segments of the form that decided."""
    if parts is None:
        return _WHOLE
    cut, part = parts.context_cut_characters, parts.parts[deciding]
    form = [number for number, one in enumerate(parts.parts) if one.folded == part.folded]
    if len(form) == 1 and not any(one.start for one in parts.parts):
        return Segments(context_cut_characters=cut) if cut else _WHOLE
    return Segments(
        count=len(form),
        deciding=form.index(deciding),
        start=part.start,
        end=part.end,
        context_cut_characters=cut,
    )
