"""What Prometheus reads of a desk: bounded, and without anybody's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from sluicegate.pipeline.review.figures import QueueFigures
from sluicegate.pipeline.review.metrics import OTHERS, TENANTS_MOST, ReviewMetrics
from support.cases import HERON, MAGPIE, Bench, judged, post

if TYPE_CHECKING:
    from sluicegate.pipeline.review.store import ReviewStore


def read(store: ReviewStore) -> dict[tuple[str, frozenset[str]], float]:
    """Every sample by its name and the values of its labels."""
    text = ReviewMetrics(store, QueueFigures(store)).text().decode()
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_shares_come_with_their_intervals_and_name_no_reviewer(store: ReviewStore) -> None:
    bench = Bench(store, double_share=1)
    text = post()
    bench.take(text, judged(text, severity="unsafe", categories=("Violent",)))
    (case,) = bench.all()
    bench.answer(case.case_id, HERON, blind=True)
    bench.answer(case.case_id, MAGPIE, blind=True)
    found = read(store)
    for name, *labels in (
        ("overturned_share", "blind"),
        ("category_overturned_share", "Violent"),
        ("agreement_share",),
    ):
        low, share, high = (
            found[f"sluicegate_review_{name}", frozenset({*labels, bound})]
            for bound in ("low", "share", "high")
        )
        assert low < share <= high <= 1
    shown = frozenset({"shown", "share"})
    assert ("sluicegate_review_overturned_share", shown) not in found, "nothing was counted"
    assert found["sluicegate_review_answers_last_hour", frozenset()] == 2
    assert not {"heron", "magpie"} & {value for _, values in found for value in values}


def test_a_sender_who_invents_tenants_makes_no_labels_without_end(store: ReviewStore) -> None:
    bench = Bench(store)
    texts = [post(f"{number}", tenant=f"tenant-{number}") for number in range(TENANTS_MOST + 3)]
    bench.take(*texts, *map(judged, texts))
    found = read(store)
    named = [values for name, values in found if name == "sluicegate_review_cases"]
    assert len(named) == TENANTS_MOST + 1
    assert found["sluicegate_review_cases", frozenset({OTHERS, "open"})] == 3
    assert found["sluicegate_review_oldest_case_seconds", frozenset({OTHERS})] >= 0
