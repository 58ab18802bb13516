"""Try three candidates beside the shipped CPU model, on Apache Kafka, and print what was ruled of each.

    PYTHONPATH=benchmarks python -m candidate --adapter training/best [--posts 260] [--data POSTS.jsonl] [--out build/candidate]

The incumbent is the shipped model. The candidates are a retrained adapter, the base without one, the shipped adapter at a
quarter of its strength, and the shipped adapter spoiled on purpose. Each judges sample posts as a shadow, until its comparator
has certified or rejected it. The base answers with no labels: its shadow refuses to begin. Before all, the incumbent judges
the posts alone: no verdict of the live topics may differ from that.
Linux; Java and Maven for Apache Kafka; `sluicegate engine fetch-cpu` and the same with `--base` before.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from candidate.bundles import faint, shipped_adapter, spoiled, write_bundle
from sluicegate.engines.bundle import Bundle
from sluicegate.engines.cpu_model import SMALL, read_adapter
from sluicegate.pipeline.policy.file import PolicyFile
from sluicegate.pipeline.settings.candidate import CandidateSettings
from sluicegate.pipeline.settings.tree import KafkaSettings, Settings, TopicSettings
from sluicegate.pipeline.shadow.ledger import FactLedger, FactToSay
from sluicegate.pipeline.shadow.states import CandidateState, JudgeDigests, Role
from sluicegate.pipeline.trial.samples import sample_records
from support.candidates import write_keys
from support.collector import committed, ends
from support.kafka import ApacheKafka
from support.workers import Lane, open_lane, until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.workers import WorkerProcess

TERMS = {"max_permissive": 0.05, "max_shift": 0.1, "min_posts": 50, "min_coverage": 0.98, "alpha": 0.05}
"""The small model is wrong about one post in four, so two trainings of it differ on some posts in a hundred. Limits that
suit a large guard, such as 0.5 %, would reject every retraining of it."""
_CHUNK = 6
"""So many posts are sent ahead of the shadow: few enough that it never lags by so much that it sheds."""
_JUDGED_S, _READY_S = 1_800.0, 300.0
"""A busy machine takes minutes for what an idle one does in seconds."""
_LONGEST = 200
"""Characters of a post: two engines share this machine's cores."""
_LABELS = "labels_missing"
_REPORT = f"sha256:{'0' * 64}"
_S = CandidateState


@dataclass(frozen=True)
class Ruled:
    """What became of one candidate."""

    name: str
    ruling: str
    """``refused`` where its shadow did not begin."""
    posts: int
    summary: dict[str, Any]
    seconds: float


def short_posts(records: Iterable[bytes], count: int) -> list[dict[str, Any]]:
    """Short posts, each with a text of its own.

    Args:
        records: JSON of posts; what is none is left out.
        count: How many at most.
    """
    found: dict[str, dict[str, Any]] = {}
    for raw in records:
        try:
            post = json.loads(raw)
        except ValueError:
            continue
        text = post.get("text") if isinstance(post, dict) else None
        if isinstance(text, str) and 0 < len(text) <= _LONGEST and isinstance(post.get("id"), str):
            found.setdefault(text, {"text": text, "language": post.get("language")})
    return list(found.values())[:count]


