"""Figures: the numbers of a run by name, from its ledger and its scrapes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from sluicegate.pipeline.trial.bench.ledger import Ledger, rounded
from sluicegate.schemas import AssessedBy

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
    """Times until then that a worker was found to have started again."""


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

        None where fewer than two scrapes lie there, or a worker started again between them.
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


_SPARED = (AssessedBy.CACHE, AssessedBy.NEAR_DUPLICATE, AssessedBy.SCREEN)

FIGURES = {
    "planned": "posts planned",
    "sent": "posts handed to the Kafka client",
    "refused": "posts that the brokers did not take",
    "answered": "posts with a verdict or a dead letter",
    "drops": "posts without one, after the wait for it",
    "waiting": "posts without one when the run was cut short",
    "repeats_same_id": "further verdicts or dead letters with the id of the first",
    "repeats_other_id": "further ones with another id",
    "contradictions": "ids that stand on two topics",
    "dead_letters": "dead letters, repeats included",
    "failures": "verdicts of posts that could not be scored",
    "judged": "answered posts that were scored: neither dead letter nor failure",
    "foreign": "records of others that came in between",
    "skewed": "verdicts with stages before their beginning: clocks differ",
    "offered_per_s": "posts a second that came",
    "answered_per_s": "posts a second from the first arrival to the last answer",
    "p50_ms": "latency, from a post's arrival to its verdict's record; what the clocks differ by is in it",
    "p95_ms": "the same",
    "p99_ms": "the same",
    "max_ms": "the same",
    "seen_p99_ms": "from a post's arrival to the reading of its verdict here, by one clock",
    "late_p99_ms": "how late the bench itself sent, which the latency contains",
    "spared_share": "share of the answered posts that asked nothing of the engine",
    "busy_share": "engine busy share, in the steady part",
    "steady_per_s": "posts a second, in the steady part, by the workers' count",
    "engine_s_per_post": "engine seconds per post, where the engine was saturated",
}
"""Every figure and what it is; one that is not known is None."""


def figures(ledger: Ledger, steady: Steady | None, *, cut_short: bool) -> dict[str, float | None]:
    """All figures of a run.

    Args:
        ledger: Of the run.
        steady: From the workers' metrics; None without them.
        cut_short: True if nobody waited for the last answers, so that none can be called dropped.
    """
    waiting, arrivals = ledger.waiting, ledger.arrivals
    answering_s = (ledger.last_answer_ms - ledger.began_ms - arrivals.at_s[0] * 1000) / 1000
    sending_s = (
        arrivals.at_s[ledger.sent - 1] if 0 < ledger.sent < len(arrivals.at_s) else arrivals.duration_s
    )
    spared = sum(ledger.assessed_by[one.value] for one in _SPARED)
    latency = ledger.latency.summary()
    found: dict[str, float | None] = {
        "planned": len(arrivals.at_s),
        "sent": ledger.sent,
        "refused": ledger.refused,
        "answered": ledger.answered,
        "drops": None if cut_short else waiting,
        "waiting": waiting if cut_short else 0,
        "repeats_same_id": ledger.repeats_same_id,
        "repeats_other_id": ledger.repeats_other_id,
        "contradictions": ledger.contradictions,
        "dead_letters": ledger.dead_letters,
        "failures": ledger.failures.total(),
        "judged": ledger.judged,
        "foreign": ledger.foreign,
        "skewed": ledger.skewed,
        "offered_per_s": rounded(ledger.sent / sending_s if sending_s > 0 else None, 2),
        "answered_per_s": rounded(ledger.answered / answering_s if answering_s > 0 else None, 2),
        **{name: latency[name] for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")},
        "seen_p99_ms": ledger.seen.summary()["p99_ms"],
        "late_p99_ms": ledger.stages["late"].summary()["p99_ms"],
        "spared_share": round(spared / ledger.answered, 4) if ledger.answered else None,
        "busy_share": rounded(steady.busy_share if steady else None, 3),
        "steady_per_s": rounded(steady.answered_per_s if steady else None, 2),
        "engine_s_per_post": rounded(steady.engine_s_per_post if steady else None, 5),
    }
    return {name: found[name] for name in FIGURES}
