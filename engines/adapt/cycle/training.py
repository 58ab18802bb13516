"""One training of a cycle: the steps from a snapshot to a result. A run that was cut off goes on with the step that it was in.

Whose author is erased meanwhile ends the run: nothing that it made is kept.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path  # noqa: TC003 - pydantic needs it
from signal import Signals
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict

from sluicegate.engines.adapt.cycle.ledger import RESULT, RUNS, CycleLedger, RowSnapshot, SnapshotRow
from sluicegate.engines.adapt.cycle.plan import CyclePlan
from sluicegate.engines.adapt.cycle.qualify import repeats
from sluicegate.engines.adapt.cycle.runs import (
    SITTING,
    USED,
    WORK,
    UsedRows,
    discard,
    documents,
    ids,
    results,
    short,
    tidy,
)
from sluicegate.engines.adapt.cycle.slices import (
    JudgedModel,
    TaughtChange,
    compare_slices,
    matrix_page,
    slice_matrix,
)
from sluicegate.engines.adapt.cycle.steps import StepRunner, tree_digest
from sluicegate.engines.adapt.data.near_duplicates import NearDuplicateIndex
from sluicegate.engines.adapt.data.row_files import LEFT_OUT
from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.errors import CycleError, InterruptedStepError
from sluicegate.engines.adapt.evaluate.journal import JOURNAL
from sluicegate.engines.adapt.evaluate.scored import (
    SCORES,
    ScoredRow,
    calibrated,
    read_scores,
    without_reasons,
    write_scores,
)
from sluicegate.engines.adapt.export.export import LINEAGE
from sluicegate.engines.bundle import Bundle, Calibration
from sluicegate.engines.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


LEAKS: Final = "leaks.json"
CALIBRATION: Final = "calibration.json"
_EXPLAINED: Final = 64
"""Rows whose explanation is asked for: the built-in limits of the gate want at least 50."""
_LOOK_S: Final = 2.0
"""Between two looks at who was erased, while a step runs."""
_STOP_S: Final = 60.0
"""For a step to end when it is told to."""


class CycleOutcome(BaseModel):
    """How a cycle ended."""

    model_config = ConfigDict(frozen=True)

    trigger: str
    snapshot: str | None = None
    run: Path | None = None
    passed: bool = False
    why: str = ""
    bundle: Path | None = None
    digest: str | None = None
    """Of the bundle."""
    rows: int = 0
    held: int = 0
    near_golden: int = 0
    """Rows that are nearly a golden one: left out."""
    leaks: int = 0
    """Texts of train, of dev and golden ones that are nearly the same as one elsewhere, counted after all was left out."""
    taught_gain: float | None = None
    worst_slice: tuple[str, float] | None = None
    untouched: float | None = None
    """What the held-out cases gained whose verdict people had confirmed."""
    left_out: int = 0
    """Rows of the snapshot that neither trained nor were held out: ``rows.json`` says why."""
    erased: int = 0
    """Rows that the newest bundle learnt from and whose authors were erased since: a bundle without them is owed."""
    seconds: dict[str, float] = {}


class LiveEngine(NamedTuple):
    """What serves now: a new model is compared with it."""

    bundle: Path
    policy: Path | None
    """Whose actions the gate compares; None for the built-in one."""


class ErasedMeanwhileError(CycleError):
    """An author of the run's snapshot was erased."""


