"""Simulated posts a second of one H100: the arithmetic, and what the report says. Pure; no GPU has a part in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from layouts.report import ALWAYS, ON_DEMAND, OURS, VENDOR
from shared.report import table
from sluicegate.engines.adapt.report import ruled
from sluicegate.engines.build import sizing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_REUSE, REUSE = "no reuse", "exact and near reuse"
_TABLE = "NVIDIA's table"


@dataclass(frozen=True)
class Anchor:
    """Two rates of the published table."""

    name: str
    prompt_tokens_s: float
    prompt_source: str
    output_tokens_s: float
    output_source: str


LOW: Final = Anchor(
    "low",
    28_312 * 128 / 128,
    f"{_TABLE}: row 128/128, 28,312 x 128 / 128",
    17_660,
    f"{_TABLE}: row 500/2000",
)
HIGH: Final = Anchor(
    "high",
    sizing.ANCHOR_PROMPT_TOKENS_S,
    f"{_TABLE}: rows 2048/128 and 128/128, solved together",
    sizing.ANCHOR_OUTPUT_TOKENS_S,
    f"{_TABLE}: the same two rows",
)
ANCHORS: Final = (LOW, HIGH)
_GENERATED: Final = sizing.Demand(gpu="H100", tokens_per_post=0).explanation_tokens
"""For one explanation, unless a text is wanted."""


@dataclass(frozen=True)
class Shape:
    """The mean prompt of a layout."""

    layout: str
    static: float
    """Tokens of the layout's own, `Safety:` among them."""
    shared: float
    """Those of them that stand first and are the same for all posts."""
    content: float
    """Tokens of the post, and of the hints on its region and language."""

    @property
    def cached(self) -> float:
        """The shared ones: a part of a block is reused, too."""
        return self.shared

    @property
    def computed(self) -> float:
        """What is left of a prompt."""
        return self.static + self.content - self.cached


@dataclass(frozen=True)
class Load:
    """What posts ask for."""

    forms: float
    """Prompts of a post: a disguised one is judged in its folded form, too."""
    kept: float
    """Share of these prompts that no earlier one answers."""
    explained: float
    """Share of the judged posts."""
    answer: float
    """Tokens generated for a post that is always explained."""


def asked(load: Load, step: str) -> float:
    """Share of the work that reaches the engine after a step. Reuse is taken to be independent of how much work a post makes."""
    return 1.0 if step == NO_REUSE else load.kept


def explain_seconds(anchor: Anchor) -> float:
    """Of one explanation, as :mod:`~sluicegate.engines.build.sizing` assumes."""
    again = sizing.AGAIN_TOKENS / anchor.prompt_tokens_s
    return again + _GENERATED / anchor.output_tokens_s


def engine_seconds(shape: Shape, load: Load, way: str, anchor: Anchor) -> float:
    """Of one post, without reuse. What the vendor documents asks once: it folds nothing."""
    forms = 1.0 if (shape.layout, way) == (VENDOR, ALWAYS) else load.forms
    read = forms * shape.computed / anchor.prompt_tokens_s
    if way == ALWAYS:
        return read + forms * load.answer / anchor.output_tokens_s
    return read + load.explained * explain_seconds(anchor)


def break_even(load: Load) -> dict[str, list[float]]:
    """Where on demand and always cost the same: the explained share, and the tokens of an answer."""
    written = [load.forms * load.answer / anchor.output_tokens_s for anchor in ANCHORS]
    explained = [explain_seconds(anchor) for anchor in ANCHORS]
    tokens = [
        load.explained * one * anchor.output_tokens_s / load.forms
        for one, anchor in zip(explained, ANCHORS, strict=True)
    ]
    shares = [one / other for one, other in zip(written, explained, strict=True)]
    return {"simulated_explained": sorted(shares), "simulated_answer": sorted(tokens)}


def cells(shapes: Sequence[Shape], load: Load) -> list[dict[str, Any]]:
    """Every layout, way and step, with the rates at both anchors."""
    return [
        {
            "simulated_layout": shape.layout,
            "simulated_way": way,
            "simulated_step": step,
            **{
                f"simulated_posts_s_{anchor.name}": 1
                / (asked(load, step) * engine_seconds(shape, load, way, anchor))
                for anchor in ANCHORS
            },
        }
        for shape in shapes
        for way in (ON_DEMAND, ALWAYS)
        for step in (NO_REUSE, REUSE)
    ]


