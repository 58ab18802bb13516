"""Other formats of a feed: STIX 2.1 and MISP. They carry the same values, and no signature of ours. Pure.

A tool that does not know our kind of pattern keeps it, shows it and passes it on; only Sluicegate compares posts with it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID, uuid5

import orjson

from sluicegate.pipeline.patterns.pattern import Feed, Pattern
from sluicegate.pipeline.patterns.sketch import NEEDED

_OURS = UUID("0d7f6f0e-3b0a-5c53-9d54-6f4f0c2a9b11")  # our own namespace
_CREATED = "2026-01-01T00:00:00.000Z"
"""All versions of an object have one time of creation, and who revokes a pattern knows nothing else of it."""
PATTERN_TYPE = "sluicegate-values"
"""Of an indicator: STIX 2.1 lets a producer name its own."""


def stix(feed: Feed) -> dict[str, Any]:
    """A bundle of STIX 2.1: who shares, under which terms, and an indicator for each pattern.

    Args:
        feed: What is shared.
    """
    made = _moment(feed.made_at)
    identity = {
        "type": "identity",
        "spec_version": "2.1",
        "id": f"identity--{_id(feed.circle, feed.member)}",
        "created": _CREATED,
        "modified": made,
        "name": feed.member,
        "identity_class": "organization",
    }
    terms = {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": f"marking-definition--{_id(feed.circle, feed.licence)}",
        "created": _CREATED,
        "definition_type": "statement",
        "definition": {"statement": feed.licence},
    }
    common = {"created_by_ref": identity["id"], "object_marking_refs": [terms["id"]]}
    indicators = [_indicator(one, made) | common for one in feed.patterns]
    revoked = [
        {
            "type": "indicator",
            "spec_version": "2.1",
            "id": f"indicator--{_id(one.id)}",
            "created": _CREATED,
            "modified": made,
            "revoked": True,
            "pattern": "{}",
            "pattern_type": PATTERN_TYPE,
            "valid_from": _moment(datetime.combine(one.on, time(), UTC)),
            "description": one.why,
        }
        | common
        for one in feed.revoked
    ]
    return {
        "type": "bundle",
        "id": f"bundle--{_id(feed.digest)}",
        "objects": [identity, terms, *indicators, *revoked],
    }


def misp(feed: Feed) -> dict[str, Any]:
    """An event of MISP: an attribute for each pattern, none of which is for automatic detection.

    Args:
        feed: What is shared.
    """
    return {
        "Event": {
            "uuid": str(_id(feed.circle, feed.member)),
            "info": f"Sluicegate patterns of {feed.member}, feed {feed.sequence}",
            "date": feed.made_at.date().isoformat(),
            "timestamp": str(int(feed.made_at.timestamp())),
            "threat_level_id": "3",
            "analysis": "2",
            "distribution": "0",  # this organisation alone: who passes it on decides so
            "published": False,
            "Orgc": {"name": feed.member, "uuid": str(_id(feed.circle, feed.member, "org"))},
            "Tag": [{"name": "tlp:amber"}],
            "Attribute": [
                {
                    "uuid": str(_id(one.id)),
                    "type": "text",
                    "category": "Other",
                    "to_ids": False,
                    "disable_correlation": True,
                    "distribution": "5",
                    "timestamp": str(int(feed.made_at.timestamp())),
                    "value": _written(one),
                    "comment": f"{one.category}, {one.severity}, {one.first_week} to {one.last_week}; {feed.licence}",
                }
                for one in feed.patterns
            ],
        }
    }


def _indicator(pattern: Pattern, made: str) -> dict[str, Any]:
    year, week = map(int, pattern.first_week.split("-W"))
    begun = datetime.combine(date.fromisocalendar(year, week, 1), time(), UTC)
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{_id(pattern.id)}",
        "created": _CREATED,
        "modified": made,
        "name": f"{pattern.category} {pattern.id}",
        "indicator_types": ["malicious-activity"],
        "pattern": _written(pattern),
        "pattern_type": PATTERN_TYPE,
        "valid_from": _moment(begun),
        "valid_until": _moment(datetime.combine(pattern.expires_on, time(), UTC)),
        "labels": [f"severity:{pattern.severity}"],
        **({"lang": pattern.languages[0]} if pattern.languages else {}),
    }


def _written(pattern: Pattern) -> str:
    return orjson.dumps(
        {"key": pattern.key, "needed": NEEDED, "values": pattern.values, "id": pattern.id}
    ).decode()


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _id(*parts: str) -> UUID:
    return uuid5(_OURS, orjson.dumps(parts).decode())
