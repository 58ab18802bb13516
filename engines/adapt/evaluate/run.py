"""The door: from labelled files, a backend and a folder to an evaluation and its report."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.errors import EvaluationError
from sluicegate.engines.adapt.evaluate import report
from sluicegate.engines.adapt.evaluate.evaluation import evaluation
from sluicegate.engines.adapt.evaluate.journal import JOURNAL, Journal
from sluicegate.engines.adapt.evaluate.judging import Judging, JudgingTerms
from sluicegate.engines.adapt.evaluate.labelled_rows import Labelled, draw, rows_digest
from sluicegate.engines.adapt.evaluate.measures import MOST_RESAMPLES
from sluicegate.engines.adapt.evaluate.report import page
from sluicegate.engines.adapt.evaluate.scored import write_scores
from sluicegate.engines.backends import Backend
from sluicegate.engines.files import replace_file
from sluicegate.engines.protocol import EngineInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


EVALUATION: Final = "evaluation.json"
REPORT: Final = "report.md"


@dataclass(frozen=True, slots=True)
class WantedEvaluation:
    """What is evaluated, beside rows and engine."""

    sample: int | None = None
    """At most this many rows, stratified by language, severity and source."""
    seed: int = 0
    split: str | None = None
    title: str = "Evaluation"
    show_text: bool = False


def evaluate(
    labelled: Labelled,
    backend: Backend,
    out: Path,
    terms: JudgingTerms,
    wanted: WantedEvaluation,
    advance: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Judge the rows and write ``scores.jsonl``, ``evaluation.json``, ``report.md`` and plots. Blocking.

    What the folder's journal knows is not asked again: the same call goes on where another one ended.

    Args:
        labelled: The rows.
        backend: Not entered yet.
        out: Folder for the results, made if need be; files of an earlier evaluation are replaced.
        terms: How the rows are judged.
        wanted: Which of them, and what is written.
        advance: Called with a stage, rows done and rows in all.

    Returns:
        The document that ``evaluation.json`` holds.

    Raises:
        EngineError: The engine cannot be started, or stays away.
        EvaluationError: The folder cannot be written to, or another evaluation has it.
    """
    if terms.calibrated and backend.calibration is None:
        raise EvaluationError("the engine has no calibration; make one with sluicegate adapt calibrate")
    rows = labelled.rows if wanted.sample is None else draw(labelled.rows, wanted.sample, seed=wanted.seed)
    with _only_one(out):
        scored, info = asyncio.run(_judged(backend, out, terms, rows, advance))
        _forget(out / EVALUATION)
        write_scores(out, scored)
        advance("measuring", 0, 1)
        measured = evaluation(scored, seed=wanted.seed, reasons=labelled.reasons)
        document = {**measured, "title": wanted.title}
        document["judged"] = _facts(labelled, info, terms, wanted, rows)
        advance("measuring", 1, 1)
        texts = {row.id: row.text for row in rows} if wanted.show_text else None
        try:
            report.draw(document, out)
            replace_file(out / REPORT, page(document, title=wanted.title, texts=texts).encode())
            # The last one: where it stands, all the others do.
            replace_file(out / EVALUATION, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        except OSError as error:
            raise EvaluationError(
                f"{out} cannot be written to ({error.strerror}); give another --out"
            ) from error
    return document


async def _judged(
    backend: Backend,
    out: Path,
    terms: JudgingTerms,
    rows: list[Any],
    advance: Callable[[str, int, int], None],
) -> tuple[list[Any], EngineInfo]:
    async with backend.engine:
        info = backend.engine.info
        health = await backend.engine.health()
        if not health.ok:
            raise EvaluationError(
                f"the engine answers no request ({health.detail[:200]}); `sluicegate check` shows more"
            )
        with Journal(out / JOURNAL, info) as journal:
            return await Judging(backend, journal, terms, advance).judge(rows), info


def _facts(
    labelled: Labelled, info: EngineInfo, terms: JudgingTerms, wanted: WantedEvaluation, rows: Sequence[Row]
) -> dict[str, Any]:
    """What was judged by what: enough to do it again, and to see whether two evaluations may be compared."""
    return {
        "engine": asdict(info),
        "files": labelled.files,
        "licences": labelled.licences,
        "split": wanted.split,
        "rows_read": len(labelled.rows),
        "faulty_rows": labelled.faulty_rows,
        "rows_of_another_split": labelled.other_split_rows,
        "repeated_ids": labelled.repeated_rows,
        "sample": wanted.sample,
        "rows_judged": len(rows),
        "training_rows": sum(row.split == "train" for row in rows),
        "rows_digest": rows_digest(rows),
        "seed": wanted.seed,
        "terms": asdict(terms),
        "terms_digest": f"sha256:{hashlib.sha256(orjson.dumps(asdict(terms))).hexdigest()}",
        "most_resamples": MOST_RESAMPLES,
    }


def _forget(path: Path) -> None:
    """Before scores are written: an earlier document would say that they are another engine's."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise EvaluationError(f"{path} cannot be removed ({error.strerror}); give another --out") from error


@contextmanager
def _only_one(out: Path) -> Iterator[None]:
    """Hold the folder; the system lets go of it if the process dies."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("a")
    except OSError as error:
        raise EvaluationError(f"{out} cannot be written to ({error.strerror}); give another --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EvaluationError(
                f"{out} is in use by another evaluation; wait for it, or give another --out"
            ) from error
        yield
