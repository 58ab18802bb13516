"""The simulation of scaling on cases that a pencil solves, and its committed report against the values that ship."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faust.assignor.client_assignment import CopartitionedAssignment
from faust.assignor.copartitioned_assignor import CopartitionedAssignor

from scaling.autoscaler import KUBERNETES_DOWN, KUBERNETES_UP, Autoscaler, Policy, Reading, Rules
from scaling.compare import Lag, Oldest, Range, Taken, by_count, chart, fixed, mean_workers, shipped
from scaling.day import DAY_S, STEP_S, Crowd, Day, Queue, Seen, Tide, World, arrivals, simulate
from scaling.group import Group, assigned
from scaling.report import page
from scaling.search import DOWN, UP, Outcome, Tried, choose, grid

if TYPE_CHECKING:
    from collections.abc import Sequence

REPORTS = Path(__file__).parents[2] / "benchmarks" / "reports"
SMALL = World(partitions=4, posts_per_s=10, load_s=60, pause_s=10, uncommitted_s=0, leave_s=0)
HOUR = 3600 // STEP_S


def even(per_s: float, steps: int) -> list[float]:
    return [per_s * STEP_S] * steps


def lagging(value: float) -> Reading:
    return Reading(value, 100, per_pod=True)


def test_a_day_without_noise_or_crowds_has_the_posts_of_its_mean() -> None:
    tide = Tide(mean=100, swing=0.5)
    assert tide.rate(0) == pytest.approx(50)
    assert tide.rate(DAY_S / 2) == pytest.approx(150)
    assert sum(tide.rate(second) for second in range(0, DAY_S, 60)) / 1440 == pytest.approx(100)


def test_a_crowd_is_ten_times_the_posts_after_a_minute_and_fades() -> None:
    crowd = Crowd(at_s=100, hold_s=300, height=10)
    assert [crowd.factor(second) for second in (100, 130, 160, 460)] == [1, 5.5, 10, 10]
    assert crowd.factor(760) == pytest.approx(1 + 9 / 2.718281828)


def test_a_seed_is_a_day_and_another_seed_another() -> None:
    tide = Tide(100)
    assert arrivals(tide, 1, step_s=60) == arrivals(tide, 1, step_s=60)
    assert arrivals(tide, 1, step_s=60) != arrivals(tide, 2, step_s=60)


@pytest.mark.parametrize(
    ("reading", "wanted"),
    [
        (Reading(500, 100, per_pod=True), 5),
        (Reading(501, 100, per_pod=True), 6),
        (Reading(430, 100, per_pod=True), 4),  # 1.075 a pod: within the tolerance
        (Reading(0, 100, per_pod=True), 0),
        (Reading(90, 60, per_pod=False), 5),  # 1.5 times the three that are ready
        (Reading(65, 60, per_pod=False), 4),
    ],
)
def test_a_metric_proposes_what_kubernetes_documents(reading: Reading, wanted: int) -> None:
    assert reading.wants(replicas=4, ready=3) == wanted


def test_the_highest_of_two_metrics_counts_and_the_caps_hold() -> None:
    scaler = Autoscaler(KUBERNETES_UP, KUBERNETES_DOWN, 1, 6)
    assert scaler.decide(0, 3, 3, [lagging(100), lagging(500)]) == 5
    assert scaler.decide(15, 5, 5, [lagging(9_000)]) == 6


def test_up_waits_until_the_whole_window_wants_it() -> None:
    scaler = Autoscaler(Rules(60, (Policy("Pods", 9, 15),)), KUBERNETES_DOWN, 1, 9)
    decided = [scaler.decide(now, 2, 2, [lagging(600 - now)]) for now in range(0, 76, 15)]
    assert decided == [
        2,
        2,
        2,
        2,
        6,
        6,
    ]  # at 60 s what was found at the start is forgotten: the least since is 6


def test_down_waits_for_the_most_of_its_window() -> None:
    scaler = Autoscaler(KUBERNETES_UP, Rules(60, (Policy("Percent", 100, 15),)), 1, 9)
    assert scaler.decide(0, 4, 4, [lagging(400)]) == 4
    assert [scaler.decide(now, 4, 4, [lagging(100)]) for now in (15, 30, 45, 60)] == [4, 4, 4, 1]


def test_policies_bound_the_change_of_their_period() -> None:
    scaler = Autoscaler(Rules(0, (Policy("Pods", 2, 60),)), Rules(0, (Policy("Percent", 50, 60),)), 1, 9)
    replicas, seen = 1, []
    for now in range(0, 121, 15):
        replicas = scaler.decide(now, replicas, replicas, [lagging(900)])
        seen.append(replicas)
    assert seen == [3, 3, 3, 3, 5, 5, 5, 5, 7]
    assert scaler.decide(300, 7, 7, [lagging(100)]) == 3  # half of 7, rounded down
    assert scaler.decide(315, 3, 3, [lagging(100)]) == 3


def test_the_policy_that_allows_most_counts() -> None:
    scaler = Autoscaler(KUBERNETES_UP, KUBERNETES_DOWN, 1, 99)
    assert scaler.decide(0, 1, 1, [lagging(9_900)]) == 5
    assert scaler.decide(15, 5, 5, [lagging(9_900)]) == 10


@pytest.mark.parametrize("members", range(1, 9))
def test_partitions_are_shared_as_evenly_as_fausts_own_assignor_does(members: int) -> None:
    clients = {str(one): CopartitionedAssignment(topics={"posts"}) for one in range(members)}
    theirs = CopartitionedAssignor(["posts"], clients, num_partitions=12, replicas=0).get_assignment()
    ours = assigned([-1] * 12, list(range(members)))
    assert sorted(ours.count(one) for one in range(members)) == sorted(
        len(one.actives) for one in theirs.values()
    )


def test_what_a_member_holds_stays_up_to_its_share() -> None:
    after = assigned([0, 0, 0, 1, 1, 1], [0, 1, 2])
    assert after == [0, 0, 2, 1, 1, 2]
    assert assigned(after, [0, 1]) in ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0])


def test_more_members_than_partitions_leave_some_idle() -> None:
    assert sorted(assigned([-1, -1], [7, 8, 9])) == [7, 8]


@pytest.mark.parametrize(("eager", "still"), [(True, 4), (False, 2)])
def test_a_rebalance_stops_all_partitions_or_those_that_move(eager: bool, still: int) -> None:
    group = Group.of(1, 4, pause_s=10, eager=eager)
    group.add(ready_at=60)
    assert not group.admit(59)
    assert group.admit(60)
    group.rebalance(60)
    assert sum(until > 60 for until in group.still_until) == still
    assert sum(map(len, group.moving(60))) == 4 - still
    assert sum(map(len, group.moving(70))) == 4


def test_those_that_load_leave_first_and_cost_no_rebalance() -> None:
    group = Group.of(2, 4, pause_s=10)
    group.add(ready_at=60)
    assert not group.remove(1)
    assert (group.pods, len(group.joined)) == (2, 2)
    assert group.remove(1)
    assert group.joined == [0]


def test_posts_that_can_be_judged_never_wait() -> None:
    day = simulate(even(40, HOUR), fixed(4, ""), SMALL, 0)
    assert max(day.oldest_s) == 0
    assert (day.gpu_hours, day.rebalances, day.left_over) == (4.0, 0, 0)


def test_a_queue_grows_by_what_cannot_be_judged() -> None:
    day = simulate(even(20, HOUR), fixed(1, ""), SMALL, 0)
    assert day.left_over == pytest.approx(10 * 3600)
    assert day.oldest_s[-1] == pytest.approx(1800)  # half of the hour's posts wait
    assert day.percentile(0.5) == pytest.approx(900, abs=STEP_S)
    assert day.minutes_over(60) == pytest.approx(58, abs=0.1)


def test_a_step_of_posts_is_worked_off() -> None:
    day = simulate([*even(20, 12), *even(5, 3 * HOUR)], fixed(1, ""), SMALL, 0)
    # A minute leaves 600 posts; 5 posts/s more are judged than come: they last for two minutes. The last post of the
    # first minute is the 1,200th, and judged at second 120.
    assert [age > 0 for age in day.oldest_s[:40]] == [True] * 35 + [False] * 5
    assert max(day.oldest_s) == pytest.approx(60)
    assert day.oldest_s.index(max(day.oldest_s)) == 120 // STEP_S - 1


def test_the_worker_with_most_partitions_is_the_limit() -> None:
    even_share = simulate(even(20, HOUR), fixed(2, ""), SMALL, 0)
    uneven = simulate(even(30, HOUR), fixed(3, ""), SMALL, 0)  # 2, 1 and 1 partitions: one gets 15 posts/s
    assert even_share.left_over == 0
    assert uneven.left_over == pytest.approx(5 * 3600)


def test_what_one_partition_does_not_need_the_others_of_the_worker_get() -> None:
    queue, group = Queue(2), Group.of(1, 2, pause_s=0)
    group.still_until, group.settled_at = [0.0, 5.0], 5.0
    queue.step(100, group, 0, 50)  # the second partition stands still
    assert queue.waiting == pytest.approx(50)
    assert queue.oldest_s() == STEP_S
    queue.step(0, group, STEP_S, 60)
    assert queue.waiting == 0


def test_a_way_that_scales_pays_for_loading_and_stands_still_for_its_rebalance() -> None:
    way = by_count(100, SMALL, "")
    day = simulate(even(15, HOUR), way, replace(SMALL, uncommitted_s=1), 0)
    assert day.pods[0] == 2  # begins with what its first posts need
    assert day.rebalances >= 1
    assert day.gpu_hours > 15 / 10


def test_one_change_costs_one_rebalance_and_its_pause() -> None:
    once = Rules(0, (Policy("Pods", 1, 3600),))
    way = replace(by_count(1, SMALL, ""), up=once, most=2)
    day = simulate(even(5, HOUR), way, replace(SMALL, uncommitted_s=1), 0)
    # At 15 s the lag of 5 asks for more; the engine loads for 54 to 66 s; then all stands still for 10 s.
    assert (day.pods[0], day.pods[-1], day.rebalances) == (1, 2, 1)
    assert max(day.oldest_s) == pytest.approx(10)
    assert 65 <= STEP_S * day.oldest_s.index(max(day.oldest_s)) <= 95


def test_nobody_judges_more_than_the_gpus_that_were_paid_for() -> None:
    posts = arrivals(Tide(15), 3, step_s=STEP_S)
    day = simulate(posts, by_count(200, SMALL, ""), SMALL, 3)
    assert 0 <= day.left_over < sum(posts)
    assert (sum(posts) - day.left_over) / SMALL.posts_per_s / 3600 <= day.gpu_hours <= 24 * SMALL.partitions
    assert day.rebalances > 3


def test_a_share_of_the_day_is_by_nearest_rank() -> None:
    day = Day(oldest_s=[float(one) for one in range(100, 0, -1)])
    assert (day.percentile(0.99), day.percentile(1.0), day.percentile(0.5)) == (99, 100, 50)


def test_a_lag_asks_for_no_more_pods_than_partitions() -> None:
    seen = Seen(lag=5_000, taken_per_s=35, oldest_s=90)
    assert Lag(10, 4)(seen).wants(1, 1) == 4
    assert Taken(7)(seen).wants(2, 2) == 5
    assert Oldest(60)(seen).wants(2, 2) == 3


def test_the_charts_way_is_read_from_its_values() -> None:
    values, world = shipped(), World()
    alone = chart(values, world, "", prometheus=False)
    assert alone.triggers == (Lag(values["lagSeconds"] * 318, 24),)
    both = chart({**values, "utilisation": 0.5}, world, "", prometheus=True)
    assert both.triggers[1:] == (Oldest(values["oldestPostSeconds"]), Taken(159))
    assert alone.down is not None
    assert alone.down.window_s == values["behavior"]["scaleDown"]["stabilizationWindowSeconds"]


def test_the_mean_is_rounded_up_to_whole_workers() -> None:
    assert mean_workers([even(11, 10), even(13, 10)], SMALL) == 2


def test_a_range_is_median_least_and_most() -> None:
    assert Range.of([3, 1, 2.04]) == Range(2.0, 1, 3)


def tried(p99_s: float, gpu_hours: float, rebalances: float) -> Tried:
    return Tried({}, Outcome(p99_s, gpu_hours, 0), Outcome(9_999, 10, rebalances))


@pytest.mark.parametrize(
    ("points", "index"),
    [
        ([tried(100, 50, 0), tried(109, 40, 0), tried(111, 1, 0)], 1),
        ([tried(100, 50, 120), tried(105, 51, 0)], 1),  # 120 rebalances are two GPU hours
    ],
)
def test_the_choice_is_the_cheapest_of_those_near_the_best(points: Sequence[Tried], index: int) -> None:
    assert choose(points) is points[index]


def test_the_grid_changes_nothing_but_what_it_searches() -> None:
    values = shipped()
    points = list(grid(values))
    assert len(points) == len(UP) * len(DOWN)
    assert {key for point in points for key in point if point[key] != values.get(key)} <= {
        "utilisation",
        "behavior",
    }


def test_the_committed_report_is_of_the_values_that_ship() -> None:
    document = json.loads((REPORTS / "scaling.json").read_text(encoding="utf-8"))
    assert document["values"] == shipped(), "run `make scaling`"
    assert page(document, World(**document["world"])) == (REPORTS / "scaling.md").read_text(encoding="utf-8")
    assert (REPORTS / "scaling.png").is_file()
