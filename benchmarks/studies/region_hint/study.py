"""Does the region hint move a score, and towards the label? The same texts with different regions or none.

    python benchmarks/studies/region_hint [--bundle FOLDER] [--base] [--out benchmarks/reports]

Two parts, every prompt through the prompt path of a worker and the CPU engine:

- texts: dev rows of benchmarks/samples, each without a region and with each of three that are nobody's in particular.
  The prompt without a region is asked twice: what an engine's rounding moves is what nothing moves less than.
- pairs: our own rows that name the region they were written for, without it, with it, and with a foreign one. Most of
  them train the shipped adapter, so this part can show that the hint is used, and not that it helps on new texts.

Adapters are trained with few regions: see docs/model-card.md for what may be said of the result.
"""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.report import SAMPLE, options, write
from shipped_adapter.rows import OWN
from sluicegate.engines.adapt.evaluate.labelled_rows import draw, read_labelled
from sluicegate.engines.adapt.evaluate.measures import draws
from sluicegate.engines.adapt.report import ruled
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.cpu_model.models import cpu_bundle_path
from sluicegate.engines.errors import EngineError
from sluicegate.engines.protocol import Prompt, Scored
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sluicegate.engines.adapt.data.rows import Row
    from sluicegate.engines.backends import Backend
    from sluicegate.schemas import Scores

REGIONS = ("US", "CN", "DE")
NONE, AGAIN, OWN_REGION, FOREIGN = "none", "none, again", "own", "foreign"
_FOREIGN = {True: "CN", False: "DE"}  # of a row for Germany, and of any other
_MOST_PROMPTS = 300
_LEAST_TEXTS = 20  # below, an interval of rows drawn again is too narrow
_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Moved:
    """How far scores lie from those of the same texts without a region."""

    condition: str
    texts: int
    mean: float
    """Of the distances of P(not safe), whatever their direction."""
    largest: float
    flips: int
    """Texts whose likeliest severity is another."""
    towards: tuple[float, float, float]
    """Mean change of the label's probability, with its 95 % interval."""
    groups: int
    """Of texts; those of one group are drawn together."""

    @property
    def direction(self) -> str:
        """Where the interval allows to tell, over texts enough for one."""
        if self.groups < _LEAST_TEXTS:
            return "too few texts"
        _, low, high = self.towards
        return "towards the label" if low > 0 else "away from the label" if high < 0 else "cannot be told"


def conditions_of_texts(rows: Sequence[Row]) -> Iterator[tuple[Row, str, str | None]]:
    """Rows, conditions and regions of the first part."""
    for row in rows:
        yield row, NONE, None
        yield row, AGAIN, None
        yield from ((row, region, region) for region in REGIONS)


def conditions_of_pairs(rows: Sequence[Row]) -> Iterator[tuple[Row, str, str | None]]:
    """Likewise of the second part; the rows name a region."""
    for row in rows:
        yield row, NONE, None
        yield row, OWN_REGION, row.region
        yield row, FOREIGN, _FOREIGN[row.region == "DE"]


def moved(
    rows: Sequence[Row], scores: dict[tuple[str, str], Scores], condition: str, *, seed: int
) -> Moved | None:
    """Compare a condition with no region, over the rows that were judged in both; None if there is none."""
    pairs = [
        (row, scores[row.id, NONE], scores[row.id, condition])
        for row in rows
        if (row.id, NONE) in scores and (row.id, condition) in scores
    ]
    if not pairs:
        return None
    apart = np.array([abs(with_it.safe - without.safe) for _, without, with_it in pairs])
    towards = np.array(
        [getattr(with_it, row.severity) - getattr(without, row.severity) for row, without, with_it in pairs]
    )
    groups, cluster = np.unique([row.group or row.id for row, _, _ in pairs], return_inverse=True)
    weights = np.concatenate(list(draws(cluster, seed=seed, name=condition)))
    low, high = np.percentile(weights @ towards / weights.sum(axis=1), [2.5, 97.5])
    return Moved(
        condition,
        len(pairs),
        float(apart.mean()),
        float(apart.max()),
        sum(without.severity != with_it.severity for _, without, with_it in pairs),
        (float(towards.mean()), float(low), float(high)),
        len(groups),
    )


async def asked(
    backend: Backend, wanted: Sequence[tuple[Row, str, str | None]], *, seed: int
) -> dict[tuple[str, str], Scores]:
    """Scores by row and condition, in a mixed order; what failed is not among them."""
    mixed = list(wanted)
    random.Random(seed).shuffle(mixed)  # noqa: S311 - no secret; company in a batch should not follow the condition
    found: dict[tuple[str, str], Scores] = {}
    size = backend.engine.info.saturating_prompts
    async with backend.engine:
        for at in range(0, len(mixed), size):
            part = mixed[at : at + size]
            posts = [
                Post(id="row", text=row.text, kind=row.kind, context=row.context, region=region)
                for row, _, region in part
            ]
            built = [
                (one, prompt)
                for one, prompt in zip(part, backend.prompter.build_many(posts), strict=True)
                if isinstance(prompt, Prompt)
            ]
            answers = await backend.engine.score([prompt for _, prompt in built], timeout_s=_TIMEOUT_S)
            for ((row, condition, _), _), answer in zip(built, answers, strict=True):
                if isinstance(answer, Scored):
                    found[row.id, condition] = answer.scores
    return found


