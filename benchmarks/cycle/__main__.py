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
import tempfile
import time
from base64 import b64decode
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sluicegate.engines.adapt.cycle.cycle import CycleOutcome
from sluicegate.engines.adapt.cycle.erasure import erase_author
from sluicegate.engines.adapt.cycle.ledger import CycleLedger
from sluicegate.engines.adapt.cycle.qualify import GOLDEN
from sluicegate.engines.adapt.cycle.trace import trace
from sluicegate.engines.adapt.evaluate.scored import SCORES, read_scores
from sluicegate.engines.bundle import Bundle
from sluicegate.engines.cpu_model import SMALL
from sluicegate.engines.cpu_model.cpu_model import ADAPTER_WEIGHTS
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.shadow.ledger import FactLedger
from sluicegate.schemas import Feedback, Post, encode
from support.candidates import write_keys
from support.collector import ends, read, send
from support.kafka import ApacheKafka
from support.workers import Lane, open_lane, until

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
FLOOD, ERASED, SHADOWED = 300, 20, 12
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
    rows = folder / "posts.jsonl"
    if not (folder / SCORES).exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows.write_bytes(
            b"\n".join(
                orjson.dumps({**asdict(post), "kind": "post", "language": "en"}) for post in written_posts
            )
        )
        command = (
            *ADAPT,
            "evaluate",
            rows,
            "--engine",
            "llama_cpp",
            "--bundle",
            SMALL.bundle_path(),
            "--out",
            folder,
        )
        subprocess.run([*map(str, command)], check=True, stdout=sys.stderr)
    rows.unlink(missing_ok=True)  # it has the texts
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
        "optimiser": {"learning_rate": 3.0e-4, "warmup_share": 0.05, "final_share": 0.03},
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
        command = (
            *SLUICEGATE,
            "data",
            "erase",
            "--tenant",
            TENANT,
            "--author",
            author,
            "--ledger",
            ledger,
            "--key",
            key,
        )
        done = subprocess.run([*map(str, command)], check=True, capture_output=True)
        document = orjson.loads(done.stdout)
        public.verify(
            b64decode(document["signature"]),
            orjson.dumps(document["certificate"], option=orjson.OPT_SORT_KEYS),
        )
        found.append(document["certificate"])
    return found


class Service:
    """The topics of a service on Apache Kafka, its live settings, and what is said of candidates there."""

    def __init__(self, lane: Lane, kafka: ApacheKafka, folder: Path) -> None:
        self._lane = lane
        self.topics = {
            one: f"{lane.prefix}.{one}" for one in ("feedback", "shadow", "comparisons", "candidates")
        }
        for topic in self.topics.values():
            kafka.create_topic(topic, 1)
        self._live = folder / "live.yaml"
        settings = {
            "kafka": {"bootstrap_servers": lane.bootstrap},
            "topics": {**self.topics, "posts": lane.posts, "control": f"{lane.prefix}.control"},
            "engine": {"backend": "llama_cpp", "bundle": str(SMALL.bundle_path()), "threads": 1, "slots": 1},
            "candidate": {"keys": str(folder / "signing" / "keys"), "share": 1.0},
        }
        self._live.write_bytes(orjson.dumps(settings))

    def publish(self, records: list[Feedback]) -> None:
        """Put decisions onto the feedback topic."""
        send(self._lane.bootstrap, self.topics["feedback"], [encode(one) for one in records])

    def cycle(self, plan: Path, ledger: Path, key: Path) -> CycleOutcome:
        """From the topic to a candidate, by the command."""
        given = (plan, "--ledger", ledger, "--settings", self._live, "--hand-over", key)
        command = (*ADAPT, "cycle", *given)
        subprocess.run([*map(str, command)], check=False)
        results = sorted((ledger / "runs").glob("*/result.json"), key=lambda one: one.stat().st_mtime)
        if not results:
            raise SystemExit("the cycle did not end; see its message above, and give the same command")
        return CycleOutcome.model_validate_json(results[-1].read_bytes())

    def shadowed(self, outcome: CycleOutcome) -> tuple[list[str], list[bytes]]:
        """States that signed facts say of the candidate, and verdicts of it beside the live engine."""
        assert outcome.run is not None
        written = outcome.run / "candidate" / "settings.yaml"
        lane = self._lane
        states = [fact.state.value for fact in FactLedger(load_settings(written)).read().facts]
        shadow = lane.start(
            {"engine.backend": "llama_cpp", "topics.posts": lane.posts, "engine.score_timeout_s": "120"},
            arguments=("shadow", "run", "--settings", str(written)),
        )
        until("the shadow is ready", shadow.ready, within_s=300)
        draw = random.Random(99)  # noqa: S311 - no secret
        lane.send([written_for(draw, number) for number in range(SHADOWED)])
        topic = self.topics["shadow"]
        until(
            "the shadow judged", lambda: sum(ends(lane.bootstrap, topic).values()) >= SHADOWED, within_s=600
        )
        shadow.terminate()
        shadow.wait(60)
        return states, [orjson.dumps(one.body) for one in read(lane.bootstrap, [topic])]


def written_for(draw: random.Random, number: int) -> dict[str, Any]:
    """A new post of the tenant's, for the shadow."""
    return {
        "id": f"new-{number}",
        "text": written(draw, 800_000 + number).text,
        "tenant": TENANT,
        "language": "en",
    }


