from __future__ import annotations

import platform
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import __version__
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import DeadLetter, MadeVerdict, Verdict
from support.events import dead_letters, made_of, verdicts

GOLDEN = Path(__file__).parents[3] / "golden" / "v1.0" / "verdict"
ALLOWED = made_of(Verdict.model_validate_json((GOLDEN / "allowed.json").read_bytes()))
DAY_MS = 86_400_000
WILD_MS = (-1, 0, 2**40 - 8 * DAY_MS, 2**40 + 61_000, 253_402_300_799_000)


def test_a_producers_inventions_cannot_grow_a_label_without_bound() -> None:
    metrics = Metrics()
    seen = {metrics._tenant(f"tenant-{number}") for number in range(1000)}
    assert len(seen) == 201
    assert "other" in seen
    assert metrics._tenant("tenant-0") == "tenant-0"


def policy_for(*tenants: str) -> Policy:
    rules = "".join(f"  {name}: {{rules: {{failure_mode: block}}}}\n" for name in tenants)
    return Policy.from_bytes(f'name: ours\nversion: "1"\ntenants:\n{rules}'.encode(), "policy.yaml")


def test_a_tenant_of_the_policy_has_its_label_in_every_worker() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics._tenant(f"tenant-{number}")
    assert metrics._tenant("forum") == "other"
    metrics.policy_changed(policy_for("forum"))
    assert metrics._tenant("forum") == "forum"
    assert metrics._tenant("tenant-0") == "tenant-0"


def test_of_more_tenants_than_there_is_room_for_every_worker_shows_the_same() -> None:
    names = [f"tenant-{number:03}" for number in range(300)]
    shown = []
    for order in (names, names[::-1]):
        metrics = Metrics()
        metrics.describe({}, policy_for(*order))
        shown.append({metrics._tenant(name) for name in [*order, "unnamed"]})
    assert shown[0] == shown[1] == {*names[:200], "other"}


def test_no_series_has_a_double_that_tells_when_it_was_made() -> None:
    metrics = Metrics()
    metrics.count([(ALLOWED, 0)], now_ms=0)
    assert not [name for name in _samples(metrics) if name.endswith("_created")]


def test_build_and_process_are_told() -> None:
    metrics = Metrics()
    labels = {"version": __version__, "python": platform.python_version()}
    assert metrics.registry.get_sample_value("sluicegate_build_info", labels) == 1
    if sys.platform == "linux":
        assert metrics.registry.get_sample_value("process_resident_memory_bytes")


def test_a_call_of_the_engine_counts_in_the_sum_and_in_the_distribution() -> None:
    metrics = Metrics()
    for seconds in (0.02, 0.3):
        metrics.engine_called("score", seconds)
    value = metrics.registry.get_sample_value
    assert value("sluicegate_engine_call_seconds_total", {"call": "score"}) == pytest.approx(0.32)
    name = "sluicegate_engine_call_duration_seconds"
    assert value(f"{name}_sum", {"call": "score"}) == pytest.approx(0.32)
    assert [value(f"{name}_bucket", {"call": "score", "le": le}) for le in ("0.01", "0.025", "0.5")] == [
        0,
        1,
        2,
    ]


def test_rebalances_are_counted_from_0() -> None:
    metrics = Metrics()
    assert _samples(metrics)["sluicegate_rebalances_total"] == [0]
    metrics.rebalanced()
    assert _samples(metrics)["sluicegate_rebalances_total"] == [1]


def test_two_workers_in_one_process_do_not_share_a_registry() -> None:
    first, second = Metrics(), Metrics()
    first.taken.inc()
    assert second.registry.get_sample_value("sluicegate_records_taken_total") == 0


def test_explanations_are_counted_from_0_so_that_the_share_that_fails_can_be_told_where_all_fail() -> None:
    metrics = Metrics()
    assert _samples(metrics)["sluicegate_explanations_total"] == [0, 0, 0]
    verdict = replace(ALLOWED, explained_as="unsafe")
    failed = replace(verdict, explained_as=None, explanation_failure="timed_out")
    metrics.count([(verdict, None), (verdict, None), (failed, None)], now_ms=0)
    count = metrics.registry.get_sample_value
    assert count("sluicegate_explanations_total", {"explained_as": "unsafe"}) == 2
    assert count("sluicegate_explanation_failures_total", {"code": "timed_out"}) == 1


@settings(max_examples=20)  # a registry each
@given(
    delivered=st.lists(
        st.tuples(
            verdicts.map(made_of) | dead_letters,
            st.none() | st.integers(2**40 - 6 * DAY_MS, 2**40) | st.sampled_from(WILD_MS),
        ),
        max_size=12,
    )
)
def test_what_was_delivered_together_counts_as_one_by_one(
    delivered: list[tuple[MadeVerdict | DeadLetter, int | None]],
) -> None:
    together, alone = Metrics(), Metrics()
    together.count(delivered, now_ms=2.0**40)
    for one in delivered:
        alone.count([one], now_ms=2.0**40)
    assert _of_ours(together) == _of_ours(alone)
    judged = [event for event, _ in delivered if isinstance(event, MadeVerdict)]
    for metric, events in (("verdicts", len(judged)), ("dead_letters", len(delivered) - len(judged))):
        assert sum(_samples(together).get(f"sluicegate_{metric}_total", [0])) == events
    assert sum(_samples(together)["sluicegate_produce_to_verdict_seconds_count"]) == sum(
        at is not None and at not in WILD_MS for event, at in delivered if isinstance(event, MadeVerdict)
    )


@pytest.mark.parametrize("now_ms", [1_800_000_000_000, 1_800_000_000_000.5])
def test_a_wild_timestamp_gives_no_latency(now_ms: float) -> None:
    metrics = Metrics()
    now = round(now_ms)
    near = [now - 7 * DAY_MS + 1, now - 1000, now, now + 59_000]
    wild = [-1, 0, now - 7 * DAY_MS - 1, now - 40 * 365 * DAY_MS, now + 61_000, 253_402_300_799_000]
    metrics.count([(ALLOWED, stamp) for stamp in near + wild], now_ms=now_ms)
    found = _samples(metrics)
    assert found["sluicegate_produce_to_verdict_seconds_count"] == [len(near)]
    assert found["sluicegate_produce_to_verdict_seconds_sum"][0] == pytest.approx(7 * 86_400 + 1, abs=0.01)
    assert sum(found["sluicegate_verdicts_total"]) == len(near) + len(wild)


def _of_ours(metrics: Metrics) -> dict[str, list[float]]:
    return {name: found for name, found in _samples(metrics).items() if name.startswith("sluicegate_")}


def _samples(metrics: Metrics) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for family in metrics.registry.collect():
        for sample in sorted(family.samples, key=lambda one: sorted(one.labels.items())):
            found.setdefault(sample.name, []).append(sample.value)
    return found
