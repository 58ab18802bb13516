"""Journal: every answer of an engine as it came, so that an evaluation that was killed goes on."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any, Self

import orjson
from pydantic import TypeAdapter, ValidationError

from sluicegate.engines.adapt.errors import EvaluationError
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES
from sluicegate.engines.protocol import EngineInfo, Explanation, Prompt
from sluicegate.schemas import Scores, Severity

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


JOURNAL = "answers.jsonl"

_EXPLANATION = TypeAdapter(Explanation)


class Journal:
    """Answers by key, in memory and in a file that only grows. Use as a context manager.

    What is asked is the key: engine and adapter, prompt tokens, and the severity that an explanation
    follows. So the answers of another engine or of changed rows are never taken for these. Failures are
    not kept: they are asked again.

    Args:
        path: The file; made if need be. A line that was cut off is passed over.
        info: Who answers.

    Raises:
        EvaluationError: The file cannot be read or written.
    """

    def __init__(self, path: Path, info: EngineInfo) -> None:
        self._path = path
        self._who = f"{info.backend} {info.digest} {info.layout_digest} {info.adapter}"
        self._answers: dict[str, Any] = {}
        try:
            self._read()
            self._stream: IO[bytes] = path.open("ab", buffering=0)
        except OSError as error:
            raise EvaluationError(
                f"{path} cannot be read and written ({error.strerror}); give another --out"
            ) from error
        self._stream.write(b"\n" if path.stat().st_size else b"")  # behind a line that was cut off

    def key(self, prompt: Prompt, severity: Severity | None = None) -> str:
        """Key of a prompt's scores, or of its explanation after a severity."""
        hashed = hashlib.blake2b(self._who.encode(), digest_size=16)
        hashed.update(f"|{prompt.kind}|{severity}|".encode())
        hashed.update(array("q", prompt.token_ids).tobytes())
        return hashed.hexdigest()

    def scores(self, prompt: Prompt) -> Scores | None:
        """The scores of a prompt, if they are known."""
        known: Any = self._answers.get(self.key(prompt))
        try:
            return Scores(**dict(zip(SEVERITIES, known, strict=True)))
        except (TypeError, ValueError):  # not known, or no scores
            return None

    def explanation(self, prompt: Prompt, severity: Severity) -> Explanation | None:
        """The explanation of a prompt after a severity, if it is known."""
        known = self._answers.get(self.key(prompt, severity))
        try:
            return _EXPLANATION.validate_python(known)
        except ValidationError:
            return None

    def keep_scores(self, prompt: Prompt, scores: Scores) -> None:
        """Keep the scores of a prompt."""
        self._put(self.key(prompt), [getattr(scores, one) for one in SEVERITIES])

    def keep_explanation(self, prompt: Prompt, severity: Severity, explanation: Explanation) -> None:
        """Keep an explanation, without the scores of its categories."""
        self._put(self.key(prompt, severity), {**asdict(explanation), "category_scores": {}})

    def _put(self, key: str, answer: Any) -> None:
        self._answers[key] = answer
        self._stream.write(orjson.dumps([key, answer]) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            for line in stream:
                try:
                    key, answer = orjson.loads(line)
                except (TypeError, ValueError):  # cut off, empty, or another's
                    continue
                if isinstance(key, str):
                    self._answers[key] = answer
