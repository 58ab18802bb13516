from __future__ import annotations

import asyncio

import pytest

from sluicegate.pipeline.flow.quarantine import KILLERS_S, Killers, Quarantine


async def test_many_work_side_by_side_and_one_waits_to_be_alone() -> None:
    quarantine, log = Quarantine(), []
    leave = asyncio.Event()

    async def worker() -> None:
        async with quarantine.among():
            log.append("in")
            await leave.wait()
            log.append("out")

    async def suspect() -> None:
        async with quarantine.alone():
            log.append("alone")

    crowd = [asyncio.create_task(worker()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting = asyncio.create_task(suspect())
    await asyncio.sleep(0)
    late = asyncio.create_task(worker())
    await asyncio.sleep(0)
    assert log == ["in"] * 3  # the late one waits behind the suspect
    leave.set()
    await asyncio.gather(*crowd, waiting, late)
    assert log == ["in"] * 3 + ["out"] * 3 + ["alone", "in", "out"]


async def test_a_cancelled_suspect_lets_the_others_in_again() -> None:
    quarantine = Quarantine()
    async with quarantine.among():
        suspect = asyncio.create_task(quarantine.alone().__aenter__())
        await asyncio.sleep(0)
        suspect.cancel()
        with pytest.raises(asyncio.CancelledError):
            await suspect
        async with asyncio.timeout(1), quarantine.among():
            pass


def test_a_killer_is_remembered_for_ten_minutes_and_no_longer() -> None:
    now = [0.0]
    killers = Killers(lambda: now[0])
    killers.add("text")
    assert "text" in killers
    assert "another" not in killers
    now[0] = KILLERS_S - 1
    assert "text" in killers
    now[0] = KILLERS_S
    assert "text" not in killers


def test_only_so_many_killers_are_remembered_and_the_oldest_is_forgotten_first() -> None:
    killers = Killers(lambda: 0.0)
    for number in range(1024):
        killers.add(number)
    killers.add(0)  # again, so it is the youngest now
    killers.add("one more")
    assert "one more" in killers
    assert 0 in killers
    assert 1 not in killers
    assert len(killers._until) == 1024
