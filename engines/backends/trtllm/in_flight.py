"""Prompts in work: places, one loop, aborts, and one more try after an empty answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sluicegate.engines.backends.dialects.base import empty_completion
from sluicegate.engines.backends.trtllm.border import Asked, Llm, UnreadableError
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import ItemFailure
from sluicegate.schemas import FailureCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


T = TypeVar("T")

_CLOSED = "the TensorRT-LLM engine is closed"


class FaultedError(Exception):
    """TensorRT-LLM raised for one request: its fault, or the end of the engine.

    Names the type alone: the message may quote a prompt.
    """


class InFlight:
    """Sends prompts to one model. Belongs to the loop it is made in: the runtime wakes only that one.

    Args:
        llm: The model.
        places: Prompts in work; further ones wait here, where giving them up costs nothing.
    """

    def __init__(self, llm: Llm, *, places: int) -> None:
        self._llm = llm
        self._places = asyncio.Semaphore(places)
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Task[None]] = set()
        self._closed = False

    async def close(self) -> None:
        """Abort what is in work, and take nothing more: a runtime that shut down answers nobody."""
        self._closed = True
        if waiting := [*self._waiting]:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)

    async def ask(
        self, token_ids: Sequence[int], sampling: Any, read: Callable[[Asked], T]
    ) -> T | ItemFailure:
        """Send one prompt as soon as there is a place, and read its answer.

        A caller that cancels this, or stops waiting for it, aborts the request.

        Args:
            token_ids: The prompt.
            sampling: From :class:`~sluicegate.engines.backends.trtllm.border.Llm`.
            read: Reads a finished answer that is not empty.

        Raises:
            FaultedError: The runtime refused or failed.
            EngineUnavailable: The engine was closed.
        """
        async with self._places:
            return await self.ask_now(token_ids, sampling, read)

    async def ask_now(
        self, token_ids: Sequence[int], sampling: Any, read: Callable[[Asked], T]
    ) -> T | ItemFailure:
        """As :meth:`ask`, beside whatever is in work."""
        answer = await self._once(token_ids, sampling, read)
        if isinstance(answer, ItemFailure) and answer.code is FailureCode.EMPTY_COMPLETION:
            # A known fault under cache reuse (TensorRT-LLM issue 12933); the second time it is the post.
            answer = await self._once(token_ids, sampling, read)
        return answer

    async def _once(
        self, token_ids: Sequence[int], sampling: Any, read: Callable[[Asked], T]
    ) -> T | ItemFailure:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("the TensorRT-LLM engine belongs to the event loop that started it")
        if self._closed:
            raise EngineUnavailable(_CLOSED)
        try:
            asked = self._llm.submit(token_ids, sampling)
            await self._finish(asked)
            return read(asked) if asked.token_ids else empty_completion()
        except UnreadableError as error:
            return ItemFailure(FailureCode.UNPARSABLE, str(error))
        except (EngineUnavailable, FaultedError):
            raise
        except Exception as error:  # noqa: BLE001 - its documented errors are not all there is
            raise FaultedError(type(error).__name__) from None

    async def _finish(self, asked: Asked) -> None:
        """Wait for an answer; given up, the request is aborted, or the runtime would compute it to its end.

        The waiting is a task of its own: who cancelled can be told from it. A cancellation that
        is not the caller's must not reach it, for it would end the caller's work unseen.
        """
        waiting = asyncio.ensure_future(asked.finish())
        self._waiting.add(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            with suppress(Exception):  # one that died takes no more orders
                asked.abort()
            if (caller := asyncio.current_task()) and caller.cancelling():
                raise
            if self._closed:
                raise EngineUnavailable(_CLOSED) from None
            raise FaultedError("CancelledError") from None
        finally:
            self._waiting.discard(waiting)
