"""The policy document: what a file may hold, and the layers that it makes."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from sluicegate.pipeline.policy.layers import Layer, When, flatten
from sluicegate.pipeline.policy.rules import PRINTABLE, CategoryName, RulePart, Rules
from sluicegate.pipeline.policy.yaml_text import Where
from sluicegate.schemas import Kind

Preset = Literal["strict", "balanced", "loose"]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=PRINTABLE)]
TenantName = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Region = Annotated[str, StringConstraints(max_length=6, pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
Language = Annotated[
    str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", to_lower=True)
]
EngineDigest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


def _or_empty(value: Any) -> Any:
    # A key whose lines are all commented out.
    return {} if value is None else value


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class WrittenRules(Rules):
    """Rules as they are written: what is left out stays as it was, or as in the preset."""

    preset: Preset | None = None


RulesPart = Annotated[WrittenRules, BeforeValidator(_or_empty)]
KindsPart = Annotated[dict[Kind, RulesPart], BeforeValidator(_or_empty)]
Tenants = Annotated[frozenset[TenantName], BeforeValidator(_listed), Field(min_length=1)]
Kinds = Annotated[frozenset[Kind], BeforeValidator(_listed), Field(min_length=1)]
Regions = Annotated[frozenset[Region], BeforeValidator(_listed), Field(min_length=1)]
Languages = Annotated[frozenset[Language], BeforeValidator(_listed), Field(min_length=1)]
Engines = Annotated[frozenset[EngineDigest], BeforeValidator(_listed), Field(min_length=1, max_length=16)]


class Conditions(RulePart):
    """For which posts an override holds: every condition must."""

    tenant: Tenants | None = None
    kind: Kinds | None = None
    region: Regions | None = None
    language: Languages | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set or any(getattr(self, name) is None for name in self.model_fields_set):
            raise PydanticCustomError("no_condition", "holds for every post")
        return self


class Override(RulePart):
    """Rules for the posts that fulfil some conditions."""

    when: Conditions
    rules: RulesPart


class TenantPart(RulePart):
    """What one tenant has differently."""

    rules: RulesPart = WrittenRules()
    kinds: KindsPart = Field(default_factory=dict)


class Document(RulePart):
    """A policy as it is written."""

    name: ShortText
    version: ShortText
    engines: Engines = frozenset()
    """Digests of the engines that it is for; left out, it is for any. A list without entries, or null, is a fault."""
    extra_categories: list[CategoryName] = Field(default_factory=list, max_length=64)
    rules: RulesPart = WrittenRules()
    kinds: KindsPart = Field(default_factory=dict)
    tenants: Annotated[
        dict[TenantName, Annotated[TenantPart, BeforeValidator(_or_empty)]], BeforeValidator(_or_empty)
    ] = Field(default_factory=dict)
    overrides: Annotated[list[Override], BeforeValidator(lambda value: value or [])] = Field(
        default_factory=list
    )

    def layers(self) -> tuple[Layer, ...]:
        """Everything that it says, in the order in which later parts win."""
        made = [Layer((), When(), flatten(Rules(), defaults=True)), *_layers(("rules",), When(), self.rules)]
        for kind, rules in self.kinds.items():
            made += _layers(("kinds", kind), When(kinds=frozenset({kind})), rules)
        for name, tenant in self.tenants.items():
            names = frozenset({name})
            made += _layers(("tenants", name, "rules"), When(names), tenant.rules)
            for kind, rules in tenant.kinds.items():
                made += _layers(("tenants", name, "kinds", kind), When(names, frozenset({kind})), rules)
        for number, override in enumerate(self.overrides):
            asked = override.when
            when = When(asked.tenant, _text(asked.kind), asked.region, asked.language)
            made += _layers(("overrides", number, "rules"), when, override.rules)
        return tuple(made)


def _text(kinds: frozenset[Kind] | None) -> frozenset[str] | None:
    return None if kinds is None else frozenset(map(str, kinds))


def _layers(where: Where, when: When, rules: WrittenRules) -> list[Layer]:
    values = flatten(rules)
    preset = values.pop(("preset",), None)
    made = [Layer(where, when, values)] if values else []
    if preset is not None:
        made.insert(0, Layer((*where, "preset"), when, presets()[preset], preset=preset))
    return made


@cache
def presets() -> dict[str, dict[Where, Any]]:
    """The named presets of the package, each as its values by their path."""
    text = (resources.files("sluicegate.pipeline.policy") / "shipped" / "presets.yaml").read_text(
        encoding="utf-8"
    )
    return {name: flatten(Rules.model_validate(part)) for name, part in yaml.safe_load(text).items()}
