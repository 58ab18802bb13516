"""What the topics of an institution tell of patterns: what people confirmed, and what became of raised posts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.reader import TopicReader, TopicRecord
from sluicegate.pipeline.kafka.topics import FEED_BYTES, absent
from sluicegate.pipeline.patterns.masking import CommonWords
from sluicegate.pipeline.patterns.mining import ConfirmedCopy, clusters
from sluicegate.pipeline.patterns.sketch import KEPT, LOOKED_UP, NEEDED, all_checksums, checksums
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import (
    SHARED_PATTERN,
    Action,
    Basis,
    Post,
    Resolution,
    Verdict,
    content_hash,
    decode_post,
    precedence,
)

UNNAMED = "other"
"""The category of what people found harmful without naming one."""

_Place = tuple[str, str, int, str]
"""Tenant, post, revision and content."""


@dataclass(slots=True)
class History:
    """What the topics still have of the tenants that opted in."""

    copies: list[ConfirmedCopy] = field(default_factory=list)
    """What people confirmed."""
    harmless: list[frozenset[int]] = field(default_factory=list)
    """The checksums of each text that people found safe."""
    vocabulary: CommonWords = field(default_factory=lambda: CommonWords(5))
    others: list[tuple[tuple[int, ...], datetime | None]] = field(default_factory=list)
    """The lowest checksums of each post that nobody decided on, and when it was made."""
    missing: int = 0
    """Posts that people confirmed, and whose text the topic has no longer."""


@dataclass(slots=True)
class RaisedCases:
    """What became of the posts that one pattern raised here."""

    open: list[Verdict] = field(default_factory=list)
    harmful: list[Verdict] = field(default_factory=list)
    safe: list[Verdict] = field(default_factory=list)

    @property
    def verdicts(self) -> list[Verdict]:
        """All of them."""
        return [*self.harmful, *self.safe, *self.open]


def read_history(settings: Settings, *, k: int) -> History:
    """Read resolutions, then posts, twice.

    Args:
        settings: The institution's.
        k: Authors that make a word common.

    Raises:
        ClusterError: The cluster does not answer, or lacks a topic.
    """
    decided = {_place(one): one for one in _standing_resolutions(settings)}
    history = History(vocabulary=CommonWords(k))
    # What stands in all copies of a flood would be common, were those counted that nobody decided on.
    confirmed: list[list[int]] = []
    for post in _posts(settings):
        resolution = decided.get((post.tenant, post.id, post.revision, content_hash(post)))
        if resolution is not None and is_harmful(resolution):
            confirmed.append(checksums(post.text, KEPT))
    floods = _Floods(confirmed)
    seen: set[_Place] = set()
    for post in _posts(settings):
        place = (post.tenant, post.id, post.revision, content_hash(post))
        if place in seen:
            continue  # published again
        seen.add(place)
        author = post.author_id or ""
        resolution = decided.get(place)
        if resolution is None:
            if not floods.have(checksums(post.text, KEPT)):
                history.vocabulary.add(post.text, author)
            history.others.append((tuple(checksums(post.text, LOOKED_UP)), post.created_at))
        elif is_harmful(resolution):
            history.copies.append(_copy(post, author, resolution))
        else:
            history.vocabulary.add(post.text, author)
            history.harmless.append(frozenset(all_checksums(post.text)))
    history.missing = sum(is_harmful(one) for place, one in decided.items() if place not in seen)
    return history


class _Floods:
    """Tells copies of the floods that people confirmed, as mining tells them.

    Args:
        low: The lowest checksums of each copy that people confirmed.
    """

    def __init__(self, low: Sequence[Sequence[int]]) -> None:
        self._of: defaultdict[int, set[int]] = defaultdict(set)
        for number, members in enumerate(clusters(low)):
            held = Counter(one for member in members for one in set(low[member]))
            for one, count in held.items():
                if count >= NEEDED or len(members) == 1:  # what one copy has alone tells no others
                    self._of[one].add(number)

    def have(self, low: Sequence[int]) -> bool:
        """True if a text shares two of its lowest checksums with one flood."""
        met = Counter(flood for one in set(low) for flood in self._of.get(one, ()))
        return any(count >= NEEDED for count in met.values())


def is_harmful(resolution: Resolution) -> bool:
    """True if a person found the post harmful, and acted on it."""
    return resolution.severity in {"controversial", "unsafe"} and resolution.action is not Action.ALLOW


def read_raised(settings: Settings) -> dict[str, RaisedCases]:
    """The cases of each pattern by its id: decided or open.

    Decisions that a near copy has from another post are no decision of their own.

    Raises:
        ClusterError: The cluster does not answer, or lacks a topic.
    """
    raised: dict[str, tuple[str, Verdict]] = {}
    # Where a policy acts on confirmed patterns, they block: an appeal that is granted speaks against a pattern.
    for record in _records(settings, [settings.topics.review, settings.topics.block]):
        if record.value is None or SHARED_PATTERN.encode() not in record.value:
            continue
        verdict = record.event(Verdict)
        for code in () if verdict is None else verdict.reason_codes:
            if verdict is not None and code.startswith(SHARED_PATTERN):
                raised[verdict.verdict_id] = code.removeprefix(SHARED_PATTERN), verdict
    decided = {one.verdict_id: one for one in _standing_resolutions(settings)}
    found: defaultdict[str, RaisedCases] = defaultdict(RaisedCases)
    for pattern, verdict in raised.values():
        resolution, cases = decided.get(verdict.verdict_id), found[pattern]
        if resolution is None or resolution.basis == Basis.BULK:
            cases.open.append(verdict)
        else:
            (cases.harmful if is_harmful(resolution) else cases.safe).append(verdict)
    return dict(found)


def read_feeds(settings: Settings, since: Mapping[int, int]) -> Iterator[TopicRecord]:
    """The feeds on the topic of patterns, in their order.

    Args:
        settings: The institution's.
        since: Where to begin, by partition; retention may have passed that.

    Raises:
        ClusterError: The cluster does not answer, or lacks the topic.
    """
    topic = settings.topics.patterns
    offsets = {(topic, partition): at for partition, at in since.items()}
    with TopicReader(settings.kafka, [topic], start="beginning", offsets=offsets) as reader:
        yield from reader.read_all()


def publish_feed(settings: Settings, member: str, content: bytes) -> None:
    """Put a signed feed on the topic of patterns.

    Raises:
        ClusterError: The cluster does not answer, lacks the topic, or does not take the feed.
    """
    topic, outcomes = settings.topics.patterns, list[Placed | Refused]()
    producer = Producer(settings.kafka, record_bytes=FEED_BYTES)
    try:
        if topic not in producer.partitions():
            raise absent(topic)
        producer.put(topic, content, member.encode(), report=outcomes.append)
    finally:
        producer.close(settings.kafka.delivery_timeout_s)
    if not outcomes or isinstance(outcomes[0], Refused):
        why = outcomes[0].reason if outcomes and isinstance(outcomes[0], Refused) else "nothing was reported"
        raise ClusterError(
            f"topic {topic}: the cluster did not take the feed ({why}); check Write on it and its max.message.bytes, "
            "then publish the same file again"
        )


def _standing_resolutions(settings: Settings) -> Iterator[Resolution]:
    """For each post of the tenants that opted in, the decision of people that counts."""
    claims: dict[tuple[str, str], precedence.Claims] = {}
    for record in _records(settings, [settings.topics.resolutions]):
        resolution = record.event(Resolution)
        if resolution is None or resolution.tenant not in settings.patterns.tenants:
            continue
        post = (resolution.tenant, resolution.post_id)
        claims[post] = precedence.add(claims.get(post, ()), precedence.claim(resolution))
    for its in claims.values():
        counts = precedence.standing(its)
        if isinstance(counts.record, Resolution) and not counts.reopens:
            yield counts.record


def _posts(settings: Settings) -> Iterator[Post]:
    for record in _records(settings, [settings.topics.posts]):
        post = decode_post(record.value or b"", limit_bytes=settings.limits.post_bytes)
        if isinstance(post, Post) and post.tenant in settings.patterns.tenants:
            yield post


def _records(settings: Settings, topics: list[str]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as the reader says
    with TopicReader(settings.kafka, topics, start="beginning") as reader:
        yield from reader.read_all()


def _place(resolution: Resolution) -> _Place:
    return resolution.tenant, resolution.post_id, resolution.revision, resolution.content_hash


def _copy(post: Post, author: str, resolution: Resolution) -> ConfirmedCopy:
    return ConfirmedCopy(
        text=post.text,
        author=f"{post.tenant}\n{author}",
        category=resolution.categories[0] if resolution.categories else UNNAMED,
        severity="unsafe" if resolution.severity == "unsafe" else "controversial",
        language=post.language,
        decided_at=resolution.decided_at,
        made_at=post.created_at,
    )
