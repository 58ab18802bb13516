"""The simulation of in-flight depth on cases that a pencil solves, and its committed report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from in_flight.cell import LOADS, run
from in_flight.compare import PLACES, RULES, SHIPPED
from in_flight.engines import H100, SERIAL, Events, Speed, engine
from in_flight.report import page
from in_flight.rules import Fixed, Little, Seen
from in_flight.worker import arrivals

REPORTS = Path(__file__).parents[2] / "benchmarks" / "reports"
SMALL = Speed("small", 4, 10, prefill_per_s=100, decode_per_s=100, step_s=0.01, overhead_s=0.2)


def answered_at(speed: Speed, *calls: tuple[str, int]) -> list[float]:
    """When each call of so many prompts is answered; all are made at once."""
    events, found = Events(), {}
    one = engine(speed, events, (0, 0))
    for number, (kind, prompts) in enumerate(calls):

        def answered(number: int = number) -> None:
            found[number] = round(events.now, 6)

        if kind == "score":
            one.score([round(speed.tokens)] * prompts, answered)
        else:
            one.explain(prompts, answered)
    events.run(100)
    return [found[number] for number in range(len(calls))]


def test_a_call_takes_its_tokens_and_its_way() -> None:
    assert answered_at(SMALL, ("score", 2)) == [0.4]  # 20 tokens / 100 + 0.2


def test_prompts_of_two_calls_share_steps_and_the_earlier_call_comes_first() -> None:
    tight = replace(SMALL, step_tokens=20)
    assert answered_at(tight, ("score", 2), ("score", 2)) == [0.4, 0.6]


def test_an_explanation_is_a_step_for_each_token() -> None:
    assert answered_at(SMALL, ("explain", 1)) == [pytest.approx(0.2 + 16 * 0.01)]


def test_a_serial_engine_takes_one_call_after_the_other() -> None:
    serial = replace(SMALL, batches=False)
    assert answered_at(serial, ("score", 2), ("score", 1)) == [0.4, 0.5]


def test_a_cold_prefix_is_paid_for_once() -> None:
    cold = replace(SMALL, cold_tokens=30, cold_every_s=50)
    assert answered_at(cold, ("score", 1)) == [0.6]
    assert answered_at(replace(cold, step_prompts=1), ("score", 2)) == [pytest.approx(0.7)]


def test_a_seed_is_a_stream_and_bursts_are_as_many_posts() -> None:
    assert arrivals(100, 50, 40, 1) == arrivals(100, 50, 40, 1)
    burst = arrivals(100, 1000, 40, 1, burst_posts=100)
    assert len(burst) == 1000
    assert sum(post.at % 1 < 0.05 for post in burst) > 400


def test_every_post_is_finished_and_the_engine_is_busy_at_saturation() -> None:
    steady, full, _ = LOADS
    found = run(H100, full, Little, posts=600, seed=1)
    assert found.busy > 0.9
    assert run(H100, steady, Little, posts=600, seed=1).p99_s < 0.5


def test_places_of_whole_micro_batches_are_kept_through_their_explanations() -> None:
    seen = Seen(scoring=1, explaining=1)
    assert Fixed(3, whole=True).free(seen) == 1
    assert Fixed(3, whole=False).free(seen) == 2


def test_the_fake_engine_of_the_simulation_is_the_one_that_is_shipped() -> None:
    events = Events()
    ended: list[float] = []
    engine(SERIAL, events, (0, 0)).score([550] * 10, lambda: ended.append(events.now))
    events.run(10)
    assert ended == [pytest.approx(5500 / 55_000 + 0.005)]


def test_the_committed_report_has_every_rule_and_is_the_page_of_its_figures() -> None:
    document = json.loads((REPORTS / "in-flight.json").read_text(encoding="utf-8"))
    told = {(one["place"], one["rule"]) for one in document["rules"]}
    assert told == {(place, rule) for place, _, _ in PLACES for rule in RULES}
    assert (REPORTS / "in-flight.md").read_text(encoding="utf-8") == page(document)
    full = [one["loads"].get("saturation") for one in document["rules"] if one["rule"] == SHIPPED]
    assert all(one["worked"] >= 0.9 for one in full if one)
