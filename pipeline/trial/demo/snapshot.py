"""What the demo shows: one moment's numbers and the last verdicts. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.text import masked, neutral
from sluicegate.pipeline.trial.demo.tally import Balance, Identity, Tally, identity, parse, percentile

_LAST_VERDICTS = 8
_TEXT_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """What the worker's own metrics say."""

    busy_s: float
    """Seconds in which the engine was saturated, since the worker's start."""
    cache_hits: dict[str, int]
    """Posts that needed no judgement of their own: ``stored`` or ``joined``."""

    @classmethod
    def parse(cls, exposition: str) -> EngineCounts:
        """Read the text of ``/metrics``."""
        busy_s, hits = 0.0, {}
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.name == "sluicegate_engine_busy_seconds":
                    busy_s = sample.value
                elif sample.name == "sluicegate_cache_hits_total":
                    hits[sample.labels["how"]] = int(sample.value)
        return cls(busy_s, hits)


@dataclass(frozen=True, slots=True)
class LastVerdict:
    """One verdict as a row; every value fit for a terminal."""

    post_id: str
    kind: str
    action: str
    severity: str
    categories: str
    assessed_by: str
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of the demo."""

    expected: int
    """Records to replay."""
    elapsed_s: float
    """Since the replay began; at the end, up to the last answer."""
    balance: Balance
    busy_s: float
    """Seconds of the elapsed ones in which the engine was saturated."""
    cache_hits: dict[str, int]
    last: tuple[LastVerdict, ...]

    @property
    def balanced(self) -> bool:
        """True if every record to replay stands on the input topic and has exactly one answer."""
        return self.balance.holds and self.balance.posts == self.expected

    @property
    def posts_per_s(self) -> float:
        """Answers per second."""
        return self.balance.answered / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def busy_share(self) -> float:
        """Share of the time in which the engine had enough to do."""
        return min(1.0, self.busy_s / self.elapsed_s) if self.elapsed_s > 0 else 0.0

    @property
    def latency_ms(self) -> dict[str, int | None]:
        """Percentiles of produce-to-verdict, by name."""
        values = self.balance.latencies_ms
        return {f"p{percent}": percentile(values, percent / 100) for percent in (50, 95, 99)}

    def summary(self) -> dict[str, Any]:
        """The whole as JSON values, for machines."""
        balance = self.balance
        return {
            "balanced": self.balanced,
            "posts_in": balance.posts,
            "verdicts_out": balance.verdicts,
            "dead_letters": balance.dead_letters,
            "failures": balance.failures,
            "lost": list(balance.lost),
            "duplicated": list(balance.duplicated),
            "unasked": list(balance.unasked),
            "elapsed_s": round(self.elapsed_s, 3),
            "posts_per_s": round(self.posts_per_s, 2),
            "produce_to_verdict_ms": self.latency_ms,
            "engine_busy_share": round(self.busy_share, 3),
            "cache_hits": self.cache_hits,
        }


@dataclass(slots=True)
class LastVerdicts:
    """Keeps the last verdicts and the texts that they are about.

    Args:
        tally: Names the topics.
        show_text: True shows the beginning of each text; else two characters and its length.
    """

    tally: Tally
    show_text: bool
    _texts: dict[Identity, str] = field(default_factory=dict)
    _rows: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_LAST_VERDICTS))

    def add(self, record: TopicRecord) -> None:
        """Take one record of any topic."""
        topics = self.tally.topics
        document = parse(record.value)
        if record.topic == topics.posts:
            who, text = identity(document, "id"), document.get("text")
            if who is not None and isinstance(text, str):
                self._texts[who] = neutral(text, _TEXT_CHARACTERS) if self.show_text else masked(text)
        elif record.topic != topics.dead_letter:
            self._rows.append(document)

    def rows(self) -> tuple[LastVerdict, ...]:
        """The newest first."""
        return tuple(self._row(document) for document in reversed(self._rows))

    def _row(self, document: dict[str, Any]) -> LastVerdict:
        who = identity(document, "post_id")
        categories = document.get("categories")

        def shown(name: str) -> str:
            return neutral(str(document.get(name) or "-"), 32)

        return LastVerdict(
            post_id=shown("post_id"),
            kind=shown("kind"),
            action=shown("action"),
            severity=shown("severity"),
            categories=neutral(", ".join(map(str, categories)), 40) if isinstance(categories, list) else "",
            assessed_by=shown("assessed_by"),
            text=self._texts.get(who, "") if who is not None else "",
        )
