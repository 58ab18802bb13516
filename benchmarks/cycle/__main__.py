"""A cycle from end to end on the CPU model: simulated decisions in, a gated bundle out, and a line that says what held.

What is simulated: people. Eight of them decide on posts that are written here; each errs now and then, one errs far more
often, a flood of copies comes in between, and twenty authors ask to be erased. The live model is the shipped one, and it
does not know the code words of a new trade, which people correct. Everything else is real: the commands, the training, the models.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import orjson

from sluicegate.engines.adapt.cycle.cycle import Cycle, CyclePlan
from sluicegate.engines.adapt.cycle.erasure import erase_author
from sluicegate.engines.adapt.cycle.ledger import CycleLedger
from sluicegate.engines.adapt.cycle.trace import trace
from sluicegate.schemas import Feedback, Post

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "examples" / "adapt" / "rows"
BEGAN = datetime(2026, 9, 1, tzinfo=UTC)
TENANT = "market"

USUAL_ERROR, DRIFTED_ERROR, DRIFTED = 0.04, 0.30, "reviewer-3"
TEAM = tuple(f"reviewer-{number}" for number in range(8))
FLOOD, ERASED = 300, 20

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
    """A post, what it is, and what the live model is taken to have said."""

    text: str
    severity: str
    categories: tuple[str, ...]
    found: str


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
    if kind < 0.3:
        return WrittenPost(
            draw.choice(OFFERS).format(**slots) + tail, "unsafe", ("Non-violent Illegal Acts",), "safe"
        )
    if kind < 0.5:
        return WrittenPost(draw.choice(HARMLESS_LEMONS).format(**slots) + tail, "safe", (), "safe")
    if kind < 0.85:
        return WrittenPost(draw.choice(HARMLESS).format(**slots) + tail, "safe", (), "safe")
    return WrittenPost(draw.choice(THREATS).format(**slots) + tail, "unsafe", ("Violent",), "unsafe")


def decisions(count: int, seed: int) -> Iterator[Feedback]:
    """Decisions over three months, a third of them by two people, and a flood."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    for number in range(count):
        post = written(draw, number)
        stream = "audit" if draw.random() < 0.3 else "review"
        for reviewer in draw.sample(TEAM, 2 if number % 3 == 0 else 1):
            wrong = draw.random() < (DRIFTED_ERROR if reviewer == DRIFTED else USUAL_ERROR)
            yield decided(draw, number, post, reviewer, stream, count=count, wrong=wrong)
    copied = written(random.Random(seed + 1), count)  # noqa: S311 - no secret
    for number in range(FLOOD):
        yield decided(draw, count + number, copied, TEAM[0], "review", count=count, wrong=False, basis="bulk")


def decided(  # noqa: PLR0913 - what a decision has
    draw: random.Random,
    number: int,
    post: WrittenPost,
    reviewer: str,
    stream: str,
    *,
    count: int,
    wrong: bool,
    basis: str = "single",
) -> Feedback:
    """One decision."""
    severity = ("safe" if post.severity == "unsafe" else "unsafe") if wrong else post.severity
    categories = post.categories or ("Violent",)
    return Feedback.model_validate(
        {
            "schema_version": "1.2",
            "verdict_id": f"verdict-{number}",
            "post": Post(
                id=f"post-{number}",
                tenant=TENANT,
                author_id=f"author-{number % (count // 2)}",
                text=post.text,
                kind="post",
                language="en",
            ),
            "severity": severity,
            "categories": () if severity == "safe" else categories,
            "blind": draw.random() < 0.5,
            "reviewed_at": BEGAN + timedelta(days=90 * number / count, seconds=draw.random()),
            "reviewer": reviewer,
            "basis": basis,
            "sampled_by": stream,
            "inclusion_probability": 0.01 if stream == "audit" else 1.0,
            "found": post.found,
            "engine": f"sha256:{'0' * 64}",
        }
    )


