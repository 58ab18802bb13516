"""The report of the simulated engines, for people, and its picture. Pure but for the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from in_flight.cell import LOADS, WARM_SHARE
from in_flight.compare import BEFORE, SHIPPED
from in_flight.worker import BURST_LASTS, BURSTS_IN, EXPLAINED, QUIET, SPREAD
from shared.report import table
from sluicegate.engines.adapt.report import draw_picture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COMMAND = "PYTHONPATH=benchmarks python -m in_flight"
STEADY, FULL, BURSTS = (load.name for load in LOADS)
_HEAD = ("rule", "busy", "computing", "p50", "p99", "quiet p99", "in bursts: p99", "quiet p99", "depth")
_JUMP_HEAD = ("rule", "p50", "p99", "quiet p99", "late posts came until", "depth")


def page(document: Mapping[str, Any]) -> str:
    """The whole report."""
    lines = [
        "# In-flight depth, simulated",
        "",
        (
            f"Made by `{COMMAND}`. **Every figure here is simulated**: no engine ran, on a GPU or elsewhere. Medians over "
            f"{len(document['seeds'])} seeds. The rule that was taken is the class that ships, `pipeline/flow/depth.py`, and the planner is "
            "the one that ships; [the decision](../../docs/adr/0016-in-flight-depth.md) says why."
        ),
        "",
        (
            "*Busy*: share of time with at least the saturating number of prompts in work, at saturation (of the worker with "
            "least, where there are three). *Computing*: share of time in which the engine computed, then. *p50* and *p99*: from a "
            f"post's arrival to its verdict at {STEADY} of what the engine can do; in **bold** where p99 is above two micro-batch "
            "times + 20 ms. *Quiet p99*: the same for a tenant with few posts, at saturation, and in bursts of another's. "
            f"Where an engine jumps, all is at {STEADY}, and *late posts came until*: so long after the jump, posts still came that "
            "took longer than the bound. *Depth*: micro-batches that the rule allowed, mean at saturation; for rules in prompts, the limit by the saturating number."
        ),
        "",
    ]
    for place in document["places"]:
        rows = [one for one in document["rules"] if one["place"] == place["place"]]
        lines += [f"## {place['place']}", "", _told(place), ""]
        if len(rows[0]["loads"]) == 1:
            lines += [table(_JUMP_HEAD, map(_jump_row, rows)), ""]
        else:
            lines += [table(_HEAD, [_row(one, place["bound_s"]) for one in rows]), ""]
    lines += [
        "![Simulated: busy share and p99 of some rules on every engine](in-flight.png)",
        "",
        "## Other habits, with the rule that was taken",
        "",
        table(
            ("engine", "habit", "busy", "posts/s", "p50", "p99", "quiet p99"),
            map(_habit, document["habits"]),
            left=2,
        ),
        "",
        "## Assumed",
        "",
        *(f"- {one}" for one in _assumed(document)),
    ]
    return "\n".join([*lines, ""])


def draw(path: Path, document: Mapping[str, Any]) -> None:
    """Busy share above, p99 by its bound below; equal documents have equal files."""
    names = [one["place"] for one in document["rules"] if one["rule"] == SHIPPED and len(one["loads"]) > 1]
    bounds = {place["place"]: place["bound_s"] for place in document["places"]}
    shown = (BEFORE, "saturating prompts", "AIMD on latency", "gradient", SHIPPED)

    def drawn(axes: Any) -> None:
        for number, rule in enumerate(shown):
            rows = {one["place"]: one["loads"] for one in document["rules"] if one["rule"] == rule}
            at = [index + (number - 2) * 0.16 for index in range(len(names))]
            computing = [rows[name][FULL]["worked"] * 100 for name in names]
            axes[0].bar(at, computing, width=0.15, label=rule)
            axes[1].bar(at, [rows[name][STEADY]["p99_s"] / bounds[name] for name in names], width=0.15)
        axes[0].set(ylabel="engine computing at saturation, %", ylim=(0, 119))
        axes[0].legend(loc="upper center", fontsize="small", ncols=3)
        axes[1].axhline(1, color="0.3", linewidth=1)
        axes[1].set(ylabel=f"p99 at {STEADY} / its bound", yscale="log")
        axes[1].set_xticks(range(len(names)), [name.replace(", ", ",\n") for name in names], fontsize=7)
        axes[0].set_title("Simulated, not measured")

    draw_picture(path, drawn, inches=(13, 7), rows=2)


def _told(place: Mapping[str, Any]) -> str:
    kind = "prompts join in the middle of others" if place["batches"] else "one call after the other"
    slower, farther = place["jump"]
    jump = (
        f" For a tenth of the time it is {slower:g} times slower and {farther:g} s farther away."
        if slower > 1 or farther
        else ""
    )
    cold = (
        f" Every {place['cold_every_s']:g} s its prefix cache is cold, and prompts pay {place['cold_tokens']} tokens more."
        if place["cold_every_s"]
        else ""
    )
    return (
        f"Saturated by {place['saturating']} prompts, as it says; {place['tokens']:g} uncached tokens a prompt, "
        f"{place['prefill_per_s']:,.0f} of them a second, {place['overhead_s'] * 1000:g} ms on the way; {kind}.{jump}{cold} It does "
        f"{place['posts_per_s']:,.0f} posts/s; a full micro-batch takes {_ms(place['micro_batch_s'])} alone, so the bound is "
        f"{_ms(place['bound_s'])}."
    )


def _row(one: Mapping[str, Any], bound_s: float) -> list[str]:
    full, steady, bursts = (one["loads"][name] for name in (FULL, STEADY, BURSTS))
    p99 = _ms(steady["p99_s"]) if steady["p99_s"] <= bound_s else f"**{_ms(steady['p99_s'])}**"
    name = f"**{one['rule']}**" if one["rule"] == SHIPPED else one["rule"]
    return [
        name,
        _share(full["busy"]),
        _share(full["worked"]),
        _ms(steady["p50_s"]),
        p99,
        _ms(full["quiet_p99_s"]),
        _ms(bursts["p99_s"]),
        _ms(bursts["quiet_p99_s"]),
        f"{full['depth']:.1f}",
    ]


def _jump_row(one: Mapping[str, Any]) -> list[str]:
    steady = one["loads"][STEADY]
    name = f"**{one['rule']}**" if one["rule"] == SHIPPED else one["rule"]
    times = [_ms(steady[key]) for key in ("p50_s", "p99_s", "quiet_p99_s", "recovered_s")]
    return [name, *times, f"{steady['depth']:.1f}"]


def _habit(one: Mapping[str, Any]) -> list[str]:
    full, steady = one["loads"][FULL], one["loads"][STEADY]
    return [
        one["place"],
        one["habit"],
        _share(full["busy"]),
        f"{full['posts_per_s']:,.1f}",
        _ms(steady["p50_s"]),
        _ms(steady["p99_s"]),
        _ms(full["quiet_p99_s"]),
    ]


def _assumed(document: Mapping[str, Any]) -> Sequence[str]:
    return [
        (
            "The H100-like engine computes in steps of at most 8,192 tokens and 256 prompts, decoding first, at the rates of the "
            "fake engine's profile (arithmetic on NVIDIA's published table, not measured). The one that takes a call after the "
            "other is the fake engine's own arithmetic."
        ),
        (
            "The CPU engine: 4 slots, 470 tokens/s, 12 ms a step, 60 tokens/s decoded: near what the shipped model was seen to do on two "
            "cores. Its explanations are computed in the same steps as other prompts' tokens."
        ),
        (
            f"Posts come independently of each other; lengths are log-normal (sigma {SPREAD:g}), {_share(EXPLAINED)} are explained in 16 "
            f"tokens, {_share(QUIET)} come from the quiet tenant. Loads: {', '.join(f'{load.name} ({load.share * 100:.0f} % of what the engine can do)' for load in LOADS)}. "
            f"In bursts, half of the loud tenant's posts come in the first {_share(BURST_LASTS)} of every {BURSTS_IN} micro-batches' time."
        ),
        (
            f"{document['posts']:,} posts a run (a third on the CPU), the first {_share(WARM_SHARE)} of the time left out; 2,048 posts "
            "held, the rest waits on the topic. At saturation latencies grow with the run: only the quiet tenant's says something."
        ),
        (
            "Gaps of the worker's own loop, Kafka, retries and failures are not in it. A micro-batch's answer comes when its last "
            "prompt is done, as the engines' clients give it."
        ),
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def _share(share: float) -> str:
    return f"{share * 100:.0f} %"
