"""An evaluation's folder as it is read again: scored rows, and what was judged by whom."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from sluicegate.engines.adapt.evaluate.errors import EvaluationError
from sluicegate.engines.adapt.evaluate.scored import SCORES, read_scores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

EVALUATION = "evaluation.json"
_EVALUATION_BYTES = 64 << 20  # a thousand groups with all their measures are a tenth of it
_FIX = "write it again with sluicegate adapt evaluate"

_READ = ConfigDict(frozen=True, extra="ignore")
Text = Annotated[str, StringConstraints(max_length=512)]


class Engine(BaseModel):
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

    engine: Engine
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
