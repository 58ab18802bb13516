"""Newest: which verdict on a post counts, remembered for so many posts. Pure."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING

from sluicegate.schemas import Verdict

if TYPE_CHECKING:
    from datetime import datetime


class Standing(Enum):
    """What a verdict is beside the one that counts so far."""

    NEW = "new"
    """It counts from now on: act on it."""
    REPEAT = "repeat"
    """The verdict that counts, once more: done already."""
    OUTDATED = "outdated"
    """An older one, or one on an older revision: never act on it."""


class Newest:
    """The contract's rules for repeats and order, over the posts seen last.

    Of the verdicts on one post the highest (revision, judged_at) counts; equal ones are told
    apart by id, so that every consumer picks the same. A post that was forgotten starts anew:
    an old verdict on it would count again.

    Args:
        posts: Most posts remembered, about 0.5 KiB each; those untouched for longest go first.
    """

    def __init__(self, posts: int) -> None:
        self._limit = posts
        self._counts: OrderedDict[tuple[str, str], tuple[int, datetime, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def standing(self, verdict: Verdict) -> Standing:
        """What the verdict is, judging by those applied so far. Changes nothing."""
        known = self._counts.get((verdict.tenant, verdict.post_id))
        if known is None:
            return Standing.NEW
        if known[2] == verdict.verdict_id:
            return Standing.REPEAT
        return Standing.NEW if _version(verdict) > known else Standing.OUTDATED

    def apply(self, verdict: Verdict) -> None:
        """Remember that a new verdict was acted on, or that the one that counts came again.

        A repeat may be judged later than the first: what lies between the two is outdated.
        """
        post = verdict.tenant, verdict.post_id
        version = _version(verdict)
        self._counts[post] = max(version, self._counts.get(post, version))
        self._counts.move_to_end(post)
        while len(self._counts) > self._limit:
            self._counts.popitem(last=False)


def _version(verdict: Verdict) -> tuple[int, datetime, str]:
    return verdict.revision, verdict.judged_at, verdict.verdict_id
