"""Rows to examples: the ids a prompt has when it is served, and the ids that should follow them.

The prompt comes from the :class:`~sluicegate.engines.text.prompting.Prompter` that serves, so that training and
serving cannot differ: no chat template is applied to a conversation that ends in the label, which would make a
judged *response* of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import NO_CATEGORY, Post

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluicegate.engines.adapt.rows import Row
    from sluicegate.engines.adapt.train.base import OpenedBase
    from sluicegate.schemas import Severity

LABEL = 0
"""Index of the label's first token in a completion: the one whose probability becomes a score."""


@dataclass(frozen=True, slots=True)
class Example:
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

    def make(self, row: Row) -> Example | None:
        """The example of a row; None if its context alone leaves no room for the text."""
        post = self.post(row)
        prompt, kept = self._fit(post)
        if prompt is None:
            return None
        return Example(
            row_id=row.id,
            source=row.source,
            language=row.language or "und",
            severity=row.severity,
            prompt_ids=prompt.token_ids,
            completion_ids=self.completion(row),
            cut=kept < len(post.text),
            reason=row.reason is not None and (row.severity == "safe" or bool(row.categories)),
        )

    def make_all(self, rows: Iterable[Row]) -> tuple[list[Example], int]:
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
