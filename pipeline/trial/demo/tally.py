"""The demo's accounts: what came out against what went in, from the topics alone. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client.parser import text_string_to_metric_families

from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.pipeline.text import masked, neutral

if TYPE_CHECKING:
    from collections.abc import Sequence


Identity = tuple[str, str, int]
"""Tenant, post id and revision: what a verdict names its post by."""
Place = tuple[int, int]
"""Partition and offset on the input topic: what a dead letter names its record by."""

_ACTIONS = ("allow", "review", "block")
_SEVERITIES = ("safe", "controversial", "unsafe")


@dataclass(frozen=True, slots=True)
class Inbound:
    """One record of the input topic. Without an identity it can only become a dead letter."""

    place: Place
    identity: Identity | None
    timestamp_ms: int | None
    label: str | None = None
    """The severity that ``metadata.label`` of the post tells; None where it tells none."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """One verdict (with an identity) or dead letter (with a place)."""

    event_id: str
    topic: str
    identity: Identity | None
    place: Place | None
    timestamp_ms: int | None
    failure: str | None = None
    """Why the post could not be scored; its action is then its tenant's failure mode."""
    severity: str | None = None
    """What a verdict says of its post; None of one that could not be scored."""


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Verdicts beside the labels of their posts. Where a post comes twice, its last verdict counts."""

    posts: int = 0
    """Answered posts with a label."""
    right: int = 0
    """Of these, with the severity of their label."""
    harmful: int = 0
    """Of these, labelled controversial or unsafe."""
    harmful_allowed: int = 0
    """Of the harmful ones, those allowed."""
    safe_stopped: int = 0
    """Of the posts labelled safe, those not allowed."""

    def line(self) -> str:
        """It in one sentence."""
        return (
            f"labels: {self.right} of {self.posts} posts have the severity of their label; {self.harmful_allowed} of "
            f"{self.harmful} harmful ones were allowed, {self.safe_stopped} of {self.posts - self.harmful} safe ones were not"
        )


@dataclass(frozen=True, slots=True)
class Balance:
    """What became of the records."""

    posts: int
    """Records on the input topic, malformed ones too."""
    verdicts: dict[str, int]
    """Verdict records by action, repeats included."""
    dead_letters: int
    """Dead letter records, repeats included."""
    failures: dict[str, int]
    """Verdicts of posts that could not be scored, by code."""
    lost: tuple[str, ...]
    """Names of the records with neither a verdict nor a dead letter: id, or partition and offset."""
    duplicated: tuple[str, ...]
    """Ids of verdicts and dead letters beyond the one that each record may have."""
    unasked: tuple[str, ...]
    """Ids of verdicts and dead letters that answer nothing on the input topic, or cannot be read."""
    latencies_ms: tuple[int, ...]
    """From each post's record to its verdict's, by the records' timestamps; in no order."""
    labelled: LabelCounts = LabelCounts()

    @property
    def answered(self) -> int:
        """Records of the output topics."""
        return sum(self.verdicts.values()) + self.dead_letters

    @property
    def holds(self) -> bool:
        """True if every record has exactly one answer, and nothing else came out."""
        return not (self.lost or self.duplicated or self.unasked) and self.posts == self.answered

    def closing_line(self) -> str:
        """The one sentence that sums a demo up."""
        mix = ", ".join(f"{action} {self.verdicts[action]}" for action in _ACTIONS)
        return (
            f"demo: {self.posts} posts in, {sum(self.verdicts.values())} verdicts out ({mix}), "
            f"{self.dead_letters} dead letters, {len(self.lost)} lost, {len(self.duplicated)} duplicated"
        )


@dataclass(slots=True)
class DemoTally:
    """Collects the records of all topics, in whatever order they are read."""

    topics: TopicSettings
    inbound: list[Inbound] = field(default_factory=list)
    outbound: list[Outbound] = field(default_factory=list)

    def add(self, record: TopicRecord) -> None:
        """Take one record of the input topic or of an output topic."""
        document = parse(record.value)
        if record.topic == self.topics.posts:
            place = record.partition, record.offset
            self.inbound.append(
                Inbound(place, identity(document, "id"), record.timestamp_ms, _label(document))
            )
        elif record.topic == self.topics.dead_letter:
            letter_id = _name(document, "dead_letter_id", record)
            self.outbound.append(
                Outbound(letter_id, record.topic, None, _origin(document), record.timestamp_ms)
            )
        else:
            who, failure = identity(document, "post_id"), document.get("failure")
            code = str(failure.get("code")) if isinstance(failure, dict) else None
            verdict_id, severity = _name(document, "verdict_id", record), _severity(document.get("severity"))
            self.outbound.append(
                Outbound(verdict_id, record.topic, who, None, record.timestamp_ms, code, severity)
            )

    def balance(self) -> Balance:
        """The accounts as they stand."""
        by_topic = Counter(one.topic for one in self.outbound)
        topics = self.topics
        verdicts = {action: by_topic[getattr(topics, action)] for action in _ACTIONS}
        lost, duplicated, unasked, latencies = _settle(self.inbound, self.outbound)
        return Balance(
            posts=len(self.inbound),
            verdicts=verdicts,
            dead_letters=by_topic[topics.dead_letter],
            failures=dict(Counter(one.failure for one in self.outbound if one.failure is not None)),
            lost=lost,
            duplicated=duplicated,
            unasked=unasked,
            latencies_ms=latencies,
            labelled=_labelled(self.inbound, self.outbound, topics.allow),
        )


