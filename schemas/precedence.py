"""Precedence: which of several verdicts and resolutions on one post counts. Pure, whatever order they come in.

1. The highest revision counts.
2. Of several contents of one revision, the newest counts: the one whose verdict was made last.
3. For that content the highest authority counts: machine, reviewer, adjudicator, appeal. A case that was reopened takes
   away what people had decided on it before.
4. Of one authority the newest counts, and of two at one moment the greater id.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sluicegate.schemas.resolution import Authority, Resolution
from sluicegate.schemas.verdict import Verdict

CLAIMS_MOST = 12
"""Most claims kept of one revision of a post. Three contents of one revision are rare, and each has five at most."""


class Claim(NamedTuple):
    """What one record says about who may speak for a post."""

    revision: int
    content: str
    judged_at: datetime
    """When the machine judged this content."""
    authority: int
    at: datetime
    """When it was said."""
    name: str
    """The id of the record."""
    reopens: bool = False
    record: Verdict | Resolution | None = None
    """The record itself, where a person spoke, or where a person's word hides it: it may have to be acted on later."""


Claims = tuple[Claim, ...]
"""All that is remembered of one post."""


def claim(record: Verdict | Resolution) -> Claim:
    """What a record claims."""
    if isinstance(record, Verdict):
        return Claim(
            record.revision,
            record.content_hash,
            record.judged_at,
            Authority.MACHINE.rank,
            record.judged_at,
            record.verdict_id,
        )
    return Claim(
        record.revision,
        record.content_hash,
        record.verdict_judged_at,
        record.authority.rank,
        record.decided_at,
        record.resolution_id,
        record.reopens,
        record,
    )


def add(claims: Claims, new: Claim) -> Claims:
    """What is remembered of a post after another record."""
    if claims and new.revision < claims[0].revision:
        return claims
    if not claims or new.revision > claims[0].revision:
        return (new,)
    kept = []
    for one in claims:
        if (one.content, one.authority, one.reopens) == (new.content, new.authority, new.reopens):
            newer = max(one, new, key=lambda each: (each.at, each.name))
            new = newer._replace(judged_at=max(one.judged_at, new.judged_at))
        else:
            kept.append(one)
    kept.append(new)
    if len(kept) > CLAIMS_MOST:
        newest = _contents(kept)
        counts = max(newest, key=lambda one: (newest[one], one))
        # What a person said is kept longest, and what took it away: a text that is swapped often enough must lose neither.
        kept.sort(
            key=lambda one: (one.content == counts, one.authority > 0 or one.reopens, newest[one.content]),
            reverse=True,
        )
    return tuple(kept[:CLAIMS_MOST])


def standing(claims: Claims) -> Claim:
    """The claim that counts.

    Raises:
        ValueError: There are none.
    """
    newest = _contents(claims)
    content = max(newest, key=lambda one: (newest[one], one))
    here = [one for one in claims if one.content == content]
    reopened = [one.at for one in here if one.reopens]
    left = [one for one in here if not one.authority or not reopened or one.at > max(reopened)]
    return max(left, key=lambda one: (one.authority, one.at, one.name))


def _contents(claims: Claims | list[Claim]) -> dict[str, datetime]:
    """When each content was judged last."""
    newest: dict[str, datetime] = {}
    for one in claims:
        newest[one.content] = max(one.judged_at, newest.get(one.content, one.judged_at))
    return newest