class TrainingRun:
    """One training on one snapshot. Blocking.

    Args:
        plan: What is trained from.
        ledger: The cycle's.
        snapshot: The rows.
        golden: Nothing that is nearly one of these is learnt.
        live: What serves now.
        report: Called with one line for each step.
        command: How a command of ours is called.
    """

    def __init__(
        self,
        plan: CyclePlan,
        ledger: CycleLedger,
        snapshot: RowSnapshot,
        *,
        golden: list[Row],
        live: LiveEngine,
        report: Callable[[str], None],
        command: tuple[str, ...],
    ) -> None:
        self.plan = plan
        self.ledger = ledger
        self.place = place_of(ledger, plan, snapshot.digest)
        self._snapshot = snapshot
        self._authors = {row.author for row in snapshot.rows}
        self._golden = golden
        self._live = live
        self._report = report
        self._command = command

    @property
    def is_lost(self) -> bool:
        """Whether an author of the snapshot was erased, so that nothing of this run may stay."""
        self.ledger.keys.refresh()
        return any(self.ledger.keys.is_erased(author) for author in self._authors)

    def discard(self) -> None:
        """Delete all that the run made."""
        discard(self.place)

    def train(self, why: str, held: int) -> CycleOutcome:
        """Do what is not done yet.

        Args:
            why: What made the training worth it.
            held: How many cases are held back.

        Raises:
            ErasedMeanwhileError: An author of the snapshot was erased. Discard the run.
            CycleError: A step failed. The same call goes on with it.
        """
        self._require_all()
        place, work = self.place, self.place / WORK
        place.mkdir(parents=True, exist_ok=True)
        steps = StepRunner(place, self._report)
        prepared, sitting, draft = work / "prepared", place / SITTING, place / "draft"
        made_from = {"snapshot": self._snapshot.digest, "plan": self.plan.model_dump_json()}
        golden: dict[str, Path | str] = {f"golden {at}": one for at, one in enumerate(self.plan.golden)}
        best = sitting / "best"
        steps.step(
            "corrections",
            self._corrections,
            inputs={**made_from, **golden},
            outputs=[work / "corrections.jsonl", place / "left-out.json"],
        )
        steps.step(
            "prepare",
            lambda: self._prepare(prepared),
            inputs={
                "corrections": work / "corrections.jsonl",
                **{f"core {at}": one for at, one in enumerate(self.plan.core)},
            },
            outputs=[prepared, place / USED],
        )
        steps.step(
            "leaks",
            lambda: _count_leaks(prepared, self._golden, place / LEAKS),
            inputs={"prepared": prepared, **golden},
            outputs=[place / LEAKS],
        )
        steps.step(
            "train",
            lambda: self._adapt("train", self.plan.recipe, "--data", prepared, "--out", sitting),
            inputs={"prepared": prepared, "recipe": self.plan.recipe},
            outputs=[best],
            goes_on=True,
        )
        named = ("--to", "llama_cpp", "--name", self.plan.name)
        steps.step(
            "draft",
            lambda: self._adapt("export", best, *named, "--draft", "--out", draft),
            inputs={"adapter": best},
            outputs=[draft],
        )
        for name, judge in (("new", draft), ("current", self._live.bundle)):
            steps.step(
                f"evaluate-{name}",
                partial(self._evaluate, prepared, judge, place / name),
                inputs={"prepared": prepared, "bundle": judge / "manifest.json"},
                outputs=[place / name / SCORES],
                goes_on=True,
            )
        steps.step(
            "calibrate",
            lambda: self._adapt("calibrate", place / "new", "--out", place / CALIBRATION),
            inputs={"scores": place / "new" / SCORES},
            outputs=[place / CALIBRATION],
        )
        options: dict[str, Path] = {
            name: one for name, one in (("limits", self.plan.limits), ("policy", self._live.policy)) if one
        }
        steps.step(
            "gate",
            lambda: self._gate(options),
            inputs={
                "new": place / "new" / SCORES,
                "current": place / "current" / SCORES,
                "calibration": place / CALIBRATION,
                **options,
            },
            outputs=[place / "gate.json"],
        )
        changed = self._slices()
        refused = self._refused(changed)
        bundle = place / "bundle"
        if refused is None:
            steps.step(
                "export",
                lambda: self._export(named),
                inputs={"adapter": best, "gate": place / "gate.json", **made_from},
                outputs=[bundle],
            )
        worst = changed.worst
        outcome = CycleOutcome(
            trigger=why,
            snapshot=self._snapshot.digest,
            run=place,
            passed=refused is None,
            why=refused or "",
            bundle=bundle if refused is None else None,
            digest=bundle_digest(bundle) if refused is None else None,
            rows=len(self._snapshot.rows),
            held=held,
            near_golden=orjson.loads((place / "left-out.json").read_bytes())["near_golden"],
            leaks=orjson.loads((place / LEAKS).read_bytes())["leaks"],
            taught_gain=changed.taught.change if changed.taught.rows else None,
            worst_slice=None if worst is None else (worst[0], worst[1].change),
            untouched=changed.untouched.change if changed.untouched.rows else None,
            left_out=len(UsedRows.of(place, ()).out),
            seconds=steps.seconds,
        )
        document = {**outcome.model_dump(mode="json"), "at": datetime.now(UTC).isoformat()}
        with self.ledger.keys.held():  # whoever is erased later finds a run that has ended, with its bundle
            self._require_all()
            with replacing(place / RESULT, durable=True) as stream:
                stream.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
            tidy(self.ledger, place)
        return outcome

    def _require_all(self) -> None:
        if self.is_lost:
            raise ErasedMeanwhileError("an author of this run was erased; the run begins anew")

    def _corrections(self) -> None:
        """Write the rows of the snapshot with their texts, but for those that are nearly a golden one."""
        near = NearDuplicateIndex()
        kept_apart = {near.add(row.text) for row in self._golden}
        opened = [(row, self.ledger.text(row)) for row in self._snapshot.rows]
        readable = [(row, *text, near.add(text[0].text)) for row, text in opened if text is not None]
        leaks = {
            number
            for earlier, number in near.pairs(lambda one, other: (one in kept_apart) != (other in kept_apart))
            for number in (earlier, number)
        } | kept_apart
        settled = self._settled_by()
        lines, out = [], {row.id: "erased" for row, text in opened if text is None}
        for row, post, reason, number in readable:
            if number in leaks:
                out[row.id] = "near_golden"
                continue
            document = {
                "id": row.id,
                "text": post.text,
                "kind": post.kind,
                "context": post.model_dump(mode="json")["context"],
                "severity": row.severity,
                "categories": row.categories,
                "refusal": row.refusal,
                "reason": reason,
                "language": post.language,
                "region": post.region,
                "tenant": post.tenant,
                "source": "feedback",
                "label_basis": row.basis,
                "split": row.split,
                "repeat": repeats(row.probability, self.plan.most_repeat),
                **settled.get(row.id, {}),
            }
            lines.append(orjson.dumps({key: one for key, one in document.items() if one is not None}))
        work = self.place / WORK
        with self.ledger.keys.held():
            self._require_all()
            if work.exists():
                shutil.rmtree(work)
            work.mkdir(parents=True, mode=0o700)
            with replacing(work / "corrections.jsonl") as stream:
                stream.writelines(line + b"\n" for line in lines)
        document = {"near_golden": sum(why == "near_golden" for why in out.values()), "out": out}
        with replacing(self.place / "left-out.json") as stream:
            stream.write(orjson.dumps(document) + b"\n")

    def _settled_by(self) -> dict[str, dict[str, Any]]:
        """By row, what makes it a correction: the verdict of the decision that its label comes from, and how that was read."""
        wanted = {name: row for row in self._snapshot.rows for name in row.decisions}
        found = {}
        for one in self.ledger.decisions():
            row = wanted.get(one.id)
            if row is not None and (one.reviewed_at, one.severity) == (row.decided_at, row.severity):
                found[row.id] = {
                    "verdict_id": one.verdict_id,
                    "blind": one.blind,
                    "reviewed_at": one.reviewed_at.isoformat(),
                }
        return found

    def _prepare(self, prepared: Path) -> None:
        self._adapt(
            *("prepare", *self.plan.core, prepared.with_name("corrections.jsonl"), "--out", prepared),
            *("--mask-pii", "--overwrite", "--seed", self.plan.seed),
        )
        names = {row.id for row in self._snapshot.rows}
        train, dev = (names & {*ids(prepared / f"{split}.jsonl")} for split in ("train", "dev"))
        left_out = prepared / LEFT_OUT
        said = {one["id"]: one["fate"] for one in documents(left_out)} if left_out.exists() else {}
        out = dict(orjson.loads((self.place / "left-out.json").read_bytes())["out"])
        for name in names - train - dev - out.keys():
            out[name] = said.get(name, "faulty")
        UsedRows(frozenset(train), frozenset(dev), out).write(self.place)

    def _evaluate(self, prepared: Path, judge: Path, out: Path) -> None:
        """Judge the held-out rows. What the model says of a text may quote it, so its reasons are not kept."""
        self._adapt(
            *("evaluate", prepared, "--split", "dev", "--sample", self.plan.sample, "--seed", self.plan.seed),
            *("--engine", "llama_cpp", "--explain", "harmful", "--explain-rows", _EXPLAINED),
            *("--bundle", judge, "--out", out),
        )
        write_scores(out, map(without_reasons, read_scores(out)))
        (out / JOURNAL).unlink(missing_ok=True)

    def _gate(self, options: dict[str, Path]) -> None:
        """A refusal is a result, too: the command then ends with 1 and has written its report."""
        place, path = self.place, self.place / "gate.json"
        live = Bundle.open(self._live.bundle, verify=False)
        calibration = live.manifest.files.get("calibration")
        served = {"new": place / CALIBRATION}
        if calibration is not None:
            served["current"] = self._live.bundle / calibration.path
        self._adapt(
            *("gate", "--new", place / "new", "--current", place / "current", "--out", path),
            *(one for name, file in served.items() for one in (f"--{name}-calibration", file)),
            *(one for name, file in options.items() for one in (f"--{name}", file)),
            accepted=(0, 1),
        )
        if not path.exists():
            raise CycleError("the gate compared nothing; see its message above")
        months = slice_matrix(
            self._served_by_new(place),
            [JudgedModel("live", live.digest, self._served_by_live()), *self._earlier(live.digest)],
            self._rows,
            self.plan.worst_slice,
        )
        page = path.with_suffix(".md")
        text = page.read_bytes() + b"\n" + matrix_page(months).encode()
        document = {**orjson.loads(path.read_bytes()), "months": months}
        for written, content in ((page, text), (path, orjson.dumps(document, option=orjson.OPT_INDENT_2))):
            with replacing(written) as stream:
                stream.write(content)

    @property
    def _rows(self) -> dict[str, SnapshotRow]:
        return {row.id: row for row in self._snapshot.rows}

    @staticmethod
    def _served_by_new(place: Path) -> list[ScoredRow]:
        """What the new model of a run says with its calibration, as a policy would see it."""
        return calibrated(
            read_scores(place / "new" / SCORES), Calibration.parse((place / CALIBRATION).read_bytes())
        )

    def _served_by_live(self) -> list[ScoredRow]:
        rows = read_scores(self.place / "current" / SCORES)
        return calibrated(rows, Bundle.open(self._live.bundle, verify=False).calibration)

    def _earlier(self, current: str) -> list[JudgedModel]:
        """Models that earlier runs let in, newest first, with what each judged in its own run."""
        return [
            JudgedModel(run.name, one["digest"], self._served_by_new(run))
            for run, one in reversed(results(self.ledger.folder, self.plan.name))
            if one["digest"] not in (None, current) and (run / "new" / SCORES).exists()
        ]

    def _slices(self) -> TaughtChange:
        changed = compare_slices(self._served_by_new(self.place), self._served_by_live(), self._rows)
        document = {
            "taught": changed.taught._asdict(),
            "untouched": changed.untouched._asdict(),
            "by_slice": {name: one._asdict() for name, one in changed.by_slice.items()},
        }
        with replacing(self.place / "slices.json") as stream:
            stream.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        return changed

    def _refused(self, changed: TaughtChange) -> str | None:
        """Why the new model is none, or None."""
        report = orjson.loads((self.place / "gate.json").read_bytes())
        if not report["passed"]:
            return "the gate refused it; gate.md in the run's folder names each loss"
        return too_much_lost(changed, self.plan)

    def _export(self, named: Sequence[str]) -> None:
        place, used = self.place, UsedRows.of(self.place, ())
        lineage = {
            "snapshot": self._snapshot.digest,
            "parent": self._snapshot.parent,
            "rows": len(used.train),
            "held_out": len(used.dev),
            "left_out": len(used.out),
            "adapter": tree_digest(place / SITTING / "best"),
        }
        with replacing(place / LINEAGE) as stream:
            stream.write(orjson.dumps(lineage, option=orjson.OPT_INDENT_2) + b"\n")
        self._adapt(
            *("export", place / SITTING / "best", *named),
            *("--gate", place / "gate.json", "--evaluation", place / "new"),
            *("--calibration", place / CALIBRATION, "--lineage", place / LINEAGE),
            *("--out", place / "bundle"),
        )

    def _adapt(self, *arguments: object, accepted: tuple[int, ...] = (0,)) -> None:
        """Run a command of ours. It is stopped once an author of the snapshot is erased: it may hold the texts in memory."""
        argv = [*self._command, "adapt", *(str(one) for one in arguments)]
        with subprocess.Popen(argv, stdout=sys.stderr) as child:  # noqa: S603 - our own command
            try:
                code = None
                while code is None:
                    self._require_all()
                    with suppress(subprocess.TimeoutExpired):
                        code = child.wait(_LOOK_S)
            except BaseException:
                _stop(child)
                raise
        self._require_all()
        if code < 0:
            raise InterruptedStepError(
                f"`adapt {arguments[0]}` was ended by {Signals(-code).name}; give the same command, and it goes on"
            )
        if code not in accepted:
            raise CycleError(
                f"`adapt {arguments[0]}` ended with {code}; see its message above, mend it, and give the same command"
            )


