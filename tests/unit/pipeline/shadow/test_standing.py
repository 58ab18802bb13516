"""Whose each post is, as a worker knows it from signed facts: the candidate's only while nothing speaks against it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from sluicegate.pipeline.errors import PolicyError, StartError
from sluicegate.pipeline.flow.tried import Beside
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.candidate import CandidateSettings
from sluicegate.pipeline.settings.sections import ScreenSettings
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shadow.sample import ShadowSample
from sluicegate.pipeline.shadow.signatures import FactSigner
from sluicegate.pipeline.shadow.standing import SILENCE_S, Standing, judge_digests
from sluicegate.pipeline.shadow.states import CandidateFact, CandidateState, Role
from sluicegate.schemas import Post
from support.candidates import BY, PEOPLE, REPORT, WAY, write_keys
from unit.pipeline.fakes import HandClock

if TYPE_CHECKING:
    from pathlib import Path

S = CandidateState
OLD, NEXT = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
INCUMBENT: dict[str, Any] = {
    "name": "old",
    "version": "1",
    "tenants": {"forum": {"rules": {"canary": True}}},
}
CANDIDATE = 'name: new\nversion: "1"\nrules: {adapter: next}\n'


class Room:
    """A standing that a test tells what a thread would read."""

    def __init__(self, folder: Path, candidate: str = CANDIDATE, **settings: Any) -> None:
        self.private = write_keys(folder / "people")
        path = folder / "candidate.yaml"
        path.write_text(candidate)
        self.clock, self.lost, self.ready = HandClock(), 0, True
        self.incumbent = Policy.parse(INCUMBENT)
        self.engines: dict[str | None, str] = {None: OLD, "next": NEXT}
        instruments = SimpleNamespace(metrics=Metrics(), clock=self.clock)
        self.metrics: Metrics = instruments.metrics
        beside = Beside(
            incumbent=lambda: self.incumbent,
            engines=self.engines,
            screen=None,
            is_ready=lambda: self.ready,
            lost=self._lose,
            instruments=cast("Any", instruments),
        )
        section = CandidateSettings(experiment="retrained", policy=path, keys=folder / "people" / "keys")
        self.standing = Standing(Settings(candidate=section, **settings), beside)
        self.judges = (
            judge_digests(self.incumbent, self.engines, None),
            judge_digests(Policy.load(path), self.engines, None),
        )
        self.head: CandidateFact | None = None

    def _lose(self) -> None:
        self.lost += 1

    def say(self, state: CandidateState, by: str | None = None, **fields: Any) -> bytes:
        by = by or BY[state]
        self.head = CandidateFact(
            experiment="retrained",
            follows=fields.pop("follows", self.head.digest if self.head is not None else None),
            state=state,
            incumbent=self.judges[0],
            candidate=self.judges[1],
            report=REPORT if state not in {S.REGISTERED, S.SHADOW, S.ROLLED_BACK} else None,
            share=fields.pop("share", 0.5) if state in {S.SHADOW, S.CANARY} else None,
            role=Role(PEOPLE[by]),
            by=by,
            at=self.clock.utc(),
            why="because",
            **fields,
        )
        return FactSigner(self.private[by].read_bytes()).sign(self.head)

    def read(self, *values: bytes) -> None:
        """What a round of the thread tells."""
        signed = self.standing._signed
        self.standing._take([signed.read(value) for value in values], None)
        self.standing._found(self.clock.monotonic(), None)

    def bring_to(self, state: CandidateState) -> None:
        self.read(*[self.say(step) for step in WAY[: WAY.index(state) + 1]])

    def acts(self, tenant: str = "forum") -> int:
        return sum(
            self.standing.judges(Post(id=f"p{number}", text="x", tenant=tenant)) for number in range(100)
        )

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"sluicegate_candidate_{name}")


@pytest.mark.parametrize("state", [None, *WAY[:4]])
def test_before_a_canary_the_incumbent_acts(tmp_path: Path, state: CandidateState | None) -> None:
    room = Room(tmp_path)
    if state is not None:
        room.bring_to(state)
    assert room.acts() == 0
    assert "the incumbent acts" in room.standing.state
    assert (room.metric("acts"), room.metric("barred")) in {(0.0, 0.0), (0.0, 0.0)}


def test_a_canary_is_a_share_of_those_who_agreed_and_a_promotion_is_all(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.bring_to(S.CANARY)
    sample = ShadowSample("retrained", 0.5)
    assert room.acts() == sum(sample.holds("forum", f"p{number}") for number in range(100))
    assert room.acts("other") == 0
    assert room.standing.state == "canary; it acts on 50.00% of posts that may have a canary"
    room.read(room.say(S.PROMOTED, by="amy"))
    assert room.acts() == room.acts("other") == 100
    lost = room.lost
    room.read(room.say(S.ROLLED_BACK))
    assert room.acts() == 0
    assert room.lost == lost + 1  # its posts in work are taken back


def test_silence_lets_the_incumbent_act_and_news_the_candidate_again(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.bring_to(S.PROMOTED)
    room.clock.now += SILENCE_S - 1
    assert room.acts() == 100
    room.clock.now += 2
    assert room.acts() == 0  # at once, whenever it is looked next
    lost = room.lost
    room.standing._show()
    assert room.lost == lost + 1
    assert (room.metric("followed"), room.metric("barred"), room.metric("acts")) == (0, 1, 0)
    assert "facts do not reach this worker" in room.standing.state
    room.read()
    assert room.acts() == 100


def test_a_rollback_counts_from_the_control_topic_too_and_nothing_else_does(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.bring_to(S.CERTIFIED)
    room.standing.hear(room.say(S.CANARY))
    assert room.acts() == 0
    room.read(room.say(S.CANARY, follows=None))  # out of order: refused
    assert room.metric("facts_refused_total") == 1
    room = Room(tmp_path / "other")
    room.bring_to(S.PROMOTED)
    stranger = FactSigner(write_keys(tmp_path / "stranger")["anna"].read_bytes())
    rollback = room.say(S.ROLLED_BACK)
    assert room.head is not None
    room.standing.hear(stranger.sign(room.head))
    assert room.acts() == 100
    room.standing.hear(rollback)
    assert room.acts() == 0
    assert "rolled_back" in room.standing.state


def test_the_candidate_acts_only_beside_whom_it_was_certified_with(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.bring_to(S.PROMOTED)
    before = room.incumbent
    room.incumbent = Policy.parse(INCUMBENT | {"version": "2"})
    assert room.acts() == 0  # before anybody has looked
    room.standing._show()
    assert "another incumbent than the facts name" in room.standing.state
    room.incumbent = before
    room.standing._show()
    assert room.acts() == 100
    room.engines["next"] = OLD
    room.standing._show()
    assert room.acts() == 100  # its own digests are those that it began with
    room.ready = False
    room.standing._show()
    assert room.acts() == 0
    assert "its engine has not answered yet, or is away" in room.standing.state


def test_a_topic_that_was_made_again_says_nothing_of_what_stood_there(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.bring_to(S.PROMOTED)
    fresh = type(room.standing._signed)("retrained", room.standing._signed.keys)
    room.standing._found(room.clock.monotonic(), fresh)
    assert room.acts() == 0
    assert room.standing.state.startswith("not registered; the incumbent acts")
    room = Room(tmp_path / "other")
    room.bring_to(S.PROMOTED)
    room.read(room.say(S.ROLLED_BACK))
    room.standing._found(room.clock.monotonic(), fresh)
    assert "rolled_back" in room.standing.state  # for good


@pytest.mark.parametrize(
    ("candidate", "settings", "fault"),
    [
        ("name: old\nversion: '1'\n", {}, "it is the policy in force"),
        (
            CANDIDATE,
            {"screen": ScreenSettings(path="/screens/next", guard="next")},
            "which would check itself",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused(
    tmp_path: Path, candidate: str, settings: dict[str, Any], fault: str
) -> None:
    with pytest.raises(StartError, match=fault):
        Room(tmp_path, candidate, **settings)


@pytest.mark.parametrize(
    ("candidate", "fault"),
    [
        (CANDIDATE.replace("next", "absent"), "no adapter `absent`"),
        (f"{CANDIDATE}engines: [sha256:{'9' * 64}]\n", "the policy is for"),
    ],
)
def test_a_policy_for_other_engines_is_refused(tmp_path: Path, candidate: str, fault: str) -> None:
    with pytest.raises(PolicyError, match=fault):
        Room(tmp_path, candidate)
