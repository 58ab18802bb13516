"""The shipped screen before the engine: what it answers, what that changes, and what it saves, over the tolerance.

    make evaluate DATA=labelled            # the engine's scores of a sample, in .cache/evaluate
    python benchmarks/studies/screen_harm --data labelled --scores .cache/evaluate/adapter

No engine runs here: its scores are those that `make evaluate` kept, of rows that taught neither engine nor screen.
An answer counts where the default policy allows the post by the screen's scores. *Harm* is the share of these that
the default policy does not allow by the engine's scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.judging import certain
from shared.report import REPORTS, ROOT, options, table, write
from sluicegate.engines.adapt.evaluate.labelled_rows import read_labelled
from sluicegate.engines.adapt.evaluate.scored import read_scores
from sluicegate.engines.adapt.report import draw_picture
from sluicegate.engines.adapt.screen.grouping import upper_bound
from sluicegate.engines.adapt.screen.making import TOLERANCES
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.protocol import Prompt
from sluicegate.engines.screen.model import Screen, answer_within
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action, Post, Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.screen.model import ScreenAnswer

SHIPPED = ROOT / "engines" / "assets" / "screens" / "permissive"
_SEVERITIES = ("safe", "controversial", "unsafe")
_HEAD = (
    "tolerance",
    "answered",
    "harm: the engine would not allow",
    "harm at most",
    "the label would not",
    "errors added",
    "engine's tokens saved",
)


@dataclass(frozen=True)
class Case:
    """One post: what each of the three has the default policy do, and what the engine would compute for it."""

    post: Post
    answer: ScreenAnswer | None
    screened: Action | None
    """By the screen's scores; None where it has no answer."""
    engine: Action
    label: Action
    tokens: int
    """Of the engine's prompt."""


def cases(data: Path, scores: Path, screen: Screen, policy: Policy) -> list[Case]:
    """The rows that the engine scored, in its order.

    Raises:
        SystemExit: A scored row is not among the data.
    """
    rows = {row.id: row for row in read_labelled(sorted(data.glob("*.jsonl")), split="dev").rows}
    judged = [row for row in read_scores(scores) if row.probabilities is not None]
    if missing := [row.id for row in judged if row.id not in rows]:
        raise SystemExit(
            f"--scores has {len(missing)} rows that --data lacks; give the data they were made of"
        )
    posts = [
        Post(
            id=one.id,
            text=(row := rows[one.id]).text,
            kind=row.kind,
            context=row.context,
            language=row.language,
        )
        for one in judged
    ]
    prompter = open_backend(EngineChoice(backend="llama_cpp")).prompter
    found = []
    for one, post, answer in zip(judged, posts, screen.answers(posts), strict=True):
        prompt = prompter.build(post)
        said = Scores(**dict(zip(_SEVERITIES, one.probabilities or (), strict=True)))
        found.append(
            Case(
                post,
                answer,
                None if answer is None else policy.decide(post, answer.scores).action,
                policy.decide(post, said).action,
                policy.decide(post, certain(one.severity)).action,
                len(prompt.token_ids) if isinstance(prompt, Prompt) else 0,
            )
        )
    return found


def curve(found: Sequence[Case]) -> list[dict[str, Any]]:
    """A point for each tolerance, the loosest last. Shares are of all posts unless said otherwise."""
    tokens = sum(case.tokens for case in found)
    alone = sum(case.engine is not case.label for case in found)
    points = []
    for tolerance in TOLERANCES:
        taken = [
            case for case in found if answer_within(case.answer, tolerance) and case.screened is Action.ALLOW
        ]
        harm = sum(case.engine is not Action.ALLOW for case in taken)
        wrong = sum(case.label is not Action.ALLOW for case in taken)
        spared = sum(case.engine is not case.label for case in taken)
        points.append(
            {
                "tolerance": tolerance,
                "answered": len(taken),
                "share_answered": round(len(taken) / len(found), 5),
                "harm": harm,
                "harm_at_most": round(upper_bound(harm, len(taken)), 5) if taken else None,
                "label_differs": wrong,
                "engine_differs_from_label": spared,
                "error_added": round((wrong - spared) / len(found), 5),
                "error_of_engine_alone": round(alone / len(found), 5),
                "tokens_saved": round(sum(case.tokens for case in taken) / tokens, 5) if tokens else 0.0,
            }
        )
    return points