def parse(value: bytes | None) -> dict[str, Any]:
    """A record's JSON object; empty where it is none."""
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def identity(document: dict[str, Any], id_field: str) -> Identity | None:
    """Tenant, id and revision of a post or verdict, defaults filled in; None without an id."""
    tenant, post_id = document.get("tenant", "default"), document.get(id_field)
    revision = document.get("revision", 0)
    if isinstance(tenant, str) and isinstance(post_id, str) and isinstance(revision, int):
        return tenant, post_id, revision
    return None


def _name(document: dict[str, Any], id_field: str, record: TopicRecord) -> str:
    """An event's id, or where it stands if it has none."""
    event_id = document.get(id_field)
    return event_id if isinstance(event_id, str) else f"{record.topic}/{record.partition}/{record.offset}"


def _origin(document: dict[str, Any]) -> Place | None:
    origin = document.get("origin")
    if not isinstance(origin, dict):
        return None
    partition, offset = origin.get("partition"), origin.get("offset")
    return (partition, offset) if isinstance(partition, int) and isinstance(offset, int) else None


def _severity(value: Any) -> str | None:
    return value if isinstance(value, str) and value in _SEVERITIES else None


def _label(post: dict[str, Any]) -> str | None:
    metadata = post.get("metadata")
    return _severity(metadata.get("label")) if isinstance(metadata, dict) else None


def _labelled(inbound: Sequence[Inbound], outbound: Sequence[Outbound], allow: str) -> LabelCounts:
    labels = {
        one.identity: one.label for one in inbound if one.identity is not None and one.label is not None
    }
    verdicts = {one.identity: one for one in outbound if one.identity in labels}
    pairs = [(labels[who], verdict) for who, verdict in verdicts.items()]
    harmful = [verdict for label, verdict in pairs if label != "safe"]
    return LabelCounts(
        posts=len(pairs),
        right=sum(verdict.severity == label for label, verdict in pairs),
        harmful=len(harmful),
        harmful_allowed=sum(verdict.topic == allow for verdict in harmful),
        safe_stopped=sum(verdict.topic != allow for label, verdict in pairs if label == "safe"),
    )


def percentile(values: Sequence[int], share: float) -> int | None:
    """The smallest value that at least this share of the values does not exceed; None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def _settle(
    inbound: Sequence[Inbound], outbound: Sequence[Outbound]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
    """Give each record its answer; return lost, duplicated, unasked and latencies."""
    letters: defaultdict[Place, list[Outbound]] = defaultdict(list)
    verdicts: defaultdict[Identity, list[Outbound]] = defaultdict(list)
    unasked = []
    for one in outbound:
        if one.place is not None:
            letters[one.place].append(one)
        elif one.identity is not None:
            verdicts[one.identity].append(one)
        else:
            unasked.append(one.event_id)
    lost, duplicated, latencies = [], [], []
    for record in inbound:
        # A record with a readable id may still be no post: then its dead letter is the answer.
        found = letters.pop(record.place, [])
        duplicated += [one.event_id for one in found[1:]]
        if found:
            continue
        # The same post sent twice has two verdicts: each record takes one.
        waiting = verdicts.get(record.identity, []) if record.identity else []
        if not waiting:
            lost.append(record.identity[1] if record.identity else "{}/{}".format(*record.place))
            continue
        verdict = waiting.pop(0)
        if record.timestamp_ms is not None and verdict.timestamp_ms is not None:
            latencies.append(max(0, verdict.timestamp_ms - record.timestamp_ms))
    asked = {record.identity for record in inbound}
    for who, left in verdicts.items():
        (duplicated if who in asked else unasked).extend(one.event_id for one in left)
    unasked += [one.event_id for left in letters.values() for one in left]
    return tuple(lost), tuple(duplicated), tuple(unasked), tuple(latencies)


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
            "labelled": asdict(balance.labelled),
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

    tally: DemoTally
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
