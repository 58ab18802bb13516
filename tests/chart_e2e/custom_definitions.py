"""The compact schemas of tests/chart as definitions that an API server takes.

A structural schema knows neither `const` nor closed objects nor alternatives with fields of their own. It is wider
here, therefore: an unknown field is not refused but dropped, which the tests see, and alternatives become one
object with the fields of all. What is strict stays the matter of tests/chart.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from chart.custom_resources import SCHEMAS, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chart.rendering import Document


def structural(schema: Schema) -> Schema:
    """The same schema, as far as a structural one can say it."""
    if "oneOf" in schema:
        return reduce(_either, map(structural, schema["oneOf"]))
    if values := schema.get("enum", [schema[key] for key in schema if key == "const"]):
        return {"type": "string", "enum": values}
    if "properties" in schema:
        properties = {name: structural(one) for name, one in schema["properties"].items()}
        return {"type": "object", "properties": properties, "required": schema["required"]}
    if "items" in schema:
        return schema | {"items": structural(schema["items"])}
    if schema == {"type": "object"}:
        return schema | {"x-kubernetes-preserve-unknown-fields": True}
    return schema


def _either(one: Schema, other: Schema) -> Schema:
    if "enum" in one:
        return one | {"enum": sorted({*one["enum"], *other["enum"]})}
    if "properties" not in one:
        return one
    ours, theirs = one["properties"], other["properties"]
    both = {name: _either(ours[name], theirs[name]) for name in ours.keys() & theirs.keys()}
    required = sorted({*one["required"]} & {*other["required"]})
    return {"type": "object", "properties": ours | theirs | both, "required": required}


def definitions() -> Iterator[Document]:
    """A CustomResourceDefinition for each kind."""
    for kind, schema in SCHEMAS.items():
        group, _, version = schema["properties"]["apiVersion"]["const"].partition("/")
        plural = f"{kind.lower()}s"
        whole = {"type": "object", "properties": {"spec": structural(schema["properties"]["spec"])}}
        yield {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural},
                "versions": [
                    {
                        "name": version,
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": whole},
                    }
                ],
            },
        }
