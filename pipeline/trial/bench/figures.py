"""Figures: the numbers of a run by name, from its ledger and its scrapes. Pure."""

from __future__ import annotations

from sluicegate.pipeline.trial.bench.histogram import rounded
from sluicegate.pipeline.trial.bench.ledger import Ledger
from sluicegate.pipeline.trial.bench.scrapes import Steady
from sluicegate.schemas import AssessedBy

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
