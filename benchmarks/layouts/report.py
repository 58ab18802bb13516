"""What the report on layouts counts and says. Pure."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shared.report import older, table
from shared.shares import Share, told

if TYPE_CHECKING:
    from collections.abc import Sequence

SCORE, ON_DEMAND, ALWAYS = "score only", "score, explain on demand", "generate always"
WAYS = (SCORE, ON_DEMAND, ALWAYS)
OURS, VENDOR = "compact", "vendor"
IDLE = 0.5
"""A load average below says that hardly anything else ran."""


@dataclass(frozen=True)
class Request:
    """What the engine's own statistics say of one request, and how long it took."""

    cached: int
    """Prompt tokens that it found in its cache."""
    computed: int
    generated: int
    seconds: float


@dataclass(frozen=True)
class Pass:
    """All posts asked about once, in one way: means of a post."""

    layout: str
    way: str
    requests: float
    cached: float
    computed: float
    generated: float
    seconds: float


def mean(layout: str, way: str, posts: int, requests: Sequence[Request]) -> Pass:
    """One pass over so many posts."""
    return Pass(
        layout,
        way,
        len(requests) / posts,
        sum(one.cached for one in requests) / posts,
        sum(one.computed for one in requests) / posts,
        sum(one.generated for one in requests) / posts,
        sum(one.seconds for one in requests) / posts,
    )


