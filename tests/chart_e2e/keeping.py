"""Whether an API server kept what it was sent."""

from __future__ import annotations

from typing import Any


def dropped(sent: Any, live: Any, place: str = "") -> list[str]:
    """Places of what was sent and is missing or other in what is there; defaults that were added do not count."""
    if sent in (None, "", [], {}):
        return []  # not written at all, by the server's own types
    if isinstance(sent, dict):
        found = live if isinstance(live, dict) else {}
        return [
            one for key, value in sent.items() for one in dropped(value, found.get(key), f"{place}.{key}")
        ]
    if isinstance(sent, list):
        others = live if isinstance(live, list) else []
        if len(others) != len(sent):
            return [f"{place}: {len(sent)} sent, {len(others)} there"]
        pairs = enumerate(zip(sent, others, strict=True))
        return [one for at, (ours, theirs) in pairs for one in dropped(ours, theirs, f"{place}[{at}]")]
    # A quantity may be sent as a number and is kept as text.
    return [] if str(sent) == str(live) else [f"{place}: {sent!r} sent, {live!r} there"]
