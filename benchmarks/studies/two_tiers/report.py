"""What came out of a run of this study, what the engine did for it, and what a screen saved. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from shared.report import older, table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from support.collector import Record

ALONE, SCREENED, TIERS = "alone", "screened", "tiers"
SAID = {
    ALONE: "a worker without a screen",
    SCREENED: "a worker with the screen",
    TIERS: "edge and centre",
}
_HEAD = (
    "",
    "posts",
    "verdicts",
    "lost",
    "by the screen",
    "forwarded",
    "engine: prompts",
    "prompt tokens",
    "ms a post",
    "saved",
)
_EXPLANATION_S = 16 / 28_000
"""At the rate of the engine that the committed figures are of; measured again, it is that of the profile."""


@dataclass(frozen=True, slots=True)
class Run:
    """One arrangement, once over all posts."""

    arrangement: str
    posts: int
    verdicts: int
    """Records, repeats included."""
    lost: int
    """Posts without a verdict."""
    by_screen: int
    """Posts that the screen answered."""
    learnt_by_screen: int
    """Of these, posts whose text the screen learnt from."""
    forwarded: int
    prompts: int
    """Of the engine, by its own count as all that follows."""
    prompt_tokens: float
    explained: int
    work_s: float


def run_of(
    arrangement: str,
    ids: Collection[str],
    records: Sequence[Record],
    counts: Mapping[str, float],
    *,
    forwarded: int = 0,
    learnt: Collection[str] = (),
) -> Run:
    """From the posts' ids, what stands on the output topics, and the engine's last count."""
    verdicts = [one.body for one in records if not one.is_dead_letter]
    screened = {one["post_id"] for one in verdicts if one["assessed_by"] == "screen"}
    return Run(
        arrangement,
        posts=len(ids),
        verdicts=len(verdicts),
        lost=len(set(ids) - {one["post_id"] for one in verdicts}),
        by_screen=len(screened),
        learnt_by_screen=len(screened & set(learnt)),
        forwarded=forwarded,
        prompts=int(counts.get("prompts", 0)),
        prompt_tokens=counts.get("prompt_tokens", 0),
        explained=int(counts.get("explained", 0)),
        work_s=counts.get("work_s", 0),
    )


def saving(run: Run, alone: Run) -> float:
    """The share of the engine's seconds that a run did without.

    Raises:
        ValueError: The runs had other posts, or the engine had nothing to do.
    """
    if run.posts != alone.posts or not alone.work_s:
        raise ValueError("runs are compared over the same posts, with an engine that was asked")
    return 1 - run.work_s / alone.work_s


def least_saving(run: Run, alone: Run) -> float:
    """The same, if every post that is explained without a screen is explained with it, too."""
    return saving(run, alone) - (alone.explained - run.explained) * _EXPLANATION_S / alone.work_s


def rounds_of(runs: Sequence[Run]) -> list[dict[str, Run]]:
    """The runs by arrangement, for each time that all were done."""
    found: list[dict[str, Run]] = []
    for run in runs:
        if not found or len(found[-1]) == len(SAID):
            found.append({})
        found[-1][run.arrangement] = run
    return found


def table_of(runs: Sequence[Run]) -> str:
    """A row for each arrangement, the mean over the rounds."""
    rounds = rounds_of(runs)
    lines = []
    for name, said in SAID.items():
        of = [one[name] for one in rounds]
        saved = fmean(saving(one[name], one[ALONE]) for one in rounds)
        ms = fmean(1000 * one.work_s / one.posts for one in of)
        cells = [
            *(f"{fmean(getattr(one, what) for one in of):,.0f}" for what in ("posts", "verdicts", "lost")),
            f"{fmean(one.by_screen for one in of):,.0f}" if name != ALONE else "–",
            f"{fmean(one.forwarded for one in of):,.0f}" if name == TIERS else "–",
            *(f"{fmean(getattr(one, what) for one in of):,.0f}" for what in ("prompts", "prompt_tokens")),
            f"{ms:.3f}",
            f"{100 * saved:.1f} %" if name != ALONE else "–",
        ]
        lines.append([said, *cells])
    return table(_HEAD, lines).replace("|  |", "| |", 1)  # a heading that is empty


def learnt_line(learnt: int | None, runs: Sequence[Run]) -> str:
    """How far the screen was asked about texts that it learnt from."""
    if learnt is None:
        return "Whether the screen learnt from any of these texts was not looked up (`--labelled`)."
    one = next(run for run in runs if run.arrangement == SCREENED)
    rest, answered = one.posts - learnt, one.by_screen - one.learnt_by_screen
    return (
        f"**{learnt:,} of the posts have texts that the screen learnt from**: it answered {_share(one.learnt_by_screen, learnt)} "
        f"of these, and {_share(answered, rest)} of the others."
    )


def least_line(runs: Sequence[Run]) -> str:
    """What the saving owes to the fake engine, whose lots do not know a hard post."""
    first = rounds_of(runs)[0]
    least = min(least_saving(one[name], one[ALONE]) for one in rounds_of(runs) for name in (SCREENED, TIERS))
    return (
        f"The fake engine draws by lot which posts are explained ({first[ALONE].explained:,} without a screen, "
        f"{first[SCREENED].explained:,} with it); a model explains the hard ones, which the screen leaves. If none of these "
        f"explanations were saved, {100 * least:.1f} % would be."
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"


def page(document: dict[str, Any]) -> str:
    """The report for people."""
    runs = [Run(**one) for one in document["runs"]]
    spread = _spread(runs)
    return "\n".join(
        [
            "# A screen before the engine, in the worker and at the edge",
            "",
            *older(document),
            (
                f"Made by `python benchmarks/studies/two_tiers --tolerance {document['tolerance']:g}` on Apache Kafka: "
                f"{runs[0].posts:,} posts with different texts of {document['data']}; screen `{document['screen']}`; "
                f"engine: {document['engine']}. Rounds: {len(rounds_of(runs))}, every second one in reverse order, each run with topics "
                "and groups of its own; means."
            ),
            "",
            table_of(runs),
            "",
            (
                "*Prompts*: of a disguised or a long text there are several. *Ms a post*: the time for which the simulated accelerator was booked, over **all** posts. *Saved*: of that "
                "time, against the worker without a screen. These are counts and no times of a clock, so that other work on the "
                f"machine changes nothing; between rounds they differ by {100 * spread:.2f} % at most. One in a hundred posts that "
                "the screen would answer goes to the engine as a sample."
            ),
            "",
            least_line(runs),
            "",
            learnt_line(document["learnt"], runs),
            "",
            "What the screen gets wrong is in [screen-harm](screen-harm.md). The fake engine's own verdicts are no judgement.",
            "",
        ]
    )


def _spread(runs: Sequence[Run]) -> float:
    """The most by which an arrangement's engine time differs between rounds, as a share of that without a screen."""
    times = [[run.work_s for run in runs if run.arrangement == name] for name in SAID]
    return max(max(of) - min(of) for of in times) / max(times[0])
