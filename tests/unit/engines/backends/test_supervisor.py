"""The supervisor of a server process, with a server that only says where it listens."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from sluicegate.engines.backends.supervisor import Supervisor
from sluicegate.engines.errors import EngineUnavailable

SERVER = 'import sys; print(\'{"url": "http://127.0.0.1:1"}\', flush=True); sys.stdin.read()'


async def test_a_server_that_could_not_be_warmed_is_still_replaced_when_it_ends() -> None:
    starts = 0

    async def warm_up() -> None:
        nonlocal starts
        starts += 1
        if starts == 2:
            raise ValueError("not what anybody expected")

    supervisor = Supervisor(("-c", SERVER), warm_up)
    async with asyncio.timeout(60):
        await supervisor.start()
        try:
            for number in (2, 3):
                assert supervisor.pid is not None
                os.kill(supervisor.pid, signal.SIGKILL)
                while starts < number or supervisor.pid is None:
                    await asyncio.sleep(0.01)
        finally:
            await supervisor.stop()
    assert starts == 3


async def test_a_server_that_hangs_is_killed_and_replaced_and_so_is_the_next() -> None:
    async def warm() -> None:
        pass

    supervisor = Supervisor(("-c", SERVER), warm)
    supervisor.replace()  # there is none yet: nothing to do
    async with asyncio.timeout(60):
        await supervisor.start()
        try:
            for _ in range(2):
                before = supervisor.pid
                assert before is not None
                os.kill(before, signal.SIGSTOP)
                supervisor.replace()
                with pytest.raises(EngineUnavailable):
                    supervisor.address()
                while supervisor.pid in (None, before):
                    await asyncio.sleep(0.01)
                with pytest.raises(ProcessLookupError):
                    os.kill(before, 0)
        finally:
            await supervisor.stop()
