"""The report of one run or of several systems side by side: JSON values, Markdown and plots. Loads matplotlib when it draws."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.adapt.report import draw_picture
from sluicegate.pipeline.errors import BenchError
from sluicegate.pipeline.text import neutral
from sluicegate.pipeline.trial.bench.figures import FIGURES, SATURATED, Scrapes, figures
from sluicegate.pipeline.trial.bench.ledger import GROWTH, STAGES, Ledger, rounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


PLOTS: Final = {
    "bench-latency.png": "Latency of the posts of each interval against how many came in it",
    "bench-stages.png": "Where the time of a post goes, in the mean",
}
"""Files and what they show."""


def draw(whole: Mapping[str, Any], folder: Path) -> None:
    """Draw all plots of a document into a folder; each replaces an earlier one in one move.

    Raises:
        OSError: The folder cannot be written to.
        ImportError: matplotlib is missing.
    """
    for name, drawn in zip(PLOTS, (_latency, _stages), strict=True):
        draw_picture(folder / name, partial(drawn, whole=whole), inches=(6.5, 4.5))


def _latency(axes: Any, whole: Mapping[str, Any]) -> None:
    answered = False
    for number, one in enumerate(whole["systems"]):
        for percentile, marker in (("p50_ms", "."), ("p99_ms", "x")):
            points = [
                (interval["offered_per_s"], interval[percentile])
                for interval in one["intervals"]
                if interval[percentile]
            ]
            answered |= bool(points)
            axes.scatter(
                [x for x, _ in points],
                [y for _, y in points],
                marker=marker,
                color=f"C{number}",
                label=f"{_plain(one['name'])}, {percentile.removesuffix('_ms')}",
            )
    axes.set(xlabel="posts a second that came", ylabel="milliseconds to the verdict")
    if answered:  # else there is nothing to scale
        axes.set_yscale("log")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()


def _stages(axes: Any, whole: Mapping[str, Any]) -> None:
    systems = whole["systems"]
    left = [0.0] * len(systems)
    for stage in dict.fromkeys(name for one in systems for name in one["stages"]):
        widths = [one["stages"].get(stage, {}).get("mean_ms") or 0.0 for one in systems]
        axes.barh(range(len(systems)), widths, left=left, height=0.5, label=_plain(stage))
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(systems)))
    axes.set_yticklabels([_plain(one["name"]) for one in systems])
    axes.set(xlabel="milliseconds, in the mean")
    axes.set_ylim(len(systems), -1)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=6)


def _plain(name: str) -> str:
    """A name as a label: no dollar sign that matplotlib would take for mathematics."""
    return name.replace("$", r"\$")


_FORM = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)\s*", re.ASCII)
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class FailCondition:
    """A run fails if this is true of one of its figures."""

    figure: str
    relation: str
    value: float

    def __str__(self) -> str:
        return f"{self.figure}{self.relation}{self.value:g}"

    def fails(self, figures: Mapping[str, float | None]) -> bool:
        """True if it is so, and also if the figure is not known: nobody can say that it is well."""
        found = figures.get(self.figure)
        return found is None or bool(_COMPARE[self.relation](found, self.value))


PROMISE = (
    FailCondition("drops", ">", 0),
    FailCondition("refused", ">", 0),
    FailCondition("contradictions", ">", 0),
)
"""What fails every run that was not cut short."""

JUDGEMENT = FailCondition("judged", "<", 1)
"""What fails such a run too if anything was answered: answers alone say nothing of the engine."""


def parse_threshold(text: str) -> FailCondition:
    """Read a threshold such as ``p99_ms>500``.

    Raises:
        BenchError: It is none, or names no figure.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise BenchError(f"--fail-if {neutral(text)!r} is no condition; write one such as 'p99_ms>500'")
    name, relation, value = found.groups()
    if name not in FIGURES:
        raise BenchError(f"--fail-if: no figure is called {neutral(name)}; there are {', '.join(FIGURES)}")
    return FailCondition(name, relation, float(value))


def failed(
    figures: Mapping[str, float | None], thresholds: Sequence[FailCondition], *, cut_short: bool
) -> list[str]:
    """The conditions that hold, as they are written."""
    always: tuple[FailCondition, ...] = () if cut_short else PROMISE
    if always and figures.get("answered"):
        always += (JUDGEMENT,)
    return [str(one) for one in dict.fromkeys((*always, *thresholds)) if one.fails(figures)]


