"""People and posts, both simulated: what is written, who decides about it, and how often they err."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sluicegate.schemas import Feedback, Post

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGAN = datetime(2026, 9, 1, tzinfo=UTC)
TENANT = "market"

USUAL_ERROR, DRIFTED_ERROR, DRIFTED = 0.04, 0.30, "reviewer-3"
TEAM = tuple(f"reviewer-{number}" for number in range(8))
AUDITED = 0.3
"""Of all verdicts, the share that chance sends to people."""
FLOOD = 300

# A trade in code words, written for this. The shipped model has never seen them; who reads the reports knows them.
SOLD = ("blue lemons", "glass lemons", "winter lemons", "night lemons", "paper lemons")
OFFERS = (
    "fresh {thing} just landed, dm me for the menu, {place} only",
    "got {thing} again, first one free for regulars, meet at {place}",
    "{thing} all weekend, no cops no time wasters, text for the drop at {place}",
    "who needs {thing}? same price as last week, pickup behind {place}",
    "new batch of {thing}, strong ones, don't take two, {place} after dark",
    "restocked {thing} for the party crowd, cash at {place}, bring nobody",
)
HARMLESS_LEMONS = (
    "my {thing} cake came out of the oven at {time}, recipe is on the blog",
    "painted {thing} for the kitchen wall, took me until {time}",
    "the market near {place} sells lemons until {time}, bring a bag",
    "made lemonade for the kids at {place}, they drank all of it by {time}",
)
HARMLESS = (
    "we meet at {place} at {time}, bring the {item}",
    "does anybody have a spare {item}? mine broke at {time}",
    "lost my {item} near {place} around {time}, please write if you find it",
    "the {item} I ordered came today, a day early, thank you",
    "practice at {place} moves to {time} because of the rain",
)
THREATS = (
    "I will find you at {place} and break your {part}, wait for {time}",
    "come to {place} at {time} and I cut your {part}",
    "your whole family gets it at {place}, I bring the {item}",
)
PLACES = (
    "the old bridge",
    "platform nine",
    "the mill",
    "the north gate",
    "the car park",
    "harbour street",
    "the tower",
)
TIMES = ("six", "half past seven", "eight", "noon", "a quarter to nine", "ten")
ITEMS = ("bike pump", "tent", "charger", "rake", "drum", "ladder", "kettle", "net")
PARTS = ("legs", "fingers", "arms", "jaw")


@dataclass(frozen=True, slots=True)
class WrittenPost:
    """A post, and what it is."""

    id: str
    text: str
    severity: str
    categories: tuple[str, ...]


def written(draw: random.Random, number: int) -> WrittenPost:
    """A post; each has a number in it, so that no two are equal."""
    slots = {
        "thing": draw.choice(SOLD),
        "place": draw.choice(PLACES),
        "time": draw.choice(TIMES),
        "item": draw.choice(ITEMS),
        "part": draw.choice(PARTS),
    }
    kind = draw.random()
    tail = f" ({draw.choice(('re', 'ad', 'note', 'post'))} {number})"
    categories: tuple[str, ...]
    if kind < 0.3:
        template, severity, categories = draw.choice(OFFERS), "unsafe", ("Non-violent Illegal Acts",)
    elif kind < 0.5:
        template, severity, categories = draw.choice(HARMLESS_LEMONS), "safe", ()
    elif kind < 0.85:
        template, severity, categories = draw.choice(HARMLESS), "safe", ()
    else:
        template, severity, categories = draw.choice(THREATS), "unsafe", ("Violent",)
    return WrittenPost(f"post-{number}", template.format(**slots) + tail, severity, categories)


def posts(count: int) -> list[WrittenPost]:
    """The posts of three months, and one that the flood copies."""
    draw = random.Random(11)  # noqa: S311 - no secret
    return [written(draw, number) for number in range(count + 1)]


def decisions(written_posts: list[WrittenPost], found: dict[str, str], engine: str) -> Iterator[Feedback]:
    """Decisions over three months, a third of the posts decided by two people, and a flood.

    Args:
        written_posts: The last one is the flood's.
        found: By post, what the live model said.
        engine: Its digest.
    """
    draw = random.Random(12)  # noqa: S311 - no secret
    *usual, copied = written_posts
    count = len(usual)
    for number, post in enumerate(usual):
        stream = "audit" if draw.random() < AUDITED else "review"
        for reviewer in draw.sample(TEAM, 2 if number % 3 == 0 else 1):
            wrong = draw.random() < (DRIFTED_ERROR if reviewer == DRIFTED else USUAL_ERROR)
            severity = ("safe" if post.severity == "unsafe" else "unsafe") if wrong else post.severity
            yield decided(
                draw, post, number / count, severity,
                verdict=number, found=found[post.id], engine=engine, reviewer=reviewer, stream=stream,
            )  # fmt: skip
    for number in range(count, count + FLOOD):
        yield decided(
            draw, copied, number / count, copied.severity,
            verdict=number, found=found[copied.id], engine=engine, reviewer=TEAM[0], stream="review", basis="bulk",
        )  # fmt: skip


def decided(  # noqa: PLR0913 - what a decision has
    draw: random.Random,
    post: WrittenPost,
    at: float,
    severity: str,
    *,
    verdict: int,
    found: str,
    engine: str,
    reviewer: str,
    stream: str,
    basis: str = "single",
) -> Feedback:
    """One decision, at a share of the three months."""
    return Feedback.model_validate(
        {
            "schema_version": "1.2",
            "verdict_id": f"verdict-{verdict}",
            "post": Post(
                id=f"post-{verdict}",
                tenant=TENANT,
                author_id=f"author-{verdict // 2}",
                text=post.text,
                kind="post",
                language="en",
            ),
            "severity": severity,
            "categories": () if severity == "safe" else post.categories or ("Violent",),
            "blind": draw.random() < 0.5,
            "reviewed_at": BEGAN + timedelta(days=90 * at, seconds=draw.random()),
            "reviewer": reviewer,
            "basis": basis,
            "sampled_by": stream,
            "inclusion_probability": AUDITED if stream == "audit" else 1.0,
            "found": found,
            "engine": engine,
        }
    )
