"""From what was watched of a cell to its figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from compare.figures import Span, engine_figures, rise, steady

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from compare.watch import Watch


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of JSON in a file that a process may be writing; none without the file."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def figures(
    answered_at: Sequence[float], watch: Watch, counts: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """What the answers' times, the processes' CPU times and the engine's counts say of a cell.

    Raises:
        RuntimeError: Too little was answered to say anything.
    """
    return of_span(steady(answered_at), watch, counts) | {"answered": len(answered_at)}


def of_span(span: Span | None, watch: Watch, counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The same for a known steady part.

    Raises:
        RuntimeError: There is none.
    """
    if span is None:
        raise RuntimeError("too little was answered to have a steady part")
    found = {"posts_per_s": span.per_s} | engine_figures(counts, span)
    cpu, engine_cpu = rise(watch.cpu, span), rise(watch.engine_cpu, span)
    if cpu is not None:
        found |= {"cpu_share": cpu / span.seconds, "cpu_s_per_post": cpu / span.posts}
    if engine_cpu:
        found["engine_cpu_share"] = engine_cpu / span.seconds
    return found


def busy_share(
    counts_of: Sequence[Sequence[Mapping[str, float]]], answered_at: Sequence[float]
) -> float | None:
    """Engine busy share in the mean over several engines, in the steady part; None where none counted."""
    span = steady(answered_at)
    shares = [engine_figures(counts, span).get("busy_share") for counts in counts_of] if span else []
    known = [one for one in shares if one is not None]
    return sum(known) / len(known) if known else None
