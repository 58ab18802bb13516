"""Policy: from a finding to an action and a disposition. Pure and total."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.policy.decider import CONFIRMED_PATTERN, Decider, Decision
from sluicegate.pipeline.policy.layers import Context, Laid, Layer, Scope, When, resolve
from sluicegate.pipeline.policy.reading import check, check_data
from sluicegate.pipeline.policy.rules import BlockBreaker, Finding, Rules, Subject
from sluicegate.pipeline.policy.yaml_text import MOST_BYTES, Where, Written
from sluicegate.schemas import Action, Kind, PolicyRef, Scores, Severity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_BUILT_IN = "default.yaml"
_CONTEXTS = 4096
"""As many tenants, kinds, regions and languages are remembered together."""


@dataclass(frozen=True)
class Policy:
    """Layers of rules; see docs/policy.md. Instances never change, and may be asked from any thread."""

    name: str
    version: str
    layers: tuple[Layer, ...]
    engines: frozenset[str] = frozenset()
    """Digests of the engines that it is for; empty for any. No part of :attr:`digest`: they decide nothing of a post."""
    written: Written = field(default_factory=Written, repr=False, compare=False)
    """The document and its lines, to show people where a value stands."""
    _deciders: dict[Context, Decider] = field(default_factory=dict, init=False, repr=False, compare=False)
    _references: dict[str, PolicyRef] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def load(cls, path: Path | None) -> Policy:
        """Read a policy file, or the built-in policy.

        Raises:
            PolicyError: With file, line, fault and what would be right.
        """
        if path is None:
            built_in = resources.files("sluicegate.pipeline.policy") / "shipped" / _BUILT_IN
            return cls.from_bytes(built_in.read_bytes(), _BUILT_IN)
        try:
            with path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise PolicyError(
                f"{path}: cannot be read ({error.strerror}); `sluicegate policy new {path}` writes a starter"
            ) from error
        return cls.from_bytes(content, str(path))

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> Policy:
        """Read the content of a policy file; ``source`` names it in faults.

        Raises:
            PolicyError: As for :meth:`load`.
        """
        if len(content) > MOST_BYTES:
            raise PolicyError(f"{source}: has more than {MOST_BYTES} bytes; split it by tenants")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise PolicyError(f"{source}:{line}: is no UTF-8 text; save the file as UTF-8") from error
        document, layers, written = check(text, source)
        return cls(document.name, document.version, layers, document.engines, written)

    @classmethod
    def parse(cls, document: Any) -> Policy:
        """Make a policy of plain values, as YAML or JSON gives them.

        Raises:
            PolicyError: With the place inside the document.
        """
        read, layers, written = check_data(Written(document), "policy")
        return cls(read.name, read.version, layers, read.engines, written)

    @cached_property
    def digest(self) -> str:
        """Digest of what decides: comments and layout of the file do not change it."""
        layers = [
            [
                [sorted(names) if names is not None else None for names in _conditions(layer)],
                sorted((orjson.dumps(path).decode(), value) for path, value in values.items()),
            ]
            for layer in self.layers
            if (values := _deciding_values(layer))
        ]
        canonical = orjson.dumps([self.name, self.version, layers], option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(canonical).hexdigest()}"

    @cached_property
    def scope(self) -> Scope:
        """Which posts it can tell apart."""
        return Scope(self.layers)

    @cached_property
    def least_wait_seconds(self) -> float | None:
        """The shortest ``max_wait_seconds`` that any post may have; None where all wait for ever."""
        written = (layer.values.get(("max_wait_seconds",)) for layer in self.layers)
        return min((seconds for seconds in written if seconds is not None), default=None)

    @cached_property
    def adapters(self) -> frozenset[str | None]:
        """Every adapter that some post may get; None is the engine's own."""
        found: set[str | None] = {None}
        for layer in self.layers:
            if ("adapter",) in layer.values:
                name = layer.values["adapter",]
                found = {name} if layer.when == When() else {*found, name}
        return frozenset(found)

    @cached_property
    def _remembered(self) -> Callable[[str, Kind, str | None, str | None], Decider]:
        # Bounded: tenants, regions and languages are the producers', and may be many.
        return lru_cache(_CONTEXTS)(self._find)

    def _find(self, tenant: str, kind: Kind, region: str | None, language: str | None) -> Decider:
        context = self.scope.context(tenant, kind, region, language)
        decider = self._deciders.get(context)
        if decider is None:
            # Bounded: a context holds only names that stand in the policy.
            decider = self._deciders[context] = Decider(resolve(self.scope.lay(context)), context.kind)
        return decider

    def decider(self, post: Subject) -> Decider:
        """What decides a post. A tenant that the policy does not name gets what everybody gets."""
        return self._remembered(post.tenant, post.kind, post.region, post.language)

    def rules(self, post: Subject) -> Rules:
        """The rules for a post. A tenant that the policy does not name gets those for everybody."""
        return self.decider(post).rules

    def breaker(self, tenant: str | None) -> BlockBreaker:
        """The breaker of a tenant; None stands for all that the policy does not name."""
        known = tenant if tenant in self.scope.tenants else None
        return resolve(self.scope.lay(Context(known, "post", None, None))).block_breaker

    def laid(self, post: Subject) -> Laid:
        """The values behind :meth:`rules`, each with the layer that it comes from."""
        return self.scope.lay(self.scope.context_of(post))

    def needs_explanation(self, post: Subject, scores: Scores) -> bool:
        """True unless this is a confident allow, whatever its category, whose refusal nobody asked for."""
        return self.explain_as(post, scores) is not None

    def explain_as(self, post: Subject, scores: Scores) -> Severity | None:
        """The severity that an explanation is to begin with; None where none is asked for."""
        return self.decider(post).explain_as(scores)

    def wants_text(self, post: Subject, scores: Scores, *, reasons: bool) -> bool:
        """True if an explanation is asked for that has to be written out: its likeliest category is not enough.

        Args:
            post: The post, or a verdict on it.
            scores: Its scores.
            reasons: True if the model's texts have a reason.
        """
        decider = self.decider(post)
        wanted = decider.explain_as(scores)
        return wanted is not None and decider.wants_text(scores, wanted, reasons=reasons)

    def decide(self, post: Subject, scores: Scores, found: Finding | None = None) -> Decision:
        """Decide a scored post.

        Where an explanation is asked for and ``found`` has none, the severest of all bars decides, or the
        failure mode if that is severer: nobody knows of which category the text is.

        Args:
            post: The post, or a verdict on it.
            scores: Its scores.
            found: What was found of it; None decides as if an explanation named no category.
        """
        return self.decider(post).decide(scores, found).decision

    def withhold(self, post: Subject, scores: Scores, found: Finding | None = None) -> Decision:
        """Decide a post whose block is withheld: review, as the rule that fired suggests it."""
        return self.decider(post).decide(scores, found).withheld

    def raised(
        self, post: Subject, scores: Scores | None, found: Finding | None = None, *, confirmed: bool
    ) -> Decision:
        """Decide an allowed post that is a copy of a shared pattern: review, as the rule that fired suggests it.

        It is a block where these rules want one, people here confirmed the pattern, and the post was scored.

        Args:
            post: The post, or a verdict on it.
            scores: Its scores; None where it could not be scored.
            found: What was found of it.
            confirmed: True if people here confirmed the pattern.
        """
        decider = self.decider(post)
        if confirmed and scores is not None and decider.rules.confirmed_pattern == "block":
            given = decider.rules.dispositions[Action.BLOCK]
            return Decision(Action.BLOCK, given.name, CONFIRMED_PATTERN, given.parameters)
        return (decider.failure if scores is None else decider.decide(scores, found)).withheld

    def decide_failure(self, post: Subject) -> Decision:
        """Decide a post that could not be scored: the tenant's failure mode."""
        return self.decider(post).failure.decision

    def reference(self, rule: str) -> PolicyRef:
        """The stamp on a verdict."""
        stamp = self._references.get(rule)
        if stamp is None:
            # Bounded: a rule is named by what stands in the policy.
            stamp = PolicyRef(name=self.name, version=self.version, digest=self.digest, rule=rule)
            self._references[rule] = stamp
        return stamp


def _deciding_values(layer: Layer) -> dict[Where, Any]:
    return {
        path: value
        for path, value in layer.values.items()
        if path[0] != "canary"  # it says who may judge, and not how
        # Younger than the digest: a policy that says nothing of them keeps the one that it had.
        and (layer.where or path[0] not in {"adapter", "screen", "explain_text", "confirmed_pattern"})
    }


def _conditions(layer: Layer) -> tuple[frozenset[str] | None, ...]:
    when = layer.when
    return when.tenants, when.kinds, when.regions, when.languages
