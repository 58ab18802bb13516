"""A certified candidate begins to flip 3 % of its verdicts while it acts, and takes itself back.

python -m faults.candidate --share 0.5

Two workers, the shadow and the comparator run as users run them, on Apache Kafka, with the fake engine. The comparator certifies a
candidate that says what the incumbent says. An approver begins a canary. Then posts come on which the two differ: 3 in 100, half
of them milder. Printed are the posts that the candidate judged, and how long its rollback took to have an effect.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.shadow.states import CandidateFact, CandidateState
from support.candidates import Experiment
from support.collector import account
from support.kafka import ApacheKafka
from support.workers import open_lane, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.collector import Sent

S = CandidateState
_INCUMBENT = 'name: old\nversion: "1"\nrules: {canary: true, explain_at: 1.0}\n'
_CANDIDATE = 'name: new\nversion: "1"\nrules: {adapter: next, explain_at: 1.0}\n'
_SAME = {"harmless": "safe", "awful": "unsafe"}
FLIPPED_SHARE = 0.03
_AWFUL_SHARE = 0.1
_RATE_PER_S = 100
_CERTIFIED_S, _ROLLED_BACK_S = 300.0, 300.0


class Posts:
    """Posts that nobody else has, at a steady rate."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._rng = random.Random(3)
        self.sent: list[Sent] = []

    def some(self, *, flipped: float = 0.0) -> None:
        """Send what comes in half a second."""
        count, first = _RATE_PER_S // 2, len(self.sent)
        self.sent += self._send([self._one(first + number, flipped) for number in range(count)])
        time.sleep(0.5)

    def _one(self, number: int, flipped: float) -> dict[str, Any]:
        words = "awful" if self._rng.random() < _AWFUL_SHARE else "harmless"
        if self._rng.random() < flipped:
            words = self._rng.choice(["flipped up", "flipped down"])
        return {"id": f"post-{number}", "text": f"{words} words of post {number}, said {self._rng.random()}"}


def play(folder: Path, share: float) -> tuple[str, bool]:
    """All of it; the line that says what was found, and whether it is as it should be."""
    with ApacheKafka() as kafka, open_lane(kafka, folder, partitions=3) as lane:
        experiment = Experiment(lane)
        experiment.set_policies(_INCUMBENT, _CANDIDATE)
        for topic in (
            experiment.topic,
            f"{lane.prefix}.shadow",
            f"{lane.prefix}.comparisons",
            f"{lane.prefix}.resolutions",
        ):
            kafka.create_topic(topic, 1)
        lane.set_fake(rules={**_SAME, "flipped up": "safe", "flipped down": "unsafe"})
        candidate = {"rules": {**_SAME, "flipped up": "unsafe", "flipped down": "safe"}}
        (folder / "next.json").write_text(json.dumps(candidate))
        done = experiment.command("register", "--reason", "trained anew", by="anna")
        if done.returncode:
            raise AssertionError(done.stderr)
        settings = (
            experiment.settings
            | experiment.engines
            | {
                "topics.shadow": f"{lane.prefix}.shadow",
                "topics.comparisons": f"{lane.prefix}.comparisons",
                "topics.resolutions": f"{lane.prefix}.resolutions",
                "candidate.share": "1.0",
                "candidate.key": str(experiment.private["comparator"]),
                "candidate.state_file": str(folder / "comparison.json"),
            }
        )
        experiment.say(S.GATED)
        experiment.say(S.SHADOW, share=1.0)
        workers = [lane.start(settings) for _ in range(2)]
        shadow = lane.start(settings, arguments=("shadow", "run"))
        lane.start(settings, arguments=("shadow", "compare"))
        for worker in (*workers, shadow):
            worker.wait_ready()
        posts = Posts(lane.send)

        def head() -> CandidateFact:
            found = experiment.ledger("anna").read().head
            assert found is not None
            return found

        _send_until(posts, lambda: head().state is S.CERTIFIED, _CERTIFIED_S)
        certified_after = len(posts.sent)
        begun = experiment.say(S.CANARY, share=share, report=head().report).fact
        until(
            "the canary acts",
            lambda: all(one.metric("sluicegate_candidate_acts") for one in workers),
            within_s=30,
        )
        _send_until(posts, lambda: head().state is S.ROLLED_BACK, _ROLLED_BACK_S, flipped=FLIPPED_SHARE)
        said = head()
        for _ in range(10):
            posts.some(flipped=FLIPPED_SHARE)
        lane.wait_acknowledged(within_s=120)
        records = lane.read()
    by = Counter(one.body["policy"]["name"] for one in records if not one.is_dead_letter)
    last = max(
        datetime.fromisoformat(one.body["judged_at"])
        for one in records
        if one.body["policy"]["name"] == "new"
    )
    effect_s = max(0.0, (last - said.at).total_seconds())
    balance = account(posts.sent, records)
    line = (
        f"candidate: certified after {certified_after} posts; with {FLIPPED_SHARE:.0%} flipped in a canary of {share:g} "
        f"rolled back after {(said.at - begun.at).total_seconds():.0f} s and {by['new']} posts that it judged; effect after "
        f"{effect_s:.1f} s; {len(balance.lost)} lost\n  why: {said.why} (by {said.by}, {said.role})"
    )
    return line, not balance.lost and effect_s < 10 and said.by == "comparator"


def _send_until(posts: Posts, done: Any, within_s: float, *, flipped: float = 0.0) -> None:
    deadline, look_at = time.monotonic() + within_s, 0.0
    while True:
        posts.some(flipped=flipped)
        if time.monotonic() > look_at:
            if done():
                return
            look_at = time.monotonic() + 2
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s and {len(posts.sent)} posts")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 if the candidate was not taken back as it should be."""
    parser = argparse.ArgumentParser(
        prog="faults.candidate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--share", type=float, default=0.5, help="of the posts, on which the candidate acts")
    options = parser.parse_args(arguments)
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="sluicegate-candidate-") as folder:
        line, is_right = play(Path(folder), options.share)
    print(line, f"({(datetime.now(UTC) - began).total_seconds():.0f} s in all)")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