class Trial:
    """The live workers of one cluster, and one candidate after the other beside them."""

    def __init__(self, lane: Lane, kafka: ApacheKafka, posts: list[dict[str, Any]]) -> None:
        self._lane = lane
        self._kafka = kafka
        self._posts = posts
        self._keys = write_keys(lane.folder / "people")
        self._policy = PolicyFile(None).current.digest
        self._incumbent = SMALL.bundle_path(base=False)

    def engine(self, bundle: Path) -> dict[str, str]:
        """Settings of an engine that shares the machine with another one."""
        return {
            "engine.backend": "llama_cpp",
            "engine.bundle": str(bundle),
            "engine.threads": "1",
            "engine.slots": "2",
            "engine.score_timeout_s": "120",
        }

    def live(self) -> WorkerProcess:
        """A worker of the incumbent's."""
        worker = self._lane.start(self.engine(self._incumbent))
        until("the incumbent is ready", worker.ready, within_s=_READY_S)
        return worker

    def alone(self) -> dict[str, str]:
        """The incumbent's actions by text's number, without any candidate; the worker and its cache go afterwards."""
        worker = self.live()
        # In the same pieces as beside a candidate: what is computed together moves a score by a little.
        for first in range(0, len(self._posts), _CHUNK):
            sent = min(first + _CHUNK, len(self._posts))
            self._lane.send(self._named("alone", first, sent))
            self._lane.wait_answers(sent, within_s=_JUDGED_S)
        # Records are more than posts where the group rebalanced meanwhile.
        until(
            "the incumbent judges alone",
            lambda: len(self.actions("alone")) >= len(self._posts),
            within_s=_JUDGED_S,
        )
        actions = self.actions("alone")
        worker.terminate()
        worker.wait(60)
        return actions

    def actions(self, round_name: str) -> dict[str, str]:
        """What the live topics say of the posts of a round, by their number."""
        found: dict[str, str] = {}
        for record in self._lane.read():
            name, _, number = str(record.body["post_id"]).partition("/")
            if name == round_name:
                what = f"{record.body['action']} by {record.body['engine']['digest'][:15]}"
                found[number] = what if found.get(number, what) == what else "two verdicts"
        return found

    def rule(self, name: str, bundle: Path) -> Ruled:
        """Let a candidate judge beside the incumbent until it is certified or rejected, or until the posts are used up."""
        began, lane = time.monotonic(), self._lane
        topics = {one: f"{lane.prefix}.{name}.{one}" for one in ("shadow", "comparisons", "candidates")}
        for topic in topics.values():
            self._kafka.create_topic(topic, 1)
        settings = {
            **{f"topics.{one}": topic for one, topic in topics.items()},
            "candidate.experiment": name,
            "candidate.share": "1",
            "candidate.keys": str(lane.folder / "people" / "keys"),
            "candidate.key": str(self._keys["comparator"]),
            "candidate.state_file": str(lane.folder / f"{name}.json"),
            **{f"candidate.terms.{one}": str(value) for one, value in TERMS.items()},
        }
        shadow = lane.start(settings | self.engine(bundle), arguments=("shadow", "run"))
        until(
            f"{name} is ready or refused",
            lambda: shadow.ready() or _LABELS in shadow.get("/readyz")[1],
            within_s=_READY_S,
        )
        if not shadow.ready():
            shadow.terminate()
            shadow.wait(60)
            return Ruled(name, "refused", 0, {}, time.monotonic() - began)
        self._say_shadow(name, topics["candidates"], bundle)
        comparator = lane.start(settings, arguments=("shadow", "compare", "--until-ruled"))
        sent, group, begun = 0, f"{lane.group}.shadow.{name}", ends(lane.bootstrap, lane.posts)
        while comparator.running and sent < len(self._posts):
            lane.send(self._named(name, sent, sent + _CHUNK))
            sent = min(sent + _CHUNK, len(self._posts))

            def done() -> bool:
                """Judged or shed: what a shadow sheds has no verdict, but is committed."""
                if not comparator.running:
                    return True
                now = committed(lane.bootstrap, group, lane.posts)
                last = ends(lane.bootstrap, lane.posts)
                return all(now[part] >= end for part, end in last.items() if end > begun[part])

            until(f"{name} is done with {sent} posts", done, within_s=_JUDGED_S)
        if comparator.running:
            time.sleep(5)  # the last posts are counted, and written down
            comparator.terminate()
        comparator.wait(60)
        shadow.terminate()
        shadow.wait(60)
        until(f"the incumbent judges {name}", lambda: len(self.actions(name)) >= sent, within_s=_JUDGED_S)
        summary = json.loads((lane.folder / f"{name}.json").read_bytes())["summary"]
        ruling = summary["conclusion"]["ruling"]
        return Ruled(name, ruling, summary["tally"]["evidence_posts"], summary, time.monotonic() - began)

    def _named(self, name: str, first: int, last: int) -> list[dict[str, Any]]:
        chosen = list(enumerate(self._posts))[first:last]
        return [{**post, "id": f"{name}/{number}"} for number, post in chosen]

    def _say_shadow(self, name: str, topic: str, bundle: Path) -> None:
        lane = self._lane
        judges = tuple(
            JudgeDigests(engines=(Bundle.open(one).digest,), policy=self._policy)
            for one in (self._incumbent, bundle)
        )
        keys = lane.folder / "people" / "keys"
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=lane.bootstrap),
            topics=TopicSettings(candidates=topic, control=f"{lane.prefix}.control"),
            candidate=CandidateSettings(experiment=name, keys=keys),
        )
        ledger = FactLedger(settings, self._keys["anna"])
        for state, more in (
            (_S.REGISTERED, {"judges": lambda: judges}),
            (_S.GATED, {"report": _REPORT}),
            (_S.SHADOW, {"share": 1.0}),
        ):
            wanted = FactToSay(state, "said by make candidate", (Role.EDITOR,), **more)
            ledger.say(ledger.following(wanted))


