"""A whole cycle, with small stand-ins for the commands that need torch: what it writes, refuses, and goes on with after a kill."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.engines.adapt.cycle.cycle import Cycle
from sluicegate.engines.adapt.cycle.erasure import erase_author
from sluicegate.engines.adapt.cycle.ledger import CycleLedger
from sluicegate.engines.adapt.cycle.plan import CyclePlan
from sluicegate.engines.adapt.cycle.trace import trace
from sluicegate.engines.adapt.cycle.training import CycleOutcome
from sluicegate.engines.adapt.errors import CycleError, InterruptedStepError
from sluicegate.engines.files import only_one
from sluicegate.schemas import Feedback, Post, encode
from support.small_bundle import small_manifest, write_small_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

STEPS = (
    *("prepare", "train", "draft", "evaluate-new", "evaluate-current"),
    *("calibrate", "gate", "export"),
)


def sealed_text(number: int, tenant: str = "forum") -> str:
    """A text that is like no other one."""
    return f"crows of {tenant} {hashlib.sha256(f'{tenant} {number}'.encode()).hexdigest()}"


# What the commands write, as far as the cycle looks at it. Its first argument is a folder: a file `kill` in it names a step
# at which the caller is killed, `slow` one that takes a minute, and `ended` one that a signal ends. `refuse` lets the gate
# refuse, and `prepare` leaves out the row whose text stands in `conflict`. What the model says of a text quotes it.
STAND_IN = """
import hashlib, json, os, shutil, signal, sys, time
from pathlib import Path

here, _, name, *given = sys.argv[1:]
here = Path(here)
out = Path(given[given.index("--out") + 1])
step = "draft" if "--draft" in given else f"evaluate-{out.name}" if name == "evaluate" else name
kill = here / "kill"
if kill.exists() and kill.read_text() == step:
    kill.unlink()
    if out.suffix:
        out.write_text("half of it")
    else:
        out.mkdir(parents=True, exist_ok=True)
        (out / "half").write_text("of it")
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(1)
if (here / "slow").exists() and (here / "slow").read_text() == step:
    (here / "slow").unlink()
    time.sleep(60)
if (here / "ended").exists() and (here / "ended").read_text() == step:
    os.kill(os.getpid(), signal.SIGKILL)
with (here / "done").open("a") as stream:
    print(step, file=stream)

def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]

def digest(*paths):
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()

