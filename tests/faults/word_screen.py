"""A worker whose screen knows one word of the floods, run in place of ``python -m sluicegate worker``.

So the truth of what it answers is known, as that of the fake engine is. It may be hampered as well.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from faults.floods import WORDS
from faults.hampered import hamper
from sluicegate.engines.screen import ScreenAnswer
from sluicegate.pipeline.command import main
from sluicegate.schemas import Scores
from support.scripted_screen import StandInScreen, workers_have

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.schemas import Post

_SURE = ScreenAnswer(Scores(safe=0.98, controversial=0.01, unsafe=0.01), "safe", error=0.001)


class WordScreen(StandInScreen):
    """Sure of every text with the safe word in which nothing is hidden."""

    def __init__(self) -> None:
        super().__init__(f"sha256:{hashlib.sha256(WORDS['safe'].encode()).hexdigest()}")

    def answers(self, posts: Sequence[Post]) -> list[ScreenAnswer | None]:
        """As a small guard's."""
        return [_SURE if WORDS["safe"] in post.text and post.text.isascii() else None for post in posts]


if __name__ == "__main__":
    workers_have(WordScreen)
    hamper()
    main()
