"""A worker whose fake engine tells its counts at every call, the last one too: `python -m studies.two_tiers.worker worker`."""

from __future__ import annotations

from sluicegate.engines.backends import fake
from sluicegate.pipeline.command import main

if __name__ == "__main__":
    fake._EVERY_S = 0.0  # noqa: SLF001 - apart from that it is `sluicegate`
    main()
