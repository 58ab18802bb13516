"""Layers: parts of a policy that hold for some posts, laid over one another. Later ones win, value by value."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from sluicegate.pipeline.policy.rules import Rules, Subject
from sluicegate.pipeline.policy.yaml_text import Where
from sluicegate.schemas import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


KINDS: tuple[Kind, ...] = ("post", "prompt", "response")

_WHOLE = "dispositions"
"""Below this key a value is replaced whole: parameters of one disposition mean nothing to another."""


class Context(NamedTuple):
    """What of a post chooses its rules. None stands for everything that the policy does not name.

    A tuple: it is made, and looked up, several times for every post.
    """

    tenant: str | None
    kind: Kind
    region: str | None
    language: str | None


@dataclass(frozen=True, slots=True)
class When:
    """For which posts a layer holds; None means for all."""

    tenants: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    regions: frozenset[str] | None = None
    languages: frozenset[str] | None = None

    def matches(self, context: Context) -> bool:
        """True if every condition holds."""
        return (
            (self.tenants is None or context.tenant in self.tenants)
            and (self.kinds is None or context.kind in self.kinds)
            and (self.regions is None or not self.regions.isdisjoint(_wider(context.region)))
            and (self.languages is None or not self.languages.isdisjoint(_wider(context.language)))
        )


@dataclass(frozen=True, slots=True)
class Layer:
    """One part of the policy."""

    where: Where
    """Its place in the document; empty for what is built in."""
    when: When
    values: Mapping[Where, Any]
    """Each value by its path within the rules, such as ``("block_at", "unsafe")``."""
    preset: str | None = None
    """The preset that it comes from, if it does."""

    @property
    def written(self) -> bool:
        """True if the author of the policy wrote these values."""
        return bool(self.where) and self.preset is None


Laid = dict["Where", tuple[Any, Layer]]
"""Each value in force, and the layer that it comes from."""


class Scope:
    """Which tenants, regions and languages a policy names, and so which posts it can tell apart."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        conditions = [layer.when for layer in layers]
        self.tenants = _all(when.tenants for when in conditions)
        self.regions = _all(when.regions for when in conditions)
        self.languages = _all(when.languages for when in conditions)
        # A policy may have a thousand tenants: each post meets its own tenant's layers only.
        self._of_tenant: dict[str | None, list[Layer]] = {name: [] for name in (None, *self.tenants)}
        for layer in layers:
            named = layer.when.tenants
            for name in self._of_tenant if named is None else named:
                self._of_tenant[name].append(layer)

    def context(self, tenant: str, kind: Kind, region: str | None, language: str | None) -> Context:
        """What of a post matters here."""
        return Context(
            tenant=tenant if tenant in self.tenants else None,
            kind=kind,
            region=_named(region, self.regions),
            language=_named(language and language.lower(), self.languages),
        )

    def context_of(self, subject: Subject) -> Context:
        """The same, of a post or a verdict."""
        return self.context(subject.tenant, subject.kind, subject.region, subject.language)

    def lay(self, context: Context) -> Laid:
        """The values in force in a context."""
        laid: Laid = {}
        for layer in self._of_tenant[context.tenant]:
            if layer.when.matches(context):
                for path, value in layer.values.items():
                    laid[path] = (value, layer)
        return laid

    def contexts(self) -> Iterator[Context]:
        """Every context that some post can have."""
        # Tenants vary fastest: most of what a policy says can be seen early.
        for region, language, kind, tenant in product(
            [None, *sorted(self.regions)],
            [None, *sorted(self.languages)],
            KINDS,
            [None, *sorted(self.tenants)],
        ):
            yield Context(tenant, kind, region, language)


def resolve(laid: Laid) -> Rules:
    """Rules from values; a category takes from the general values what it does not say itself."""
    tree: dict[str, Any] = {}
    for path, (value, _layer) in laid.items():
        if path[0] != "categories":
            _put(tree, path, value)
    bars = {name: tree[name] for name in ("block_at", "review_at", "dispositions") if name in tree}
    categories: dict[str, Any] = {}
    for path, (value, _layer) in laid.items():
        if path[0] == "categories":
            name = str(path[1])
            if name not in categories:
                categories[name] = {key: dict(items) for key, items in bars.items()}
            _put(categories[name], path[2:], value)
    # In one order, whatever the file's: equal digests mean equal decisions, down to the rule named.
    return Rules.model_validate({**tree, "categories": dict(sorted(categories.items()))})


def flatten(rules: Rules, *, defaults: bool = False) -> dict[Where, Any]:
    """Each value that is set in some rules, by its path; with ``defaults`` each value there is."""
    return dict(_leaves((), rules.model_dump(mode="json", exclude_unset=not defaults)))


def _leaves(path: Where, value: Any) -> Iterator[tuple[Where, Any]]:
    if isinstance(value, dict) and not (len(path) in (2, 4) and path[-2] == _WHOLE):
        for key, item in value.items():
            yield from _leaves((*path, key), item)
    else:
        yield path, value


def _put(tree: dict[str, Any], path: Where, value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(str(key), {})
    tree[str(path[-1])] = value


def _all(sets: Iterable[frozenset[str] | None]) -> frozenset[str]:
    return frozenset().union(*(one for one in sets if one is not None))


def _wider(tag: str | None) -> set[str]:
    """A tag and everything that it belongs to: ``zh-hant-tw`` is also ``zh-hant`` and ``zh``."""
    parts = tag.split("-") if tag else []
    return {"-".join(parts[:length]) for length in range(1, len(parts) + 1)}


def _named(tag: str | None, names: frozenset[str]) -> str | None:
    """The narrowest name that covers a tag. Names that cover it, too, are wider, and follow from it."""
    if tag is None or not names:  # most policies name neither regions nor languages
        return None
    return max((name for name in _wider(tag) if name in names), key=len, default=None)
