"""Sharing: from clusters to a draft that people look at, and from an approved draft to a feed."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeVar

import orjson

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.patterns.circle import Circle, CircleKey
from sluicegate.pipeline.patterns.masking import masked
from sluicegate.pipeline.patterns.mining import SLOT, MinedCluster
from sluicegate.pipeline.patterns.noise import Chance, noisy
from sluicegate.pipeline.patterns.pattern import LIFE_DAYS, Feed, Pattern, Revocation, week_of
from sluicegate.pipeline.patterns.sketch import BARRIER, NEEDED, keyed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

_DRAFT = "sluicegate-pattern-draft/1"
_GROWN = 2
"""Values more than a pattern has, by which a later cluster is the better one: the first copies are few."""
_FEED_DAYS = 7
"""A feed is good for so long: who gets none for a week asks why."""


@dataclass(frozen=True, slots=True)
class PatternCandidate:
    """A cluster as people look at it before it leaves. It stays in the house."""

    number: int
    template: str
    category: str
    severity: Literal["controversial", "unsafe"]
    languages: tuple[str, ...]
    authors: int
    copies: int
    first_week: str
    last_week: str
    also_matches: int
    """Other posts of the house that would match, and that nobody decided on."""
    checksums: tuple[int, ...]


_Found = TypeVar("_Found", PatternCandidate, MinedCluster)


def draft(clusters: Sequence[MinedCluster], *, matches: Callable[[MinedCluster], int], by: str) -> bytes:
    """The file that somebody else approves.

    Args:
        clusters: Those that may be shared.
        matches: How many posts that nobody decided on a cluster would match.
        by: Who makes it.
    """
    candidates = [
        asdict(
            PatternCandidate(
                number=number,
                template=one.template,
                category=one.category,
                severity=one.severity,
                languages=one.languages,
                authors=one.authors,
                copies=one.copies,
                first_week=week_of(one.first),
                last_week=week_of(one.last),
                also_matches=matches(one),
                checksums=one.checksums,
            )
        )
        for number, one in enumerate(clusters, start=1)
    ]
    return orjson.dumps({"format": _DRAFT, "by": by, "candidates": candidates}, option=orjson.OPT_INDENT_2)


def read_draft(content: bytes) -> list[PatternCandidate]:
    """The candidates of a draft.

    Raises:
        PatternError: It is none.
    """
    try:
        document = orjson.loads(content)
        if document["format"] != _DRAFT:
            raise ValueError("of another format")  # noqa: TRY301 - one sentence for all faults
        return [
            PatternCandidate(
                **{
                    **one,
                    "languages": tuple(one["languages"]),
                    "checksums": tuple(one["checksums"]),
                }
            )
            for one in document["candidates"]
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise PatternError(
            "it is no draft of this release; make one with `sluicegate patterns export --draft`"
        ) from error


def residue(template: str, *, also: Callable[[str], bool] = lambda _text: False) -> bool:
    """True if something that may stand for a person is still in a template: the scan before it leaves.

    Args:
        template: As people read it.
        also: A second detector, where there is one.
    """
    text = template.replace(SLOT, BARRIER)
    bare = text.replace(BARRIER, " ")
    return masked(text).count(BARRIER) > text.count(BARRIER) or also(bare)


def overlaps(pattern: Pattern, values: Collection[str]) -> bool:
    """True if a pattern stands for these values already."""
    return len(set(pattern.values) & set(values)) >= NEEDED


def not_withdrawn(
    found: Iterable[_Found], circle: Circle, withdrawn: Collection[tuple[str, Sequence[str]]]
) -> list[_Found]:
    """Clusters or candidates without those of a pattern that was taken back: people would share it again.

    Args:
        found: To look at.
        circle: Whose keys values are hashed with. What was hashed with a key that it no longer has is not known again.
        withdrawn: The key and the values of each pattern that was taken back.
    """
    keys = {key.id: key for key in circle.keys}
    gone = [(keys[name], set(values)) for name, values in withdrawn if name in keys]
    return [
        one
        for one in found
        if all(len(values.intersection(hashed(one, key))) < NEEDED for key, values in gone)
    ]


def next_feed(
    circle: Circle,
    member: str,
    before: Feed | None,
    candidates: Sequence[PatternCandidate],
    *,
    chance: Chance,
    now: datetime,
    revoked: Sequence[Revocation] = (),
) -> Feed:
    """The feed that takes the place of the one before.

    A cluster that is shared already keeps its pattern, with its count as it was drawn then: who draws again and again
    learns the count. It lasts longer by that. Where more is known of the cluster by now, a pattern with another id takes
    its place, with that same count: receivers confirm it anew, so that no confirmed pattern changes under their hands.

    Args:
        circle: Whose key is taken.
        member: Whose feed it is.
        before: The one before.
        candidates: That people approved.
        chance: Draws the noise.
        now: The present.
        revoked: What is taken back now.
    """
    today = now.astimezone(UTC).date()
    key = circle.newest_key(today)
    ends = min(today + timedelta(days=LIFE_DAYS), key.last_day)
    gone = {one.id for one in revoked}
    kept = [
        one
        for one in (before.patterns if before is not None else ())
        if one.expires_on >= today and one.id not in gone
    ]
    for candidate in candidates:
        values = hashed(candidate, key)
        same = [one for one in kept if overlaps(one, values)]
        if not same:
            authors = noisy(candidate.authors, chance, least=circle.k)
            kept.append(_pattern(candidate, values, key, ends, authors))
            continue
        first = kept.index(same[0])
        if len(values) >= len(same[0].values) + _GROWN:
            # Of all that it overlaps: receivers refuse two patterns of the same posts.
            kept = [one for one in kept if one not in same]
            kept.insert(first, _pattern(candidate, values, key, ends, same[0].authors))
        else:
            last_week = max(same[0].last_week, candidate.last_week)
            kept[first] = same[0].model_copy(update={"last_week": last_week, "expires_on": ends})
    old = before.revoked if before is not None else ()
    return Feed(
        circle=circle.name,
        member=member,
        sequence=1 if before is None else before.sequence + 1,
        previous=None if before is None else before.digest,
        made_at=now.astimezone(UTC).replace(second=0, microsecond=0),
        expires_on=today + timedelta(days=_FEED_DAYS),
        licence=circle.licence,
        k=circle.k,
        patterns=tuple(kept),
        revoked=(*(one for one in old if _is_recent(one, today)), *revoked),
    )


def hashed(candidate: PatternCandidate | MinedCluster, key: CircleKey) -> tuple[str, ...]:
    """The values that leave for a candidate."""
    value_of = keyed(key.value)
    return tuple(value_of(checksum).hex() for checksum in candidate.checksums)


def _pattern(
    candidate: PatternCandidate, values: tuple[str, ...], key: CircleKey, ends: date, authors: int
) -> Pattern:
    return Pattern(
        id=secrets.token_hex(8),
        key=key.id,
        # Their order would tell which are the most common.
        values=tuple(sorted(values)),
        category=candidate.category,
        severity=candidate.severity,
        languages=candidate.languages,
        authors=authors,
        first_week=candidate.first_week,
        last_week=candidate.last_week,
        expires_on=ends,
    )


def _is_recent(one: Revocation, today: date) -> bool:
    """Until every pattern that it may be about has expired."""
    return one.on + timedelta(days=LIFE_DAYS) >= today
