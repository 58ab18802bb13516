"""A worker whose fetch dies in silence on SIGUSR1, run in place of ``python -m sluicegate worker``."""

from __future__ import annotations

import signal
from typing import Any

from sluicegate.pipeline.command import main
from sluicegate.pipeline.kafka.fetching import Fetcher

_start = Fetcher.__init__


def _start_mortal(fetcher: Any, *args: Any, **options: Any) -> None:
    _start(fetcher, *args, **options)
    loop, task = fetcher._loop, fetcher._fetch_task
    fetchers.append(lambda: loop.call_soon_threadsafe(task.cancel))


if __name__ == "__main__":
    fetchers: list[Any] = []
    Fetcher.__init__ = _start_mortal  # type: ignore[method-assign, assignment] # that is the fault
    signal.signal(signal.SIGUSR1, lambda *_: [end() for end in fetchers])
    main()
