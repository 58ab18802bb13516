"""Scrapes: what the workers' own metrics say during a run. The reading of them is pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

MOST_BYTES = 8 * 2**20
"""Of one answer: more is no worker's metrics."""

_MOST_SCRAPES = 1_024
_FROM = 0.1  # of the time in which posts come: the first tenth fills window and engine
SATURATED = 0.95
"""Least busy share at which the engine's seconds are all spent on posts."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """All workers at one moment, added up."""

    at_s: float
    """Since the start of the run."""
    workers: int
    busy_s: float
    """Seconds in which an engine was saturated."""
    answered: float
    """Verdicts and dead letters delivered, of whatever run."""
    restarts: int = 0
    """Times until then that a worker was found to have started anew."""


@dataclass(frozen=True, slots=True)
class Steady:
    """The steady part of a run, as the workers saw it."""

    seconds: float
    busy_share: float
    """In the mean over the workers."""
    answered_per_s: float
    engine_s_per_post: float | None
    """Engine seconds per post; None where the engine was not saturated."""


def read_metrics(exposition: str) -> tuple[float, float]:
    """Busy seconds and answered posts in the text of ``/metrics``.

    Raises:
        ValueError: It is no worker's metrics.
    """
    busy_s, answered = None, 0.0
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == "sluicegate_engine_busy_seconds":
                busy_s = sample.value
            elif sample.name in ("sluicegate_verdicts_total", "sluicegate_dead_letters_total"):
                answered += sample.value
    if busy_s is None:
        raise ValueError("no sluicegate_engine_busy_seconds")
    return busy_s, answered


@dataclass(slots=True)
class Scrapes:
    """The scrapes of a run, thinned out as they grow: at most 1,024 are kept."""

    kept: list[Scrape] = field(default_factory=list)
    missed: int = 0
    """Times that a worker did not answer with metrics; then nothing is kept."""
    _last: list[tuple[float, float]] = field(default_factory=list)
    _restarts: int = 0
    _every: int = 1
    _left_out: int = 0

    def add(self, at_s: float, texts: list[str]) -> None:
        """Take the answers of all workers; an empty one is missing."""
        try:
            read = [read_metrics(text) for text in texts]
        except ValueError:
            self.missed += 1
            return
        # In a sum a worker's fall could hide behind what the others rose by.
        self._restarts += any(
            now < before
            for one, earlier in zip(read, self._last, strict=False)  # nothing is earlier than the first
            for now, before in zip(one, earlier, strict=True)
        )
        self._last = read
        self._left_out += 1
        if self._left_out < self._every:
            return
        self._left_out = 0
        busy_s, answered = sum(busy for busy, _ in read), sum(out for _, out in read)
        self.kept.append(Scrape(at_s, len(read), busy_s, answered, self._restarts))
        if len(self.kept) >= _MOST_SCRAPES:
            self.kept, self._every = self.kept[::2], self._every * 2

    def steady(self, sending_s: float) -> Steady | None:
        """What lies between the first tenth and the end of the time in which posts come.

        None where fewer than two scrapes lie there, or a worker started anew between them.
        """
        inside = [one for one in self.kept if _FROM * sending_s <= one.at_s <= sending_s]
        if len(inside) < 2:
            return None
        first, last = inside[0], inside[-1]
        seconds, busy_s = last.at_s - first.at_s, last.busy_s - first.busy_s
        answered = last.answered - first.answered
        if seconds <= 0 or last.restarts > first.restarts:
            return None
        share = min(1.0, busy_s / seconds / first.workers)
        saturated = share >= SATURATED and answered > 0
        # All of the time, as the engine was saturated in nearly all of it.
        per_post = seconds * first.workers / answered if saturated else None
        return Steady(seconds, share, answered / seconds, per_post)
