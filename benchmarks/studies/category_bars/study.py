"""Do low bars of categories stop harmful texts whose likeliest severity is safe? Before and after, in one run.

    python benchmarks/studies/category_bars [--bundle FOLDER] [--rows FILE ...] [--out benchmarks/reports]
    python benchmarks/studies/category_bars --harmless [...]

Harmful dev rows of benchmarks/samples go through the prompt path of a worker and the CPU engine. A row is counted for a
policy where safe is its likeliest severity, the general bars allow it, and the bars of some category would not. Such a
row is explained twice: made to begin with safe, as explanations were before, and made to begin with the likelier of the
other two severities, as they are now. Each time the policy decides by the categories that are named.

The policies are the examples that ship with category bars, and `low bars`: the built-in policy with the review bar that
the example of a social network has for self-harm put on each of the nine categories. With --harmless the rows are those
whose label is safe: how many of them low bars stop that nobody would want stopped.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.report import SAMPLE, options, table, write
from sluicegate.engines.adapt.evaluate.labelled_rows import draw, read_labelled
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.cpu_model.models import cpu_bundle_path
from sluicegate.engines.errors import EngineError
from sluicegate.engines.protocol import Explanation, Prompt, Scored
from sluicegate.pipeline.flow.decision import assess
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import CATEGORIES, Action, Post

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluicegate.engines.adapt.data.rows import Row
    from sluicegate.engines.backends import Backend
    from sluicegate.engines.protocol import ItemFailure
    from sluicegate.schemas import Scores, Severity

EXAMPLES = ("social_network", "bank_adviser", "school_platform")
LOW = "low bars"
_HEAD = (
    "policy",
    "rows in reach",
    "stopped before",
    "stopped after",
    "a category named before",
    "after",
    "a right one before",
    "after",
)
_MOST_ROWS = 600
_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Explained:
    """A row in reach of some policy, and what the model named on it."""

    row: Row
    scores: Scores
    before: Explanation | ItemFailure
    """Made to begin with safe."""
    after: Explanation | ItemFailure
    """Made to begin with the likelier of the other two."""


@dataclass(frozen=True)
class Tally:
    """One policy's rows in reach."""

    policy: str
    rows: int
    stopped_before: int
    """Of these, not allowed."""
    stopped_after: int
    named_before: int
    """Some category is named."""
    right_before: int
    """A category of the label is among them."""
    named_after: int
    right_after: int
    labelled: int
    """Rows whose label names a category."""


def policies() -> dict[str, Policy]:
    """The policies that are compared, by name."""
    folder = resources.files("sluicegate.pipeline.policy") / "shipped"
    found = {name: Policy.from_bytes((folder / f"{name}.yaml").read_bytes(), name) for name in EXAMPLES}
    bars = {name: {"review_at": {"unsafe": 0.15, "risk": 0.3}} for name in CATEGORIES}
    found[LOW] = Policy.parse({"name": LOW, "version": "1", "rules": {"categories": bars}})
    return found


def post_of(row: Row) -> Post:
    """The row as a post."""
    return Post(id="row", text=row.text, kind=row.kind, context=row.context, language=row.language)


def in_reach(policy: Policy, row: Row, scores: Scores) -> bool:
    """True where safe is likeliest, the general bars allow, and the bars of some category do not."""
    rules = policy.rules(post_of(row))
    return (
        scores.severity == "safe"
        and rules.outcome(scores)[0] is Action.ALLOW
        and any(bars.outcome(scores)[0] is not Action.ALLOW for bars in rules.categories.values())
    )


def stops(policy: Policy, row: Row, scores: Scores, explanation: Explanation | ItemFailure) -> bool:
    """True where the policy does not allow the row by the categories named; a failed explanation names none."""
    # Taken at its word, as it was before, though it may have begun with safe.
    finding = assess(scores, explanation, scores.harm) if isinstance(explanation, Explanation) else None
    return policy.decide(post_of(row), scores, finding).action is not Action.ALLOW


def tally(name: str, policy: Policy, explained: Sequence[Explained]) -> Tally:
    """Count one policy's rows."""
    its = [one for one in explained if in_reach(policy, one.row, one.scores)]
    return Tally(
        name,
        len(its),
        sum(stops(policy, one.row, one.scores, one.before) for one in its),
        sum(stops(policy, one.row, one.scores, one.after) for one in its),
        sum(bool(_named(one.before)) for one in its),
        sum(not _named(one.before).isdisjoint(one.row.categories) for one in its),
        sum(bool(_named(one.after)) for one in its),
        sum(not _named(one.after).isdisjoint(one.row.categories) for one in its),
        sum(bool(one.row.categories) for one in its),
    )


def _named(explanation: Explanation | ItemFailure) -> set[str]:
    return set(explanation.categories) if isinstance(explanation, Explanation) else set()


