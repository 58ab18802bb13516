"""Scored rows: labels beside what an engine found, without the text; the lines of ``scores.jsonl``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, get_args

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    with_config,
)

from sluicegate.engines.adapt.data.rows import Name, Row
from sluicegate.engines.adapt.errors import EvaluationError
from sluicegate.engines.bundle import Calibration
from sluicegate.engines.files import replacing
from sluicegate.schemas import Kind, Scores, Severity
from sluicegate.schemas._fields import Code, Identifier, LanguageTag, Probability, RegionCode
from sluicegate.schemas.assessment import Categories, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


SCORES = "scores.jsonl"
"""Name of the file in a folder that ``sluicegate adapt evaluate`` wrote."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The order of every triple of probabilities."""

NO_LANGUAGE = "und"
"""Stands in tables for rows that name no language; the code BCP 47 has for it."""

_MOST_ROWS = 2_000_000  # some 400 bytes each
_LINE_BYTES = 64 << 10  # several times what the fields' own limits allow
_FIX = "write it again with sluicegate adapt evaluate"

Probabilities = tuple[Probability, Probability, Probability]


@with_config(ConfigDict(strict=True, extra="ignore"))
@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRow:
    """One labelled row and what was found. It has probabilities, or the code of the failure in their place."""

    id: Identifier
    source: Name
    kind: Kind
    severity: Severity
    """The label's."""
    language: LanguageTag | None = None
    categories: Categories = ()
    """The label's; empty where it names none."""
    label_basis: Name | None = None
    region: RegionCode | None = None
    group: Identifier | None = None
    """Rows that belong together, such as translations of one text: drawn together for intervals."""
    refusal: bool | None = None
    """The label's; for responses."""
    probabilities: Annotated[Probabilities | None, Field(strict=False)] = None
    """Safe, controversial, unsafe; of a text of several parts, those of the riskiest part."""
    failure: Code | None = None
    """Why there are no probabilities."""
    well_formed: bool | None = None
    """Whether the explanation had the agreed form; None if the row was not explained, or nothing came."""
    explanation_failure: Code | None = None
    """Why an explanation that was asked for is absent."""
    found_categories: Categories = ()
    found_refusal: bool | None = None
    found_reason: Reason | None = None
    """Text of the model about the row: shown only where texts were asked for."""

    def __post_init__(self) -> None:
        if (self.probabilities is None) == (self.failure is None):
            raise ValueError("a row has either probabilities or a failure")
        if self.probabilities is not None:
            self._scores()

    def _scores(self) -> Scores:
        if self.probabilities is None:
            raise ValueError("a failed row has no scores")
        return Scores(**dict(zip(SEVERITIES, self.probabilities, strict=True)))

    @property
    def found(self) -> Severity | None:
        """The likeliest severity, a tie going to the more severe; None for a failed row."""
        return None if self.probabilities is None else self._scores().severity

    @property
    def language_name(self) -> str:
        """The language for tables, :data:`NO_LANGUAGE` where there is none."""
        return self.language or NO_LANGUAGE

    def document(self) -> dict[str, Any]:
        """What a line of JSON holds: the fields that say something, in their order."""
        document: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return {name: value for name, value in document.items() if value not in (None, [])}


def labelled(row: Row) -> dict[str, Any]:
    """The fields of a scored row that a labelled row decides."""
    return {
        "id": row.id,
        "source": row.source,
        "kind": row.kind,
        "severity": row.severity,
        "language": row.language,
        "categories": row.categories,
        "label_basis": row.label_basis,
        "region": row.region,
        "group": row.group,
        "refusal": row.refusal,
    }


def without_reasons(row: ScoredRow) -> ScoredRow:
    """The row without what the model said of it, which may quote the text."""
    return replace(row, found_reason=None)


def calibrated(rows: Iterable[ScoredRow], calibration: Calibration | None) -> list[ScoredRow]:
    """Rows as a policy sees them in service: each with its scores calibrated by kind and language.

    Of a text of several parts the riskiest raw part is calibrated.

    Args:
        rows: With raw scores.
        calibration: Of the model that judged them; None leaves them as they are.
    """
    if calibration is None:
        return list(rows)
    found = []
    for row in rows:
        if row.probabilities is not None:
            raw = Scores(**dict(zip(SEVERITIES, row.probabilities, strict=True)))
            scores = calibration.calibrated(raw, row.kind, row.language)
            row = replace(row, probabilities=(scores.safe, scores.controversial, scores.unsafe))  # noqa: PLW2901
        found.append(row)
    return found


