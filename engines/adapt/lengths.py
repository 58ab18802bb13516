"""Lengths: whether an engine takes a row at once, by its own tokenizer and layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.rows import Row


class Lengths:
    """Compares rows with what the engine of a bundle takes.

    Args:
        bundle: Folder of the bundle; its weights are not read.

    Raises:
        BundleError: The bundle cannot be opened.
    """

    def __init__(self, bundle: Path) -> None:
        opened = Bundle.open(bundle, verify=False)
        self.digest = opened.digest
        self.max_prompt_tokens = opened.manifest.limits.max_prompt_tokens
        self._prompter = Prompter(opened.tokenizer, opened.layout, max_prompt_tokens=self.max_prompt_tokens)

    def is_too_long(self, row: Row) -> bool:
        """True if the row's prompt has more tokens than the engine takes at once."""
        post = Post(
            id="row",
            text=row.text,
            kind=row.kind,
            context=row.context,
            language=row.language,
            region=row.region,
        )
        return isinstance(self._prompter.build(post), ItemFailure)
