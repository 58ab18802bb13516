"""The gate: two evaluations, limits and a policy in; whether the new model may take the current one's place out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.adapt.errors import GateError
from sluicegate.engines.adapt.evaluate.evaluation import FAILED
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES, Evaluated, ScoredRow
from sluicegate.engines.adapt.gate.checks import always, compared, sides_of
from sluicegate.engines.adapt.gate.differences import RESAMPLES
from sluicegate.engines.adapt.gate.limits import GateLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


_LABEL = ("source", "kind", "severity", "language", "categories", "region", "group", "refusal")
"""What both must say of a row."""
_TERMS = ("hints", "most_tokens", "most_segments")
"""What changes scores and is no property of the model; a calibration is one."""


def require_same_rows(new: Evaluated, current: Evaluated) -> None:
    """Refuse evaluations that cannot be compared row by row.

    Raises:
        GateError: What differs, where, and the fix; ids of rows at most.
    """
    _require_same_ids(new, current)
    for one, other in zip(new.rows, current.rows, strict=True):
        for field in _LABEL:
            if getattr(one, field) != getattr(other, field):
                raise GateError(
                    f"the row {one.id!a} has another {field} in {new.folder} than in {current.folder}; "
                    "evaluate both models on the same files"
                )
    if new.judged.rows_digest != current.judged.rows_digest:
        raise GateError(
            f"{new.folder} and {current.folder} have the same ids and labels, but judged.rows_digest differs: "
            "the texts are not the same; evaluate both models on the same files"
        )
    for term in _TERMS:
        found, before = getattr(new.judged.terms, term), getattr(current.judged.terms, term)
        if found != before:
            raise GateError(
                f"judged.terms.{term} is {found} in {new.folder} and {before} in {current.folder}; "
                "evaluate both models with the same options and settings"
            )
    if not (new.judged.is_held_out and current.judged.is_held_out):
        raise GateError(
            f"{new.folder}: rows of the split that trains are among these, which a model knows by heart; "
            "evaluate both models with --split dev"
        )
    if _model(new) == _model(current):
        raise GateError(
            f"{new.folder} and {current.folder} are of the same model ({new.judged.engine.digest[:80]}); "
            "give --current the evaluation of the one in service"
        )


def _require_same_ids(new: Evaluated, current: Evaluated) -> None:
    of_new, of_current = ({row.id for row in one.rows} for one in (new, current))
    if of_new == of_current:
        return
    said = [
        _only_in(folder, sorted(ids))
        for folder, ids in ((new.folder, of_new - of_current), (current.folder, of_current - of_new))
        if ids
    ]
    raise GateError(
        f"the rows are not the same: {' and '.join(said)}; evaluate both models on the same files, with the same "
        "--split, --sample and --seed"
    )


def _only_in(folder: Path, ids: Sequence[str]) -> str:
    return f"{len(ids):,} only in {folder} (such as {ids[0]!a})"


def _model(one: Evaluated) -> tuple[object, ...]:
    engine = one.judged.engine
    return engine.backend, engine.digest, engine.adapter, one.judged.terms.calibrated


_LISTED = 20  # ids of one direction; --flips writes all


@dataclass(frozen=True, slots=True)
class Flip:
    """One row; each pair is current, then new."""

    row: ScoredRow
    actions: tuple[str, str]
    severities: tuple[str, str]

    def document(self) -> dict[str, Any]:
        """As a line of JSON has it."""
        return {
            "id": self.row.id,
            "source": self.row.source,
            "kind": self.row.kind,
            "language": self.row.language,
            "severity": self.row.severity,
            "categories": self.row.categories,
            "action": list(self.actions),
            "found": list(self.severities),
        }


def flips(
    new: Sequence[ScoredRow], current: Sequence[ScoredRow], act: Callable[[ScoredRow], str]
) -> Iterator[Flip]:
    """Rows whose action or severity differs.

    Args:
        new: As the new model left them.
        current: The same rows, in the same order.
        act: What the policy makes of a row.
    """
    for one, other in zip(new, current, strict=True):
        actions = act(other), act(one)
        severities = other.found or FAILED, one.found or FAILED
        if actions[0] != actions[1] or severities[0] != severities[1]:
            yield Flip(one, actions, severities)


def counted(found: Iterable[Flip]) -> dict[str, dict[str, dict[str, Any]]]:
    """Flips of ``actions`` and of ``severities`` by direction: how many rows of each label, and the first ids."""
    counts: dict[str, dict[str, dict[str, Any]]] = {"actions": {}, "severities": {}}
    for flip in found:
        for what, (before, after) in (("actions", flip.actions), ("severities", flip.severities)):
            if before == after:
                continue
            empty: dict[str, Any] = {"rows": 0, **dict.fromkeys(SEVERITIES, 0), "ids": []}
            direction = counts[what].setdefault(f"{before} to {after}", empty)
            direction["rows"] += 1
            direction[flip.row.severity] += 1
            if len(direction["ids"]) < _LISTED:
                direction["ids"].append(flip.row.id)
    return {
        what: dict(sorted(directions.items(), key=lambda one: (-one[1]["rows"], one[0])))
        for what, directions in counts.items()
    }


SCHEMA: Final = "1.0"


def gate(
    new: Evaluated,
    current: Evaluated,
    limits: GateLimits,
    act: Callable[[ScoredRow], str],
    *,
    policy: Mapping[str, str],
    seed: int = 0,
    advance: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Compare two evaluations of the same rows; the same arguments give the same document.

    Args:
        new: Of the model that may go into service.
        current: Of the one in service.
        limits: What counts as worse.
        act: The action that the policy takes on a row; ``allow``, ``review`` or ``block``.
        policy: Name, version and digest of it.
        seed: Of the intervals.
        advance: Called with a stage, steps done and in all.

    Returns:
        What ``gate.json`` holds; ``passed`` decides.

    Raises:
        GateError: The two cannot be compared.
    """
    require_same_rows(new, current)
    sides = sides_of(new.rows, current.rows, act)
    checks, left_out = compared(
        new.rows,
        sides,
        limits,
        seed=seed,
        advance=lambda done, total: advance("drawing rows again", done, total),
    )
    checks += always(new.rows, current.rows, checks, limits)
    documents = [check.document() for check in checks]
    regressions = [
        {name: value for name, value in one.items() if name != "outcome"}
        for one in documents
        if one["outcome"] == "regression"
    ]
    return {
        "schema_version": SCHEMA,
        "passed": not regressions,
        "regressions": regressions,
        "rows": len(new.rows),
        "rows_compared": int(sides.compared.sum()),
        "rows_digest": new.judged.rows_digest,
        "judged": {"engine": new.judged.engine.model_dump()},
        "new": _facts(new),
        "current": _facts(current),
        "actions": {
            "new": dict(Counter(map(act, new.rows))),
            "current": dict(Counter(map(act, current.rows))),
        },
        "flips": counted(flips(new.rows, current.rows, act)),
        "checks": documents,
        "groups_not_looked_at": left_out,
        "limits": limits.model_dump(),
        "policy": dict(policy),
        "seed": seed,
        "resamples": RESAMPLES,
    }


def _facts(one: Evaluated) -> dict[str, Any]:
    engine = one.judged.engine
    return {
        "engine_digest": engine.digest,
        "adapter": engine.adapter,
        "backend": engine.backend,
        "model": engine.model,
        "split": one.judged.split,
        "calibrated": one.judged.terms.calibrated,
        "scores_sha256": one.scores_sha256,
        "failed": sum(row.failure is not None for row in one.rows),
    }
