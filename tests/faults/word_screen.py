"""A worker whose screen knows one word of the floods, run in place of ``python -m sluicegate worker``.

So the truth of what it answers is known, as that of the fake engine is. It may be hampered as well.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from faults.floods import WORDS
from faults.hampered import hamper
from sluicegate.engines.screen.model import Screen, ScreenAnswer
from sluicegate.pipeline.command import main
from sluicegate.schemas import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluicegate.schemas import Post

_SURE = ScreenAnswer(Scores(safe=0.98, controversial=0.01, unsafe=0.01), "safe", error=0.001)


class WordScreen(Screen):
    """Sure of every text with the safe word in which nothing is hidden."""

    def __init__(self) -> None:
        self.digest = f"sha256:{hashlib.sha256(WORDS['safe'].encode()).hexdigest()}"

    def answers(self, posts: Sequence[Post]) -> list[ScreenAnswer | None]:
        """As a trained screen's."""
        return [_SURE if WORDS["safe"] in post.text and post.text.isascii() else None for post in posts]


def _load(_folder: Path) -> WordScreen:
    return WordScreen()


if __name__ == "__main__":
    Screen.load = _load  # type: ignore[assignment, method-assign] # in place of a folder's
    hamper()
    main()
