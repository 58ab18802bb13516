"""Workers that break the promise by reusing near duplicates wrongly, so that the suite can show that it would notice.

Run as ``WRONG_WORKER=<name> python -m faults.wrong_reuse worker``, in place of ``sluicegate worker``:

``forgetful``  Whoever waits for another is acknowledged at once: a kill loses it.
``hasty``      Whoever waits for another gets its failure mode at once, and its verdict later.
``generous``   Texts that differ in one word are the same, though it is the word that decides.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from faults.floods import RULES
from faults.wrong_workers import WHICH
from sluicegate.engines.protocol import ItemFailure
from sluicegate.pipeline.command import main
from sluicegate.pipeline.flow import near_duplicates as reuse
from sluicegate.pipeline.flow.flow import Flow
from sluicegate.pipeline.flow.in_work import PostInWork
from sluicegate.pipeline.flow.work import Work
from sluicegate.pipeline.shortcuts.near_duplicates import reduced_form
from sluicegate.schemas import FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluicegate.pipeline.flow.window import Window

FORGETFUL, HASTY, GENEROUS = "forgetful", "hasty", "generous"
_DECIDING = re.compile("|".join(RULES))
_begin, _enter = Flow.__init__, Work.enter
_windows: list[Window] = []


def _begin_seen(flow: Flow, *parts: Any, **named: Any) -> None:
    _begin(flow, *parts, **named)
    _windows[:] = [flow._window]


def _who_waits(work: Work, posts: list[PostInWork]) -> list[PostInWork]:
    waiting = [follower for lead in work._leads.values() for follower in lead.followers]
    # What looks the same is one prompt: such copies join the one that is asked about.
    waiting += [post for prompt in work._prompts.values() for post, _ in prompt.members[1:]]
    return [post for post in posts if post in waiting]


def _acknowledge_who_waits(
    work: Work, posts: Iterable[PostInWork], *given: Any, **named: Any
) -> list[PostInWork]:
    entering = list(posts)
    settled = _enter(work, entering, *given, **named)
    _windows[0].finish(post.slot for post in _who_waits(work, entering))
    return settled


def _answer_who_waits(work: Work, posts: Iterable[PostInWork], *given: Any, **named: Any) -> list[PostInWork]:
    entering = list(posts)
    settled = _enter(work, entering, *given, **named)
    hasty = ItemFailure(FailureCode.INTERNAL, "hasty")
    early = [PostInWork.refused(one.slot, one.post, one.route, hasty) for one in _who_waits(work, entering)]
    return settled + early


def _without_the_word(text: str) -> str | None:
    reduced = reduced_form(text)
    return reduced and _DECIDING.sub("", reduced)


if __name__ == "__main__":
    match os.environ[WHICH]:
        case "forgetful":
            Flow.__init__ = _begin_seen  # type: ignore[assignment, method-assign] # to know the window
            Work.enter = _acknowledge_who_waits  # type: ignore[assignment, method-assign] # that is what is wrong with it
        case "hasty":
            Work.enter = _answer_who_waits  # type: ignore[assignment, method-assign] # that is what is wrong with it
        case "generous":
            reuse.__dict__["reduced_form"] = _without_the_word  # that is what is wrong with it
    main()
