"""The gate: two evaluations, limits and a policy in; whether the new model may take the current one's place out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.adapt.gate.checks import always, compared, sides_of
from sluicegate.engines.adapt.gate.differences import RESAMPLES
from sluicegate.engines.adapt.gate.flips import counted, flips
from sluicegate.engines.adapt.gate.pairing import require_same_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluicegate.engines.adapt.evaluate.scored import ScoredRow
    from sluicegate.engines.adapt.evaluated import Evaluated
    from sluicegate.engines.adapt.gate.limits import Limits

SCHEMA: Final = "1.0"


def gate(
    new: Evaluated,
    current: Evaluated,
    limits: Limits,
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