def plan_file(folder: Path, rows: int, adapter: Path) -> Path:
    """The file of the cycle, its recipe, and golden rows."""
    golden = folder / "golden.jsonl"
    draw = random.Random(77)  # noqa: S311 - no secret
    lines = []
    for number in range(40):
        post = written(draw, 900_000 + number)
        lines.append(
            {
                "text": post.text,
                "severity": post.severity,
                "categories": post.categories,
                "kind": "post",
                "source": "golden",
            }
        )
    golden.write_bytes(b"\n".join(orjson.dumps(one) for one in lines) + b"\n")
    (folder / "recipe.yaml").write_text(
        "base: {bundle: cpu}\nlora: {preset: strong}\n"
        f"data: {{planned_rows: {rows}, max_tokens: 96, balance: 1.0}}\n"
        "optimiser: {learning_rate: 3.0e-4, final_share: 0.1}\n"
        f"dev: {{rows: 120, every_rows: {max(200, rows // 3)}}}\nseed: 5\nstart_from: {adapter}\n"
    )
    (folder / "limits.yaml").write_text(
        "overall: {minimum_rows: 100}\nlanguage: {minimum_rows: 1000}\ncategory: {minimum_rows: 1000}\nkind: {minimum_rows: 1000}\nsource: {minimum_rows: 1000}\nalways: {well_formed_least: null}\n"
    )
    path = folder / "cycle.yaml"
    path.write_text(
        f"name: market\ntenant: {TENANT}\ncore: [{CORE}]\ngolden: [golden.jsonl]\nrecipe: recipe.yaml\nlimits: limits.yaml\nsample: 400\n"
        "worst_slice: 0.03\n"
    )
    return path


def scan(folder: Path, texts: set[bytes]) -> int:
    """How often an erased text stands in any file of a folder."""
    found = 0
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found += sum(text in content for text in texts)
    return found


def main() -> int:
    """Run it, and print its closing line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="Folder for everything; one that was begun is gone on with."
    )
    parser.add_argument("--decisions", type=int, default=2_000)
    parser.add_argument("--rows", type=int, default=1_200, help="Rows of the training.")
    parser.add_argument(
        "--adapter", type=Path, required=True, help="The shipped adapter, as `adapt train` writes one."
    )
    given = parser.parse_args()
    began = time.monotonic()
    folder = given.out.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    ledger = folder / "ledger"
    plan = CyclePlan.load(plan_file(folder, given.rows, given.adapter.absolute()))
    records = [*decisions(given.decisions, seed=11)]
    by_author = {record.post.author_id: record.post.text.encode() for record in records}
    erased = sorted(str(one) for one in by_author)[:ERASED]
    texts = {record.post.text.encode() for record in records if record.post.author_id in erased}
    opened = CycleLedger(ledger)
    opened.collect(records)
    for author in erased[: ERASED // 2]:
        erase_author(opened, TENANT, author, every_days=7)
    outcome = Cycle(plan, ledger, print).run(records)
    for author in erased[ERASED // 2 :]:
        certificate = erase_author(CycleLedger(ledger), TENANT, author, every_days=7)
    print(orjson.dumps(certificate, option=orjson.OPT_INDENT_2).decode()[:600])

    quality = orjson.loads((ledger / "quality.json").read_bytes())
    planted = {name: DRIFTED_ERROR if name == DRIFTED else USUAL_ERROR for name in TEAM}
    found_rates = {one["rater"]: one["error_rate"] for one in quality["raters"]}
    off = mean(found_rates.values()) - mean(planted.values())
    named = [one["rater"] for one in quality["raters"] if one["drifted"]]
    traced = trace(
        CycleLedger(ledger),
        next(one.verdict_id for one in records if one.post.author_id not in erased),
        outcome.digest,
    )
    gain = 100 * (outcome.taught_gain or 0.0)
    worst = (
        "none"
        if outcome.worst_slice is None
        else f"{outcome.worst_slice[0]} {100 * outcome.worst_slice[1]:+.1f}"
    )
    print(
        f"cycle: planted error {100 * off:+.1f} points, drifted reviewer {', '.join(named) or 'nobody'} named, "
        f"{outcome.leaks} near golden rows left out, taught recall {gain:+.1f} points, worst slice {worst}, "
        f"erased rows found {scan(folder, texts)} times, candidate {'gated' if outcome.passed else 'refused: ' + outcome.why}; "
        f"{len(traced.rows):,} rows traced; {(time.monotonic() - began) / 60:.1f} min"
    )
    return 0 if outcome.passed and named == [DRIFTED] and abs(off) <= 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