async def judged(
    backend: Backend, rows: Sequence[Row], compared: Mapping[str, Policy]
) -> tuple[dict[str, Scores], list[Explained]]:
    """Scores by row, and both explanations of each row that is in reach of some policy."""
    scores: dict[str, Scores] = {}
    explained: list[Explained] = []
    size = backend.engine.info.saturating_prompts
    async with backend.engine:
        built = backend.prompter.build_many([post_of(row) for row in rows])
        asked = [(row, one) for row, one in zip(rows, built, strict=True) if isinstance(one, Prompt)]
        for at in range(0, len(asked), size):
            part = asked[at : at + size]
            answers = await backend.engine.score([prompt for _, prompt in part], timeout_s=_TIMEOUT_S)
            for (row, _), answer in zip(part, answers, strict=True):
                if isinstance(answer, Scored):
                    calibration = backend.calibration
                    raw = answer.scores
                    scores[row.id] = (
                        calibration.calibrated(raw, row.kind, row.language) if calibration else raw
                    )
        near = [
            (row, prompt)
            for row, prompt in asked
            if row.id in scores and any(in_reach(one, row, scores[row.id]) for one in compared.values())
        ]
        for at in range(0, len(near), size):
            part = near[at : at + size]
            prompts = [prompt for _, prompt in part]
            safe: list[Severity] = ["safe"] * len(part)
            harm = [scores[row.id].harm for row, _ in part]
            before = await backend.engine.explain(prompts, safe, timeout_s=_TIMEOUT_S)
            after = await backend.engine.explain(prompts, harm, timeout_s=_TIMEOUT_S)
            explained += [
                Explained(row, scores[row.id], one, other)
                for (row, _), one, other in zip(part, before, after, strict=True)
            ]
    return scores, explained


def page(document: dict[str, Any]) -> str:
    """The report for people."""
    return "\n".join(
        [
            "# Bars of categories where safe is the likeliest severity",
            "",
            (
                f"Made by `{document['command']}`: {document['rows']} {document['of']} dev rows, {document['scored']} of them scored "
                f"by {document['model']}; {document['explained']} in reach of some policy were explained twice, of which "
                f"{document['failed']} explanations failed."
            ),
            "",
            (
                "In reach: safe is the likeliest severity, the general bars allow the row, and the bars of some category "
                "would not. Before, the explanation was made to begin with safe; after, with the likelier of the other two. "
                "Stopped: the policy does not allow the row, by the categories that are named."
            ),
            "",
            table(_HEAD, map(_line, document["policies"])),
            "",
            (
                "A row of an example is stopped only if the model names a category for which that policy has a low bar. "
                "Most public dev rows are of the category `Unethical Acts`, for which no example has one. `low bars` has one for every category."
            ),
            "",
        ]
    )


def _line(one: Mapping[str, Any]) -> list[object]:
    kept = ("policy", "rows", "stopped_before", "stopped_after", "named_before", "named_after")
    right = [one["right_before"], one["right_after"]]
    return [
        *(one[name] for name in kept),
        *(f"{hits} of {one['labelled']}" if one["labelled"] else "-" for hits in right),
    ]


def main(arguments: Sequence[str]) -> int:
    """Ask, count, and write."""
    parser = options(__doc__)
    parser.add_argument("--bundle", type=Path, help="an engine bundle; default: the shipped CPU model")
    parser.add_argument(
        "--rows", type=Path, nargs="+", default=[SAMPLE], help="labelled rows; their dev split counts"
    )
    parser.add_argument("--most", type=int, default=_MOST_ROWS, help="harmful rows; a sample of more")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--harmless", action="store_true", help="rows whose label is safe, instead")
    parser.add_argument(
        "--out", type=Path, help="folder for the report; of --harmless it has a name of its own"
    )
    given = parser.parse_args(arguments)
    compared = policies()
    try:
        labelled = read_labelled(given.rows, split="dev").rows
        rows = [row for row in labelled if (row.severity == "safe") is given.harmless]
        if len(rows) > given.most:
            rows = draw(rows, given.most, seed=given.seed)
        backend = open_backend(EngineChoice(backend="llama_cpp", bundle=given.bundle or cpu_bundle_path()))
        scores, explained = asyncio.run(judged(backend, rows, compared))
    except EngineError as error:
        print(f"category_bars: {error}", file=sys.stderr)
        return 1
    document = {
        "command": f"python benchmarks/studies/category_bars{' --harmless' if given.harmless else ''}",
        "of": "harmless" if given.harmless else "harmful",
        "model": "a bundle" if given.bundle else "the shipped CPU model",
        "digest": backend.engine.info.digest,
        "seed": given.seed,
        "rows": len(rows),
        "scored": len(scores),
        "explained": len(explained),
        "failed": sum(
            not isinstance(found, Explanation) for one in explained for found in (one.before, one.after)
        ),
        "policies": [vars(tally(name, policy, explained)) for name, policy in compared.items()],
    }
    text = page(document)
    print(text)
    if given.out:
        write(given.out, f"category-bars{'-harmless' if given.harmless else ''}", document, text)
    return 0
