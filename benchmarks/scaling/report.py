"""The report of the simulated days, for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaling.autoscaler import SYNC_S, TOLERANCE
from scaling.compare import LOAD_S, MEAN_WORKERS, OVER_S
from scaling.day import RATE_OVER_S, SCRAPED_S, STEP_S
from scaling.search import REBALANCE_GPU_HOURS, SLACK
from shared.report import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scaling.day import World

COMMAND = "make scaling"
_HEAD = (
    "way",
    "engine loads in",
    "oldest post, p99",
    "oldest post, most",
    f"minutes over {OVER_S:g} s",
    "GPU hours",
    "rebalances",
)
_SEARCHED = ("p99", "GPU hours", "rebalances", "lag alone: p99", "GPU hours", "rebalances")


def assumptions(world: World) -> list[str]:
    """Everything that was put in and not measured, one sentence each."""
    return [
        (
            f"A worker with its engine judges {world.posts_per_s:g} posts/s, what [sizing](../../docs/sizing.md) reckons for one "
            "H100; short or long posts make no difference. Only the trigger on a bare number of posts depends on it: the rest is "
            "the same for any rate, with as many times the posts."
        ),
        (
            f"Posts: a sine over the day, {MEAN_WORKERS:g} workers' worth on the mean, half as much more at noon and half as much "
            "less at midnight; 5 % of noise a minute. Three flash crowds a day at random moments: ten times the posts of the "
            "moment within 1 minute, held for 5 to 15 minutes, then fading with a time constant of 5 minutes."
        ),
        (
            f"{world.partitions} partitions with even keys, so many workers at most, one at least. The peak just fits: nobody is "
            "starved by a cap."
        ),
        (
            f"An engine is loaded and its worker joined {LOAD_S[0]:g}, {LOAD_S[1]:g} or {LOAD_S[2]:g} s after the pod was made, give "
            "or take a tenth. A GPU is always free, and paid for from the pod's making until it is gone, "
            f"{world.leave_s:g} s after it was told to."
        ),
        (
            f"A worker that joins or leaves costs a rebalance, in which all partitions stand still for {world.pause_s:g} s: "
            "Faust's rebalances are eager. One that is under way begins again. Not measured on a cluster of this size."
        ),
        (
            "Partitions are shared as Faust's assignor does, as evenly as whole partitions allow: the worker with most of them is "
            "the limit. A worker serves its partitions in even shares."
        ),
        (
            f"The autoscaler looks every {SYNC_S} s with a tolerance of {_percent(TOLERANCE)}, and steadies and bounds by `behavior` as "
            "[Kubernetes](https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/) documents it. KEDA asks "
            "Kafka at each look; its `pollingInterval` and `cooldownPeriod` act between none and one worker "
            "([KEDA](https://keda.sh/docs/2.17/reference/scaledobject-spec/)), and there is always one here."
        ),
        (
            f"The lag counts what waits and {world.uncommitted_s:g} s of posts in work or not yet committed. What Prometheus says "
            f"is {SCRAPED_S} s old on the mean; rates are over {RATE_OVER_S} s."
        ),
        (
            f"Posts flow in steps of {STEP_S} s, as a fluid: an oldest post of 0 s means that nobody waits, not that judging "
            "takes no time. Nothing fails, no cache answers, nobody is killed."
        ),
    ]


def page(document: Mapping[str, Any], world: World) -> str:
    """The whole report."""
    lines = [
        "# Scaling, simulated",
        "",
        (
            f"Made by `{COMMAND}`. **Every figure here is simulated**: no cluster, no KEDA and no GPU ran. Medians over "
            f"{len(document['seeds'])} simulated days, least and most in brackets; the days are the same for every way."
        ),
        "",
        table(_HEAD, map(_row, document["ways"])),
        "",
        (
            "*Oldest post* is the age of the oldest post that waits; its p99 is what it does not exceed in 99 % of the day. "
            "The first two ways are what `helm/sluicegate/values.yaml` ships, read from the file."
        ),
        "",
        "![Simulated: one day, and all ways with the points of the search](scaling.png)",
        "",
        "## What it says",
        "",
        *(f"- {one}" for one in _findings(document)),
        "",
        "## The search",
        "",
        (
            f"{len(document['search'])} combinations, each on {len(document['search_seeds'])} other days, with an engine that "
            f"loads in {LOAD_S[1]:g} s. Chosen is, of those whose p99 with Prometheus is within {_percent(SLACK)} of the least, "
            "the cheapest with and without Prometheus together, since the same values ship for both; a rebalance counts as "
            f"{REBALANCE_GPU_HOURS * 60:g} GPU minute."
        ),
        "",
        table(
            ("scaleUp", "scaleDown", *_SEARCHED),
            [_tried(one, chosen=one == document["chosen"]) for one in _best_first(document["search"])],
            left=2,
        ),
        "",
        _verdict(document),
        "",
        "## Where an assumption is another",
        "",
        (
            f"The chart with Prometheus, an engine that loads in {LOAD_S[1]:g} s, on the first {document['elsewhere_days']} of "
            "the days:"
        ),
        "",
        table(_HEAD, map(_row, document["elsewhere"])),
        "",
        "## Assumed",
        "",
        *(f"- {one}" for one in assumptions(world)),
    ]
    return "\n".join([*lines, ""])


def short_table(document: Mapping[str, Any]) -> str:
    """Medians with the middle loading time, for a page that tells no more."""
    rows = [
        (
            one["name"],
            f"{_middle(one, 'p99_s'):,.0f} s",
            f"{_middle(one, 'gpu_hours'):,.0f}",
            f"{_middle(one, 'rebalances'):,.0f}",
        )
        for one in document["ways"]
        if one["load_s"] in (None, LOAD_S[1])
    ]
    return table(("way", "oldest post, p99", "GPU hours a day", "rebalances a day"), rows)


def _findings(document: Mapping[str, Any]) -> list[str]:
    found = {(one["name"], one["load_s"]): one for one in document["ways"]}
    names = list(dict.fromkeys(one["name"] for one in document["ways"]))
    ours, alone, first, naive, counted, mean, peak = (
        found.get((name, LOAD_S[1])) or found[(name, None)] for name in names
    )
    return [
        (
            f"Against a fixed number for the peak the chart with Prometheus takes {_share(ours, peak, 'gpu_hours')} of the GPU "
            f"hours, and its p99 is {_middle(ours, 'p99_s'):.0f} s: crowds wait for engines to load. No way of scaling avoids "
            "that; only workers that stand by do (`minReplicas`)."
        ),
        f"A fixed number for the mean is the cheapest, and its posts wait up to {_middle(mean, 'most_s') / 3600:.1f} hours.",
        (
            "More than 10 posts are always in work or not yet committed: KEDA's own lag scales to the cap and stays there, "
            f"with {_share(naive, peak, 'gpu_hours')} of the GPU hours of the fixed peak. A larger count comes down, and then "
            f"flaps: {_middle(counted, 'rebalances'):.0f} rebalances a day."
        ),
        (
            "A lag says who waits, not who works: when nobody waits it asks for one worker, takes away those that kept up, and "
            f"brings them back late. By lag alone the chart's values make {_middle(alone, 'rebalances'):.0f} rebalances a day and a p99 "
            f"of {_middle(alone, 'p99_s'):.0f} s; with Prometheus, where the posts that workers take a second say who works, "
            f"{_middle(ours, 'rebalances'):.0f} and {_middle(ours, 'p99_s'):.0f} s. Who has none does better with a "
            "`scaleDown.stabilizationWindowSeconds` of 1800, as the search shows."
        ),
        (
            "Caution on the way up gains nothing. The chart's first values, up by two workers in two minutes, were chosen to "
            f"spare rebalances: they made {_middle(first, 'rebalances'):.0f} a day, and a p99 of {_middle(first, 'p99_s'):.0f} s."
        ),
    ]


def _verdict(document: Mapping[str, Any]) -> str:
    if document["chosen"]["values"] == document["values"]:
        return "Chosen is what the chart ships."
    return "Chosen is not what the chart ships yet: `scaling.json` has its values under `chosen`."


def _middle(one: Mapping[str, Any], key: str) -> float:
    return float(one[key]["median"])


def _share(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> str:
    return _percent(_middle(one, key) / _middle(other, key))


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _row(one: Mapping[str, Any]) -> list[str]:
    return [
        one["name"],
        "any" if one["load_s"] is None else f"{one['load_s']:g} s",
        _range(one["p99_s"], " s"),
        _range(one["most_s"], " s"),
        *(_range(one[key]) for key in ("minutes_over", "gpu_hours", "rebalances")),
    ]


def _range(found: Mapping[str, float], unit: str = "") -> str:
    if found["low"] == found["high"]:
        return f"{found['median']:,.0f}{unit}"
    return f"{found['median']:,.0f}{unit} [{found['low']:,.0f}, {found['high']:,.0f}]"


def _best_first(tried: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(tried, key=lambda one: (one["prometheus"]["p99_s"], one["prometheus"]["gpu_hours"]))


def _tried(one: Mapping[str, Any], *, chosen: bool) -> list[str]:
    values = one["values"]
    cells = [
        _rules(values["behavior"]["scaleUp"]),
        _rules(values["behavior"]["scaleDown"]),
        *(
            f"{one[mode][key]:,.0f}{unit}"
            for mode in ("prometheus", "alone")
            for key, unit in (("p99_s", " s"), ("gpu_hours", ""), ("rebalances", ""))
        ),
    ]
    return [f"**{cell}**" if chosen else cell for cell in cells]


def _rules(rules: Mapping[str, Any]) -> str:
    policies = " or ".join(
        f"{one['value']}{' %' if one['type'] == 'Percent' else ''} in {one['periodSeconds']} s"
        for one in rules["policies"]
    )
    return f"after {rules['stabilizationWindowSeconds']} s, {policies}"
