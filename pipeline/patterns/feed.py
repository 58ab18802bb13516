"""Feeds on their way: signed, opened, and held against what came before. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import orjson

from sluicegate.pipeline.errors import PatternError, SignatureError
from sluicegate.pipeline.patterns.circle import Circle
from sluicegate.pipeline.patterns.pattern import MOST_BYTES, Feed, overlapping, repeated
from sluicegate.pipeline.signing.ed25519 import PublicKeys, SigningKey

if TYPE_CHECKING:
    from datetime import date

_PURPOSE = b"sluicegate: a feed of patterns\n"
_LONGEST = timedelta(days=90)
"""A pattern is good for 30 days by our own rule, and at a receiver for no longer than this."""
_HEAD = re.compile(rb'\{"format":"[^"]{1,64}","circle":"([a-z0-9.-]{1,63})","member":"([a-z0-9.-]{1,63})",')
"""How the one text of a feed begins."""
_SIGNATURE = re.compile(rb'[A-Za-z0-9+/=]{1,128}"\}')


class KnownFeedError(PatternError):
    """It is the newest feed that was taken in: nothing is to be done."""


class Head(NamedTuple):
    """The newest feed of a member that was taken in."""

    sequence: int
    digest: str


def seal(feed: Feed, pem: bytes) -> bytes:
    """A feed with its member's signature, as it travels.

    Raises:
        PatternError: The key cannot sign.
    """
    text = feed.encode()
    try:
        signature = SigningKey(pem).sign(_PURPOSE, text)
    except SignatureError as error:
        raise PatternError(str(error)) from None
    return orjson.dumps({"feed": orjson.Fragment(text), "signature": signature})


def open_feed(content: bytes, circle: Circle, today: date) -> Feed:
    """Read a feed that a member of the circle signed, and that is still good.

    Raises:
        PatternError: It is none; the message says why.
    """
    if len(content) > MOST_BYTES:
        raise PatternError(f"a feed has at most {MOST_BYTES:,} bytes; ask its sender to share fewer patterns")
    text, _, signature = content.rstrip().rpartition(b',"signature":"')
    text = text.removeprefix(b'{"feed":')
    head = _HEAD.match(text)
    if head is None or not _SIGNATURE.fullmatch(signature):
        raise PatternError(
            "it is no signed feed of patterns; ask its sender for what `patterns export` wrote"
        )
    of, member = (one.decode() for one in head.groups())
    if of != circle.name:
        raise PatternError(f"it is of circle {of}, and yours is {circle.name}; put it where that is")
    try:
        signed = PublicKeys(circle.signing_keys(today)).signed(
            member, signature.removesuffix(b'"}').decode(), _PURPOSE, text
        )
    except SignatureError as error:
        raise PatternError(f"the circle's file: {error}") from None
    if not signed:
        raise PatternError(
            f"no key of {member} that is good today signed it; ask {member} whether it is theirs, "
            "or get the circle's new file"
        )
    # Only now: what a stranger sends is not taken apart.
    feed = Feed.decode(text)
    if feed.encode() != text:
        raise PatternError(f"it is not written as feeds are; ask {member} for what `patterns export` wrote")
    _require_good(feed, circle, today)
    return feed


def _require_good(feed: Feed, circle: Circle, today: date) -> None:
    if feed.expires_on < today:
        raise PatternError(f"it expired on {feed.expires_on}; ask {feed.member} for the newest")
    if feed.k < circle.k:
        raise PatternError(
            f"its k is {feed.k}, and the circle agreed on {circle.k}; ask {feed.member} for another"
        )
    if (twice := repeated(one.id for one in feed.patterns)) is not None:
        raise PatternError(f"pattern {twice} stands in it twice; ask {feed.member} for another")
    revoked = {one.id for one in feed.revoked}
    if both := next((one.id for one in feed.patterns if one.id in revoked), None):
        raise PatternError(f"pattern {both} is shared and revoked in it; ask {feed.member} for another")
    if any(one.expires_on > today + _LONGEST for one in feed.patterns):
        raise PatternError(
            f"a pattern in it is good for more than {_LONGEST.days} days; ask {feed.member} for another"
        )
    if pair := overlapping(feed.patterns):
        raise PatternError(
            f"patterns {pair[0]} and {pair[1]} in it are of the same posts, which would have the budget of both; "
            f"ask {feed.member} for another"
        )


def require_newer(feed: Feed, head: Head | None) -> str | None:
    """Make sure that a feed follows what was taken in before; a sentence where some in between never came.

    Raises:
        KnownFeedError: It came before.
        PatternError: It is older, or its member has told others something else.
    """
    if head is None:
        return None
    if feed.sequence < head.sequence:
        raise PatternError(
            f"it is number {feed.sequence} of {feed.member}, and number {head.sequence} was taken in before: "
            "an old feed would bring back what was revoked"
        )
    if feed.sequence == head.sequence:
        if feed.digest == head.digest:
            raise KnownFeedError(f"number {feed.sequence} of {feed.member} was taken in before")
        raise PatternError(
            f"{feed.member} has signed two feeds of number {feed.sequence}: members are told different things; "
            "take neither, and tell the circle"
        )
    if feed.sequence > head.sequence + 1:
        return f"numbers {head.sequence + 1} to {feed.sequence - 1} of {feed.member} never came"
    if feed.previous != head.digest:
        raise PatternError(
            f"number {feed.sequence} of {feed.member} follows another number {head.sequence} than yours: members are told "
            "different things; take it not, and tell the circle"
        )
    return None