def spread(values: Sequence[float], digits: int) -> str:
    """The median; with least and most, unless they read the same."""
    middle, least, most = (
        f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return middle if least == most else f"{middle} ({least} to {most})"


def hit_share(passes: Sequence[Pass]) -> float:
    """Prompt tokens found in the cache, of all."""
    cached = sum(one.cached for one in passes)
    return cached / (cached + sum(one.computed for one in passes))


def of(passes: Sequence[Pass], layout: str, way: str) -> list[Pass]:
    """The rounds of one cell."""
    return [one for one in passes if (one.layout, one.way) == (layout, way)]


def middle(passes: Sequence[Pass], layout: str, way: str, what: str) -> float:
    """The median of the rounds."""
    return statistics.median(float(getattr(one, what)) for one in of(passes, layout, way))


def ratio(passes: Sequence[Pass], ours: tuple[str, str], theirs: tuple[str, str], what: str) -> list[float]:
    """Round by round, since both sides of one round met the same machine."""
    return [
        getattr(one, what) / getattr(other, what)
        for one, other in zip(of(passes, *ours), of(passes, *theirs), strict=True)
    ]


def training_hours(training: dict[str, Any], trained: dict[str, float]) -> float:
    """Of an adapter for the vendor layout: the same rows, at the measured rate in tokens."""
    return float(training["rows"] / training["rows_per_s"] * trained[VENDOR] / trained[OURS] / 3600)


def page(report: dict[str, Any]) -> str:
    """The report for people."""
    passes = [Pass(**one) for one in report["passes"]]
    return "\n".join(
        [
            "# Layouts: what is asked of the engine for one post",
            "",
            *older(report),
            _setting(report),
            "",
            _machine(report),
            "",
            *_table(passes),
            "",
            *_layouts(report),
            "",
            "## What it says",
            "",
            *_findings(passes, report),
            "",
            "## Judgement",
            "",
            *_judgement(report),
            "",
        ]
    )


def _setting(report: dict[str, Any]) -> str:
    engine, explained = report["engine"], report["explained"]
    demand = " and ".join(f"{one['hits']} of {one['of']} in {name}" for name, one in explained.items())
    return (
        f"{report['posts']} posts of {report['data']} with different texts, languages and severities by their share (seed "
        f"{report['seed']}), asked of {engine['model']} ({engine['backend']}, {engine['digest'][:19]}…) on one slot, one request "
        f"at a time, so that what is computed repeats. The default policy wants {demand} explained. *Computed*, *cached* and "
        "*generated* are tokens as the server counts them. Rounds alternate the layouts; medians over "
        f"{report['rounds']} of them, least and most in brackets where they differ."
    )


def _machine(report: dict[str, Any]) -> str:
    machine, (begun, ended) = report["machine"], report["load"]
    said = ", ".join(f"{name} {value}" for name, value in machine.items())
    state = (
        "Hardly anything else ran."
        if begun < IDLE
        else "**Other work ran on the same cores: tokens are exact all the same, seconds are not. Repeat them on an idle machine.**"
    )
    return f"{said}. Load average {begun:.2f} before, {ended:.2f} after (this run's own included). {state}"


def _table(passes: Sequence[Pass]) -> list[str]:
    head = ("layout", "way", "requests", "computed", "cached", "hit share", "generated", "engine seconds")
    rows = []
    for layout in (OURS, VENDOR):
        for way in WAYS:
            found = of(passes, layout, way)

            def cell(what: str, digits: int, found: Sequence[Pass] = found) -> str:
                return spread([getattr(one, what) for one in found], digits)

            measured = [cell("requests", 2), cell("computed", 1), cell("cached", 1)]
            measured += [f"{100 * hit_share(found):.1f} %", cell("generated", 1), cell("seconds", 3)]
            rows.append([layout, way, *measured])
    return [table(head, rows, left=2), "", "All figures are of one post."]


def _layouts(report: dict[str, Any]) -> list[str]:
    rows = [
        (name, f"{one['before']:.1f}", f"{one['after']:.1f}", f"{one['prompt']:.1f}")
        for name, one in report["layouts"].items()
    ]
    head = ("layout", "before the post, hints included", "after it", "whole prompt")
    source = (
        "The vendor layout is that of the given chat template."
        if report["template"]
        else (
            "The vendor layout is a stand-in in our own words, with the parts and about the length of Qwen3Guard-Gen's "
            "template, which is the vendor's text: `--template` takes a checkpoint's."
        )
    )
    return [table(head, rows), "", f"Tokens of this model's vocabulary, means. {source}"]


def _findings(passes: Sequence[Pass], report: dict[str, Any]) -> list[str]:
    ours, theirs = (OURS, ON_DEMAND), (VENDOR, ALWAYS)

    def beside(ours: tuple[str, str], theirs: tuple[str, str]) -> str:
        computed, generated, seconds = (
            spread(ratio(passes, ours, theirs, what), 2) for what in ("computed", "generated", "seconds")
        )
        return (
            f"{computed} of the computed tokens, {generated} of the generated ones, {seconds} of the seconds"
        )

    return [
        f"- Compact with explanations on demand against generate-always in the vendor layout: {beside(ours, theirs)}.",
        f"- The layout alone (score only, compact against vendor): {beside((OURS, SCORE), (VENDOR, SCORE))}.",
        *(
            f"- The way alone ({name}, on demand against always): {beside((name, ON_DEMAND), (name, ALWAYS))}."
            for name in (OURS, VENDOR)
        ),
        (
            "- Each explanation follows its score at once and finds its whole prompt in the cache. A worker explains after the "
            "micro-batch: where the slot has gone on to another post meanwhile, the post's own tokens are computed again. If "
            f"that befell every explanation, {OURS} on demand would compute {report['again'][OURS]:.1f} tokens a post and "
            f"{VENDOR} {report['again'][VENDOR]:.1f}."
        ),
        (
            "- Generate-always begins after `Safety:` here, like a score, and has the same prefix cache; a guard asked as its "
            "card says generates that head, too."
        ),
    ]


def _judgement(report: dict[str, Any]) -> list[str]:
    rows = [
        *((name, told(one["severity"]), told(one["action"])) for name, one in report["judgement"].items()),
        ("none: everything is safe and allowed", told(report["all_safe"]), told(report["all_safe"])),
    ]
    training = report["training"]
    if training:
        trained = report["trained"]
        hours = training_hours(training, trained)
        cost = (
            f"One would take about {hours:.1f} h: {training['rows']:,} rows, as many as trained the one measured, of "
            f"{trained[VENDOR]:.0f} tokens instead of {trained[OURS]:.0f} (these posts, cut as the recipe cuts rows), at the "
            f"{training['rows_per_s']:.2f} rows/s that a training reached over {training['measured_rows']:,} rows in compact; "
            "time is taken to grow with the tokens."
        )
    else:
        cost = (
            "What one would cost was not reckoned: `--training` takes the folder of a training, for its rate."
        )
    return [
        table(("layout", "severity as labelled", "action as the label's"), rows),
        "",
        (
            f"In brackets 95 % intervals; {report['posts']} posts, {report['all_safe']['hits']} of them safe, tell little. **The shipped adapter was trained on compact, and none was trained on the vendor "
            "layout**: the vendor row shows what happens when a layout is served that the adapter never saw, and nothing of "
            f"what that layout can reach. {cost}"
        ),
        "",
        f"The two rows' actions differ on {told(report['differ'])} of the posts.",
    ]


def share(hits: int, total: int) -> dict[str, Any]:
    """A share as the report keeps it."""
    return asdict(Share(hits, total))
