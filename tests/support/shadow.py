"""A shadow and a comparator beside a lane's workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.pipeline.policy.file import PolicyFile
from sluicegate.pipeline.shadow.states import JudgeDigests
from sluicegate.schemas import Severity
from support.candidates import EXPERIMENT, Experiment
from support.collector import read

if TYPE_CHECKING:
    from support.collector import Record
    from support.kafka import ApacheKafka
    from support.workers import Lane, WorkerProcess

Rules = dict[str, Severity]

INCUMBENT: Rules = {"bad": "unsafe", "text": "safe"}
EQUAL: Rules = {"bad": "unsafe", "text": "safe", "another digest": "safe"}
MILD: Rules = {"text": "safe"}
"""It allows what the incumbent blocks."""
POLICY = 'name: plain\nversion: "1"\n'
TERMS = {
    "candidate.terms.max_permissive": "0.05",
    "candidate.terms.max_shift": "0.3",
    "candidate.terms.min_posts": "50",
}


def digest_of(rules: Rules) -> str:
    """The digest of a fake engine with these rules."""
    return FakeEngine(FakeProfile(rules=rules)).info.digest


class ShadowLane:
    """An experiment with an engine of its own: the live workers are the lane's, and know nothing of it."""

    def __init__(self, lane: Lane, kafka: ApacheKafka, candidate: Rules, *, share: float) -> None:
        self.lane = lane
        self.share = share
        self._policy = lane.set_policy(POLICY)
        self._profile = lane.folder / "candidate.json"
        self.set_candidate(candidate)
        lane.set_fake(rules=INCUMBENT)
        policy = PolicyFile(Path(self._policy["policy.path"])).current.digest
        judges = tuple(
            JudgeDigests(engines=(digest_of(rules),), policy=policy) for rules in (INCUMBENT, candidate)
        )
        self.experiment = Experiment(lane, judges)  # type: ignore[arg-type]
        self.topics = {name: f"{lane.prefix}.{name}" for name in ("shadow", "comparisons")}
        for topic in (*self.topics.values(), self.experiment.topic):
            kafka.create_topic(topic, 1)

    def set_candidate(self, rules: Rules, **profile: Any) -> None:
        """Give the candidate's fake engine rules and a speed, for shadows that start from now on."""
        self._profile.write_text(json.dumps({"rules": rules, **profile}))

    @property
    def settings(self) -> dict[str, str]:
        """Those of a shadow and of a comparator."""
        return {
            **self._policy,
            **{f"topics.{name}": topic for name, topic in self.topics.items()},
            "topics.candidates": self.experiment.topic,
            "candidate.experiment": EXPERIMENT,
            "candidate.share": str(self.share),
            "candidate.keys": str(self.lane.folder / "people" / "keys"),
            "candidate.key": str(self.experiment.private["comparator"]),
            "candidate.state_file": str(self.state_file),
            **TERMS,
        }

    @property
    def state_file(self) -> Path:
        """Where the comparator keeps its counts."""
        return self.lane.folder / "comparison.json"

    @property
    def live(self) -> dict[str, str]:
        """Settings of the incumbent's workers beside the lane's own."""
        return self._policy

    def start_live(self) -> WorkerProcess:
        """A worker of the incumbent's."""
        return self.lane.start(self.live)

    def start_shadow(self, **settings: str) -> WorkerProcess:
        """A shadow of the candidate's."""
        own = {"engine.fake_profile": str(self._profile)}
        return self.lane.start(self.settings | own | settings, arguments=("shadow", "run"))

    def start_comparator(self, *options: str, **settings: str) -> WorkerProcess:
        """A comparator."""
        return self.lane.start(self.settings | settings, arguments=("shadow", "compare", *options))

    def shadowed(self) -> list[Record]:
        """The candidate's verdicts."""
        return read(self.lane.bootstrap, [self.topics["shadow"]])

    def state(self) -> dict[str, Any]:
        """What the comparator has written down; nothing before it has."""
        found: dict[str, Any] = orjson.loads(self.state_file.read_bytes()) if self.state_file.exists() else {}
        return found

    def contents(self) -> int:
        """How many contents are counted in what is written down."""
        return int(self.state()["summary"]["tally"]["contents"]) if self.state() else 0


def posts(first: int, count: int, *, bad_every: int = 10) -> list[dict[str, Any]]:
    """Posts with texts of their own; every so-manieth is one that the incumbent blocks."""
    return [
        {
            "id": f"p{number}",
            "text": f"{'bad ' if number % bad_every == 0 else ''}text {number}",
            "tenant": "forum",
        }
        for number in range(first, first + count)
    ]
