"""A small guard before the large one, in a worker on the embedded broker: dead, well, hanging, and left out by a policy."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import TYPE_CHECKING, Any

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile
from sluicegate.engines.screen import GUARD, GuardManifest, ScreenGroup
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from support.collector import account
from support.workers import Lane, until

if TYPE_CHECKING:
    from pathlib import Path

    from support.collector import Sent
    from support.workers import WorkerProcess

POLICY = """
name: cascade
version: "1"
rules:
  screen: {tolerance: 0.01}
"""
LARGE = {"[bad]": "unsafe", "easy": "safe", "odd": "safe"}
SMALL = {"odd": "controversial", "easy": "safe"}
_SOON_S = 60.0


class Cascade:
    """A worker with a small guard whose faults are switched while it runs."""

    def __init__(self, lane: Lane, folder: Path) -> None:
        self.lane = lane
        self.sent: list[Sent] = []
        self.digest = FakeEngine(FakeProfile(rules=SMALL)).info.digest  # type: ignore[arg-type]
        self.large = FakeEngine(FakeProfile(rules=LARGE)).info.digest  # type: ignore[arg-type]
        self._faults = folder / "small-faults.json"
        self._numbers = count()
        lane.set_fake(rules=LARGE)
        profile = folder / "small.json"
        profile.write_text(json.dumps({"rules": SMALL, "faults_file": str(self._faults)}))
        group = ScreenGroup(
            kind="post",
            language="en",
            rows=900,
            longest=200,
            least_known=0,
            scripts=("LATIN",),
            safe=((0.9, 0.005),),
        )
        manifest = GuardManifest(
            name="small", guard=self.digest, backend="fake", data=self.digest, rows=900, groups=(group,)
        )
        (folder / GUARD).write_bytes(manifest.content())
        self._settings = lane.set_policy(POLICY) | {
            "engine.adapters.small.fake_profile": str(profile),
            "screen.path": str(folder),
            "screen.guard": "small",
            "screen.guard_timeout_s": "0.5",
            "screen.sample_share": "0",
        }

    def start(self) -> WorkerProcess:
        return self.lane.start(self._settings)

    def set_fault(self, **faults: Any) -> None:
        part = self._faults.with_suffix(".part")
        part.write_text(json.dumps(faults))
        part.replace(self._faults)

    def judged(self, text: str, posts: int) -> list[dict[str, Any]]:
        """Send posts with this word, and wait for their verdicts."""
        names = [f"p{next(self._numbers)}" for _ in range(posts)]
        self.sent += self.lane.send(
            {"id": name, "text": f"{text} {name}", "language": "en"} for name in names
        )
        self.lane.wait_acknowledged(within_s=_SOON_S)
        found = {one.body["post_id"]: one.body for one in self.lane.read() if not one.is_dead_letter}
        return [found[name] for name in names]

    def by(self, text: str, posts: int = 20) -> set[tuple[str, str]]:
        """By whom such posts are judged, and with which engine's stamp."""
        return {(one["assessed_by"], one["engine"]["digest"]) for one in self.judged(text, posts)}


def screen_of(worker: WorkerProcess) -> str:
    return str(json.loads(worker.get("/readyz")[1])["screen"])


def through_its_faults(lane: Lane, folder: Path) -> None:
    cascade = Cascade(lane, folder)
    small, large = {("screen", cascade.digest)}, {("engine", cascade.large)}
    cascade.set_fault(die=True)
    worker = cascade.start()
    worker.wait_ready()  # the small guard has answered nothing, and nobody waits for it
    assert cascade.by("easy") == large
    assert worker.metric("sluicegate_screen_guard_away") == 1
    assert screen_of(worker).startswith("the small guard rests: ")
    assert worker.ready()

    cascade.set_fault()
    until("the small guard is asked again", lambda: cascade.by("easy", 1) == small, within_s=_SOON_S)
    assert cascade.by("easy") == small
    assert cascade.by("odd") == large
    assert {one["action"] for one in cascade.judged("[bad] odd", 5)} == {"block"}
    assert (worker.metric("sluicegate_screen_guard_away"), screen_of(worker)) == (0, "at work")

    cascade.set_fault(hang=True)
    assert cascade.by("easy", 200) == large
    assert worker.metric("sluicegate_screen_guard_away") == 1
    assert worker.metric("sluicegate_verdicts_total") == len(cascade.sent)
    cascade.set_fault()
    until("the small guard is asked again", lambda: cascade.by("easy", 1) == small, within_s=_SOON_S)

    lane.set_policy(POLICY + f'engines: ["{cascade.large}"]\n')
    unnamed = "sluicegate_screen_guard_barred"
    until("the policy is in force", lambda: worker.metric(unnamed) == 1, within_s=_SOON_S)
    assert cascade.by("easy") == large
    lane.set_policy(POLICY + f'engines: ["{cascade.large}", "{cascade.digest}"]\n')
    until("the policy is in force", lambda: worker.metric(unnamed) == 0, within_s=_SOON_S)
    assert cascade.by("easy") == small

    found = account(cascade.sent, lane.read())
    assert (found.lost, found.two_actions, found.repeats_other_id, found.unasked) == ((), (), 0, 0)
    worker.terminate()
    assert worker.wait(30) == 0
    assert worker.output.count("screen_guard_rests") == 2


async def test_a_small_guard_may_die_hang_and_be_left_out_and_every_post_is_answered(tmp_path: Path) -> None:
    lane = Lane("", tmp_path)
    async with EmbeddedBroker(lane.topics) as broker:
        lane.bootstrap = broker.address
        try:
            await asyncio.to_thread(through_its_faults, lane, tmp_path)
        finally:
            await asyncio.to_thread(lane.close)
