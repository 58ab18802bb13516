"""Reach: finds values of a policy that can never decide anything."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sluicegate.pipeline.policy.faults import Fault, Where, dotted
from sluicegate.pipeline.policy.layers import KINDS, Laid, Layer, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


_MOST_CONTEXTS = 200_000
"""Combinations of tenant, kind, region and language that a policy may tell apart; some seconds to look through."""


def unreachable(layers: Sequence[Layer], scope: Scope, line: Callable[[Where], int | None]) -> list[Fault]:
    """Every value that the author wrote and that no post of any tenant can ever meet."""
    count = len(KINDS) * (len(scope.tenants) + 1) * (len(scope.regions) + 1) * (len(scope.languages) + 1)
    if count > _MOST_CONTEXTS:
        return [
            Fault(
                (),
                f"tells {count:,} combinations of tenant, kind, region and language apart",
                f"at most {_MOST_CONTEXTS:,} can be checked; give some tenants a worker and policy of their own",
            )
        ]
    left = {(index, path) for index, layer in enumerate(layers) if layer.written for path in layer.values}
    index_of = {id(layer): index for index, layer in enumerate(layers)}
    for context in scope.contexts():
        if not left:
            break
        laid = scope.lay(context)
        for path, (_value, layer) in laid.items():
            key = (index_of[id(layer)], path)
            if key in left and _meets(laid, path):
                left.discard(key)
    return [_fault(scope, layers[index], path, line) for index, path in sorted(left, key=str)]


def _meets(laid: Laid, path: Where) -> bool:
    """True if some scores make this value decide."""
    if path[-2:-1] not in (("review_at",), ("block_at",)):
        return True
    return any(_first_reached_by(bars, path) is None for bars in _readers(laid, path))


def _readers(laid: Laid, path: Where) -> Iterator[dict[Where, float]]:
    """Thresholds of the general bars and of each category, where they take this value from here."""
    names = {place[1] for place in laid if place[0] == "categories"}
    for prefix in [(), *(("categories", name) for name in sorted(names, key=str))]:
        own = (*prefix, *path[-2:])
        if own == path or (own not in laid and path[0] != "categories"):
            yield {
                (action, name): threshold(laid, prefix, action, name)
                for action in ("block_at", "review_at")
                for name in ("unsafe", "risk")
            }


def threshold(laid: Laid, prefix: Where, action: str, name: str) -> float:
    """A threshold in force, such as ``review_at.risk``; infinite where it is never reached.

    Args:
        laid: The values in force.
        prefix: ``("categories", NAME)``, which falls back on the general one; empty for the general one.
        action: ``block_at`` or ``review_at``.
        name: ``unsafe`` or ``risk``.
    """
    value = laid.get((*prefix, action, name), laid.get((action, name), (None, None)))[0]
    return math.inf if value is None else float(value)


def _first_reached_by(bars: dict[Where, float], path: Where) -> Where | None:
    """The threshold that is always reached before this one; None if this one decides for some scores.

    Scores are pairs of unsafe and risk, with unsafe at most risk. The mildest pair that reaches
    unsafe >= u is (u, u), and for risk >= r it is (0, r).
    """
    action, name = path[-2:]
    own = bars[action, name]
    if math.isinf(own):
        return None  # null says that nothing shall be reached
    mildest = (own, own) if name == "unsafe" else (0.0, own)
    before: list[Where] = []
    if action == "review_at":
        before += [("block_at", "unsafe"), ("block_at", "risk")]
    if name == "risk":
        before.append((str(action), "unsafe"))
    for other in before:
        if mildest[0 if other[1] == "unsafe" else 1] >= bars[other]:
            return other
    return None


def _fault(scope: Scope, layer: Layer, path: Where, line: Callable[[Where], int | None]) -> Fault:
    where = (*layer.where, *path)
    for context in scope.contexts():
        if not layer.when.matches(context):
            continue
        laid = scope.lay(context)
        winner = laid[path][1]
        if winner is layer:
            bars = next(_readers(laid, path))
            first = _first_reached_by(bars, path)
            if first is not None:
                return Fault(
                    where,
                    f"{bars[path[-2:]]:g} can never fire: {dotted(first)} = {bars[first]:g} is reached first",
                    f"set it below {bars[first]:g}, or to null"
                    if bars[first] > 0
                    else "set it to null, or leave it out",
                    line(where),
                )
        else:
            other = (*winner.where, *(path if winner.written else ()))
            on = line(other)
            return Fault(
                where,
                f"never holds: {dotted(other)}{f' on line {on}' if on else ''} replaces it for every such post",
                "remove one of the two",
                line(where),
            )
    return Fault(where, "can never decide anything", "remove it", line(where))
