"""Reads from a server's Prometheus page which process answers, and whether it has anything in its work. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sluicegate.engines.protocol import Generation

if TYPE_CHECKING:
    from collections.abc import Sequence

_STARTED = "process_start_time_seconds"
"""Prometheus' Python client tells it of the process that serves the page."""


def read_generation(page: str, gauges: Sequence[str]) -> Generation | None:
    """Read a page in Prometheus' text format.

    Args:
        page: Untrusted.
        gauges: Names of the requests in work; all of them must be there.

    Returns:
        None unless the page tells the start, once, and every gauge. The server may have other clients.
    """
    started = _values(page, _STARTED)
    counted = [_values(page, gauge) for gauge in gauges]
    if len(started) != 1 or not math.isfinite(started[0]) or not all(counted):
        return None
    idle = not any(value for values in counted for value in values)
    return Generation(f"started {started[0]!r}", exclusive=False, idle=idle)


def _values(page: str, name: str) -> list[float]:
    """Every value that a page has under a name, whatever its labels; a word that is no number counts as some."""
    found = []
    for line in page.splitlines():
        if not line.startswith((f"{name} ", f"{name}{{")):
            continue
        try:
            found.append(float(line[len(name) :].rpartition("}")[2].split()[0]))
        except (ValueError, IndexError):
            found.append(math.inf)
    return found