def page(document: dict[str, Any]) -> str:
    """The report for people."""
    first = document["curve"][0]
    lines = [
        "# The shipped screen before the engine",
        "",
        (
            "Made by `python benchmarks/studies/screen_harm`, after `make evaluate`. "
            f"{document['rows']:,} labelled dev rows, of sources that both learnt from and others; engine: the shipped CPU "
            f"adapter, whose scores `make evaluate` kept; screen `{document['screen']}`; the default policy decides. "
            f"The engine alone does other than the label says on {100 * first['error_of_engine_alone']:.1f} % of the rows."
        ),
        "",
        "![Share answered, and harm, over the tolerance](screen-harm.png)",
        "",
        table(_HEAD, map(_line, document["curve"]), left=0),
        "",
        (
            "*Harm at most*: the 95 % upper bound. *Errors added*: rows on which screen and engine together do other than the "
            "label says, less those of the engine alone, as a share of all rows; below zero where the screen is right more "
            "often than the engine. *Tokens saved*: prompt tokens of what the screen answers, as a share of all; the "
            "engine's seconds are saved about in that measure, since a safe post is seldom explained."
        ),
        "",
        _verdict(document["curve"]),
    ]
    return "\n".join([*lines, ""])


def _line(one: dict[str, Any]) -> list[str]:
    count = one["answered"]
    return [
        f"{one['tolerance']:g}",
        f"{100 * one['share_answered']:.1f} %",
        f"{one['harm']} of {count}" + (f" ({100 * one['harm'] / count:.1f} %)" if count else ""),
        "–" if one["harm_at_most"] is None else f"{100 * one['harm_at_most']:.1f} %",
        f"{one['label_differs']} of {count}",
        f"{100 * one['error_added']:+.2f} %",
        f"{100 * one['tokens_saved']:.1f} %",
    ]


def _verdict(points: Sequence[dict[str, Any]]) -> str:
    shown = [one for one in points if one["answered"] and one["harm_at_most"] <= 0.005]
    if shown:
        return f"Harm of at most 0.5 % is shown up to a tolerance of {shown[-1]['tolerance']:g}."
    return "Harm of at most 0.5 % is shown at no tolerance: the screen is off by default."


def draw(document: dict[str, Any], path: Path) -> None:
    """Share answered above, harm below."""

    def drawn(axes: Any) -> None:
        points = document["curve"]
        at = [one["tolerance"] for one in points]
        axes[0].plot(at, [100 * one["share_answered"] for one in points], marker="o", label="posts answered")
        axes[0].plot(at, [100 * one["tokens_saved"] for one in points], marker="s", label="tokens saved")
        some = [one for one in points if one["answered"]]
        for key, said in (("harm", "the engine would not allow"), ("label_differs", "the label would not")):
            axes[1].plot(
                [one["tolerance"] for one in some],
                [100 * one[key] / one["answered"] for one in some],
                marker="o",
                label=said,
            )
        axes[0].set(xscale="log", ylabel="% of all")
        axes[1].set(xlabel="tolerance", ylabel="% of those answered")
        for one in axes:
            one.grid(alpha=0.3)
            one.legend(loc="upper left")

    draw_picture(path, drawn, rows=2)


def main(arguments: Sequence[str]) -> int:
    """Measure and write the report."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled files")
    parser.add_argument("--scores", type=Path, required=True, help="folder that `adapt evaluate` wrote")
    parser.add_argument("--screen", type=Path, default=SHIPPED, help="folder of a screen")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder to write")
    given = parser.parse_args(arguments)
    screen = Screen.load(given.screen)
    found = cases(given.data, given.scores, screen, Policy.load(None))
    document = {"rows": len(found), "screen": screen.digest, "curve": curve(found)}
    write(given.out, "screen-harm", document, page(document))
    draw(document, given.out / "screen-harm.png")
    print(page(document))
    return 0