def too_much_lost(changed: TaughtChange, plan: CyclePlan) -> str | None:
    """What a new model lost more of than the plan allows, or None.

    Args:
        changed: Beside the live model.
        plan: Its limits.
    """
    worst, untouched = changed.worst, changed.untouched
    if worst is not None and worst[1].change < -plan.worst_slice:
        return f"{worst[0]} lost {-worst[1].change:.1%}, and may lose {plan.worst_slice:.1%}"
    if untouched.change < -plan.worst_untouched:
        return (
            f"cases whose verdict people confirmed lost {-untouched.change:.1%}, and may lose {plan.worst_untouched:.1%} "
            "(worst_untouched)"
        )
    return None


def place_of(ledger: CycleLedger, plan: CyclePlan, snapshot: str) -> Path:
    """Folder of the run that trains on a snapshot."""
    return ledger.folder / RUNS / f"{plan.name}-{short(snapshot)}"


def bundle_digest(folder: Path) -> str:
    """Digest of a bundle."""
    return Bundle.open(folder, verify=False).digest


def _stop(child: subprocess.Popen[bytes]) -> None:
    """A training writes a checkpoint first; what does not end in time is killed."""
    child.terminate()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()


def _count_leaks(prepared: Path, golden: list[Row], out: Path) -> None:
    """Count near duplicates across train, dev and the golden rows. There are none, or the run ends here."""
    near = NearDuplicateIndex()
    sides: dict[int, set[str]] = {}
    texts = {
        split: [one["text"] for one in documents(prepared / f"{split}.jsonl")] for split in ("train", "dev")
    }
    for side, ones in (*texts.items(), ("golden", [row.text for row in golden])):
        for text in ones:
            sides.setdefault(near.add(text), set()).add(side)
    pairs = [*near.pairs(lambda one, other: len(sides[one] | sides[other]) > 1)]
    leaks = len(pairs) + sum(len(one) > 1 for one in sides.values())
    with replacing(out) as stream:
        stream.write(
            orjson.dumps({"leaks": leaks, **{side: len(ones) for side, ones in texts.items()}}) + b"\n"
        )
    if leaks:
        raise CycleError(
            f"{leaks:,} texts stand nearly equal on two sides of train, dev and the golden rows; take the golden ones out of the core"
        )
