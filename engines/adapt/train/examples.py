"""Rows to examples: the ids a prompt has when it is served, and the ids that should follow them.

The prompt comes from the :class:`~sluicegate.engines.text.prompting.Prompter` that serves, so that training and
serving cannot differ: no chat template is applied to a conversation that ends in the label, which would make a
judged *response* of it.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.train.base import OpenedBase
from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import NO_CATEGORY, Post, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One row as token ids. The completion begins with the label."""

    row_id: str
    source: str
    language: str
    severity: Severity
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    cut: bool
    """True if the text was cut at its end to fit."""
    reason: bool
    """True if the completion gives a reason."""
    repeat: int = 1
    """How often each pass shows it."""

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return len(self.prompt_ids) + len(self.completion_ids)


class ExampleMaker:
    """Makes examples for one base.

    Args:
        base: Tokenizer, layout and labels, as they serve.
        max_tokens: Longest prompt; a longer text is cut until its prompt fits.
        hinted_share: Share of rows whose language and region are shown; which ones is decided by their ids.
    """

    def __init__(self, base: OpenedBase, *, max_tokens: int, hinted_share: float) -> None:
        self._base = base
        self._prompter = Prompter(base.tokenizer, base.layout, max_prompt_tokens=max_tokens)
        self._hinted_share = hinted_share

    def make(self, row: Row) -> TrainingExample | None:
        """The example of a row; None if its context alone leaves no room for the text."""
        post = self.post(row)
        prompt, kept = self._fit(post)
        if prompt is None:
            return None
        return TrainingExample(
            row_id=row.id,
            source=row.source,
            language=row.language or "und",
            severity=row.severity,
            prompt_ids=prompt.token_ids,
            completion_ids=self.completion(row),
            cut=kept < len(post.text),
            reason=row.reason is not None and (row.severity == "safe" or bool(row.categories)),
            repeat=row.repeat or 1,
        )

    def make_all(self, rows: Iterable[Row]) -> tuple[list[TrainingExample], int]:
        """Examples in the order of the rows, and how many rows had no room."""
        made = [self.make(row) for row in rows]
        fitting = [example for example in made if example is not None]
        return fitting, len(made) - len(fitting)

    def post(self, row: Row) -> Post:
        """The row as a producer would publish it."""
        hinted = _share_of(row.id) < self._hinted_share
        return Post(
            id="row",
            text=row.text,
            kind=row.kind,
            context=row.context,
            language=row.language if hinted else None,
            region=row.region if hinted else None,
        )

    def completion(self, row: Row) -> tuple[int, ...]:
        """Label, categories, refusal, reason, end: as far as the row says them.

        What a row leaves open is not taught: there the completion ends, without an end token.
        """
        label = {
            "safe": self._base.labels.safe,
            "controversial": self._base.labels.controversial,
            "unsafe": self._base.labels.unsafe,
        }[row.severity]
        ids = list(label.token_ids)
        if row.severity != "safe" and not row.categories:
            return tuple(ids)
        text = f"\nCategories: {', '.join(row.categories) or NO_CATEGORY}"
        if row.kind == "response":
            if row.refusal is None:
                return (*ids, *self._base.tokenizer.encode_text(text))
            text += f"\nRefusal: {'Yes' if row.refusal else 'No'}"
        if row.reason:
            text += f"\nReason: {row.reason}"
        return (*ids, *self._base.tokenizer.encode_text(text), self._base.end_id)

    def _fit(self, post: Post) -> tuple[Prompt | None, int]:
        """The prompt of the longest beginning of the text that fits, and its length in characters."""
        whole = self._prompter.build(post)
        if isinstance(whole, Prompt):
            return whole, len(post.text)
        best: Prompt | None = None
        low, high = 0, len(post.text) - 1  # a beginning of `low` characters fits, if any was found
        while low < high:
            middle = (low + high + 1) // 2
            built = self._prompter.build(post.model_copy(update={"text": post.text[:middle]}))
            if isinstance(built, Prompt):
                best, low = built, middle
            else:
                high = middle - 1
        return best, low


def _share_of(name: str) -> float:
    """A number in [0, 1) that the name alone decides, evenly spread."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest()) / 2**56


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


def plan(examples: Sequence[TrainingExample], *, rows: int, balance: float, seed: int) -> list[int]:
    """Indices into ``examples``: ``rows`` of them, every stretch mixed like the whole.

    Each source, and within it each language and severity, is spread evenly over the order. A source with
    fewer examples than places begins again. A pass shows an example as often as its ``repeat`` says.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret: a seed repeats it
    by_source: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, example in enumerate(examples):
        by_source[example.source][example.language, example.severity] += [index] * example.repeat
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


def stratified(examples: Sequence[TrainingExample], count: int, seed: int) -> list[TrainingExample]:
    """A sample in which every language and severity has its share of the whole."""
    strata: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        strata[example.language, example.severity].append(index)
    chosen = _spread(strata, random.Random(seed))[:count]  # noqa: S311 - no secret: a seed repeats it
    return [examples[index] for index in sorted(chosen)]


def mixture(examples: Iterable[TrainingExample]) -> dict[str, int]:
    """Examples by language, most first."""
    return dict(Counter(example.language for example in examples).most_common())


def order_digest(examples: Sequence[TrainingExample], order: Sequence[int]) -> str:
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
