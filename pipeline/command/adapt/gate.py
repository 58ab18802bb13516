"""``sluicegate adapt gate``: may a new model take the current one's place?"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from sluicegate.engines.adapt.errors import GateError
from sluicegate.engines.adapt.evaluate.scored import Evaluated, ScoredRow
from sluicegate.engines.adapt.gate.limits import GateLimits
from sluicegate.engines.files import replacing
from sluicegate.pipeline.command.options import AsJson, progress
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.yaml_text import Written
from sluicegate.pipeline.text import neutral, neutral_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pydantic import ValidationError


_LIMITS_BYTES = 1 << 20
_SHOWN_REGRESSIONS = 20
_PAGE = "docs/evaluate.md"


def gate(  # noqa: PLR0917 - options are parameters
    new: Annotated[Path, typer.Option("--new", help="Evaluation of the model that may go into service.")],
    current: Annotated[Path, typer.Option("--current", help="Evaluation of the one in service.")],
    limits: Annotated[
        Path | None, typer.Option(help="YAML of limits, over the built-in ones: docs/evaluate.md.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy whose actions are compared. Default: the built-in one.")
    ] = None,
    new_calibration: Annotated[
        Path | None,
        typer.Option(
            help="calibration.json of the new model: its scores are compared as they will be served."
        ),
    ] = None,
    current_calibration: Annotated[Path | None, typer.Option(help="The same of the one in service.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the report here, and as Markdown beside it.")
    ] = None,
    flips: Annotated[
        Path | None, typer.Option(help="Write every row with another action or severity, one a line.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of the intervals.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare two evaluations of the same rows, and refuse the new model where it got worse.

    Folders are what `sluicegate adapt evaluate` wrote, of the same files with the same options. A calibration is applied to
    what stands there: no engine is asked. A loss counts if it
    exceeds its limit and chance does not explain it. Ids of rows are shown, texts never.

    Exit code 0: passed. 1: refused, with every regression named, or not comparable.

    Example: sluicegate adapt gate --new evaluation-new --current evaluation --out gate.json
    """
    if out is not None and out.suffix == ".md":
        raise typer.BadParameter("--out is the report in JSON, such as gate.json; its page goes beside it")
    _require_library()
    from sluicegate.engines.adapt.evaluate.scored import read_evaluated  # noqa: PLC0415 - an extra
    from sluicegate.engines.adapt.gate import gate as gating  # noqa: PLC0415 - the same
    from sluicegate.engines.adapt.gate import report  # noqa: PLC0415 - the same
    from sluicegate.pipeline.policy import Policy  # noqa: PLC0415 - help needs none of it

    bounds, decides = read_limits(limits), Policy.load(policy)
    before = _as_served(read_evaluated(current), current_calibration)
    after = _as_served(read_evaluated(new), new_calibration)
    act = actions(decides)
    named = {"name": decides.name, "version": decides.version, "digest": decides.digest}
    with progress(sys.stderr) as advance:
        document = gating.gate(after, before, bounds, act, policy=named, seed=seed, advance=advance)
    if flips is not None:
        from sluicegate.engines.adapt.gate.gate import flips as flipped  # noqa: PLC0415 - an extra

        found = flipped(after.rows, before.rows, act)
        _write(flips, (orjson.dumps(one.document()) + b"\n" for one in found))
    if out is not None:
        _write(out.with_suffix(".md"), [report.page(document).encode()])
        _write(out, [orjson.dumps(document, option=orjson.OPT_INDENT_2), b"\n"])
    if as_json:
        typer.echo(neutral_json(orjson.dumps(document).decode()))
    else:
        for line in _told(document, out):
            typer.echo(line)
    if not document["passed"]:
        raise typer.Exit(1)


def _as_served(evaluated: Evaluated, calibration: Path | None) -> Evaluated:
    """The evaluation with its scores calibrated; the engine is not asked again."""
    from sluicegate.engines.adapt.evaluate.scored import calibrated  # noqa: PLC0415 - an extra
    from sluicegate.engines.bundle import CALIBRATION_BYTES, Calibration  # noqa: PLC0415 - the tokenizer

    if calibration is None:
        return evaluated
    judged = evaluated.judged
    if judged.terms.calibrated:
        raise GateError(f"{evaluated.folder} has calibrated scores already; give it without a calibration")
    try:
        with calibration.open("rb") as stream:
            content = stream.read(CALIBRATION_BYTES + 1)
    except OSError as error:
        raise GateError(f"{calibration} cannot be read ({error.strerror}); check the name") from error
    applied = Calibration.parse(content, str(calibration))
    terms = judged.terms.model_copy(update={"calibrated": True})
    return replace(
        evaluated,
        rows=calibrated(evaluated.rows, applied),
        judged=judged.model_copy(update={"terms": terms}),
    )