def measured(backend: Backend, texts: Sequence[Row], pairs: Sequence[Row], *, seed: int) -> dict[str, Any]:
    """Both parts as one document.

    Raises:
        EngineError: More prompts than a small test needs, or the engine stays away.
    """
    wanted = [*conditions_of_texts(texts), *conditions_of_pairs(pairs)]
    if len(wanted) > _MOST_PROMPTS:
        raise EngineError(
            f"{len(wanted)} prompts are more than {_MOST_PROMPTS}; give smaller --texts or --pairs"
        )
    scores = asyncio.run(asked(backend, wanted, seed=seed))
    parts = {"texts": (texts, (AGAIN, *REGIONS)), "pairs": (pairs, (OWN_REGION, FOREIGN))}
    return {
        "prompts": len(wanted),
        "failed": len(wanted) - len(scores),
        **{
            name: [
                {**vars(found), "direction": found.direction}
                for condition in conditions
                if (found := moved(rows, scores, condition, seed=seed)) is not None
            ]
            for name, (rows, conditions) in parts.items()
        },
    }


def page(document: dict[str, Any]) -> str:
    """The report for people."""
    return "\n".join(
        [
            "# The region hint",
            "",
            (
                f"Made by `python benchmarks/studies/region_hint`: {document['prompts']} prompts by {document['model']}, "
                f"{document['failed']} failed. Each line compares the same texts with a region and without one. "
                "Brackets hold 95 % bootstrap intervals of the mean change of the label's probability."
            ),
            "",
            "## Dev texts, regions that are nobody's in particular",
            "",
            "`none, again` is the same prompt a second time: the engine's own rounding.",
            "",
            _table(document["texts"]),
            "",
            "## Our own rows, with the region they were written for and with a foreign one",
            "",
            "Most of these rows train the adapter.",
            "",
            _table(document["pairs"]),
            "",
        ]
    )


def _table(lines: Sequence[dict[str, Any]]) -> str:
    rows = []
    for one in lines:
        value, low, high = one["towards"]
        distances = [f"{one[name]:.4f}" for name in ("mean", "largest")]
        change = f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"
        rows.append(
            [one["condition"], str(one["texts"]), *distances, str(one["flips"]), change, one["direction"]]
        )
    head = (
        "texts",
        "P(not safe) moves by: mean",
        "largest",
        "other severity",
        "change of P(label)",
        "direction",
    )
    return ruled(("region", *head), rows, [False, *[True] * 5, False])


def main(arguments: Sequence[str]) -> int:
    """Ask, measure, and write."""
    parser = options(__doc__)
    parser.add_argument("--bundle", type=Path, help="an engine bundle; default: the shipped CPU model")
    parser.add_argument("--base", action="store_true", help="the CPU model without the shipped adapter")
    parser.add_argument("--texts", type=int, default=38, help="dev texts; each makes five prompts")
    parser.add_argument("--pairs", type=int, default=36, help="our own rows; each makes three prompts")
    parser.add_argument("--seed", type=int, default=0, help="of the samples, the order and the intervals")
    parser.add_argument("--out", type=Path, help="folder for region-hint.md and region-hint.json")
    given = parser.parse_args(arguments)
    try:
        sides = read_labelled([SAMPLE], split="dev").rows
        named = [row for row in read_labelled([OWN]).rows if row.region is not None]
        texts = draw(
            [row for row in sides if row.language in _two_sided(sides)], given.texts, seed=given.seed
        )
        pairs = draw(named, given.pairs, seed=given.seed)
        bundle = given.bundle or cpu_bundle_path(base=given.base)
        backend = open_backend(EngineChoice(backend="llama_cpp", bundle=bundle))
        found = measured(backend, texts, pairs, seed=given.seed)
    except EngineError as error:
        print(f"region_hint: {error}", file=sys.stderr)
        return 1
    info = backend.engine.info
    model = "the base without the adapter" if given.base else "the shipped adapter"
    document = {
        "command": "python benchmarks/studies/region_hint",
        "model": "a bundle" if given.bundle else model,
        "digest": info.digest,
        "seed": given.seed,
        **found,
    }
    text = page(document)
    print(text)
    if given.out:
        write(given.out, "region-hint", document, text)
    return 0


def _two_sided(rows: Sequence[Row]) -> set[str | None]:
    """Languages with rows of more than one severity: elsewhere the language alone decides."""
    severities: dict[str | None, set[str]] = {}
    for row in rows:
        severities.setdefault(row.language, set()).add(row.severity)
    return {language for language, found in severities.items() if len(found) > 1}