def traced(
    verdict: bytes, records: list[Feedback], outcome: CycleOutcome, ledger: Path, folder: Path
) -> None:
    """Follow a verdict of the candidate to what taught it, and one that was corrected to what it taught; print how long it took."""
    document = orjson.loads(verdict)
    assert document["engine"]["digest"] == outcome.digest, "the candidate judged"
    (folder / "verdict.json").write_bytes(verdict)
    rows = {name for row in CycleLedger(ledger).snapshot(str(outcome.snapshot)).rows for name in row.verdicts}
    corrected = next(
        one.verdict_id for one in records if one.verdict_id in rows and one.found != one.severity
    )
    for given in (str(folder / "verdict.json"), corrected):
        began = time.monotonic()
        command = (*SLUICEGATE, "trace", given, "--ledger", str(ledger))
        done = subprocess.run([*command], check=True, capture_output=True, text=True)
        whole = time.monotonic() - began
        began = time.monotonic()
        path = trace(CycleLedger(ledger), corrected, outcome.digest)
        assert path.bundle is not None
        assert path.taught
        print(
            f"  trace: {time.monotonic() - began:.2f} s ({whole:.2f} s with the start of Python)\n{done.stdout.rstrip()}"
        )


def main() -> int:
    """Run it, and print its closing line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="Folder for everything; one that was begun is gone on with."
    )
    parser.add_argument(
        "--posts",
        type=int,
        default=1_500,
        help="Posts that people decide about; four decisions on three of them.",
    )
    parser.add_argument("--rows", type=int, default=256, help="Rows of the training.")
    given = parser.parse_args()
    began = time.monotonic()
    folder = given.out.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    ledger = folder / "ledger"
    write_plan(folder, given.rows)
    if not (folder / "signing").exists():
        write_keys(folder / "signing")

    all_posts = posts(given.posts)
    found = judged(all_posts, folder / "live")
    print(f"the live model judged {len(all_posts):,} posts", flush=True)
    records = [*decisions(all_posts, found, Bundle.open(SMALL.bundle_path(), verify=False).digest)]
    authors = sorted({str(one.post.author_id) for one in records[: given.posts // 2]})[:ERASED]
    texts = {one.post.text.encode() for one in records if one.post.author_id in authors}
    before, after = authors[: ERASED // 2], authors[ERASED // 2 :]

    opened = CycleLedger(ledger)
    opened.collect(records)
    for author in before:
        if not opened.keys.is_erased(opened.keys.author(TENANT, author)):
            erase_author(opened, TENANT, author, every_days=7)
    with (
        tempfile.TemporaryDirectory(prefix="sluicegate-cycle-") as temporary,
        ApacheKafka() as kafka,
        open_lane(kafka, Path(temporary), partitions=1) as lane,
    ):
        service = Service(lane, kafka, folder)
        service.publish(records)
        outcome = service.cycle(folder / "cycle.yaml", ledger, folder / "signing" / "anna.pem")
        states, verdicts = service.shadowed(outcome) if outcome.passed else ([], [])
    certificates = told_to_erase(ledger, after, folder / "signing" / "anna.pem")

    quality = orjson.loads((ledger / "quality.json").read_bytes())
    planted = {name: DRIFTED_ERROR if name == DRIFTED else USUAL_ERROR for name in TEAM}
    off = 100 * (mean(one["error_rate"] for one in quality["raters"]) - mean(planted.values()))
    named = [one["rater"] for one in quality["raters"] if one["drifted"]]
    gain = 100 * (outcome.taught_gain or 0.0)
    name, change = outcome.worst_slice or ("none", 0.0)
    again = CycleLedger(ledger)
    theirs = {again.keys.author(TENANT, author) for author in before}
    learnt = () if outcome.snapshot is None else again.snapshot(outcome.snapshot).rows
    listed = [
        one
        for one in certificates
        if outcome.digest in {made["bundle"] for made in one["bundles_trained_on_them"]}
    ]
    seen = scan(folder, texts)
    assert scan(
        folder, {orjson.loads((folder / "golden.jsonl").read_bytes().splitlines()[0])["text"].encode()}
    ), "it scans"
    taught_them = sum(row.author in theirs for row in learnt)
    for step, seconds in outcome.seconds.items():
        print(f"  {step:18} {seconds / 60:5.1f} min")
    print(
        f"  live model is wrong on {quality['rates']['all']['wrong']['share']:.1%} of all posts, from the uniform stream"
    )
    print(
        f"  {len(certificates)} signed certificates, {len(listed)} of them name the new bundle; {taught_them} rows of authors erased before are in its snapshot"
    )
    if verdicts:
        print(f"  facts: {', '.join(states)}; {len(verdicts)} verdicts of the shadow")
        traced(verdicts[0], records, outcome, ledger, folder)
    is_shadow = states[-1:] == ["shadow"] and len(verdicts) == SHADOWED
    print(
        f"cycle: planted error within {off:+.1f} points, drifted reviewer {', '.join(named) or 'not'} named, {outcome.leaks} leaks, "
        f"taught recall {gain:+.1f} points, worst slice {100 * change:+.1f} ({name}), erased rows found {seen} times, "
        f"candidate {'gated' if outcome.passed else 'refused: ' + outcome.why}{' and in shadow' if is_shadow else ''}; "
        f"{(time.monotonic() - began) / 60:.0f} min"
    )
    held = (
        abs(off) <= 2,
        named == [DRIFTED],
        not outcome.leaks,
        gain >= 10,
        change >= -0.01,
        not seen,
        not taught_them,
        len(listed) == len(after) or not outcome.passed,
        outcome.passed,
        is_shadow,
    )
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
