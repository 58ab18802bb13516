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
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cycle.people import DRIFTED, DRIFTED_ERROR, TEAM, TENANT, USUAL_ERROR, decisions, posts, written
from sluicegate.engines.adapt.cycle.erasure import erase_author
from sluicegate.engines.adapt.cycle.ledger import CycleLedger
from sluicegate.engines.adapt.cycle.qualify import GOLDEN
from sluicegate.engines.adapt.cycle.trace import trace
from sluicegate.engines.adapt.cycle.training import CycleOutcome
from sluicegate.engines.adapt.evaluate.scored import SCORES, read_scores
from sluicegate.engines.bundle import Bundle
from sluicegate.engines.cpu_model import SMALL
from sluicegate.engines.cpu_model.cpu_model import ADAPTER_WEIGHTS
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.shadow.ledger import FactLedger
from sluicegate.schemas import encode
from support.candidates import write_keys
from support.collector import ends, read, send
from support.kafka import ApacheKafka
from support.workers import Lane, open_lane, until

if TYPE_CHECKING:
    from cycle.people import WrittenPost
    from sluicegate.schemas import Feedback

ERASED, SHADOWED = 20, 12
HERE = Path(__file__).parent
CORE = HERE.parents[1] / "examples" / "adapt" / "rows"
SLUICEGATE = (sys.executable, "-m", "sluicegate")
ADAPT = (*SLUICEGATE, "adapt")


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
    if not isinstance(public, Ed25519PublicKey):
        raise TypeError(key)
    found = []
    for author in authors:
        whose = ("--tenant", TENANT, "--author", author)
        command = (*SLUICEGATE, "data", "erase", *whose, "--ledger", ledger, "--key", key)
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
        written = Path(str(outcome.run)) / "candidate" / "settings.yaml"
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
    require(document["engine"]["digest"] == outcome.digest, "the candidate judged in the shadow")
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
        require(path.bundle and path.taught, "a verdict is followed both ways")
        print(
            f"  trace: {time.monotonic() - began:.2f} s ({whole:.2f} s with the start of Python)\n{done.stdout.rstrip()}"
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """What a cycle found of what was planted."""

    outcome: CycleOutcome
    off: float
    """Estimated error of people less the planted one, on average, in points."""
    drifted: tuple[str, ...]
    wrong: float
    """Estimated share of all posts that the live model is wrong about."""
    certificates: int
    listed: int
    """Certificates that name the new bundle."""
    erased_learnt: int
    """Rows in the snapshot of authors who were erased before it."""

    @classmethod
    def of(
        cls, outcome: CycleOutcome, ledger: Path, before: list[str], certificates: list[dict[str, Any]]
    ) -> Self:
        """Read it from the ledger."""
        quality = orjson.loads((ledger / "quality.json").read_bytes())
        planted = [DRIFTED_ERROR if name == DRIFTED else USUAL_ERROR for name in TEAM]
        opened = CycleLedger(ledger)
        theirs = {opened.keys.author(TENANT, author) for author in before}
        learnt = () if outcome.snapshot is None else opened.snapshot(outcome.snapshot).rows
        bundles = [{made["bundle"] for made in one["bundles_trained_on_them"]} for one in certificates]
        return cls(
            outcome,
            100 * (mean(one["error_rate"] for one in quality["raters"]) - mean(planted)),
            tuple(one["rater"] for one in quality["raters"] if one["drifted"]),
            quality["rates"]["all"]["wrong"]["share"],
            len(certificates),
            sum(outcome.digest in one for one in bundles),
            sum(row.author in theirs for row in learnt),
        )

    @property
    def gain(self) -> float:
        """Of the cases whose verdict people had to correct, in points."""
        return 100 * (self.outcome.taught_gain or 0.0)

    @property
    def holds(self) -> bool:
        """Whether all is as it was planned."""
        _, change = self.outcome.worst_slice or ("", -1.0)
        return (
            self.outcome.passed
            and abs(self.off) <= 2
            and self.drifted == (DRIFTED,)
            and not self.outcome.leaks
            and self.gain >= 10
            and change >= -0.01
            and not self.erased_learnt
            and self.listed == self.certificates
        )

    def told(self) -> str:
        """What the closing line has no room for."""
        return (
            f"  the live model is wrong on {self.wrong:.1%} of all posts, from the uniform stream\n"
            f"  {self.certificates} signed certificates, {self.listed} of them name the new bundle; "
            f"{self.erased_learnt} rows of authors who were erased before are in its snapshot"
        )

    def line(self) -> str:
        """The closing line, as far as the ledger knows it."""
        name, change = self.outcome.worst_slice or ("none", 0.0)
        return (
            f"cycle: planted error within {self.off:+.1f} points, drifted reviewer {', '.join(self.drifted) or 'not'} named, "
            f"{self.outcome.leaks} leaks, taught recall {self.gain:+.1f} points, worst slice {100 * change:+.1f} ({name})"
        )


def require(holds: object, what: str) -> None:
    """End where something that has to hold does not."""
    if not holds:
        raise SystemExit(f"cycle: this does not hold: {what}")


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

    proof = Proof.of(outcome, ledger, before, certificates)
    seen = scan(folder, texts)
    first = orjson.loads((folder / "golden.jsonl").read_bytes().splitlines()[0])["text"]
    require(scan(folder, {first.encode()}), "the scan finds a text that is there")
    print("\n".join(f"  {step:18} {seconds / 60:5.1f} min" for step, seconds in outcome.seconds.items()))
    print(proof.told())
    if verdicts:
        print(f"  facts: {', '.join(states)}; {len(verdicts)} verdicts of the shadow")
        traced(verdicts[0], records, outcome, ledger, folder)
    is_shadow = states[-1:] == ["shadow"] and len(verdicts) == SHADOWED
    print(
        f"{proof.line()}, erased rows found {seen} times, "
        f"candidate {'gated' if outcome.passed else 'refused: ' + outcome.why}{' and in shadow' if is_shadow else ''}; "
        f"{(time.monotonic() - began) / 60:.0f} min"
    )
    return 0 if proof.holds and not seen and is_shadow else 1
