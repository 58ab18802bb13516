"""Order: which example trains when. Pure: the same examples, recipe and seed give the same order.

The whole order is decided before the first step, so that a position in it is all that a resumed training needs to
know, and a training that stops early has seen the same mixture as one that goes on.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sluicegate.engines.adapt.rows import Row
    from sluicegate.engines.adapt.train.examples import Example

_SLACK = 1.25
_SLACK_TOKENS = 8
"""A micro-batch's longest example is at most so much longer than its shortest: that bounds the padding."""


def one_sided_languages(rows: Iterable[Row]) -> set[str]:
    """Languages of which all rows have the same severity."""
    severities: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        severities[row.language or "und"].add(row.severity)
    return {language for language, found in severities.items() if len(found) == 1}


def shares(sizes: dict[str, int], total: int, balance: float) -> dict[str, int]:
    """How many of ``total`` places each source gets: by its size to the power of ``balance``."""
    weights = {name: size**balance for name, size in sorted(sizes.items())}
    whole = sum(weights.values())
    exact = {name: total * weight / whole for name, weight in weights.items()}
    given = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: given[name] - exact[name])
    for name in by_remainder[: total - sum(given.values())]:
        given[name] += 1
    return given


def plan(examples: Sequence[Example], *, rows: int, balance: float, seed: int) -> list[int]:
    """Indices into ``examples``: ``rows`` of them, every stretch mixed like the whole.

    Each source, and within it each language and severity, is spread evenly over the order. A source with
    fewer examples than places begins again.
    """
    rng = random.Random(seed)  # noqa: S311 - an order that can be made again, no secret
    by_source: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, example in enumerate(examples):
        by_source[example.source][example.language, example.severity].append(index)
    places = shares({s: sum(map(len, strata.values())) for s, strata in by_source.items()}, rows, balance)
    timed: list[tuple[float, int]] = []
    for source, strata in sorted(by_source.items()):
        one_pass = _spread(strata, rng)
        count = places[source]
        sequence = (one_pass * -(-count // len(one_pass)))[:count] if count else []
        timed += [((k + rng.random()) / count, index) for k, index in enumerate(sequence)]
    return [index for _, index in sorted(timed)]


def steps(
    order: Sequence[int], lengths: Sequence[int], *, batch_rows: int, micro_tokens: int
) -> list[list[list[int]]]:
    """The order cut into optimiser steps, each a list of micro-batches of similar length.

    A step holds neighbours in the order, so that it is mixed as the whole is.

    Args:
        order: Indices of examples.
        lengths: Tokens by index.
        batch_rows: Rows of a step; the last step may have fewer.
        micro_tokens: Most padded tokens of a micro-batch; an example longer than that stands alone.
    """
    return [
        _micro(
            sorted(order[at : at + batch_rows], key=lambda index: (lengths[index], index)),
            lengths,
            micro_tokens,
        )
        for at in range(0, len(order), batch_rows)
    ]


def stratified(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """A sample in which every language and severity has its share of the whole."""
    strata: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        strata[example.language, example.severity].append(index)
    chosen = _spread(strata, random.Random(seed))[:count]  # noqa: S311 - no secret: a seed repeats it
    return [examples[index] for index in sorted(chosen)]


def mixture(examples: Iterable[Example]) -> dict[str, int]:
    """Examples by language, most first."""
    return dict(Counter(example.language for example in examples).most_common())


def order_digest(examples: Sequence[Example], order: Sequence[int]) -> str:
    """``sha256:…`` over the token ids of the planned examples, in order: data, tokenizer and layout in one."""
    hashed = hashlib.sha256()
    for index in order:
        one = examples[index]
        hashed.update(repr((one.prompt_ids, one.completion_ids)).encode())
    return f"sha256:{hashed.hexdigest()}"


def _spread(strata: dict[tuple[str, str], list[int]], rng: random.Random) -> list[int]:
    """All indices once, each stratum shuffled and spread evenly."""
    timed: list[tuple[float, int]] = []
    for _, indices in sorted(strata.items()):
        shuffled = rng.sample(indices, len(indices))
        timed += [((k + rng.random()) / len(indices), index) for k, index in enumerate(shuffled)]
    return [index for _, index in sorted(timed)]


def _micro(batch: Sequence[int], lengths: Sequence[int], micro_tokens: int) -> list[list[int]]:
    parts: list[list[int]] = []
    for index in batch:  # sorted: the newest is the longest, and decides the padding
        length = lengths[index]
        if (
            not parts
            or (len(parts[-1]) + 1) * length > micro_tokens
            or length > lengths[parts[-1][0]] * _SLACK + _SLACK_TOKENS
        ):
            parts.append([])
        parts[-1].append(index)
    return parts
