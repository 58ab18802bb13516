"""Tracing: what a flow tells of each post's way, and the object that hears nothing.

The flow calls this; :mod:`sluicegate.pipeline.observe.spans` turns the calls into spans where tracing is on.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal, Protocol

from sluicegate.pipeline.records import Answered, Delivery, InWork, Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from contextlib import AbstractContextManager


BatchStep = Literal["look_up", "score", "explain"]


class Tracing(Protocol):
    """Hears of every step. Takes no text of a post, and never changes what happens to one."""

    def posts(self, source: AsyncIterator[Sequence[Delivery]]) -> AsyncIterator[Sequence[Delivery]]:
        """The source, with each delivery followed until it is acknowledged or given back."""
        ...

    def took(self, deliveries: Iterable[Delivery]) -> None:
        """The window has taken these: the first step of each is over."""
        ...

    def decode(self, deliveries: Iterable[Delivery]) -> AbstractContextManager[None]:
        """The second step, of all posts of a chunk."""
        ...

    def batch(self, name: BatchStep, arrivals: Iterable[InWork]) -> AbstractContextManager[None]:
        """A step that several posts take together. A post with several parts may come several times."""
        ...

    def publish(self, answered: Sequence[Answered]) -> AbstractContextManager[Sequence[Record]]:
        """The last step: gives the records to send, with the trace context that their readers continue."""
        ...

    async def close(self) -> None:
        """Send what is left, within two seconds, and end. Never raises."""
        ...


class NoTracing:
    """Hears nothing, loads nothing."""

    _nothing: AbstractContextManager[None] = nullcontext()

    def posts(self, source: AsyncIterator[Sequence[Delivery]]) -> AsyncIterator[Sequence[Delivery]]:
        """The source itself."""
        return source

    def took(self, deliveries: Iterable[Delivery]) -> None:
        """Nothing."""

    def decode(self, deliveries: Iterable[Delivery]) -> AbstractContextManager[None]:
        """Nothing."""
        del deliveries
        return self._nothing

    def batch(self, name: BatchStep, arrivals: Iterable[InWork]) -> AbstractContextManager[None]:
        """Nothing."""
        del name, arrivals
        return self._nothing

    def publish(self, answered: Sequence[Answered]) -> AbstractContextManager[Sequence[Record]]:
        """The records as they are: a post's own trace context is carried on unchanged."""
        return nullcontext([answer.record for answer in answered])

    async def close(self) -> None:
        """Nothing."""


NO_TRACING = NoTracing()