FORMAT = 1
"""Of the JSON document; another one is not read."""

_LATER = {"judged"}  # figures that earlier reports of this format do not have


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run was, beside its load."""

    name: str
    """Of the system, such as ``sluicegate``: the heading of its column."""
    began: str
    """RFC 3339."""
    machine: Mapping[str, str]
    """What it ran on, and versions."""
    note: str = ""
    remark: str = ""
    """What the place does to the figures."""


def system(
    setting: Setting, ledger: Ledger, scrapes: Scrapes, thresholds: Sequence[FailCondition], *, stopped: str
) -> dict[str, Any]:
    """One system's part of the document.

    Args:
        setting: What was run.
        ledger: What was sent and came back.
        scrapes: Of the workers' metrics; empty without them.
        thresholds: Beside the promise itself.
        stopped: Why the run ended early, or nothing.
    """
    arrivals = ledger.arrivals
    found = figures(ledger, scrapes.steady(arrivals.duration_s), cut_short=bool(stopped))
    return {
        "name": setting.name,
        "began": setting.began,
        "machine": dict(setting.machine),
        "note": setting.note,
        "remark": setting.remark,
        "load": {
            "shape": arrivals.shape.value,
            "rate": arrivals.rate,
            "seed": arrivals.seed,
            "duration_s": round(arrivals.duration_s, 3),
        },
        "engines": dict(ledger.engines.most_common()),
        "stopped": stopped,
        "failed": failed(found, thresholds, cut_short=bool(stopped)),
        "figures": found,
        "stages": {name: histogram.summary() for name, histogram in ledger.stages.items()},
        "assessed_by": dict(ledger.assessed_by.most_common()),
        "failures": dict(ledger.failures.most_common()),
        "refusals": dict(ledger.refusals.most_common()),
        "records": dict(ledger.records),
        "intervals": [
            {
                "at_s": place * ledger.interval_s,
                "offered_per_s": rounded(one.sent / ledger.interval_s, 2),
                **{name: value for name, value in one.latency.summary().items() if name != "mean_ms"},
            }
            for place, one in sorted(ledger.intervals.items())
        ],
        "missed_scrapes": scrapes.missed,
    }


def document(systems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The whole document."""
    return {"report": "sluicegate bench", "format": FORMAT, "systems": list(systems)}


def systems_of(earlier: object) -> list[dict[str, Any]]:
    """The systems in an earlier document.

    Raises:
        BenchError: It is no report of this format.
    """
    if isinstance(earlier, dict) and earlier.get("format") == FORMAT:
        systems = earlier.get("systems")
        if isinstance(systems, list) and all(_whole(one) for one in systems):
            return systems
    raise BenchError(
        f"the report to stand beside is none of `sluicegate bench`, format {FORMAT}; give its bench.json"
    )


