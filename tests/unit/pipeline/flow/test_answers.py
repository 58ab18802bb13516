"""What is told of the part that decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from structlog.testing import capture_logs

from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.engines.protocol import Explanation, Prompt
from sluicegate.engines.text.segmenter import Part, Parts
from sluicegate.pipeline.flow.answers import Answer, Answers, Moment
from sluicegate.pipeline.flow.decision import assess, engine_reference
from sluicegate.pipeline.flow.in_work import Found, PostInWork
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Slot
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import AssessedBy, MadeVerdict, Post, Scores
from unit.pipeline.fakes import MemoryDelivery

NEVER = {"block_at": {"unsafe": None}, "review_at": {"unsafe": None, "risk": None}}
EASY = Policy.parse({"name": "easy", "version": "1", "rules": {"explain_at": 0.9, **NEVER}})
BARE = Found(assess(Scores(safe=0.8, controversial=0.1, unsafe=0.1), None), AssessedBy.ENGINE)
WORST = Found(
    assess(Scores(safe=0.0, controversial=0.0, unsafe=1.0), Explanation(("Violent",))), AssessedBy.ENGINE
)
PROMPT = Prompt((1,), "post", 0, (0, 1))


def decided(
    parts: tuple[Part, ...], found: list[Found], *, unasked: bool = False
) -> tuple[Answer, MadeVerdict, int | None]:
    info = FakeEngine().info
    route: Any = SimpleNamespace(
        info=info, stamp=engine_reference(info), finding=lambda finding, _post: finding
    )
    slot = Slot(cast("Any", MemoryDelivery(0)), 1, 0.0)
    post = PostInWork(slot, Post(id="p", text="abc"), route, Parts(parts), (b"key",) * len(parts))
    post.found, post.unasked = list(found), unasked
    answers = Answers(Settings(), instruments=Instruments.for_engine(1))
    return answers.decide(post, EASY, Moment(1.0, datetime.now(UTC)))


def test_where_the_folded_form_decides_its_own_place_is_told() -> None:
    parts = (Part(PROMPT, 0, 2), Part(PROMPT, 2, 3), Part(PROMPT, 0, 3, folded=True))
    answer, verdict, deciding = decided(parts, [BARE, BARE, WORST])
    segments = verdict.segments
    assert (segments.count, segments.deciding, segments.start, segments.end) == (1, 0, 0, 3)
    assert (deciding, cast("Any", answer.record).event) == (2, verdict)


def test_an_explanation_that_nobody_asked_for_is_told_in_the_log_with_the_post() -> None:
    for unasked in (True, False):
        with capture_logs() as logs:
            decided((Part(PROMPT, 0, 3),), [BARE], unasked=unasked)
        told = [(one["event"], one["post"], one["policy"]) for one in logs]
        assert told == ([("explanation_unasked", "p", EASY.digest)] if unasked else [])


def test_the_wait_and_the_engine_share_the_time_between_taking_and_deciding() -> None:
    _, verdict, _ = decided((Part(PROMPT, 0, 3),), [replace(WORST, sent_at=0.25)])
    timings = verdict.timings
    assert (timings.queued_ms, timings.engine_ms, timings.total_ms) == (250, 750, 1_000)
