"""The cycle: decisions, snapshot, training, evaluation, gate and bundle, one after the other. The same command goes on.

Readable texts stand in the folder ``work`` of a run alone, and only while the run needs them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from sluicegate.engines.adapt.cycle.ledger import RESULT, RUNS, CycleLedger, RowSnapshot, SealedDecision
from sluicegate.engines.adapt.cycle.qualify import Qualified, qualify, repeats
from sluicegate.engines.adapt.cycle.slices import (
    JudgedModel,
    TaughtChange,
    compare_slices,
    matrix_page,
    slice_matrix,
)
from sluicegate.engines.adapt.cycle.steps import StepRunner, tree_digest
from sluicegate.engines.adapt.cycle.trigger import TriggerDecision, TriggerLimits, decide_trigger
from sluicegate.engines.adapt.data.near_duplicates import NearDuplicateIndex
from sluicegate.engines.adapt.data.row_files import RecordFile, input_files
from sluicegate.engines.adapt.data.row_reader import RowReader
from sluicegate.engines.adapt.data.rows import MOST_REPEAT, Row, plain_form
from sluicegate.engines.adapt.errors import CycleError
from sluicegate.engines.adapt.evaluate.scored import SCORES, read_scores
from sluicegate.engines.adapt.export.export import LINEAGE
from sluicegate.engines.bundle import Bundle
from sluicegate.engines.cpu_model import base_model
from sluicegate.engines.files import replacing
from sluicegate.schemas import Feedback, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


WORK: Final = "work"
SPLITS: Final = "splits.json"
LEAKS: Final = "leaks.json"
_EXPLAINED: Final = 64
"""Rows whose explanation is asked for: the built-in limits of the gate want at least 50."""
_FILE_BYTES: Final = 1 << 20


class CyclePlan(BaseModel):
    """What is trained from, and how often: the file of a cycle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,40}$")] = "weekly"
    tenant: str | None = Field(default=None, description="Whose own adapter; its decisions alone are read.")
    core: list[Path] = Field(
        min_length=1, description="Labelled rows that every training has, and folders of them."
    )
    golden: list[Path] = Field(
        default=[], description="Labelled rows to test people and models by. Never learnt."
    )
    recipe: Path = Field(description="What `adapt train` is given.")
    current: str = Field(default="cpu", description="Bundle of the live engine, or `cpu`.")
    sample: int = Field(default=1_000, ge=20, description="Held-out rows that both models judge.")
    limits: Path | None = Field(default=None, description="Limits of the gate, if not the built-in ones.")
    worst_slice: float = Field(default=0.01, ge=0, le=1, description="What any month may lose.")
    most_repeat: int = Field(
        default=1,
        ge=1,
        le=MOST_REPEAT,
        description="How often a pass may show a decision that chance picked, for the posts that it stands for.",
    )
    trigger: TriggerLimits = TriggerLimits()
    seed: int = 0

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file. Paths in it are seen from its folder.

        Raises:
            CycleError: Which field is wrong, and how.
        """
        try:
            document = yaml.safe_load(path.read_bytes()[:_FILE_BYTES])
            plan = cls.model_validate(document)
        except OSError as error:
            raise CycleError(f"{path} cannot be read ({error.strerror}); check the name") from error
        except yaml.YAMLError as error:
            raise CycleError(f"{path} is not YAML; see docs/cycle.md") from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"])) or "file"
            raise CycleError(f"{path}: {where}: {first['msg']}; see docs/cycle.md") from error
        beside = path.parent
        return plan.model_copy(
            update={
                "core": [beside / one for one in plan.core],
                "golden": [beside / one for one in plan.golden],
                "recipe": beside / plan.recipe,
                "limits": plan.limits and beside / plan.limits,
                "current": plan.current if plan.current == "cpu" else str(beside / plan.current),
            }
        )


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
    seconds: dict[str, float] = {}


class Cycle:
    """One cycle over one folder. Blocking.

    Args:
        plan: What is trained from.
        folder: Of the ledger and the runs; made where it is missing.
        report: Called with one line for each step.
        command: How a command of ours is called.
    """

    def __init__(
        self,
        plan: CyclePlan,
        folder: Path,
        report: Callable[[str], None],
        command: tuple[str, ...] = (sys.executable, "-m", "sluicegate"),
    ) -> None:
        self.plan = plan
        self.ledger = CycleLedger(folder)
        self._report = report
        self._command = command
        self._folder = folder

    def run(self, records: Iterable[Feedback], *, force: bool = False) -> CycleOutcome:
        """From decisions to a bundle, or to the reason why there is none.

        Args:
            records: Decisions; those that are known already change nothing.
            force: Train even if the trigger says no.

        Raises:
            CycleError: A step failed. The same command goes on with it.
        """
        wanted = self.plan.tenant
        new = self.ledger.collect(one for one in records if wanted in (None, one.post.tenant))
        self._report(f"collected {new:,} new decisions")
        for result in (self._folder / RUNS).glob(f"*/{RESULT}"):
            self._tidy(result.parent)  # one that was cut off after its result
        golden = [*_rows(self.plan.golden)]
        found = self._qualify(golden)
        self._write("quality.json", quality_document(found))
        newest_snapshot = self.ledger.newest()
        if newest_snapshot is not None:
            place = self._place(newest_snapshot)
            if place.exists() and not (place / RESULT).exists():
                why = "a run was cut off, and goes on; what came since is for the next one"
                return self._train(self.ledger.snapshot(newest_snapshot), found, golden, why)
        decided = self._trigger(found)
        if not (decided.worth_it or force):
            newest = self._newest_result()
            if (
                newest is not None and newest["passed"]
            ):  # what failed after it, such as a hand-over, is done again
                return CycleOutcome.model_validate(newest).model_copy(update={"trigger": decided.why})
            return CycleOutcome(trigger=decided.why, rows=len(found.rows), held=len(found.held))
        snapshot = self.ledger.take_snapshot(found.rows)
        return self._train(snapshot, found, golden, decided.why if decided.worth_it else "forced")

    def _place(self, snapshot: str) -> Path:
        """Folder of the run that trains on a snapshot."""
        return self._folder / RUNS / f"{self.plan.name}-{snapshot.removeprefix('sha256:')[:12]}"

    def _qualify(self, golden: list[Row]) -> Qualified:
        keys = self.ledger.keys

        def row_id(label: SealedDecision, severity: Severity) -> str:
            return keys.mac("row", label.case, severity, *label.categories)

        severities = {plain_form(row.text): row.severity for row in golden}
        decisions = self.ledger.decisions()
        cases: dict[str, Severity] = {}
        for decision in decisions:
            opened = self.ledger.text(decision)
            severity = None if opened is None else severities.get(plain_form(opened[0].text))
            if severity is not None:
                cases[decision.case] = severity
        return qualify(decisions, golden=cases, row_id=row_id, splits=self._splits(), seed=self.plan.seed)

    def _trigger(self, found: Qualified) -> TriggerDecision:
        newest = self._newest_result()
        learnt: set[str] = set()
        erased = 0
        last_at = None
        if newest is not None:
            rows = self.ledger.snapshot(newest["snapshot"]).rows
            learnt = {row.id for row in rows}
            erased = sum(self.ledger.keys.is_erased(row.author) for row in rows)
            last_at = datetime.fromisoformat(newest["at"])
        everything = found.rates.get("all")
        return decide_trigger(
            self.plan.trigger,
            new_rows=sum(row.id not in learnt for row in found.rows),
            erased_rows=erased,
            last_at=last_at,
            now=datetime.now(UTC),
            wrong_low=0.0 if everything is None else everything.wrong.low,
        )

    def _train(self, snapshot: RowSnapshot, found: Qualified, golden: list[Row], why: str) -> CycleOutcome:
        place = self._place(snapshot.digest)
        work = place / WORK
        place.mkdir(parents=True, exist_ok=True)
        steps = StepRunner(place, self._report)
        current = self._current()
        prepared, sitting, draft = work / "prepared", place / "sitting", place / "draft"
        made_from = {"snapshot": snapshot.digest, "plan": self.plan.model_dump_json()}
        if (place / RESULT).exists():
            self._report("this snapshot was trained on already; the result stands")
            return CycleOutcome.model_validate_json((place / RESULT).read_bytes()).model_copy(
                update={"trigger": why}
            )

        steps.step(
            "corrections",
            lambda: self._corrections(snapshot, golden, work),
            inputs=made_from,
            outputs=[work / "corrections.jsonl", place / "left-out.json"],
        )
        steps.step(
            "prepare",
            lambda: self._adapt(
                *("prepare", *self.plan.core, work / "corrections.jsonl", "--out", prepared),
                *("--mask-pii", "--overwrite", "--seed", self.plan.seed),
            ),
            inputs={
                "corrections": work / "corrections.jsonl",
                **{f"core {at}": one for at, one in enumerate(self.plan.core)},
            },
            outputs=[prepared],
        )
        steps.step(
            "leaks",
            lambda: _count_leaks(prepared, golden, place / LEAKS),
            inputs={"prepared": prepared},
            outputs=[place / LEAKS],
        )
        steps.step(
            "train",
            lambda: self._adapt("train", self.plan.recipe, "--data", prepared, "--out", sitting),
            inputs={"prepared": prepared, "recipe": self.plan.recipe},
            outputs=[sitting / "best"],
            goes_on=True,
        )
        steps.step(
            "draft",
            lambda: self._adapt(
                "export",
                sitting / "best",
                "--to",
                "llama_cpp",
                "--draft",
                "--name",
                self.plan.name,
                "--out",
                draft,
            ),
            inputs={"adapter": sitting / "best"},
            outputs=[draft],
        )
        judged = (
            "evaluate",
            prepared,
            "--split",
            "dev",
            "--sample",
            self.plan.sample,
            "--seed",
            self.plan.seed,
            "--engine",
            "llama_cpp",
            *("--explain", "harmful", "--explain-rows", _EXPLAINED),
        )
        for name, judge in (("new", draft), ("current", current)):
            steps.step(
                f"evaluate-{name}",
                partial(self._adapt, *judged, "--bundle", judge, "--out", place / name),
                inputs={"prepared": prepared, "bundle": judge / "manifest.json"},
                outputs=[place / name / SCORES],
                goes_on=True,
            )
        steps.step(
            "calibrate",
            lambda: self._adapt("calibrate", place / "new", "--out", place / "calibration.json"),
            inputs={"scores": place / "new" / SCORES},
            outputs=[place / "calibration.json"],
        )
        limits = () if self.plan.limits is None else ("--limits", self.plan.limits)
        steps.step(
            "gate",
            lambda: self._gate(place, limits, snapshot, _bundle_digest(current)),
            inputs={"new": place / "new" / SCORES, "current": place / "current" / SCORES},
            outputs=[place / "gate.json"],
        )
        changed = self._slices(place, snapshot)
        refused = self._refused(place, changed)
        bundle = place / "bundle"
        if refused is None:
            steps.step(
                "export",
                lambda: self._export(place, snapshot),
                inputs={"adapter": sitting / "best", "gate": place / "gate.json", **made_from},
                outputs=[bundle],
            )
        worst = changed.worst
        outcome = CycleOutcome(
            trigger=why,
            snapshot=snapshot.digest,
            run=place,
            passed=refused is None,
            why=refused or "",
            bundle=bundle if refused is None else None,
            digest=_bundle_digest(bundle) if refused is None else None,
            rows=len(snapshot.rows),
            held=len(found.held),
            near_golden=orjson.loads((place / "left-out.json").read_bytes())["near_golden"],
            leaks=orjson.loads((place / LEAKS).read_bytes())["leaks"],
            taught_gain=changed.taught.change if changed.taught.rows else None,
            worst_slice=None if worst is None else (worst[0], worst[1].change),
            seconds=steps.seconds,
        )
        document = {**outcome.model_dump(mode="json"), "at": datetime.now(UTC).isoformat()}
        with replacing(place / RESULT, durable=True) as stream:
            stream.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        self._tidy(place)
        return outcome

    def _tidy(self, place: Path) -> None:
        """After a run: note where each case stands, and take away what is readable. The snapshot has it all."""
        if (place / WORK).exists():
            snapshot = orjson.loads((place / RESULT).read_bytes())["snapshot"]
            self._keep_splits(place / WORK / "prepared", self.ledger.snapshot(snapshot))
            shutil.rmtree(place / WORK)
        shutil.rmtree(place / "draft", ignore_errors=True)

    def _corrections(self, snapshot: RowSnapshot, golden: list[Row], work: Path) -> None:
        """Write the rows of a snapshot with their texts, but for those that are nearly a golden one."""
        if work.exists():
            shutil.rmtree(work)
        work.mkdir(parents=True, mode=0o700)
        near = NearDuplicateIndex()
        kept_apart = {near.add(row.text) for row in golden}
        opened = [(row, self.ledger.text(row)) for row in snapshot.rows]
        readable = [(row, *text, near.add(text[0].text)) for row, text in opened if text is not None]
        leaks = {
            number
            for earlier, number in near.pairs(lambda one, other: (one in kept_apart) != (other in kept_apart))
            for number in (earlier, number)
        } | kept_apart
        left_out = 0
        with replacing(work / "corrections.jsonl") as stream:
            for row, post, reason, number in readable:
                if number in leaks:
                    left_out += 1
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
                }
                stream.write(
                    orjson.dumps({key: one for key, one in document.items() if one is not None}) + b"\n"
                )
        document = {"near_golden": left_out, "erased": len(opened) - len(readable)}
        with replacing(work.parent / "left-out.json") as stream:
            stream.write(orjson.dumps(document) + b"\n")

    def _keep_splits(self, prepared: Path, snapshot: RowSnapshot) -> None:
        """Note where each case stands: a text that was seen in dev stays there for ever."""
        cases = {row.id: row.case for row in snapshot.rows}
        splits = self._splits()
        for split in ("train", "dev"):
            for document in _documents(prepared / f"{split}.jsonl"):
                case = cases.get(document["id"])
                if case is not None:
                    splits.setdefault(case, split)
        self._write(SPLITS, splits)

    def _gate(self, place: Path, limits: tuple[str | Path, ...], snapshot: RowSnapshot, current: str) -> None:
        """A refusal is a result, too: the command then ends with 1 and has written its report."""
        path = place / "gate.json"
        given = ("gate", "--new", place / "new", "--current", place / "current", "--out", path)
        self._adapt(*given, *limits, accepted=(0, 1))
        if not path.exists():
            raise CycleError("the gate compared nothing; see its message above")
        months = slice_matrix(
            read_scores(place / "new" / SCORES),
            [JudgedModel("live", current, read_scores(place / "current" / SCORES)), *self._earlier(current)],
            {row.id: row for row in snapshot.rows},
            self.plan.worst_slice,
        )
        page = path.with_suffix(".md")
        text = page.read_bytes() + b"\n" + matrix_page(months).encode()
        document = {**orjson.loads(path.read_bytes()), "months": months}
        for written, content in ((page, text), (path, orjson.dumps(document, option=orjson.OPT_INDENT_2))):
            with replacing(written) as stream:
                stream.write(content)

    def _earlier(self, current: str) -> list[JudgedModel]:
        """Models that earlier runs let in, newest first, with what each judged in its own run."""
        results = [(path.parent, orjson.loads(path.read_bytes())) for path in self._results()]
        let_in = [
            (one["at"], JudgedModel(place.name, one["digest"], read_scores(place / "new" / SCORES)))
            for place, one in results
            if one["digest"] not in (None, current) and (place / "new" / SCORES).exists()
        ]
        return [model for _, model in sorted(let_in, key=lambda one: one[0], reverse=True)]

    def _slices(self, place: Path, snapshot: RowSnapshot) -> TaughtChange:
        changed = compare_slices(
            read_scores(place / "new" / SCORES),
            read_scores(place / "current" / SCORES),
            {row.id: row for row in snapshot.rows},
        )
        document = {
            "taught": changed.taught._asdict(),
            "untouched": changed.untouched._asdict(),
            "by_slice": {name: one._asdict() for name, one in changed.by_slice.items()},
        }
        with replacing(place / "slices.json") as stream:
            stream.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        return changed

    def _refused(self, place: Path, changed: TaughtChange) -> str | None:
        """Why the new model is none, or None."""
        report = orjson.loads((place / "gate.json").read_bytes())
        if not report["passed"]:
            return "the gate refused it; gate.md in the run's folder names each loss"
        worst = changed.worst
        if worst is not None and worst[1].change < -self.plan.worst_slice:
            return f"{worst[0]} lost {-worst[1].change:.1%}, and may lose {self.plan.worst_slice:.1%}"
        return None

    def _export(self, place: Path, snapshot: RowSnapshot) -> None:
        lineage = {
            "snapshot": snapshot.digest,
            "parent": snapshot.parent,
            "rows": len(snapshot.rows),
            "adapter": tree_digest(place / "sitting" / "best"),
        }
        with replacing(place / LINEAGE) as stream:
            stream.write(orjson.dumps(lineage, option=orjson.OPT_INDENT_2) + b"\n")
        self._adapt(
            *("export", place / "sitting" / "best", "--to", "llama_cpp", "--name", self.plan.name),
            *("--gate", place / "gate.json", "--evaluation", place / "new"),
            *("--calibration", place / "calibration.json", "--lineage", place / LINEAGE),
            *("--out", place / "bundle"),
        )

    def _adapt(self, *arguments: object, accepted: tuple[int, ...] = (0,)) -> None:
        argv = [*self._command, "adapt", *(str(one) for one in arguments)]
        done = subprocess.run(argv, check=False, stdout=sys.stderr)  # noqa: S603 - our own command
        if done.returncode not in accepted:
            raise CycleError(
                f"`adapt {arguments[0]}` ended with {done.returncode}; see its message above, mend it, and give the same command"
            )

    def _current(self) -> Path:
        model = base_model(self.plan.current)
        path = Path(self.plan.current) if model is None else model.bundle_path()
        if not path.is_dir():
            raise CycleError(
                f"current: {path} is no bundle; `sluicegate engine fetch-cpu` brings the CPU model's"
            )
        return path

    def _newest_result(self) -> dict[str, Any] | None:
        found = [orjson.loads(path.read_bytes()) for path in self._results()]
        return max(found, key=lambda one: one["at"], default=None)

    def _results(self) -> list[Path]:
        return sorted((self._folder / RUNS).glob(f"{self.plan.name}-*/{RESULT}"))

    def _splits(self) -> dict[str, str]:
        path = self._folder / SPLITS
        return orjson.loads(path.read_bytes()) if path.exists() else {}

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        with replacing(self._folder / name) as stream:
            stream.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")


def quality_document(found: Qualified) -> dict[str, Any]:
    """What the decisions say of people and of the live engine, for JSON. No text is in it."""
    seen = found.pull
    return {
        "rows": len(found.rows),
        "rows_by_language": Counter(row.language or "und" for row in found.rows),
        "held": [one._asdict() for one in found.held],
        "alpha": asdict(found.alpha),
        "ac1": asdict(found.ac1),
        "alpha_by_language": {name: asdict(one) for name, one in found.by_language.items()},
        "raters": [
            {
                "rater": one.rater,
                "shared": one.shared,
                "alpha": asdict(one.own),
                "others_alpha": asdict(one.others),
                "drifted": one.drifted,
                "error_rate": found.error_rates[one.rater],
            }
            for one in found.raters
        ],
        "golden": {name: {"right": right, "of": of} for name, (right, of) in found.golden.items()},
        "likely_errors": [one._asdict() for one in found.likely_errors],
        "rates": {name: asdict(one) for name, one in found.rates.items()},
        "pull": None if seen is None else {"difference": seen.difference, "low": seen.low, "high": seen.high},
    }


def _rows(paths: list[Path]) -> Iterator[Row]:
    reader = RowReader(kind="post", language=None, extra_categories=(), category_map={})
    for path in input_files(paths) if paths else []:
        for number, document in enumerate(_documents(path), 1):
            row = reader.read(document, name=path.stem, line=number)
            if isinstance(row, Row):
                yield row
            else:
                raise CycleError(f"{path}:{number}: {row[0].field}: {row[0].wrong}; {row[0].right}")


def _count_leaks(prepared: Path, golden: list[Row], out: Path) -> None:
    """Count near duplicates across train, dev and the golden rows. There are none, or the run ends here."""
    near = NearDuplicateIndex()
    sides: dict[int, set[str]] = {}
    texts = {
        split: [one["text"] for one in _documents(prepared / f"{split}.jsonl")] for split in ("train", "dev")
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


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    for record in RecordFile(path).records():
        if isinstance(record.content, dict):
            yield record.content


def _bundle_digest(folder: Path) -> str:
    return Bundle.open(folder, verify=False).digest
