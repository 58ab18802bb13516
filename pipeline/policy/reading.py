"""From text to a checked document: every fault with its line and with what would be right."""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from sluicegate.pipeline.policy.document import Conditions, Document, Override, TenantPart, WrittenRules
from sluicegate.pipeline.policy.layers import KINDS, Laid, Layer, Scope
from sluicegate.pipeline.policy.rules import BlockBreaker, CategoryBars, ScreenRules, Thresholds
from sluicegate.pipeline.policy.yaml_text import (
    DocumentFault,
    InvalidPolicyError,
    Where,
    Written,
    YamlFaultError,
    dotted,
    read_yaml,
)
from sluicegate.pipeline.text import neutral
from sluicegate.schemas import CATEGORIES, NO_CATEGORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pydantic_core import ErrorDetails


_MOST_CONTEXTS = 200_000
"""Combinations of tenant, kind, region and language that a policy may tell apart; some seconds to look through."""


def unreachable(
    layers: Sequence[Layer], scope: Scope, line: Callable[[Where], int | None]
) -> list[DocumentFault]:
    """Every value that the author wrote and that no post of any tenant can ever meet."""
    count = len(KINDS) * (len(scope.tenants) + 1) * (len(scope.regions) + 1) * (len(scope.languages) + 1)
    if count > _MOST_CONTEXTS:
        return [
            DocumentFault(
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


def _fault(scope: Scope, layer: Layer, path: Where, line: Callable[[Where], int | None]) -> DocumentFault:
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
                return DocumentFault(
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
            return DocumentFault(
                where,
                f"never holds: {dotted(other)}{f' on line {on}' if on else ''} replaces it for every such post",
                "remove one of the two",
                line(where),
            )
    return DocumentFault(where, "can never decide anything", "remove it", line(where))


_SHARE = "write a number from 0 to 1, such as 0.8"
_ACTIONS = "write allow, review or block"
_RIGHT = {
    "name": "write text of 1 to 64 characters, such as our-platform",
    "version": 'write text of 1 to 64 characters, in quotes if it looks like a number: version: "1"',
    "engines": "write a list of digests, such as [sha256:0123…] with 64 hexadecimal digits each, as `sluicegate engine "
    "verify` and verdicts have them, or leave it out for any engine",
    "preset": "write strict, balanced or loose",
    "unsafe": f"{_SHARE}, or null for never",
    "risk": f"{_SHARE}, or null for never",
    "applies_at": f"{_SHARE}, or leave it out: then a category applies where the model names it",
    "explain_at": _SHARE,
    "adapter": "write a name from engine.adapters of the settings: lower-case letters, digits, dashes and "
    "underscores, such as teens, or null for the engine's own",
    "failure_mode": _ACTIONS,
    "confirmed_pattern": "write review or block",
    "explain_responses": "write true or false",
    "explain_text": "write needed, reasons or always",
    "max_wait_seconds": "write a number of seconds above 0, such as 30, or null to wait for ever",
    "max_tokens": "write a whole number from 1 on, such as 8192, or null for no limit but the worker's",
    "max_segments": "write a whole number from 1 on, such as 4, or null for no limit but the worker's",
    "block_breaker": "write what differs, such as {share: 0.7, count: 5000}; {share: null} alone turns it off",
    "share": f"{_SHARE}, or null for never",
    "least_posts": "write a whole number from 1 on, such as 1000",
    "count": "write a whole number from 0 on, such as 5000, or null for never",
    "interval_seconds": "write a number of seconds above 0, at most 86400, such as 300",
    "screen": "write what it may do, such as {tolerance: 0.01}; {tolerance: null} turns it off",
    "tolerance": "write a number from 0 to 0.1, such as 0.01, or null for never",
    "may_block": "write true or false",
    "kinds": "write post, prompt or response",
    "kind": "write post, prompt or response, or a list of these",
    "tenant": "write a tenant's name, or a list of names: letters, digits, dots, dashes and underscores",
    "tenants": "write names of up to 64 letters, digits, dots, dashes and underscores, each with rules",
    "region": "write an ISO 3166 code such as DE or US-CA, or a list of these",
    "language": "write a BCP 47 tag such as en or zh-Hant, or a list of these",
    "when": "name at least one of tenant, kind, region and language, or move the rules to `rules`",
    "categories": "write names of 1 to 64 printable characters, each with what differs for it",
    "extra_categories": "write a list of the names that your model has beside the nine",
    "overrides": "write a list; each entry has `when` and `rules`",
    "dispositions": "write allow, review or block with a name such as rate_limit, or with "
    "{name: rate_limit, posts_per_hour: 2}",
}
"""What would be right, by the nearest key."""


def check(text: str, source: str) -> tuple[Document, tuple[Layer, ...], Written]:
    """Read and check the text of a policy file.

    Raises:
        InvalidPolicyError: With every fault found.
    """
    try:
        written = read_yaml(text)
    except YamlFaultError as error:
        raise InvalidPolicyError(source, [error.fault]) from error
    return check_data(written, source)


def check_data(written: Written, source: str) -> tuple[Document, tuple[Layer, ...], Written]:
    """Check a document that has been read.

    Raises:
        InvalidPolicyError: With every fault found.
    """
    if not isinstance(written.data, dict):
        fault = DocumentFault((), "is no mapping", "begin with `name: …` and `version: …`", written.line(()))
        raise InvalidPolicyError(source, [fault])
    try:
        document = Document.model_validate(written.data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise InvalidPolicyError(source, _distinct(_shape_fault(one, written) for one in found)) from error
    layers = document.layers()
    faults = _unknown_categories(document, layers, written)
    faults += _open_to_strangers(layers, written)
    faults += _breaker_of_a_part(layers, written)
    if not faults:
        faults = unreachable(layers, Scope(layers), written.line)
    if faults:
        raise InvalidPolicyError(source, faults)
    return document, layers, written


def _distinct(faults: Iterable[DocumentFault]) -> list[DocumentFault]:
    """One fault a place: a value that may have several types fails at each of them."""
    return list({fault.where: fault for fault in faults}.values())


def _shape_fault(error: ErrorDetails, written: Written) -> DocumentFault:
    where = tuple(part for part in error["loc"] if part != "[key]")
    kind = error["type"]
    if kind == "missing":
        return DocumentFault(where, "is missing", _right(where) or "add it", written.line(where[:-1]))
    if kind == "extra_forbidden":
        return DocumentFault(where, "is unknown here", _known_keys(where), written.line(where))
    where = _within(where, written)
    if kind == "no_condition":
        return DocumentFault(where, "holds for every post", _RIGHT["when"], written.line(where))
    right = _right(where) or f"it {error['msg'].removeprefix('Input ')}"
    return DocumentFault(where, f"{_shown(error['input'])} cannot be used", right, written.line(where))


def _within(where: Where, written: Written) -> Where:
    """The part of a place that stands in the file; the rest names types, not keys."""
    value = written.data
    for length, part in enumerate(where):
        inside = isinstance(value, dict | list)
        if not inside or (isinstance(value, dict) and part not in value):
            return where[:length]
        value = value[part]
    return where


def _right(where: Where) -> str | None:
    """What would be right at a place: by its nearest key that says it."""
    if "dispositions" in where:
        return _RIGHT["dispositions"]
    return next((_RIGHT[key] for key in reversed(where) if isinstance(key, str) and key in _RIGHT), None)


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{neutral(text, 40)}`"


def _known_keys(where: Where) -> str:
    known = sorted(_model_at(where[:-1]).model_fields)
    close = get_close_matches(str(where[-1]), known, n=1)
    return f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(known)}"


def _model_at(where: Where) -> type[BaseModel]:
    """What the mapping at a place may hold."""
    if where[:1] == ("tenants",) and len(where) == 2:
        return TenantPart
    if where[:1] == ("overrides",) and len(where) == 2:
        return Override
    if where[-2:-1] == ("categories",):
        return CategoryBars
    by_key: dict[str | int, type[BaseModel]] = {
        "block_at": Thresholds,
        "review_at": Thresholds,
        "block_breaker": BlockBreaker,
        "screen": ScreenRules,
        "when": Conditions,
    }
    return by_key.get(where[-1], WrittenRules) if where else Document


def _unknown_categories(document: Document, layers: Sequence[Layer], written: Written) -> list[DocumentFault]:
    known = [*CATEGORIES, *document.extra_categories]
    faults: dict[Where, DocumentFault] = {}
    for layer in layers:
        for path in layer.values:
            if path[0] == "categories" and path[1] not in known:
                where = (*layer.where, *path[:2])
                faults[where] = _unknown_category(where, known, written)
    return list(faults.values())


def _open_to_strangers(layers: Sequence[Layer], written: Written) -> list[DocumentFault]:
    """Failing open is a tenant's own choice: one that nobody wrote rules for must never do it."""
    path: Where = ("failure_mode",)
    return [
        DocumentFault(
            where := (*layer.where, *path),
            "`allow` would hold for tenants that the policy does not know",
            "write it under `tenants`, for those that chose to fail open",
            written.line(where),
        )
        for layer in layers
        if layer.values.get(path) == "allow" and layer.when.tenants is None
    ]


def _breaker_of_a_part(layers: Sequence[Layer], written: Written) -> list[DocumentFault]:
    """A breaker counts all of a tenant's posts together: it cannot differ between them."""
    return [
        DocumentFault(
            where := (*layer.where, "block_breaker"),
            "would hold for some of a tenant's posts only",
            "write it under `rules` or `tenants.NAME.rules`: it counts a tenant's posts together",
            written.line(where),
        )
        for layer in layers
        if any(path[0] == "block_breaker" for path in layer.values)
        and (layer.when.kinds or layer.when.regions or layer.when.languages)
    ]


def _unknown_category(where: Where, known: Sequence[str], written: Written) -> DocumentFault:
    name = str(where[-1])
    if name == NO_CATEGORY:
        right = "put these values one level up: they hold where no category applies"
    elif close := get_close_matches(name, known, n=1, cutoff=0.4):
        right = f"did you mean `{close[0]}`? if your model has this one, list it under extra_categories"
    else:
        right = f"known are {', '.join(known)}; list what your model has beside them under extra_categories"
    return DocumentFault(where, "is no category that is known", right, written.line(where))