def read_limits(path: Path | None) -> GateLimits:
    """Limits from a file, over the built-in ones; None for these alone.

    Raises:
        GateError: The file cannot be read, or which line is wrong, and the fix.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - at run time here alone

    from sluicegate.pipeline.policy.yaml_text import YamlFaultError, read_yaml  # noqa: PLC0415 - the same

    if path is None:
        return GateLimits.over_built_in(None)
    try:
        with path.open("rb") as stream:
            raw = stream.read(_LIMITS_BYTES + 1)
    except OSError as error:
        raise GateError(f"{path} cannot be read ({error.strerror}); check the name") from error
    if len(raw) > _LIMITS_BYTES:
        raise GateError(f"{path} is larger than {_LIMITS_BYTES:,} bytes; see {_PAGE}")
    try:
        written = read_yaml(raw.decode("utf-8-sig"))
        return GateLimits.over_built_in(written.data)
    except UnicodeDecodeError as error:
        raise GateError(f"{path} is no UTF-8 text; save the file as UTF-8") from error
    except YamlFaultError as error:
        fault = error.fault
        raise GateError(
            f"{path}:{fault.line or 1}: {fault.place or 'limits'}: {fault.wrong}; {fault.right}"
        ) from error
    except ValidationError as error:
        raise GateError(_faulty_limit(path, written, error)) from None


def _faulty_limit(path: Path, written: Written, error: ValidationError) -> str:
    from sluicegate.pipeline.policy.yaml_text import dotted  # noqa: PLC0415 - help needs none of it

    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = first["loc"]
    place = neutral(dotted(where), limit=120) or "limits"
    if first["type"] == "extra_forbidden":
        said = f"is unknown here; the keys are in {_PAGE}"
    elif where[-1:] in {("minimum_rows",), ("explained_rows_least",)}:
        said = "cannot be used; write a whole number from 1 on, such as 50"
    elif len(where) == 2:
        said = "cannot be used; write a number from 0 to 1, such as 0.05, or null to judge nothing"
    else:
        said = f"is no mapping; write keys below it as in {_PAGE}"
    return f"{path}:{written.line(where) or 1}: {place}: {said}"


def actions(policy: Policy) -> Callable[[ScoredRow], str]:
    """What a policy makes of scored rows: its general thresholds on the scores, its failure mode without any.

    What it says of categories does not count, since not every row is explained; nor do tenants.
    """
    from sluicegate.schemas import Post, Scores  # noqa: PLC0415 - help needs none of it

    def act(row: ScoredRow) -> str:
        post = Post(id="row", text="row", kind=row.kind, language=row.language, region=row.region)
        if row.probabilities is None:
            return str(policy.decide_failure(post).action)
        safe, controversial, unsafe = row.probabilities
        return str(policy.decide(post, Scores(safe=safe, controversial=controversial, unsafe=unsafe)).action)

    return act


def _require_library() -> None:
    if importlib.util.find_spec("numpy") is None:
        raise GateError("numpy is missing: pip install 'sluicegate[evaluate]'")


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            for piece in pieces:
                stream.write(piece)
    except OSError as error:
        raise GateError(f"{path} cannot be written ({error.strerror}); give another place") from error


def _told(document: Mapping[str, Any], out: Path | None) -> Iterator[str]:
    """The report for people, in short."""
    from sluicegate.engines.adapt.gate.report import sentence  # noqa: PLC0415 - an extra

    for name in ("current", "new"):
        side = document[name]
        yield (
            f"{name}: {neutral(side['model'])}, adapter {neutral(str(side['adapter']))}, "
            f"{document['rows']:,} rows, {side['failed']:,} failed"
        )
    for one in document["checks"]:
        if one["by"] == "all" and one["outcome"] in {"passed", "not_limited"}:
            yield neutral(sentence(one), limit=300)
    judged = [one for one in document["checks"] if one["by"] != "all"]
    few = sum(one["outcome"] == "few_rows" for one in judged) + sum(document["groups_not_looked_at"].values())
    yield f"groups: {len(judged):,} checks; {few:,} of them not judged, for want of rows"
    changed = sum(one["rows"] for one in document["flips"]["actions"].values())
    said = ", ".join(f"{name} {one['rows']:,}" for name, one in document["flips"]["actions"].items())
    yield f"changed actions: {changed:,}{f' ({said})' if said else ''}"
    if out is not None:
        yield f"written to {neutral(str(out))} and {neutral(out.with_suffix('.md').name)}"
    if document["passed"]:
        yield "passed"
        return
    regressions = document["regressions"]
    yield f"refused: {len(regressions):,} regressions"
    for one in regressions[:_SHOWN_REGRESSIONS]:
        yield f"  {neutral(sentence(one), limit=300)}"
    if len(regressions) > _SHOWN_REGRESSIONS:
        yield f"  and {len(regressions) - _SHOWN_REGRESSIONS:,} more; --out or --json has all"