def line_of(ruled: Ruled) -> str:
    """One candidate, for people."""
    if not ruled.summary:
        return f"{ruled.name}: {ruled.ruling}, it answers with other words than the labels; it judged nothing"
    tally, conclusion = ruled.summary["tally"], ruled.summary["conclusion"]
    differ = ", ".join(f"{number} {what}" for what, number in tally["actions"].items()) or "nothing differs"
    why = "; ".join(conclusion["reasons"]) or "all terms are shown"
    return (
        f"{ruled.name}: {ruled.ruling} after {ruled.posts} posts of evidence in {timedelta(seconds=round(ruled.seconds))}; "
        f"coverage {tally['coverage']:.1%}, milder on {tally['milder']}; {differ}; {why}"
    )


def main() -> int:
    """Run the trial; exit code 1 where a ruling is not the wanted one, or a live verdict differs."""
    parser = argparse.ArgumentParser(prog="candidate", description=__doc__)
    parser.add_argument("--adapter", type=Path, required=True, help="folder of the retrained adapter (PEFT)")
    parser.add_argument("--posts", type=int, default=260, help="posts for each candidate, at most")
    parser.add_argument(
        "--data", type=Path, help="JSON lines of posts; the package's sample has 287 short ones"
    )
    parser.add_argument("--out", type=Path, help="folder for the summaries, as JSON")
    given = parser.parse_args()
    posts = short_posts(
        sample_records() if given.data is None else given.data.read_bytes().splitlines(), given.posts
    )
    print(f"terms: {TERMS}")
    print(f"{len(posts)} posts of up to {_LONGEST} characters", flush=True)
    with tempfile.TemporaryDirectory(prefix="sluicegate-candidate-") as temporary, ApacheKafka() as kafka:
        folder = Path(temporary)
        candidates = {
            "retrained": write_bundle(read_adapter(given.adapter), "retrained", folder / "retrained"),
            "base": SMALL.bundle_path(base=True),
            "quarter": write_bundle(faint(shipped_adapter(), 0.25), "quarter", folder / "quarter"),
            "spoiled": write_bundle(spoiled(shipped_adapter()), "spoiled", folder / "spoiled"),
        }
        with open_lane(kafka, folder, partitions=2) as lane:
            trial = Trial(lane, kafka, posts)
            before = trial.alone()
            print(f"the incumbent alone: {_counted(before)}", flush=True)
            trial.live()
            rulings, changed = {}, 0
            for name, bundle in candidates.items():
                rulings[name] = trial.rule(name, bundle)
                print(line_of(rulings[name]), flush=True)
                beside = trial.actions(name)
                for number, action in beside.items():
                    if before[number] != action:
                        changed += 1
                        print(f"{name}/{number}: {before[number]} alone, {action} beside the candidate")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        for one in rulings.values():
            (given.out / f"{one.name}.json").write_text(json.dumps(one.summary, indent=2))
    good, base, weak, bad = rulings.values()
    print(
        f"candidate: retrained {good.ruling} after {good.posts} posts, base {base.ruling} before its first post, quarter and "
        f"spoiled {weak.ruling if weak.ruling == bad.ruling else f'{weak.ruling} and {bad.ruling}'} after {weak.posts} and "
        f"{bad.posts} posts, {changed} live verdicts changed"
    )
    found = tuple(one.ruling for one in rulings.values())
    return 0 if found == ("certified", "refused", "rejected", "rejected") and not changed else 1


def _counted(actions: dict[str, str]) -> str:
    words = [what.partition(" ")[0] for what in actions.values()]
    return ", ".join(f"{word} {words.count(word)}" for word in sorted(set(words)))


if __name__ == "__main__":
    sys.exit(main())
