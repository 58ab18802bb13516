"""The rollout that is simulated, and the report of the one that was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolled.report import measured_table, page, simulated_table, summaries, world_of
from rolled.simulate import LEAVES, STATIC, SURGE, Rollout, World, assigned, figures
from shared.report import REPORTS, ROOT

SMALL = World(drain_s=0.5, move_s=1.5, return_s=0.5, start_s=5.0, workers=4, partitions=12)
DOCUMENT: dict[str, Any] = json.loads((REPORTS / "rolled.json").read_text(encoding="utf-8"))


@given(
    owners=st.lists(st.integers(0, 6), min_size=1, max_size=30),
    members=st.sets(st.integers(0, 8), min_size=1),
)
def test_partitions_are_shared_evenly_and_as_few_as_possible_move(
    owners: list[int], members: set[int]
) -> None:
    found = assigned(owners, sorted(members))
    held = [found.count(one) for one in members]
    assert set(found) <= members
    assert max(held) - min(held) <= 1
    most = -(-len(owners) // len(members))
    moved = sum(before != after for before, after in zip(owners, found, strict=True))
    homeless = sum(owner not in members for owner in owners)
    over = sum(max(0, owners.count(one) - most) for one in members)
    wanting = sum(max(0, len(owners) // len(members) - owners.count(one)) for one in members)
    assert moved == max(homeless + over, wanting)


@pytest.mark.parametrize("way", [LEAVES, STATIC, SURGE])
def test_every_post_that_came_is_judged_and_every_worker_replaced(way: str) -> None:
    done = Rollout(way, SMALL).run()
    assert sorted(done.members) == [4, 5, 6, 7]
    came = done.now * done.rate * SMALL.partitions
    assert sum(done.waits.values()) == pytest.approx(sum(done.served))
    assert came - 2 * SMALL.partitions * done.rate <= sum(done.served) <= came + 1e-6


def test_what_takes_no_time_makes_nobody_wait() -> None:
    at_once = replace(SMALL, drain_s=0.0, move_s=0.0, return_s=0.0, start_s=0.0, pause_s=5.0)
    for way in (LEAVES, STATIC, SURGE):
        found = figures(way, at_once)
        assert (found["unowned_partition_s"], found["longest_s"], found["p99_added_s"]) == (0, 0, 0)


def test_a_static_members_partitions_stand_for_its_whole_start() -> None:
    found = figures(STATIC, SMALL)
    assert found["longest_s"] == 6.0  # drain, start, return
    assert found["unowned_partition_s"] == 12 * 5.5
    assert figures(STATIC, replace(SMALL, start_s=60.0, session_s=90.0))["longest_s"] == 61.0


def test_a_static_member_that_outlasts_its_session_costs_that_and_a_rebalance() -> None:
    found = figures(STATIC, replace(SMALL, start_s=60.0))
    assert found["longest_s"] == 22.0  # drain, session, move
    assert found["unowned_partition_s"] > 12 * 20.0


def test_a_member_that_leaves_costs_a_move_however_long_the_next_one_starts() -> None:
    for start_s in (5.0, 60.0):
        assert figures(LEAVES, replace(SMALL, start_s=start_s))["longest_s"] == 2.0


def run(way: str, *, rolled: bool, p99_ms: float, repeats: int = 0) -> dict[str, Any]:
    figures_ = {"p99_ms": p99_ms, "max_ms": 2 * p99_ms, "answered": 1000, "drops": 0}
    return {
        "way": way,
        "rolled": rolled,
        "figures": figures_,
        "repeats_share": repeats / 1000,
        "unowned_partition_s": 24.0,
        "replaced": [{"leave_s": 0.5, "start_s": 1.5}] * 3 if rolled else [],
    }


def test_what_is_added_is_beside_the_same_release_left_alone() -> None:
    runs = [
        run(LEAVES, rolled=False, p99_ms=100),
        run(LEAVES, rolled=True, p99_ms=1_000),
        run(LEAVES, rolled=True, p99_ms=3_000, repeats=12),
        run(STATIC, rolled=True, p99_ms=5_000),
        run("before", rolled=False, p99_ms=700),
        run("before", rolled=True, p99_ms=900),
    ]
    found = {one["way"]: one for one in summaries(runs)}
    assert {way: one["added_ms"] for way, one in found.items()} == {
        LEAVES: 1_900,
        STATIC: 4_900,
        "before": 200,
    }
    assert found[LEAVES]["repeats_share"] == 0.006
    known = world_of([*runs, run(SURGE, rolled=True, p99_ms=1_000)])
    assert (known.drain_s, known.move_s, known.return_s, known.start_s) == (0.5, 1.0, 0.5, 1.5)


def test_the_page_is_what_the_figures_say_and_the_docs_quote_it() -> None:
    assert page(DOCUMENT) == (REPORTS / "rolled.md").read_text(encoding="utf-8")
    docs = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert measured_table(DOCUMENT["runs"]) in docs
    assert simulated_table(DOCUMENT["simulated"]["rows"], 72) in docs


def test_the_shipped_way_adds_least_of_those_that_need_no_further_worker() -> None:
    found = {one["way"]: one for one in summaries(DOCUMENT["runs"])}
    assert found[LEAVES]["added_ms"] < found[STATIC]["added_ms"]
    assert all(one["lost"] == 0 for one in found.values())