def write_scores(folder: Path, rows: Iterable[ScoredRow]) -> Path:
    """Write ``scores.jsonl`` into a folder; it takes its name when it is complete.

    Raises:
        EvaluationError: The folder cannot be written to.
    """
    path = folder / SCORES
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=True) as stream:
            for row in rows:
                stream.write(orjson.dumps(row.document()) + b"\n")
    except OSError as error:
        raise EvaluationError(
            f"{folder} cannot be written to ({error.strerror}); give another folder"
        ) from error
    return path


def read_scores(path: Path) -> list[ScoredRow]:
    """Scored rows in the order of the file.

    Args:
        path: A folder that ``sluicegate adapt evaluate`` wrote, or the file itself.

    Raises:
        EvaluationError: There is no such file, or a line is no scored row, or stands twice.
    """
    path = path / SCORES if path.is_dir() else path
    rows: dict[str, ScoredRow] = {}
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(_LINE_BYTES + 1):
                number += 1
                if number > _MOST_ROWS or len(line) > _LINE_BYTES:
                    raise EvaluationError(
                        f"{path}:{number}: more than {_MOST_ROWS:,} rows or {_LINE_BYTES:,} bytes a line; {_FIX}"
                    )
                row = _row(path, number, line)
                if row.id in rows:
                    raise EvaluationError(f"{path}:{number}: id: the same as on an earlier line; {_FIX}")
                rows[row.id] = row
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read ({error.strerror}); {_FIX}") from error
    if not rows:
        raise EvaluationError(f"{path} has no rows; {_FIX}")
    return list(rows.values())


def parse_scored(line: bytes) -> ScoredRow:
    """One line of JSON as a scored row.

    Raises:
        ValidationError: It is none.
    """
    return _adapter().validate_json(line)


def _row(path: Path, number: int, line: bytes) -> ScoredRow:
    try:
        return parse_scored(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"]))[:80] or "line"
        raise EvaluationError(f"{path}:{number}: {field} is not as a scored row has it; {_FIX}") from None


@cache
def _adapter() -> TypeAdapter[ScoredRow]:
    return TypeAdapter(ScoredRow)


EVALUATION = "evaluation.json"
_EVALUATION_BYTES = 64 << 20  # a thousand groups with all their measures are a tenth of it

_READ = ConfigDict(frozen=True, extra="ignore")
Text = Annotated[str, StringConstraints(max_length=512)]


class JudgedEngine(BaseModel):
    """Who judged."""

    model_config = _READ

    digest: Text
    backend: Text
    model: Text
    adapter: Text | None = None


class Terms(BaseModel):
    """How, as far as scores depend on it."""

    model_config = _READ

    hints: bool = False
    calibrated: bool = False
    most_tokens: int | None = None
    most_segments: int | None = None


class Judged(BaseModel):
    """What an evaluation says of itself; fields beside these are passed over."""

    model_config = _READ

    engine: JudgedEngine
    split: Text | None = None
    training_rows: int = 0
    """Of the split that trains."""
    rows_digest: Text
    """Over rows, texts and labels."""
    terms: Terms = Field(default_factory=Terms)

    @property
    def is_held_out(self) -> bool:
        """False if rows of the split that trains are among those judged: a model is surer of them than of others."""
        return self.split != "train" and self.training_rows == 0


class _Document(BaseModel):
    model_config = _READ

    rows: int
    judged: Judged


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluation."""

    folder: Path
    rows: Sequence[ScoredRow]
    """By id."""
    judged: Judged
    scores_sha256: str
    """``sha256:…`` of ``scores.jsonl``."""


def read_evaluated(folder: Path) -> Evaluated:
    """Read what ``sluicegate adapt evaluate`` wrote.

    Raises:
        EvaluationError: A file is missing or not as it was written, or the two are not of one evaluation.
    """
    judged = _document(folder / EVALUATION)
    rows = read_scores(folder / SCORES)
    if len(rows) != judged.rows:
        raise EvaluationError(
            f"{folder}: {EVALUATION} is of {judged.rows:,} rows, {SCORES} has {len(rows):,}; {_FIX}"
        )
    with (folder / SCORES).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Evaluated(folder, sorted(rows, key=lambda row: row.id), judged.judged, f"sha256:{digest}")


def _document(path: Path) -> _Document:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_EVALUATION_BYTES + 1)
    except OSError as error:
        raise EvaluationError(
            f"{path} cannot be read ({error.strerror}); name a folder that sluicegate adapt evaluate wrote"
        ) from error
    if len(raw) > _EVALUATION_BYTES:
        raise EvaluationError(f"{path} is larger than {_EVALUATION_BYTES:,} bytes; {_FIX}")
    try:
        return _Document.model_validate(orjson.loads(raw))
    except orjson.JSONDecodeError:
        raise EvaluationError(f"{path} is not JSON; {_FIX}") from None
    except ValidationError as error:
        where = (
            ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"])) or "document"
        )
        raise EvaluationError(f"{path}: {where[:80]} is not as an evaluation has it; {_FIX}") from None
