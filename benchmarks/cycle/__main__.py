"""A cycle from end to end on the CPU model: simulated decisions in, a gated bundle out, and a line that says what held.

What is simulated: people. Eight of them decide on posts that are written here; each errs now and then, one errs far more
often, a flood of copies comes in between, and twenty authors ask to be erased. The live model is the shipped one, and it
does not know the code words of a new trade, which people correct. Everything else is real: the commands, the training, the models.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from base64 import b64decode
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sluicegate.engines.adapt.cycle.cycle import Cycle, CyclePlan
from sluicegate.engines.adapt.cycle.erasure import erase_author
from sluicegate.engines.adapt.cycle.ledger import CycleLedger
from sluicegate.engines.adapt.cycle.qualify import GOLDEN
from sluicegate.engines.adapt.evaluate.scored import SCORES, read_scores
from sluicegate.engines.bundle import Bundle
from sluicegate.engines.cpu_model import SMALL
from sluicegate.engines.cpu_model.cpu_model import ADAPTER_WEIGHTS
from sluicegate.schemas import Feedback, Post
from support.candidates import write_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "examples" / "adapt" / "rows"
BEGAN = datetime(2026, 9, 1, tzinfo=UTC)
TENANT = "market"

USUAL_ERROR, DRIFTED_ERROR, DRIFTED = 0.04, 0.30, "reviewer-3"
TEAM = tuple(f"reviewer-{number}" for number in range(8))
AUDITED = 0.3
"""Of all verdicts, the share that chance sends to people."""
FLOOD, ERASED = 300, 20
SLUICEGATE = (sys.executable, "-m", "sluicegate")
ADAPT = (*SLUICEGATE, "adapt")

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


def judged(written_posts: list[WrittenPost], folder: Path) -> dict[str, str]:
    """What the live model says of each post, by `adapt evaluate`; what was asked once is kept, without any text."""
    if not (folder / SCORES).exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows = folder / "posts.jsonl"
        rows.write_bytes(
            b"\n".join(orjson.dumps({**asdict(post), "kind": "post", "language": "en"}) for post in written_posts)
        )
        command = (*ADAPT, "evaluate", rows, "--engine", "llama_cpp", "--bundle", SMALL.bundle_path(), "--out", folder)
        subprocess.run([*map(str, command)], check=True, stdout=sys.stderr)  # noqa: S603 - our own command
        rows.unlink()
    return {row.id: row.found or "unsafe" for row in read_scores(folder / SCORES)}


def write_plan(folder: Path, rows: int) -> Path:
    """The file of the cycle, its recipe, the adapter that each training begins with, and golden rows. The gate's limits are the built-in ones."""
    begins = folder / "shipped"
    begins.mkdir(exist_ok=True)
    shutil.copyfile(SMALL.adapter_folder() / ADAPTER_WEIGHTS, begins / "adapter_model.safetensors")
    draw = random.Random(77)  # noqa: S311 - no secret
    golden = [asdict(written(draw, 900_000 + number)) | {"source": GOLDEN} for number in range(40)]
    (folder / "golden.jsonl").write_bytes(b"\n".join(map(orjson.dumps, golden)) + b"\n")
    recipe = {
        "base": {"bundle": "cpu"},
        "lora": {"preset": "strong"},
        "data": {"planned_rows": rows, "max_tokens": 96, "balance": 1.0},
        "optimiser": {"learning_rate": 2.0e-4, "warmup_share": 0.05, "final_share": 0.03},
        "dev": {"rows": 60, "every_rows": rows},
        "seed": 5,
        "start_from": str(begins),
    }
    (folder / "recipe.yaml").write_bytes(orjson.dumps(recipe))
    plan = {
        "name": "market",
        "tenant": TENANT,
        "core": [str(CORE)],
        "golden": ["golden.jsonl"],
        "recipe": "recipe.yaml",
        "sample": 600,
    }
    (folder / "cycle.yaml").write_bytes(orjson.dumps(plan))
    return folder / "cycle.yaml"


def scan(folder: Path, texts: set[bytes]) -> int:
    """How often one of some texts stands in any file of a folder."""
    files = (path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return sum(text in content for content in files for text in texts)


def told_to_erase(ledger: Path, authors: list[str], key: Path) -> list[dict[str, Any]]:
    """Erase authors by the command. Their certificates, whose signatures hold."""
    public = load_pem_private_key(key.read_bytes(), password=None).public_key()
    assert isinstance(public, Ed25519PublicKey)
    found = []
    for author in authors:
        command = (*SLUICEGATE, "data", "erase", "--tenant", TENANT, "--author", author, "--ledger", ledger, "--key", key)
        done = subprocess.run([*map(str, command)], check=True, capture_output=True)  # noqa: S603 - our own command
        document = orjson.loads(done.stdout)
        public.verify(
            b64decode(document["signature"]), orjson.dumps(document["certificate"], option=orjson.OPT_SORT_KEYS)
        )
        found.append(document["certificate"])
    return found


def main() -> int:
    """Run it, and print its closing line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="Folder for everything; one that was begun is gone on with."
    )
    parser.add_argument("--decisions", type=int, default=2_000, help="Posts that people decide about.")
    parser.add_argument("--rows", type=int, default=400, help="Rows of the training.")
    given = parser.parse_args()
    began = time.monotonic()
    folder = given.out.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    ledger = folder / "ledger"
    plan = CyclePlan.load(write_plan(folder, given.rows))
    key = write_keys(folder / "signing", {"officer": "editor"})["officer"] if not (folder / "signing").exists() else folder / "signing" / "officer.pem"

    all_posts = posts(given.decisions)
    found = judged(all_posts, folder / "live")
    print(f"judged by the live model: {(time.monotonic() - began) / 60:.1f} min", flush=True)
    records = [*decisions(all_posts, found, Bundle.open(SMALL.bundle_path(), verify=False).digest)]
    authors = sorted({str(one.post.author_id) for one in records[: given.decisions // 2]})[:ERASED]
    texts = {one.post.text.encode() for one in records if one.post.author_id in authors}
    before, after = authors[: ERASED // 2], authors[ERASED // 2 :]

    opened = CycleLedger(ledger)
    opened.collect(records)
    for author in before:
        erase_author(opened, TENANT, author, every_days=7)
    outcome = Cycle(plan, ledger, partial(print, flush=True)).run(records)
    print("\n".join(f"{name:18} {seconds / 60:5.1f} min" for name, seconds in outcome.seconds.items()), flush=True)
    print(outcome.model_dump_json(indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