def page(report: Mapping[str, Any]) -> str:
    """The report for people."""
    found = report["simulated_cells"]
    rows = dict.fromkeys((one["simulated_layout"], one["simulated_way"]) for one in found)
    rates = [
        [
            f"{layout}, {way}",
            *(
                _range(one)
                for one in found
                if (one["simulated_layout"], one["simulated_way"]) == (layout, way)
            ),
        ]
        for layout, way in rows
    ]
    out = [
        "# Posts a second of one H100, simulated",
        "",
        (
            f"**Every figure here is simulated: no GPU was run.** Made by `{report['simulated_by']}` from published throughput of a "
            "model of the same size, and from what the reports beside this one measured on a CPU. The table is that of NVIDIA's "
            "performance overview of TensorRT-LLM 1.0 for Llama-3.1-8B in FP8 on one H100. Low and high come from different "
            "rows of it, and both are lower anchors: those runs generate long answers beside what they read. "
            "[The day with a GPU](../../docs/engine.md#the-day-with-a-gpu) measures it."
        ),
        "",
        "## Simulated table",
        "",
        table(
            (
                "simulated posts/s, low to high",
                *(f"simulated: {step}" for step in (NO_REUSE, REUSE)),
            ),
            rates,
        ),
    ]
    ours, theirs = pair(found)
    even = report["simulated_break_even"]
    share = _between(*(f"{100 * one:.0f} %" for one in even["simulated_explained"]))
    tokens = _between(*(f"{one:.0f}" for one in even["simulated_answer"]))
    return "\n".join(
        [
            *out,
            "",
            (
                f"Simulated, {told(ours)} judges {gain(ours, theirs)} times the posts of {told(theirs)}. "
                "With full batches a short answer costs little beside its prompt: explaining on demand saves engine time, "
                f"simulated, below an explained share of {share}, or at this share with answers longer than {tokens} tokens."
            ),
            "",
            "## Simulated step by step",
            "",
            ruled(
                ("simulated with", "value", "from"),
                [
                    (one["simulated_with"], _value(one["value"]), one["from"])
                    for one in report["simulated_assumptions"]
                ],
                (False, True, False),
            ),
            "",
            (
                "Simulated seconds of a post: prompts of a post (one for "
                f"{VENDOR}, {ALWAYS}, which folds nothing) x computed tokens / prompt tokens a second; on demand the explained "
                f"share x ({report['simulated_again']} tokens computed again + {_GENERATED:g} generated, as "
                "[sizing](../../docs/sizing.md) assumes); always, the tokens of the answer / output tokens a second for each prompt. "
                "Reuse takes its share off all of it. Batches are full; step overhead, network and Kafka are not in it. Qwen3-8B has 36 layers, that Llama 32: nothing is taken off for it."
            ),
            "",
        ]
    )


def told(cell: Mapping[str, Any]) -> str:
    """A cell's name in a sentence."""
    return f"{cell['simulated_layout']}, {cell['simulated_way']}, {cell['simulated_step']}"


def gain(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """How many times the posts, at the same anchor."""
    names = [f"simulated_posts_s_{anchor.name}" for anchor in ANCHORS]
    return _between(*(f"{one:.1f}" for one in sorted(ours[name] / theirs[name] for name in names)))


def pair(found: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """All levers, and none of them."""

    def cell(layout: str, way: str, step: str) -> Mapping[str, Any]:
        wanted = (layout, way, step)
        return next(
            one
            for one in found
            if (one["simulated_layout"], one["simulated_way"], one["simulated_step"]) == wanted
        )

    return cell(OURS, ON_DEMAND, REUSE), cell(VENDOR, ALWAYS, NO_REUSE)


def _between(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _range(cell: Mapping[str, Any]) -> str:
    low, high = cell["simulated_posts_s_low"], cell["simulated_posts_s_high"]
    return f"{low:,.0f} to {high:,.0f}"


def _value(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if float(value).is_integer() or value >= 1000 else f"{value:,.4g}"
