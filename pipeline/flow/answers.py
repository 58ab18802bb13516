"""Answers: what goes out for each post held, and under which topic, key and headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog

from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.segmenter import Parts
from sluicegate.pipeline.clock import milliseconds
from sluicegate.pipeline.flow.breaker import Breaker
from sluicegate.pipeline.flow.decision import (
    Provenance,
    bury,
    decide,
    raise_allow,
    withhold,
    worst,
)
from sluicegate.pipeline.flow.in_work import Found, PostInWork
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.patterns.matcher import Matcher
from sluicegate.pipeline.policy import FAILURE_MODE, Policy
from sluicegate.pipeline.records import Record, Slot, dead_letter_record, verdict_record
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import (
    Action,
    AssessedBy,
    Assessment,
    EngineRef,
    FailureCode,
    MadeVerdict,
    Post,
    Rejection,
    Segments,
    Timings,
)

if TYPE_CHECKING:
    from datetime import datetime


_log = structlog.get_logger(__name__)
_WHOLE = Segments()  # of a text that is one part, uncut: most are


@dataclass(slots=True, eq=False)
class Answer:
    """A post held and the record that answers it."""

    slot: Slot
    record: Record
    sampled: PostInWork | None = None
    """The post, where the screen would have answered it."""


class Moment(NamedTuple):
    """When something is decided."""

    now: float
    """Monotonic seconds."""
    utc: datetime


class Answers:
    """Decides (step 7) and makes records."""

    def __init__(
        self, settings: Settings, *, instruments: Instruments, matcher: Matcher | None = None
    ) -> None:
        self._settings = settings
        self._clock = instruments.clock
        self._matcher = matcher
        self.breaker = Breaker(instruments.clock, instruments.metrics)

    def decide(
        self, post: PostInWork, policy: Policy, moment: Moment
    ) -> tuple[Answer, MadeVerdict, int | None]:
        """7: decide a settled post. A fault of ours gives the failure mode; it must not stop the partition.

        Args:
            post: The post.
            policy: The policy in force, which it was settled by unless it has a second judge.
            moment: The present.

        Returns:
            Its answer, the verdict in it, and the part that decided: None where a fault of ours did.
        """
        policy = post.decided_by(policy)
        if post.unasked:
            _log.warning("explanation_unasked", post=post.post.id, policy=policy.digest)
        try:
            return self._decide(post, [one for one in post.found if one is not None], policy, moment)
        except Exception as error:  # noqa: BLE001 - see above
            _log.error("decision_fault", post=post.post.id, where=frames(error))
            failed = Found(ItemFailure(FailureCode.INTERNAL, type(error).__name__), AssessedBy.NONE)
            return *self._decide(post, [failed] * len(post.found), policy, moment)[:2], None

    def _decide(
        self, work: PostInWork, found: list[Found], policy: Policy, moment: Moment
    ) -> tuple[Answer, MadeVerdict, int]:
        post, slot, now = work.post, work.slot, moment.now
        number, finding = _deciding(work, found, policy)
        sent_at = now
        for one in found:
            if one.sent_at is not None and one.sent_at < sent_at:
                sent_at = one.sent_at
        sent_at = max(sent_at, slot.taken_at)  # it may have joined later
        provenance = Provenance(
            engine=work.route.stamp,
            assessed_by=found[number].by,
            reused_from=found[number].reused_from,
            segments=_segments(work.parts, number),
            timings=Timings(
                queued_ms=milliseconds(sent_at - slot.taken_at),
                engine_ms=milliseconds(now - sent_at),
                total_ms=milliseconds(now - slot.taken_at),
            ),
            judged_at=moment.utc,
            form_rules=_form_rules(work.parts, number),
        )
        verdict = self._final(decide(post, finding, policy, provenance), post, policy)
        record = verdict_record(verdict, slot.delivery, self._settings.topics)
        return Answer(slot, record, work if work.sample is not None else None), verdict, number

    def without_engine(
        self, slot: Slot, post: Post, policy: Policy, finding: Assessment | ItemFailure, stamp: EngineRef
    ) -> Answer:
        """Answer a post of which no engine was asked.

        Args:
            slot: Its place in the window.
            post: The post.
            policy: Decides.
            finding: As the policy sees it: nothing is calibrated here.
            stamp: Who found it.
        """
        now = self._clock.monotonic()
        took_ms = milliseconds(now - slot.taken_at)
        provenance = Provenance(
            engine=stamp,
            assessed_by=finding.assessed_by if isinstance(finding, Assessment) else AssessedBy.NONE,
            reused_from=None,
            segments=_WHOLE,
            timings=Timings(queued_ms=took_ms, engine_ms=0, total_ms=took_ms),
            judged_at=self._clock.utc(),
        )
        verdict = self._final(decide(post, finding, policy, provenance), post, policy)
        record = verdict_record(verdict, slot.delivery, self._settings.topics)
        return Answer(slot, record)

    def _final(self, verdict: MadeVerdict, post: Post, policy: Policy) -> MadeVerdict:
        """The verdict, or what a shared pattern or a breaker makes of it: the breaker counts what a pattern blocks."""
        if self._matcher is not None and verdict.action is Action.ALLOW:
            match = self._matcher.match(post.tenant, post.text)
            if match is not None:
                verdict = raise_allow(verdict, post, policy, code=match.code, confirmed=match.confirmed)
        return self._unless_withheld(verdict, post, policy)

    def _unless_withheld(self, verdict: MadeVerdict, post: Post, policy: Policy) -> MadeVerdict:
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
        return Answer(slot, record)


def _deciding(work: PostInWork, found: list[Found], policy: Policy) -> tuple[int, Assessment | ItemFailure]:
    """The part that decides, and what was found of it as the policy sees it: the worst, unless it is said which."""
    if len(found) == 1:
        only = found[0].finding
        return 0, work.route.finding(only, work.post) if isinstance(only, Assessment) else only
    # Each part is calibrated before they are compared.
    findings = [
        work.route.finding(one.finding, work.post) if isinstance(one.finding, Assessment) else one.finding
        for one in found
    ]
    number = work.deciding
    if work.parts is None:
        number = 0
    elif number is None:
        folded = {place for place, part in enumerate(work.parts.parts) if part.folded}
        if len(folded) == len(findings):
            folded = set()  # it was read in this form alone: a part that failed was read in no other
        least = work.parts.least_unsafe
        number = worst(work.post, findings, policy, folded=folded, least_unsafe=least)
    return number, findings[number]


def _form_rules(parts: Parts | None, deciding: int) -> tuple[str, ...]:
    return parts.rules if parts is not None and parts.parts[deciding].folded else ()


def _segments(parts: Parts | None, deciding: int) -> Segments:
    """What to tell of the segments of the form that decided."""
    if parts is None or (len(parts.parts) == 1 and not parts.context_cut_characters):
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
