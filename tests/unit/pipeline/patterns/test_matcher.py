"""The matcher: raises for tenants that opted in, within its budget, and follows what commands change."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.patterns import matcher as module
from sluicegate.pipeline.patterns.folder import PatternFolder
from sluicegate.pipeline.patterns.matcher import (
    LIVE,
    UNCONFIRMED_MOST,
    UNCONFIRMED_TOTAL,
    LivePattern,
    Matcher,
    PatternIndex,
    write_live,
)
from sluicegate.pipeline.patterns.sketch import LOOKED_UP, checksums, keyed
from unit.pipeline.patterns.circles import CIRCLE, TODAY, days, feed, flood, sealed, write_circle

if TYPE_CHECKING:
    from pathlib import Path

KEY = CIRCLE.keys[0]
HARMLESS = "The customs office opens at eight, and the parcel from my aunt has been there since Monday or so"


def live(
    text: str, pattern: str = "0" * 16, *, confirmed: bool = False, until: int = 30
) -> tuple[LivePattern, str, list[str]]:
    value_of = keyed(KEY.value)
    return (
        LivePattern(pattern, days(until), confirmed),
        KEY.id,
        [value_of(one).hex() for one in checksums(text, 8)],
    )


def matcher(folder: Path, *patterns: tuple[LivePattern, str, list[str]]) -> Matcher:
    write_circle(folder)
    (folder / LIVE).write_bytes(write_live(patterns))
    return Matcher(folder, ["teens"], Instruments.for_engine(1))


def counted(one: Matcher, outcome: str) -> float:
    value: float = one._metrics.pattern_matches.labels(outcome)._value.get()
    return value


def test_a_copy_has_the_patterns_code(tmp_path: Path) -> None:
    one = matcher(tmp_path, live(flood()[0], "a" * 16))
    assert one.match("teens", flood()[3]) == (f"shared_pattern_{'a' * 16}", False)
    assert one.match("teens", HARMLESS) is None


def test_a_tenant_that_did_not_opt_in_is_left_alone(tmp_path: Path) -> None:
    assert matcher(tmp_path, live(flood()[0])).match("default", flood()[0]) is None


def test_two_values_of_two_patterns_are_no_match(tmp_path: Path) -> None:
    pattern, key, values = live(flood()[0])
    parts = [
        (LivePattern(f"{number:016x}", days(9), confirmed=False), key, [value])
        for number, value in enumerate(values)
    ]
    assert matcher(tmp_path, *parts).match("teens", flood()[0]) is None
    assert pattern.id


def test_patterns_may_share_values(tmp_path: Path) -> None:
    one = matcher(tmp_path, live(HARMLESS, "b" * 16), live(flood()[0], "a" * 16), live(flood()[1], "c" * 16))
    assert one.match("teens", flood()[0]) == (f"shared_pattern_{'a' * 16}", False)


def test_many_patterns_of_one_value_are_read_in_time_that_grows_with_their_number() -> None:
    many = ((LivePattern("0" * 16, days(9), confirmed=False), KEY.id, ["f" * 16]) for _ in range(60_000))
    content, began = write_live(many), time.process_time()
    PatternIndex(content, {KEY.id: KEY.value})
    assert time.process_time() - began < 2


def test_an_expired_pattern_matches_nothing(tmp_path: Path) -> None:
    assert matcher(tmp_path, live(flood()[0], until=-1)).match("teens", flood()[0]) is None
    assert matcher(tmp_path, live(flood()[0], until=0)).match("teens", flood()[0]) is not None


def test_a_poisoned_pattern_costs_reviewers_no_more_than_its_budget(tmp_path: Path) -> None:
    one = matcher(tmp_path, live(HARMLESS))
    raised = [one.match("teens", HARMLESS) for _ in range(1_000)]
    assert sum(code is not None for code in raised) == UNCONFIRMED_MOST
    assert raised[:UNCONFIRMED_MOST].count(None) == 0
    assert counted(one, "over_budget") == 1_000 - UNCONFIRMED_MOST


def test_one_that_people_here_confirmed_has_none(tmp_path: Path) -> None:
    one = matcher(tmp_path, live(flood()[0], confirmed=True))
    assert all(one.match("teens", flood()[0]) for _ in range(200))


def test_what_was_confirmed_is_asked_first_and_spends_no_budget(tmp_path: Path) -> None:
    pattern, key, values = live(flood()[0])
    one = matcher(
        tmp_path, (pattern, key, values), (LivePattern(pattern.id, days(9), confirmed=True), key, values[:2])
    )
    assert {one.match("teens", flood()[0]) for _ in range(200)} == {(f"shared_pattern_{pattern.id}", True)}
    assert counted(one, "over_budget") == 0


def test_many_copies_of_a_pattern_raise_no_more_than_all_unconfirmed_may(tmp_path: Path) -> None:
    values = [keyed(KEY.value)(checksum).hex() for checksum in checksums(flood()[0], LOOKED_UP)]
    many = [
        (LivePattern(f"{number:016x}", days(9), confirmed=False), KEY.id, values[:2]) for number in range(40)
    ]
    one = matcher(tmp_path, *many)
    raised = [one.match("teens", flood()[0]) for _ in range(3_000)]
    assert sum(code is not None for code in raised) == UNCONFIRMED_TOTAL
    assert UNCONFIRMED_TOTAL < 40 * UNCONFIRMED_MOST


def test_a_word_over_and_over_is_no_match_by_itself(tmp_path: Path) -> None:
    value = keyed(KEY.value)(checksums("buy " * 20, 1)[0]).hex()
    assert (
        matcher(tmp_path, (LivePattern("0" * 16, days(9), confirmed=False), KEY.id, [value])).match(
            "teens", "buy " * 20
        )
        is None
    )


def test_a_value_that_stands_in_a_pattern_over_and_over_is_no_match_by_itself(tmp_path: Path) -> None:
    pattern, key, values = live(flood()[0])
    assert matcher(tmp_path, (pattern, key, values[:1] * 3)).match("teens", flood()[0]) is None


def test_without_a_file_there_are_no_patterns(tmp_path: Path) -> None:
    write_circle(tmp_path)
    assert Matcher(tmp_path, ["teens"], Instruments.for_engine(1)).match("teens", flood()[0]) is None


@pytest.mark.parametrize("content", [b"", b"\x05\x00\x00\x00nope!", write_live([])[:-2], b"\xff" * 40])
def test_a_damaged_file_is_told(content: bytes) -> None:
    with pytest.raises(PatternError, match="damaged"):
        PatternIndex(content, {})


def test_a_truncated_table_is_told() -> None:
    with pytest.raises(PatternError, match="damaged"):
        PatternIndex(write_live([live(HARMLESS)])[:-4], {KEY.id: KEY.value})


async def test_a_revoked_pattern_leaves_a_running_worker(tmp_path: Path) -> None:
    one = feed(flood())
    write_circle(tmp_path)
    with PatternFolder.opened(tmp_path) as folder:
        folder.take(sealed(one))
        folder.admit([one.patterns[0].id])
        folder.save()
    running = Matcher(tmp_path, ["teens"], Instruments.for_engine(1))
    async with running.watched():
        assert running.match("teens", flood()[0]) is not None
        with PatternFolder.opened(tmp_path) as folder:
            folder.judge(one.patterns[0].id, "revoked", by="ann", why="a greeting")
            folder.save()
        while running.match("teens", flood()[0]) is not None:
            await asyncio.sleep(0.1)


async def test_a_file_that_is_damaged_leaves_what_is_in_force(tmp_path: Path) -> None:
    running = matcher(tmp_path, live(flood()[0], confirmed=True))
    (tmp_path / LIVE).write_bytes(b"damaged")
    async with running.watched():
        await asyncio.sleep(1.5)
        assert running.match("teens", flood()[0]) is not None


def test_a_fault_of_ours_matches_nothing_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = matcher(tmp_path, live(flood()[0]))
    monkeypatch.setattr(PatternIndex, "find", lambda _self, _text: 1 / 0)
    assert one.match("teens", flood()[0]) is None
    assert counted(one, "fault") == 1
    assert TODAY


async def test_a_fault_that_nobody_thought_of_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the watch to end, a revoked pattern would stay for ever, with everything green."""
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.01)
    running, real, tried = matcher(tmp_path, live(flood()[0])), module.read_index, []

    def fails_twice(folder: Path) -> PatternIndex:
        tried.append(1)
        if len(tried) < 3:
            raise MemoryError
        return real(folder)

    monkeypatch.setattr(module, "read_index", fails_twice)
    (tmp_path / LIVE).write_bytes(write_live([]))
    async with running.watched():
        while running.match("teens", flood()[0]) is not None:
            await asyncio.sleep(0.01)
    assert len(tried) == 3


async def test_the_patterns_before_are_given_up_outside_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million values take so long that posts would wait."""
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.01)
    given_up: list[int] = []

    class Watched(PatternIndex):
        def __del__(self) -> None:
            given_up.append(threading.get_ident())

    monkeypatch.setattr(module, "read_index", lambda _folder: Watched(write_live([]), {}))
    running = matcher(tmp_path, live(flood()[0]))
    for content in (b"once", b"twice"):
        (tmp_path / LIVE).write_bytes(content)
        async with running.watched():
            await asyncio.sleep(0.3)
    assert given_up
    assert threading.get_ident() not in given_up