if name == "prepare":
    out.mkdir()
    rows = [row for path in given[: given.index("--out")] for row in lines(Path(path))]
    conflict = here / "conflict"
    left_out = [row for row in rows if conflict.exists() and row["text"] == conflict.read_text()]
    rows = [row for row in rows if row not in left_out]
    (out / "left-out.jsonl").write_text("".join(json.dumps({"id": r["id"], "fate": "conflict"}) + "\\n" for r in left_out))
    for at, row in enumerate(rows):
        row.setdefault("split", "dev" if at % 3 == 0 else "train")
    for split in ("train", "dev"):
        (out / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\\n" for r in rows if r["split"] == split))
elif name == "train":
    data = Path(given[given.index("--data") + 1])
    (here / "learnt").write_bytes((data / "train.jsonl").read_bytes())
    for folder in ("best", "adapter", "base"):
        (out / folder).mkdir(parents=True)
    for file in ("plan.json", "checkpoint.pt", "base/weights"):
        (out / file).touch()
    (out / "best" / "adapter").write_text(digest(data / "train.jsonl", Path(given[0])))
elif name == "export":
    shutil.copytree(here / "small", out)
    (out / "made-from").write_bytes((Path(given[0]) / "adapter").read_bytes())
elif name == "evaluate":
    out.mkdir(parents=True, exist_ok=True)
    found = {"safe": [1, 0, 0], "unsafe": [0, 0, 1]}
    is_new = out.name == "new"
    with (out / "scores.jsonl").open("w") as stream:
        for row in lines(Path(given[0]) / "dev.jsonl"):
            said = found[row["severity"] if is_new else "safe"]
            scored = {"id": row["id"], "source": row["source"], "kind": "post", "severity": row["severity"], "probabilities": said}
            print(json.dumps({**scored, "found_reason": "it says " + row["text"]}), file=stream)
    shutil.copy(out / "scores.jsonl", out / "answers.jsonl")
elif name == "calibrate":
    of = "sha256:" + digest(Path(given[0]) / "scores.jsonl")
    out.write_text(json.dumps({"version": 1, "data": of, "fallback": {"method": "temperature", "temperature": 1}}))
else:
    (here / "gate").write_text(json.dumps(given))
    passed = not (here / "refuse").exists()
    out.write_text(json.dumps({"passed": passed}))
    out.with_suffix(".md").write_text("# Gate\\n")
    sys.exit(0 if passed else 1)
"""
DRIVER = """
import sys
from pathlib import Path
from sluicegate.engines.adapt.cycle.cycle import Cycle
from sluicegate.engines.adapt.cycle.plan import CyclePlan
plan, ledger, *command = sys.argv[1:]
Cycle(CyclePlan.load(Path(plan)), Path(ledger), print, tuple(command)).run([])
"""


class Place:
    """A folder with a plan, a ledger and the stand-in."""

    def __init__(self, folder: Path, tenant: str | None = None) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "stand-in.py").write_text(STAND_IN)
        (folder / "driver.py").write_text(DRIVER)
        (folder / "core.jsonl").write_text(
            '{"id": "core", "text": "a kettle", "severity": "safe", "source": "own", "split": "dev"}\n'
        )
        (folder / "recipe.yaml").write_text("seed: 1\n")
        write_small_bundle(folder / "small")
        write_small_bundle(folder / "live", {**small_manifest(), "name": "live"})
        document = {
            "name": "weekly",
            "tenant": tenant,
            "core": ["core.jsonl"],
            "recipe": "recipe.yaml",
            "current": "live",
            "trigger": {"least_new": 5},
        }
        (folder / "cycle.yaml").write_bytes(orjson.dumps(document))
        self.ledger = folder / "ledger"
        self.command = (sys.executable, str(folder / "stand-in.py"), str(folder))

    def run(
        self,
        records: Iterable[Feedback] = (),
        report: Callable[[str], None] = lambda _: None,
        *,
        force: bool = False,
    ) -> CycleOutcome:
        plan = CyclePlan.load(self.folder / "cycle.yaml")
        return Cycle(plan, self.ledger, report, self.command).run(records, force=force)

    def change_plan(self, **fields: object) -> None:
        path = self.folder / "cycle.yaml"
        path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **fields}))

    def erase(self, number: int) -> dict[str, Any]:
        return erase_author(CycleLedger(self.ledger), "forum", f"author-{number}", every_days=7)

    def run_apart(self) -> int:
        """In a process of its own, which may be killed; its exit code."""
        given = (self.folder / "cycle.yaml", self.ledger, *self.command)
        command = (sys.executable, str(self.folder / "driver.py"), *map(str, given))
        return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode

    def learnt(self) -> str:
        return (self.folder / "learnt").read_text()

    def taught(self, first: int = 0) -> list[int]:
        """Numbers of the decisions whose texts were learnt."""
        learnt = self.learnt()
        return [number for number in range(first, first + 12) if sealed_text(number) in learnt]

    def done(self) -> list[str]:
        return (self.folder / "done").read_text().split()


def decisions(tenant: str = "forum", first: int = 0, month: int = 11) -> list[Feedback]:
    began = datetime(2026, month, 2, tzinfo=UTC) - timedelta(days=first)
    return [
        Feedback.model_validate(
            {
                "schema_version": "1.2",
                "verdict_id": f"{tenant}-{number}",
                "post": Post(
                    id=f"{tenant}-{number}",
                    tenant=tenant,
                    author_id=f"author-{number}",
                    text=sealed_text(number, tenant),
                    kind="post",
                    language="en",
                ),
                "severity": "unsafe" if number % 2 else "safe",
                "categories": ("Violent",) if number % 2 else (),
                "blind": True,
                "reviewed_at": began + timedelta(days=number),
                "reviewer": "reviewer-1",
                "found": "safe",
                "engine": f"sha256:{'e' * 64}",
            }
        )
        for number in range(first, first + 12)
    ]


def readable(folder: Path, word: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def test_decisions_become_a_bundle_that_is_traced_both_ways(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    found = place.run(decisions())
    assert (found.passed, found.why, found.leaks, found.rows) == (True, "", 0, 12)
    assert place.done() == list(STEPS)
    assert found.taught_gain == 1.0
    assert found.worst_slice == ("core", 0.0)
    assert readable(place.ledger, "crows") == [], "no text is readable once the run has ended"
    ledger = CycleLedger(place.ledger)
    taught = place.taught()
    path = trace(ledger, f"forum-{taught[0]}", found.digest)
    assert path.bundle is not None
    assert len(path.rows) == len(taught)
    assert [bundles for _, bundles in path.taught] == [(found.digest,)]
    assert path.not_taught == ()
    (held_out, *_) = set(range(12)) - {*taught}
    path = trace(ledger, f"forum-{held_out}", found.digest)
    assert [bundles for _, bundles in path.taught] == [()]
    assert [(digest, why) for _, digest, why in path.not_taught] == [(found.digest, "dev")]
    assert place.run(decisions()).trigger.startswith("no decision came"), "nothing is done twice"
    assert place.done() == list(STEPS)


def test_a_cycle_that_is_killed_at_each_step_ends_with_the_same_result(tmp_path: Path) -> None:
    whole, cut = Place(tmp_path / "whole"), tmp_path / "cut"
    CycleLedger(whole.ledger).collect(decisions())
    shutil.copytree(whole.folder, cut)
    again = Place.__new__(Place)
    again.folder, again.ledger = cut, cut / "ledger"
    again.command = (sys.executable, str(cut / "stand-in.py"), str(cut))
    for step in STEPS:
        (cut / "kill").write_text(step)
        assert again.run_apart() == -9, step
        assert not (cut / "kill").exists(), f"{step} was come to"
    assert again.run_apart() == 0
    found, wanted = again.run(), whole.run()
    assert again.done() == whole.done() == list(STEPS), "no step that had ended was done again"
    (result,) = again.ledger.glob("runs/*/result.json")
    ended = CycleOutcome.model_validate_json(result.read_bytes())
    assert (ended.snapshot, ended.digest, ended.taught_gain) == (
        wanted.snapshot,
        wanted.digest,
        wanted.taught_gain,
    )
    assert found.trigger.startswith("no decision came")
    facts = [
        {path.name: orjson.loads(path.read_bytes())["outputs"] for path in one.ledger.glob("runs/*/facts/*")}
        for one in (again, whole)
    ]
    assert facts[0] == facts[1], "every step has made the same bytes"
    assert len(facts[0]) == len(STEPS) + 2


def test_a_run_that_was_cut_off_goes_on_with_its_own_rows_whatever_came_since(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    first, rest = decisions()[:8], decisions()[8:]
    CycleLedger(place.ledger).collect(first)
    (place.folder / "kill").write_text("train")
    assert place.run_apart() == -9
    found = place.run(rest)
    assert (found.passed, found.rows) == (True, 8)
    assert place.done() == list(STEPS)
    assert "not worth it yet: 4 new rows" in place.run().trigger


def test_an_erasure_in_the_middle_begins_the_run_anew_without_the_author(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    CycleLedger(place.ledger).collect(decisions())
    (place.folder / "kill").write_text("evaluate-new")
    assert place.run_apart() == -9
    assert readable(place.ledger, sealed_text(1)), "the run holds texts"
    certificate = erase_author(CycleLedger(place.ledger), "forum", "author-1", every_days=7)
    assert len(certificate["runs_begun_anew"]) == 1
    assert not readable(place.ledger, "crows")
    found = place.run()
    assert (found.passed, found.rows) == (True, 11)
    assert sealed_text(1) not in place.learnt()


def test_an_erasure_after_a_training_is_worth_the_next_one(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    first = place.run(decisions())
    number = place.taught()[0]
    certificate = place.erase(number)
    assert [one["bundle"] for one in certificate["bundles_trained_on_them"]] == [first.digest]
    second = place.run(decisions())
    assert (second.rows, second.passed, second.erased) == (11, True, 0)
    assert "were erased since" in second.trigger
    assert number not in place.taught()


def test_a_held_out_text_taught_nothing_and_its_erasure_owes_no_training(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    first = place.run(decisions())
    (number, *_) = set(range(12)) - {*place.taught()}
    certificate = place.erase(number)
    assert (certificate["bundles_trained_on_them"], certificate["next_training_by"]) == ([], None)
    assert [one["bundle"] for one in certificate["bundles_judged_with_them"]] == [first.digest]
    assert place.run(decisions()).trigger.startswith("no decision came")


def test_a_training_that_is_refused_leaves_the_erasure_owed(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    first = place.run(decisions())
    place.erase(place.taught()[0])
    (place.folder / "refuse").touch()
    for _ in range(2):
        refused = place.run(decisions())
        assert (refused.passed, refused.erased) == (False, 1)
        assert "were erased since" in refused.trigger
    (place.folder / "refuse").unlink()
    again = place.run(decisions(), force=True)
    assert (again.passed, again.erased) == (True, 0)
    assert again.run not in (None, first.run)


@pytest.mark.parametrize(
    "step", ["corrections", "prepare", "leaks", "train", "evaluate-new", "gate", "export"]
)
def test_who_is_erased_while_a_cycle_runs_is_in_no_bundle_and_the_certificate_says_so(
    tmp_path: Path, step: str
) -> None:
    place = Place(tmp_path / "a")
    certificates: list[dict[str, Any]] = []

    def report(line: str) -> None:
        if line.endswith(step) and not certificates:
            certificates.append(place.erase(1))

    found = place.run(decisions(), report)
    assert (found.passed, found.rows) == (True, 11)
    assert 1 not in place.taught()
    assert certificates[0]["bundles_trained_on_them"] == []
    assert len(certificates[0]["runs_begun_anew"]) == 1
    assert readable(place.ledger, "crows") == []
    rows = CycleLedger(place.ledger).snapshot(str(found.snapshot)).rows
    assert all(row.sealed is not None for row in rows)
    assert len([*place.ledger.glob("runs/*")]) == 1


def test_who_is_erased_before_the_snapshot_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "a")
    settled = Cycle._trigger

    def erasing(self: Cycle, found: Any) -> Any:
        place.erase(1)
        return settled(self, found)

    monkeypatch.setattr(Cycle, "_trigger", erasing)
    found = place.run(decisions())
    assert (found.passed, found.rows) == (True, 11)
    ledger = CycleLedger(place.ledger)
    author = ledger.keys.author("forum", "author-1")
    assert author not in {row.author for row in ledger.snapshot(str(found.snapshot)).rows}
    assert 1 not in place.taught()


def test_a_step_that_holds_an_erased_text_is_stopped_within_seconds(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    (place.folder / "slow").write_text("train")
    erasing = threading.Timer(4, place.erase, [1])
    began = time.monotonic()
    erasing.start()
    found = place.run(decisions())
    erasing.join()
    assert time.monotonic() - began < 50
    assert (found.passed, found.rows) == (True, 11)


def test_an_author_who_is_erased_while_decisions_are_read_stays_erased(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    CycleLedger(place.ledger).collect(decisions())
    reading = CycleLedger(place.ledger)

    def topic() -> Iterator[Feedback]:
        yield from decisions()
        place.erase(1)
        later = decisions(first=100, month=12)[0]
        post = later.post.model_copy(update={"author_id": "author-1"})
        yield later.model_copy(update={"post": post, "verdict_id": "later"})

    assert reading.collect(topic()) == 0
    ledger = CycleLedger(place.ledger)
    assert ledger.keys.is_erased(ledger.keys.author("forum", "author-1"))
    assert ledger.decisions("later") == []


def test_two_cycles_do_not_work_in_one_folder(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    place.ledger.mkdir()
    with (
        only_one(place.ledger / "cycle.lock"),
        pytest.raises(CycleError, match="another cycle is at work"),
    ):
        place.run(decisions())


def test_an_erasure_takes_away_what_a_kill_left_readable_after_the_result(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    found = place.run(decisions())
    assert found.run is not None
    prepared = found.run / "work" / "prepared"
    prepared.mkdir(parents=True)
    (prepared / "train.jsonl").write_bytes(orjson.dumps({"id": "a", "text": sealed_text(1)}) + b"\n")
    place.erase(1)
    assert readable(place.ledger, "crows") == []


def test_what_no_later_step_needs_of_a_training_goes_with_its_end(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    found = place.run(decisions())
    assert found.run is not None
    left = {path.relative_to(found.run / "sitting").as_posix() for path in (found.run / "sitting").rglob("*")}
    assert left == {"plan.json", "best", "best/adapter"}


def test_tenants_with_a_plan_of_their_own_are_left_out_of_the_others_plan(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    CycleLedger(place.ledger).collect(decisions("bank"))  # what came before the plan said so
    place.change_plan(except_tenants=["bank", "shop"])
    found = place.run([*decisions("forum"), *decisions("shop")])
    assert (found.passed, found.rows) == (True, 12)
    assert "crows of bank" not in place.learnt()
    assert "crows of shop" not in place.learnt()
    assert {one.tenant for one in CycleLedger(place.ledger).decisions()} == {"forum", "bank"}
    place.change_plan(tenant="forum")
    with pytest.raises(CycleError, match="except_tenants goes without tenant"):
        place.run()


def test_a_correction_says_which_verdict_it_corrects_so_that_it_replaces_other_rows(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    place.run(decisions())
    rows = [orjson.loads(line) for line in place.learnt().splitlines()]
    number = place.taught()[0]
    (row,) = [one for one in rows if one["text"] == sealed_text(number)]
    (decided,) = [one for one in decisions() if one.verdict_id == f"forum-{number}"]
    assert (row["verdict_id"], row["blind"]) == (decided.verdict_id, True)
    assert datetime.fromisoformat(row["reviewed_at"]) == decided.reviewed_at


def test_a_row_that_was_left_out_taught_nothing_and_says_why(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    (place.folder / "conflict").write_text(sealed_text(1))
    found = place.run(decisions())
    assert found.left_out == 1
    assert found.run is not None
    path = trace(CycleLedger(place.ledger), "forum-1", found.digest)
    assert [bundles for _, bundles in path.taught] == [()]
    assert [(digest, why) for _, digest, why in path.not_taught] == [(found.digest, "conflict")]
    used = orjson.loads((found.run / "rows.json").read_bytes())
    assert len(used["train"]) + len(used["dev"]) == 11
    assert [*used["out"].values()] == ["conflict"]
    lineage = orjson.loads((found.run / "lineage.json").read_bytes())
    assert (lineage["rows"], lineage["left_out"]) == (len(used["train"]), 1)
    assert "1 rows were left out of it" in place.run(decisions()).trigger
    assert place.erase(1)["bundles_trained_on_them"] == []


def test_golden_rows_that_came_while_a_run_was_cut_off_are_not_learnt(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    golden = place.folder / "golden.jsonl"
    harbour = {"id": "g", "text": "a quiet harbour", "severity": "safe", "source": "golden"}
    golden.write_bytes(orjson.dumps(harbour) + b"\n")
    place.change_plan(golden=["golden.jsonl"])
    CycleLedger(place.ledger).collect(decisions())
    (place.folder / "kill").write_text("train")
    assert place.run_apart() == -9
    with golden.open("ab") as stream:
        for number in (0, 2, 4):
            row = {**harbour, "id": f"g{number}", "text": sealed_text(number)}
            stream.write(orjson.dumps(row) + b"\n")
    found = place.run()
    assert (found.passed, found.near_golden) == (True, 3)
    assert not {0, 2, 4} & {*place.taught()}


def test_a_step_that_a_signal_ended_is_told_apart_from_one_that_failed(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    (place.folder / "ended").write_text("train")
    with pytest.raises(InterruptedStepError, match="ended by SIGKILL"):
        place.run(decisions())
    (place.folder / "ended").unlink()
    assert place.run().passed


def test_a_decision_that_chance_picked_is_shown_for_the_posts_that_it_stands_for(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    plan = orjson.loads((place.folder / "cycle.yaml").read_bytes())
    (place.folder / "cycle.yaml").write_bytes(orjson.dumps({**plan, "most_repeat": 3}))
    picked = {"sampled_by": "margin", "inclusion_probability": 0.01}
    place.run(one.model_copy(update=picked) if number < 6 else one for number, one in enumerate(decisions()))
    shown = [orjson.loads(line) for line in place.learnt().splitlines()]
    often = {row["text"] for row in shown if row["repeat"] == 3}
    assert often == {row["text"] for row in shown} & {sealed_text(number) for number in range(6)}
    assert often


def test_each_model_so_far_stands_beside_each_month_in_the_gate_s_report(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    first = place.run(decisions())
    second = place.run(decisions(first=12, month=12))
    assert (first.passed, second.passed) == (True, True)
    assert second.run is not None
    assert first.run is not None
    gate = orjson.loads((second.run / "gate.json").read_bytes())
    assert gate["passed"] is True
    live, earlier = gate["months"]["models"]
    assert (live["name"], earlier["name"], earlier["digest"]) == ("live", first.run.name, first.digest)
    assert set(live["by_slice"]) == {"core", "2026-11", "2026-12"}
    assert set(earlier["by_slice"]) == {"core", "2026-11"}, "it never judged December"
    assert earlier["by_slice"]["2026-11"]["rows"] == gate["months"]["slices"]["2026-11"]["rows"]
    page = (second.run / "gate.md").read_text()
    assert page.startswith("# Gate")
    assert "| 2026-12 |" in page
    ledger = CycleLedger(place.ledger)
    numbers = min(place.taught()), min(place.taught(first=12))
    november, december = (trace(ledger, f"forum-{number}", None).taught for number in numbers)
    assert [bundles for _, bundles in november] == [(first.digest, second.digest)]
    assert [bundles for _, bundles in december] == [(second.digest,)]


def test_a_model_that_the_gate_refuses_is_no_bundle(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    (place.folder / "refuse").touch()
    found = place.run(decisions())
    assert (found.passed, found.bundle, found.digest) == (False, None, None)
    assert "gate refused" in found.why
    assert "export" not in place.done()
    assert readable(place.ledger, "crows") == []


def test_the_gate_is_given_calibrated_scores_and_the_live_policy(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    fitted = orjson.dumps(
        {"version": 1, "data": f"sha256:{'0' * 64}", "fallback": {"method": "temperature", "temperature": 2}}
    )
    shutil.rmtree(place.folder / "live")
    manifest = {**small_manifest(), "name": "live"}
    manifest["files"]["calibration"] = {
        "path": "served.json",
        "sha256": f"sha256:{hashlib.sha256(fitted).hexdigest()}",
        "bytes": len(fitted),
    }
    (write_small_bundle(place.folder / "live", manifest) / "served.json").write_bytes(fitted)
    policy = place.folder / "policy.yaml"
    policy.write_text("name: live\nversion: '1'\n")
    plan = CyclePlan.load(place.folder / "cycle.yaml")
    found = Cycle(plan, place.ledger, lambda _: None, place.command, policy=policy).run(decisions())
    assert found.run is not None
    given = orjson.loads((place.folder / "gate").read_bytes())
    options = dict(zip(given[::2], given[1::2], strict=True))
    assert options["--policy"] == str(policy)
    assert options["--new-calibration"] == str(found.run / "calibration.json")
    assert Path(options["--current-calibration"]).read_bytes() == fitted
    fact = orjson.loads(next(found.run.glob("facts/*-gate.json")).read_bytes())
    assert fact["inputs"].keys() == {"new", "current", "calibration", "policy"}


def test_what_stands_on_two_sides_of_the_split_ends_the_run(tmp_path: Path) -> None:
    place = Place(tmp_path / "a")
    rows = [
        {
            "id": f"copy-{number}",
            "text": f"{sealed_text(number)}!",
            "severity": "safe",
            "source": "own",
            "split": "dev",
        }
        for number in range(12)
    ]
    (place.folder / "core.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
    with pytest.raises(CycleError, match="nearly equal on two sides"):
        place.run(decisions())
    assert "train" not in place.done()


def test_no_text_of_one_tenant_reaches_another_ones_cycle(tmp_path: Path) -> None:
    both = [*decisions("forum"), *decisions("bank")]
    places = {tenant: Place(tmp_path / tenant, tenant) for tenant in ("forum", "bank")}
    outcomes = {tenant: place.run(both) for tenant, place in places.items()}
    for tenant, other in (("forum", "bank"), ("bank", "forum")):
        place, found = places[tenant], outcomes[tenant]
        assert (found.passed, found.rows) == (True, 12)
        assert f"crows of {tenant}" in place.learnt()
        assert f"crows of {other}" not in place.learnt()
        ledger = CycleLedger(place.ledger)
        assert {one.tenant for one in ledger.decisions()} == {tenant}
        assert readable(place.ledger, other) == [], "not even a name of it"
    assert outcomes["forum"].snapshot != outcomes["bank"].snapshot
    assert trace(CycleLedger(places["bank"].ledger), "forum-1", None).rows == ()


def test_the_records_of_the_topic_are_what_is_read() -> None:
    assert all(Feedback.model_validate_json(encode(one)) == one for one in decisions())
