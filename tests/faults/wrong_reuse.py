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
from sluicegate.pipeline.flow.near_duplicates import NearDuplicates
from sluicegate.pipeline.shortcuts.near_duplicates import reduced_form
from sluicegate.schemas import FailureCode

if TYPE_CHECKING:
    from sluicegate.pipeline.flow.answers import Answer
    from sluicegate.pipeline.flow.window import Window
    from sluicegate.pipeline.flow.work import Asked, PostInWork

FORGETFUL, HASTY, GENEROUS = "forgetful", "hasty", "generous"
_DECIDING = re.compile("|".join(RULES))
_begin, _look_up = Flow.__init__, NearDuplicates.look_up
_windows: list[Window] = []


def _begin_seen(flow: Flow, *parts: Any, **named: Any) -> None:
    _begin(flow, *parts, **named)
    _windows[:] = [flow._window]


def _waits(near: NearDuplicates, asked: Asked) -> PostInWork | None:
    arrival = asked[0][0].arrival
    lead = near._leading.get(arrival.near.key) if arrival.near is not None else None
    return arrival if lead is not None and lead.followers[-1:] == [asked] else None


def _acknowledge_who_waits(near: NearDuplicates, asked: Asked) -> list[Answer]:
    answers = _look_up(near, asked)
    if not answers and (arrival := _waits(near, asked)) is not None:
        _windows[0].finish(arrival.slot)
    return answers


def _answer_who_waits(near: NearDuplicates, asked: Asked) -> list[Answer]:
    answers = _look_up(near, asked)
    if answers or (arrival := _waits(near, asked)) is None:
        return answers
    early = near._answers.give_up(arrival, ItemFailure(FailureCode.INTERNAL, "hasty"))
    arrival.answered = False
    return [early]


def _without_the_word(text: str) -> str | None:
    reduced = reduced_form(text)
    return reduced and _DECIDING.sub("", reduced)


if __name__ == "__main__":
    match os.environ[WHICH]:
        case "forgetful":
            Flow.__init__ = _begin_seen  # type: ignore[assignment, method-assign] # to know the window
            NearDuplicates.look_up = _acknowledge_who_waits  # type: ignore[assignment, method-assign] # that is what is wrong with it
        case "hasty":
            NearDuplicates.look_up = _answer_who_waits  # type: ignore[assignment, method-assign] # that is what is wrong with it
        case "generous":
            reuse.__dict__["reduced_form"] = _without_the_word  # that is what is wrong with it
    main()
