"""Work beside the event loop's own: coroutines side by side, blocking work in a thread, and the end of the process."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence


T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """Do blocking work in a thread that cannot keep the process from ending, as one of a pool can.

    Cancelled, the work goes on and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        """In the loop: pass the outcome on to everybody who still waits."""
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type] # None only where T is

    def run() -> None:
        """In the thread: work, and report."""
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - carried over to those who wait
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="tensorrt-llm", daemon=True).start()
    return await done


def end_process() -> None:
    """End this process as an operator would: it drains what it can, and is started again."""
    signal.raise_signal(signal.SIGTERM)


async def all_of(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all side by side; the first exception cancels the others and is raised as itself.

    Returns:
        Their results, in order.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    return [task.result() for task in tasks]
