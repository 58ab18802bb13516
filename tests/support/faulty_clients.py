"""Clients of the group with a fault, and workers that run with one; for tests.

``python -m support.faulty_clients worker`` runs in place of ``sluicegate worker``. SIGUSR1 ends its fetches in silence.
With ``DROPS`` in its environment, the first chunk of each partition never reaches the flow.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from confluent_kafka import Consumer

from sluicegate.pipeline.command import main
from sluicegate.pipeline.kafka.source import Source

DROPS = "DROPS"
MUTE = threading.Event()
"""While it is set, no :class:`MutableClient` of this process gives anything."""
HANGS = threading.Event()
"""While it is set, each of them hangs in its next call."""


class MutableClient(Consumer):  # type: ignore[misc]  # untyped base
    """A client that can fall silent, or hang, and says nothing of it."""

    def poll(self, timeout: float = -1) -> Any:
        while HANGS.is_set():
            time.sleep(0.01)
        found = super().poll(timeout)
        return None if MUTE.is_set() else found

    def consume(self, num_messages: int = 1, timeout: float = -1) -> Any:
        found = super().consume(num_messages, timeout)
        return [] if MUTE.is_set() else found


def drop_first_chunks() -> None:
    """Let the source lose the first chunk of each assignment. Nothing of ours does that."""
    hand_on = Source.hand_on

    async def _hand_on(self: Source, chunks: Any) -> None:
        await hand_on(self, [chunk for chunk in chunks if chunk.number > 1])

    Source.hand_on = _hand_on  # type: ignore[method-assign] # that is the fault


if __name__ == "__main__":
    defaults = Source.__init__.__kwdefaults__ or {}
    defaults["make_client"] = MutableClient
    if DROPS in os.environ:
        drop_first_chunks()
    signal.signal(signal.SIGUSR1, lambda *_: MUTE.set())
    main()
