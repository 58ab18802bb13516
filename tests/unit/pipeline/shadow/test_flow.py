"""The path of a post in a shadow: verdicts on the posts of a sample, on one topic, and nothing else."""

from __future__ import annotations

from typing import Any

from sluicegate.pipeline.shadow.flow import ShadowFlow, ShadowOutlet
from sluicegate.pipeline.shadow.metrics import ShadowMetrics
from sluicegate.pipeline.shadow.sample import ShadowSample
from unit.pipeline.fakes import Bench
from unit.pipeline.scripted import RULES, post

MANY = 200


class ShadowBench(Bench):
    """A shadow over records in memory."""

    def __init__(self, share: float, **fields: Any) -> None:
        super().__init__(profile=RULES, **fields)
        self.shown = ShadowMetrics(self.instruments.metrics.registry)
        self.shadow = self.flow = ShadowFlow(
            self.settings,
            self.backends,
            lambda: self.policy,
            self.window,
            ShadowOutlet(self.outlet, "verdicts.shadow"),
            self.instruments,
            experiment="e",
            share=share,
            lag_s=lambda: 0.0,
            shown=self.shown,
        )

    def passed(self, why: str) -> float:
        return self.shown.registry.get_sample_value("sluicegate_shadow_passed_total", {"why": why}) or 0


async def test_a_sample_is_judged_and_everything_is_acknowledged() -> None:
    bench = ShadowBench(share=0.3)
    await bench.run([*(post(number, "[bad]") for number in range(MANY)), b"no post", None])
    wanted = {f"p{number}" for number in range(MANY) if ShadowSample("e", 0.3).holds("default", f"p{number}")}
    assert {one.post_id for one in bench.outlet.verdicts} == wanted
    assert {one.topic for one in bench.outlet.records} == {"verdicts.shadow"}, "no block, and no dead letter"
    assert bench.acknowledged == list(range(MANY + 2))
    assert (bench.passed("outside"), bench.passed("no post")) == (MANY - len(wanted), 1)


async def test_what_is_shed_is_told_apart_from_what_was_never_wanted() -> None:
    bench = ShadowBench(share=0.5)
    bench.shadow._shedding.current = 0.1  # as a lag would have it
    await bench.run([post(number) for number in range(MANY)])
    names = [f"p{number}" for number in range(MANY)]
    judged = {one.post_id for one in bench.outlet.verdicts}
    assert judged == {one for one in names if ShadowSample("e", 0.1).holds("default", one)}
    whole = {one for one in names if ShadowSample("e", 0.5).holds("default", one)}
    assert judged < whole
    assert (bench.passed("shed"), bench.passed("outside")) == (len(whole - judged), MANY - len(whole))


async def test_a_breaker_that_trips_in_a_shadow_is_told_to_nobody() -> None:
    bench = ShadowBench(share=1.0)
    bench.flow.breaker.announce_to(lambda fact: None)
    await bench.run([post(number, "[bad]") for number in range(MANY)])
    assert {one.topic for one in bench.outlet.records} == {"verdicts.shadow"}
    assert len(bench.outlet.verdicts) == MANY
