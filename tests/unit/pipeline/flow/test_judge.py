"""What the judge still has to ask, and what it answers by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sluicegate.engines.protocol import ItemFailure, Prompt, Scored
from sluicegate.pipeline.flow.judge import Judge, computed_tokens
from sluicegate.pipeline.flow.servers import prompt_name
from sluicegate.schemas import FailureCode, Scores

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


class Item:
    """Stands in for a judgement."""

    def __init__(self, *, live: bool = True) -> None:
        self.live = live


def left_of(
    items: dict[Item, str],
    answers: dict[Item, Any],
    *,
    poison: AbstractSet[str] = frozenset(),
    aside: AbstractSet[str] = frozenset(),
) -> list[Item]:
    """What is still to be asked; what the judge answers by itself is added to the answers."""
    prompts = SimpleNamespace(
        answers_for_none=not poison and not aside, is_poison=poison.__contains__, is_aside=aside.__contains__
    )
    judge: Any = SimpleNamespace(_state=SimpleNamespace(prompts=prompts), _report=lambda *_: None)
    named: Any = items
    left: Any = Judge._open(judge, "score", named, answers)
    return list(left)


def test_an_answer_stays_though_others_find_its_prompt_to_be_poison_meanwhile() -> None:
    answered, poison, other = Item(), Item(), Item()
    answers: dict[Item, Any] = {answered: "an answer"}
    items = {answered: "a", poison: "b", other: "c"}
    assert left_of(items, answers, poison={"a", "b"}) == [other]
    assert answers[answered] == "an answer"
    assert isinstance(answers[poison], ItemFailure)
    assert answers[poison].code is FailureCode.ENGINE_CRASH


def test_what_is_set_aside_or_no_longer_waited_for_is_neither_asked_nor_answered() -> None:
    aside, over, other = Item(), Item(live=False), Item()
    answers: dict[Item, Any] = {}
    assert left_of({aside: "a", over: "b", other: "c"}, answers, aside={"a"}) == [other]
    assert answers == {}


async def test_the_state_hears_which_prompts_met_a_fault_of_the_engine_and_which_may_still_be_in_its_work() -> (
    None
):
    codes = (
        None,
        FailureCode.ENGINE_ERROR,
        FailureCode.TIMED_OUT,
        FailureCode.INTERNAL,
        FailureCode.TOO_LONG,
    )
    answers = [code and ItemFailure(code, "") for code in codes]
    items: list[Any] = [Item() for _ in codes]
    for item, code in zip(items, codes, strict=True):
        item.key = str(code).encode()
    told: dict[str, Any] = {}

    async def ask_once(*_: Any) -> list[Any]:
        return answers

    judge: Any = SimpleNamespace(
        _busy=SimpleNamespace(in_work=False),
        _clock=SimpleNamespace(monotonic=lambda: 0.0),
        _server=SimpleNamespace(note=lambda: None, changed=lambda: None),
        _state=SimpleNamespace(report=lambda *_, **said: told.update(said)),
        _ask_once=ask_once,
        _depth=None,
        _report=lambda *_: None,
    )
    permit: Any = SimpleNamespace(keys=())
    await Judge._try(judge, permit, "score", ask_once, items)
    failed = (FailureCode.ENGINE_ERROR, FailureCode.TIMED_OUT, FailureCode.INTERNAL)
    assert told["failed"] == tuple(prompt_name("score", str(code).encode()) for code in failed)
    assert told["left"] == (prompt_name("score", str(FailureCode.TIMED_OUT).encode()),)


def test_only_tokens_that_no_cache_served_count_as_read_and_every_answer_as_one_at_least() -> None:
    scores = Scores(safe=1.0, controversial=0.0, unsafe=0.0)

    def asked(tokens: int, shared: int) -> Any:
        return SimpleNamespace(prompt=Prompt(tuple(range(tokens)), "post", shared, (0, 1)))

    answers = [
        Scored(scores, label_mass=1.0, cached_tokens=60),
        Scored(scores, label_mass=1.0),
        Scored(scores, label_mass=1.0),
        ItemFailure(FailureCode.TIMED_OUT),
    ]
    assert (
        computed_tokens([asked(100, 20), asked(100, 20), asked(20, 20), asked(100, 0)], answers)
        == 40 + 80 + 1
    )