def markdown(whole: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    """The document as a page.

    Args:
        whole: The document.
        plots: Files beside the page, and what they show.
    """
    systems = whole["systems"]
    lines = ["# Load report", "", *(f"- {_about(one)}" for one in systems), ""]
    lines += _table("figure", FIGURES, systems, lambda one, name: _shown(one["figures"].get(name)))
    lines += [
        "",
        f"Percentiles are read from histograms and up to {GROWTH - 1:.0%} too high. Engine seconds per post are",
        f"told where the engine was busy for at least {SATURATED:.0%} of the time; – is not known.",
        "",
        "Where the time went, as mean and p50/p95/p99 in milliseconds:",
        "",
    ]
    lines += _table("stage", STAGES, systems, lambda one, name: _stage(one["stages"].get(name, {})))
    lines += ["", *(sentence for one in systems for sentence in _remarks(one))]
    lines += [f"\n![{said}]({name})" for name, said in plots.items()]
    return "\n".join(lines).rstrip() + "\n"


def closing_line(whole: Mapping[str, Any]) -> str:
    """The last line of a run: every system's figures, as far as there are any."""
    return "bench: " + "; ".join(_closing(one) for one in whole["systems"])


def troubles(one: Mapping[str, Any]) -> list[str]:
    """What went wrong in a system's run, a sentence each."""
    found, told = one["figures"], []
    if found["refused"]:
        told.append(f"refused: {_counted(found['refused'], one.get('refusals', {}))}")
    if found["failures"]:
        told.append(
            f"not scored: {_counted(found['failures'], one['failures'])}; "
            "the failure mode decided, and the latencies have them too"
        )
    if found["dead_letters"]:
        told.append(f"dead letters: {found['dead_letters']:,}; such posts can never be judged as they are")
    if one["failed"]:
        told.append(f"failed: {', '.join(one['failed'])}")
    if one["stopped"]:
        told.append(f"cut short: {one['stopped']}; what was waiting then is in no percentile")
    return told


def _counted(count: int, names: Mapping[str, int]) -> str:
    """So many posts, and how many of each name."""
    each = ", ".join(f"{name} {number:,}" for name, number in names.items())
    return f"{count:,} posts ({each or 'reasons not known'})"


def _closing(one: Mapping[str, Any]) -> str:
    found = one["figures"]
    lost = f"{found['waiting']} waiting" if one["stopped"] else f"{_shown(found['drops'])} drops"
    repeats = found["repeats_same_id"] + found["repeats_other_id"]
    busy = "–" if found["busy_share"] is None else f"{found['busy_share']:.1%}"
    percentiles = "/".join(_shown(found[name]) for name in ("p50_ms", "p95_ms", "p99_ms"))
    return (
        f"{one['name']} ({_engines(one)}): {found['answered']} of {found['sent']} posts answered, {lost}, "
        f"{found['failures']} failed, {found['dead_letters']} dead letters, {repeats} repeats, "
        f"{_shown(found['answered_per_s'])} posts/s, p50/p95/p99 {percentiles} ms, "
        f"seen p99 {_shown(found['seen_p99_ms'])} ms, busy {busy}, engine seconds per post {_shown(found['engine_s_per_post'])}"
    )


def _about(one: Mapping[str, Any]) -> str:
    load, figure = one["load"], one["figures"]
    machine = ", ".join(f"{name} {value}" for name, value in one["machine"].items())
    note = f" {one['note']}." if one["note"] else ""
    return (
        f"**{_cell(one['name'])}**: {_cell(_engines(one))}. {figure['sent']:,} posts, shape {load['shape']}, "
        f"{load['rate']:g} a second in the mean, seed {load['seed']}, {load['duration_s']:g} s, "
        f"begun {one['began']}. {_cell(machine)}.{_cell(note)}"
    )


def _engines(one: Mapping[str, Any]) -> str:
    """Who judged; a fake engine's time is a model's."""
    shown = [f"{name}, simulated" if name.split()[:1] == ["fake"] else name for name in one["engines"]]
    return " and ".join(shown) or "no engine seen"


def _remarks(one: Mapping[str, Any]) -> list[str]:
    remarks = [*([one["remark"]] if one["remark"] else []), *troubles(one)]
    if one["figures"]["skewed"]:
        remarks.append(
            "the clocks of bench, broker and worker differ: latency, topic, publish and read are off by that, "
            "`seen_p99_ms` is not"
        )
    if one["missed_scrapes"]:
        remarks.append(f"{one['missed_scrapes']} times a worker's metrics were not to be had")
    return [f"- **{_cell(one['name'])}** {_cell(remark)}." for remark in remarks]


def _table(head: str, rows: Mapping[str, str], systems: Sequence[Mapping[str, Any]], cell: Any) -> list[str]:
    """One row for each name, one column for each system."""
    names = [_cell(one["name"]) for one in systems]
    return [
        f"| {head} | {' | '.join(names)} | meaning |",
        f"|---|{'---:|' * len(systems)}---|",
        *(
            f"| `{name}` | {' | '.join(cell(one, name) for one in systems)} | {meaning} |"
            for name, meaning in rows.items()
        ),
    ]


def _stage(summary: Mapping[str, float | None]) -> str:
    percentiles = "/".join(_shown(summary.get(name)) for name in ("p50_ms", "p95_ms", "p99_ms"))
    return f"{_shown(summary.get('mean_ms'))}, {percentiles}"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:,}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _whole(one: object) -> bool:
    """True if a system has every part that pages and plots read."""
    kinds: dict[type, tuple[str, ...]] = {
        str: ("name", "note", "remark", "stopped", "began"),
        list: ("failed", "intervals"),
        dict: ("machine", "load", "engines", "failures", "figures", "stages"),
        int: ("missed_scrapes",),
    }
    return (
        isinstance(one, dict)
        and all(isinstance(one.get(part), kind) for kind, parts in kinds.items() for part in parts)
        and isinstance(one.get("refusals", {}), dict)
        and one["figures"].keys() >= FIGURES.keys() - _LATER
    )
