from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.schemas import DeadLetter, Verdict
from support.events import dead_letters, verdicts

GOLDEN = Path(__file__).parents[3] / "golden" / "v1.0" / "verdict"
ALLOWED = Verdict.model_validate_json((GOLDEN / "allowed.json").read_bytes())
DAY_MS = 86_400_000
WILD_MS = (-1, 0, 2**40 - 8 * DAY_MS, 2**40 + 61_000, 253_402_300_799_000)


def test_a_producers_inventions_cannot_grow_a_label_without_bound() -> None:
    metrics = Metrics()
    seen = {metrics._tenant(f"tenant-{number}") for number in range(1000)}
    assert len(seen) == 201
    assert "other" in seen
    assert metrics._tenant("tenant-0") == "tenant-0"


def test_two_workers_in_one_process_do_not_share_a_registry() -> None:
    first, second = Metrics(), Metrics()
    first.taken.inc()
    assert second.registry.get_sample_value("sluicegate_records_taken_total") == 0


def test_explanations_are_counted_from_0_so_that_the_share_that_fails_can_be_told_where_all_fail() -> None:
    metrics = Metrics()
    assert _samples(metrics)["sluicegate_explanations_total"] == [0, 0, 0]
    verdict = ALLOWED.model_copy(update={"explained_as": "unsafe"})
    failed = verdict.model_copy(update={"explained_as": None, "explanation_failure": "timed_out"})
    metrics.count([(verdict, None), (verdict, None), (failed, None)], now_ms=0)
    count = metrics.registry.get_sample_value
    assert count("sluicegate_explanations_total", {"explained_as": "unsafe"}) == 2
    assert count("sluicegate_explanation_failures_total", {"code": "timed_out"}) == 1


@settings(max_examples=20)  # a registry each
@given(
    delivered=st.lists(
        st.tuples(
            verdicts | dead_letters,
            st.none() | st.integers(2**40 - 6 * DAY_MS, 2**40) | st.sampled_from(WILD_MS),
        ),
        max_size=12,
    )
)
def test_what_was_delivered_together_counts_as_one_by_one(
    delivered: list[tuple[Verdict | DeadLetter, int | None]],
) -> None:
    together, alone = Metrics(), Metrics()
    together.count(delivered, now_ms=2.0**40)
    for one in delivered:
        alone.count([one], now_ms=2.0**40)
    assert _samples(together) == _samples(alone)
    judged = [event for event, _ in delivered if isinstance(event, Verdict)]
    for metric, events in (("verdicts", len(judged)), ("dead_letters", len(delivered) - len(judged))):
        assert sum(_samples(together).get(f"sluicegate_{metric}_total", [0])) == events
    assert sum(_samples(together)["sluicegate_produce_to_verdict_seconds_count"]) == sum(
        at is not None and at not in WILD_MS for event, at in delivered if isinstance(event, Verdict)
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


def _samples(metrics: Metrics) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for family in metrics.registry.collect():
        for sample in sorted(family.samples, key=lambda one: sorted(one.labels.items())):
            if not sample.name.endswith("_created"):
                found.setdefault(sample.name, []).append(sample.value)
    return found
