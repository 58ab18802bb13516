"""What is noted of the parts of one post, under a policy that changes meanwhile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.engines.protocol import Explanation, Prompt
from sluicegate.engines.text.segmenter import Part, Parts
from sluicegate.pipeline.flow.answers import Answers
from sluicegate.pipeline.flow.decision import assess, engine_reference
from sluicegate.pipeline.flow.work import Found, PartInWork, PostInWork
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Slot
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import AssessedBy, Post, Scores
from unit.pipeline.fakes import MemoryDelivery

if TYPE_CHECKING:
    from sluicegate.pipeline.flow.routes import Route

SCORES = Scores(safe=0.8, controversial=0.1, unsafe=0.1)
_NEVER = {"block_at": {"unsafe": None}, "review_at": {"unsafe": None, "risk": None}}
EASY = Policy.parse({"name": "easy", "version": "1", "rules": {"explain_at": 0.9, **_NEVER}})
"""Asks for no explanation of these scores."""
CURIOUS = Policy.parse({"name": "curious", "version": "1", "rules": {"explain_at": 0.1, **_NEVER}})
BARE = Found(assess(SCORES, None), AssessedBy.ENGINE)
EXPLAINED = Found(assess(SCORES, Explanation(("Violent",))), AssessedBy.ENGINE)


class Case:
    """A post of three parts, and the policy in force."""

    def __init__(self, parts: tuple[Part, ...] | None = None) -> None:
        info = FakeEngine().info
        route = SimpleNamespace(
            info=info,
            stamp=engine_reference(info),
            calibrated=lambda scores, _post: scores,
            finding=lambda finding, _post: finding,
        )
        parts = parts or tuple(
            Part(Prompt((number,), "post", 0, (0, 1)), number, number + 1) for number in range(3)
        )
        self.policy = EASY
        self.answers = Answers(Settings(), policy=lambda: self.policy, instruments=Instruments.for_engine(1))
        slot = Slot(cast("Any", MemoryDelivery(0)), 1, 0.0)
        self.arrival = PostInWork(slot, Post(id="p", text="abc"), cast("Route", route), parts=Parts(parts))

    def settle(self, part: int, found: Found) -> Any:
        return self.answers.settle(PartInWork(self.arrival, part), found)

    def asked_again(self) -> list[int]:
        return [asked[0].part for asked in self.arrival.asked_again(self.policy)]


def test_a_part_is_asked_about_again_only_once_all_are_found_and_once() -> None:
    case = Case()
    assert case.settle(0, BARE) is None
    assert case.settle(1, BARE) is None
    case.policy = CURIOUS
    assert case.asked_again() == []  # the last part may bring another change
    assert case.settle(2, EXPLAINED) is None
    assert case.asked_again() == [0, 1]
    assert case.asked_again() == []
    assert case.settle(0, EXPLAINED) is None
    assert case.settle(1, EXPLAINED) is not None


def test_a_part_that_came_back_bare_is_asked_about_again_for_the_next_policy() -> None:
    case = Case()
    for part in (0, 1):
        assert case.settle(part, BARE) is None
    case.policy = CURIOUS
    assert case.settle(2, EXPLAINED) is None
    assert case.asked_again() == [0, 1]
    case.policy = CURIOUS
    assert case.settle(0, BARE) is None  # answered for the policy between the two
    assert case.asked_again() == [0]  # else the post would wait for ever
    assert case.settle(1, EXPLAINED) is None
    assert case.settle(0, EXPLAINED) is not None


def test_where_the_folded_form_decides_its_own_place_is_told() -> None:
    prompt = Prompt((1,), "post", 0, (0, 1))
    case = Case((Part(prompt, 0, 2), Part(prompt, 2, 3), Part(prompt, 0, 3, folded=True)))
    worst = assess(Scores(safe=0.0, controversial=0.0, unsafe=1.0), Explanation(("Violent",)))
    assert case.settle(0, BARE) is None
    assert case.settle(1, BARE) is None
    answer = case.settle(2, Found(worst, AssessedBy.ENGINE))
    assert answer is not None
    segments = answer.record.event.segments
    assert (segments.count, segments.deciding, segments.start, segments.end) == (1, 0, 0, 3)


def test_a_post_that_was_given_back_gets_no_answer() -> None:
    case = Case()
    case.arrival.slot.released = True
    assert [case.settle(part, EXPLAINED) for part in range(3)] == [None] * 3
    assert case.arrival.found == {}


def test_what_stands_in_for_a_post_counts_its_folded_parts_and_none_where_it_has_no_parts() -> None:
    folded = Part(Prompt((2,), "post", 0, (0, 1)), 0, 3, folded=True)
    for parts, counted in ((Parts((Part(Prompt((1,), "post", 0, (0, 1)), 0, 3), folded)), 1), (None, 0)):
        instruments = Instruments.for_engine(1)
        case = Case()
        case.answers = Answers(Settings(), policy=lambda: EASY, instruments=instruments)
        case.arrival.parts = parts
        case.answers.stand_in(case.arrival, BARE, folded=False)
        assert case.arrival.answered
        labels = {"assessed_by": BARE.by.value}
        assert (
            instruments.metrics.registry.get_sample_value("sluicegate_folded_parts_total", labels) == counted
        )
