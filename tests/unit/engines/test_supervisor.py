"""The supervisor of a server process, with a server that only says where it listens."""

from __future__ import annotations

import asyncio
import os
import signal

from sluicegate.engines.backends.supervisor import Supervisor

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
