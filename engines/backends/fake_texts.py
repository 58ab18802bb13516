"""The posts of one call of the fake engine, and which of its faults they meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.engines.backends.fake_faults import Fault, Faults
from sluicegate.engines.bundle.tokenizer import TextTokenizer
from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.schemas import FailureCode

if TYPE_CHECKING:
    from collections.abc import Sequence


TIMED_OUT = ItemFailure(FailureCode.TIMED_OUT, "no answer within the deadline of the call")


def text_of(tokenizer: TextTokenizer, prompt: Prompt) -> str:
    """The post and its context, with what stands between them."""
    return tokenizer.decode(prompt.token_ids[slice(*prompt.content)])


class Texts:
    """The posts of one call, decoded only if a fault with a marker asks."""

    def __init__(self, tokenizer: TextTokenizer, prompts: Sequence[Prompt]) -> None:
        self._tokenizer = tokenizer
        self._prompts = prompts

    def hit(self, fault: Fault | None, index: int) -> bool:
        """Say whether a fault is on and affects this post."""
        if fault is None or fault.marker is None:
            return fault is not None
        return fault.marker in text_of(self._tokenizer, self._prompts[index])

    def any_hit(self, fault: Fault | None) -> bool:
        """Say whether a fault is on and affects one of the posts."""
        return any(self.hit(fault, index) for index in range(len(self._prompts)))


def failure_of(faults: Faults, posts: Texts, index: int, *, scoring: bool) -> ItemFailure | None:
    """What goes wrong with one post; the first fault in this order, None if none affects it."""
    for fault, failure in (
        (faults.hang, TIMED_OUT),
        (faults.error, ItemFailure(FailureCode.ENGINE_ERROR, "fault switched on: error")),
        (faults.cut, ItemFailure(FailureCode.ENGINE_ERROR, "fault switched on: cut")),
        (faults.garble, ItemFailure(FailureCode.UNPARSABLE, "fault switched on: garble")),
        (faults.empty, ItemFailure(FailureCode.EMPTY_COMPLETION, "fault switched on: empty")),
        (
            faults.labels_missing if scoring else None,
            ItemFailure(FailureCode.LABELS_MISSING, "fault switched on: labels_missing"),
        ),
    ):
        if posts.hit(fault, index):
            return failure
    return None
