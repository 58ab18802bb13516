"""What a block of YAML or JSON may be: something that a part of Sluicegate or of Kubernetes reads."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import yaml
from jsonschema import Draft202012Validator

from docs.pages import ROOT
from sluicegate.engines.adapt.cycle.plan import CyclePlan
from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.gate.limits import GateLimits
from sluicegate.engines.adapt.train.recipe import TrainingRecipe
from sluicegate.engines.backends.fake_faults import Faults
from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.engines.build.recipe import BuildRecipe
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import Feedback, Post, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from docs.pages import Block


def _chart(document: Any) -> None:
    chart = ROOT / "helm/sluicegate"
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(_over(values, document))


def _over(below: Any, above: Any) -> Any:
    """Values as Helm merges them."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _over(below.get(key), value) for key, value in above.items()}


def _kubernetes(document: dict[str, Any]) -> object:
    return document["apiVersion"], document["kind"], document["metadata"]["name"]


def _policy(document: Any) -> object:
    return Policy.parse({"name": "block", "version": "1"} | document)


def _row(document: dict[str, Any]) -> object:
    made = {"id": "made", "kind": "post", "source": "file"}
    return Row.model_validate_json(json.dumps(made | document))


def _profile(document: dict[str, Any]) -> object:
    known = {"preset": None} | dict.fromkeys(field.name for field in fields(FakeProfile))
    return [known[name] for name in document]


def _trtllm_serve(document: dict[str, Any]) -> object:
    return document["gather_generation_logits"], document["kv_cache_config"]


def _key(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda document: {frozenset([name]): document}[frozenset(document)]


def _model(model: type[BaseModel]) -> Callable[[Any], object]:
    return lambda document: model.model_validate_json(json.dumps(document))


YAML: tuple[Callable[[Any], object], ...] = (
    lambda document: Settings(**document),
    _policy,
    TrainingRecipe.model_validate,
    CyclePlan.model_validate,
    BuildRecipe.model_validate,
    GateLimits.over_built_in,
    _chart,
    _kubernetes,
    _trtllm_serve,
)
JSON: tuple[Callable[[Any], object], ...] = (
    *(_model(one) for one in (Post, Verdict, Feedback, Faults)),
    _row,
    _profile,
    _key("sources"),  # licences, as `adapt prepare` reads them beside rows
    _key("lora_request"),  # of a request to trtllm-serve
    lambda document: [document[name] for name in ("instruction", "input", "output")],
)


def _read_by(document: object, readers: tuple[Callable[[Any], object], ...]) -> bool:
    for read in readers:
        try:
            read(document)
        except Exception:  # noqa: BLE001, S112 - whatever one reader says, another may take it
            continue
        return True
    return False


def is_document(block: Block) -> bool:
    """Does something of ours read each document of the block?"""
    if block.language == "yaml":
        return all(_read_by(one, YAML) for one in yaml.safe_load_all(block.text))
    try:
        documents = [json.loads(block.text)]
    except ValueError:
        documents = [json.loads(line) for line in block.text.splitlines() if line]
    return all(_read_by(one, JSON) for one in documents)
