"""Whether an adapter may be exported: the gate's report, or a person's reason to do without.

Of the report three things are read: whether it passed, what got worse, and what was judged. The rest is
carried along into the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.engines.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

GATE = "gate.json"
_GATE_BYTES = 16 << 20  # lists flips by row id
_SHOWN_REGRESSIONS = 3
_REASON_CHARACTERS = 400


class GatedEngine(BaseModel):
    """Who judged; fields beside these are not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: Annotated[str, Field(max_length=100)]
    adapter: Annotated[str | None, Field(max_length=512)] = None


class GateJudged(BaseModel):
    """The part of an evaluation, and of a gate's report, that says who judged."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    engine: GatedEngine
    split: Annotated[str | None, Field(max_length=100)] = None
    training_rows: int = 0


class GateReport(BaseModel):
    """What is read of a gate's report."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    passed: bool = Field(strict=True)
    regressions: list[Any]
    judged: GateJudged


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Why an adapter is exported; the content of a bundle's ``gate.json``."""

    report: dict[str, Any] | None
    """The gate's, whole; None where nothing was compared."""
    judged: GateJudged | None
    override: str | None

    def require(self, accepted: Collection[str]) -> None:
        """Make sure that the gate judged what is exported.

        Args:
            accepted: Digests that stand for it: the adapter's, and that of a draft of the same bundle.

        Raises:
            ExportError: It judged something else.
        """
        if self.judged is not None and not is_of(self.judged, accepted):
            raise ExportError("--gate: judged.engine is not this adapter's; run the gate on this one")

    def content(self) -> bytes:
        """The file, equal for equal decisions."""
        report = self.report if self.report is not None else {"passed": False, "regressions": []}
        return orjson.dumps({**report, "override": self.override}, option=orjson.OPT_INDENT_2) + b"\n"


def decide(gate: Path | None, override: str | None) -> GateDecision:
    """Decide whether to export, as far as can be said before it is known what was judged.

    Args:
        gate: The gate's report.
        override: A person's reason to export without a passed gate.

    Raises:
        ExportError: The gate did not pass, or is missing; or the reason is no sentence.
    """
    if override is not None and not (
        override.strip() and len(override) <= _REASON_CHARACTERS and override.isprintable()
    ):
        raise ExportError(f"--override: give a reason of 1 to {_REASON_CHARACTERS} printable characters")
    if gate is None:
        if override is None:
            raise ExportError(
                "no gate was passed; give --gate, --draft for a bundle to evaluate, or --override with a reason"
            )
        return GateDecision(None, None, override)
    document, report = _read(gate)
    if (not report.passed or report.regressions) and override is None:
        named = "; ".join(_said(one) for one in report.regressions[:_SHOWN_REGRESSIONS])
        rest = len(report.regressions) - _SHOWN_REGRESSIONS
        more = f"; and {rest} more" if rest > 0 else ""
        raise ExportError(
            f"{gate}: the gate did not pass ({named or 'no regression named'}{more}); "
            "train a better adapter, or give --override with a reason"
        )
    return GateDecision(document, report.judged, override)


def is_of(judged: GateJudged, accepted: Collection[str]) -> bool:
    """Whether one of these digests is what was judged."""
    return bool({judged.engine.digest, judged.engine.adapter} & set(accepted))


def read_limited(path: Path, limit_bytes: int) -> bytes:
    """A file's content.

    Raises:
        ExportError: It cannot be read, or is larger.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(limit_bytes + 1)
    except OSError as error:
        raise ExportError(f"{path} cannot be read ({error.strerror}); check the name") from error
    if len(raw) > limit_bytes:
        raise ExportError(f"{path} is larger than {limit_bytes} bytes; give another file")
    return raw


def _read(path: Path) -> tuple[dict[str, Any], GateReport]:
    try:
        document = orjson.loads(read_limited(path, _GATE_BYTES))
        return document, GateReport.model_validate(document)
    except orjson.JSONDecodeError as error:
        raise ExportError(f"{path} is not JSON; give what `sluicegate adapt gate` wrote") from error
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "report"
        raise ExportError(
            f"{path}: {where} is not as a gate's report has it; give what `sluicegate adapt gate` wrote"
        ) from None


def _said(regression: Any) -> str:
    text = regression if isinstance(regression, str) else orjson.dumps(regression).decode()
    return ascii(text)[1:-1][:120]
