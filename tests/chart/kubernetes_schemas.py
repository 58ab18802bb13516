"""The Kubernetes OpenAPI as JSON Schema, from the package kubernetes-validate: strict, so without unknown fields."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

if TYPE_CHECKING:
    from chart.rendering import Document


def _folder(version: str) -> Path:
    spec = find_spec("kubernetes_validate")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("kubernetes-json-schema") / f"v{version}-local-strict"


@cache
def _definitions(version: str) -> Registry[Any]:
    content = (_folder(version) / "_definitions.json").read_text(encoding="utf-8")
    return Resource.from_contents(json.loads(content)) @ Registry()


def fault(document: Document, version: str) -> str | None:
    """Why an API server of this version would refuse an object; None if it would not, as far as schemas say."""
    group, _, api = document["apiVersion"].rpartition("/")
    name = "-".join(filter(None, (document["kind"].lower(), group.split(".")[0], api)))
    content = (_folder(version) / f"{name}.json").read_text(encoding="utf-8")
    validator = Draft202012Validator(json.loads(content), registry=_definitions(version))
    faults = sorted(validator.iter_errors(document), key=lambda error: -len(error.absolute_path))
    return f"{document['kind']}: {faults[0].json_path}: {faults[0].message[:300]}" if faults else None
