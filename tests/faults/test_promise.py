"""The shortened fault suite, and the proof that the suite would notice: wrong workers lose posts in it.

``make faults`` plays every scenario at its full size.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

import faults.scenarios  # noqa: F401 - registers them
from faults.play import Played, play
from faults.report import failure_lines, row
from faults.run import SHORT_SIZE, by_cluster
from faults.scenario import SCENARIOS, Scenario
from faults.scenarios.kills import kill_at_random, kill_behind_a_slow_head
from faults.scenarios.reuse import kill_while_copies_wait
from faults.wrong_reuse import FORGETFUL, GENEROUS, HASTY
from faults.wrong_workers import OUT_OF_ORDER, TAKE, WHICH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.kafka import ApacheKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 1
ONE_KILL = 0.02  # of the full size: all that a wrong worker needs
SHORT = sorted((one for one in SCENARIOS if one.short), key=by_cluster)


class Clusters:
    """One cluster at a time: scenarios that want the same one come after each other."""

    def __init__(self) -> None:
        self._wanted: object = None
        self._running: ApacheKafka | None = None

    def get(self, scenario: Scenario) -> ApacheKafka:
        """The scenario's cluster."""
        if self._running is None or scenario.cluster != self._wanted:
            self.close()
            self._running, self._wanted = scenario.make_cluster(), scenario.cluster
            self._running.__enter__()
        return self._running

    def close(self) -> None:
        """Stop the one that runs."""
        if self._running is not None:
            self._running.stop()
            self._running = None


@pytest.fixture(scope="module")
def clusters() -> Iterator[Clusters]:
    found = Clusters()
    yield found
    found.close()


def told(played: Played) -> str:
    return "\n".join([row(played), *failure_lines(played)])


@pytest.mark.parametrize("scenario", SHORT, ids=lambda one: one.name)
def test_the_promise_is_kept_in(scenario: Scenario, clusters: Clusters) -> None:
    played = play(scenario, clusters.get(scenario), seed=SEED, size=SHORT_SIZE)
    assert played.kept, told(played)


@pytest.mark.parametrize(
    ("worker", "act", "partitions"),
    [(TAKE, kill_at_random, 3), (OUT_OF_ORDER, kill_behind_a_slow_head, 1)],
    ids=["plain take() under kills", "acknowledgement out of order with a slow head"],
)
def test_the_suite_reports_lost_posts_for_a_worker_with(
    worker: str, act: Callable[..., None], partitions: int, clusters: Clusters
) -> None:
    wrong = partial(act, module="faults.wrong_workers", environment={WHICH: worker})
    scenario = Scenario(1, f"wrong-worker-{worker}", wrong, partitions=partitions)
    played = play(scenario, clusters.get(scenario), seed=SEED, size=ONE_KILL)
    assert played.broken == (), told(played)
    assert played.outcome.lost > 0, told(played)


@pytest.mark.parametrize(
    ("worker", "noticed"),
    [
        (FORGETFUL, lambda played: played.outcome.lost > 0),
        (HASTY, lambda played: played.outcome.wrong > 0),
        (GENEROUS, lambda played: "that no fresh judgement gives" in "".join(played.broken)),
    ],
    ids=[
        "copies that are acknowledged while they wait",
        "two answers to a copy",
        "one key for texts of another meaning",
    ],
)
def test_the_suite_tells_of_a_worker_that_reuses_wrongly(
    worker: str, noticed: Callable[[Played], bool], clusters: Clusters
) -> None:
    wrong = partial(kill_while_copies_wait, module="faults.wrong_reuse", environment={WHICH: worker})
    scenario = Scenario(18, f"wrong-reuse-{worker}", wrong)
    played = play(scenario, clusters.get(scenario), seed=SEED, size=ONE_KILL)
    assert noticed(played), told(played)
