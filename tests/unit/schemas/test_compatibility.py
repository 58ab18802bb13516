"""Today's schemas against the released ones: only optional fields may have come."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.schemas.export import json_schema

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[2] / "golden"
RELEASED = sorted(GOLDEN.glob("*/schema/*.json"))
ANNOTATIONS = {"$schema", "$id", "title", "description", "examples"}


def breaks(old: Any, new: Any, path: str = "") -> list[str]:
    """Where ``new`` is more than ``old`` with optional properties added: each place and what happened there."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if _plain(old) == _plain(new) else [f"{path}: changed"]
    found = []
    for key in sorted((old.keys() | new.keys()) - ANNOTATIONS):
        place = f"{path}/{key}"
        if key not in new:
            found.append(f"{place}: removed")
        elif key not in old:
            found.append(f"{place}: added")
        elif key == "properties":
            found += [f"{place}/{name}: removed" for name in sorted(old[key].keys() - new[key].keys())]
            for name in sorted(old[key].keys() & new[key].keys()):
                found += breaks(old[key][name], new[key][name], f"{place}/{name}")
        elif key == "$defs":
            for name in sorted(old[key].keys() & new[key].keys()):
                found += breaks(old[key][name], new[key][name], f"{place}/{name}")
        else:
            found += breaks(old[key], new[key], place)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        # `required`, `enum` and `type` are sets; `anyOf` is one, too, as none of its branches overlap.
        return sorted((_plain(item) for item in value), key=json.dumps)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in ANNOTATIONS}
    return value


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_todays_schema_only_grew(path: Path) -> None:
    assert breaks(json.loads(path.read_text()), json_schema(path.stem)) == []


def _remove_property(schema: dict[str, Any]) -> None:
    del schema["properties"]["author_id"]


def _require(schema: dict[str, Any]) -> None:
    schema["required"].append("tenant")


def _no_longer_require(schema: dict[str, Any]) -> None:
    schema["required"].remove("id")


def _narrow_length(schema: dict[str, Any]) -> None:
    schema["properties"]["id"]["maxLength"] = 255


def _narrow_pattern(schema: dict[str, Any]) -> None:
    schema["properties"]["tenant"]["pattern"] = "^[a-z]+$"


def _narrow_by_a_new_rule(schema: dict[str, Any]) -> None:
    schema["properties"]["text"]["maxLength"] = 1000


def _drop_an_enum_value(schema: dict[str, Any]) -> None:
    schema["properties"]["kind"]["enum"].remove("response")


def _add_an_enum_value(schema: dict[str, Any]) -> None:
    schema["properties"]["kind"]["enum"].append("image")


def _drop_null(schema: dict[str, Any]) -> None:
    schema["properties"]["region"]["anyOf"].pop()


def _narrow_inside_a_definition(schema: dict[str, Any]) -> None:
    schema["$defs"]["Turn"]["required"].append("at")


def _close(schema: dict[str, Any]) -> None:
    schema["additionalProperties"] = False


def _change_a_default(schema: dict[str, Any]) -> None:
    schema["properties"]["kind"]["default"] = "prompt"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (_remove_property, "/properties/author_id: removed"),
        (_require, "/required: changed"),
        (_no_longer_require, "/required: changed"),
        (_narrow_length, "/properties/id/maxLength: changed"),
        (_narrow_pattern, "/properties/tenant/pattern: changed"),
        (_narrow_by_a_new_rule, "/properties/text/maxLength: added"),
        (_drop_an_enum_value, "/properties/kind/enum: changed"),
        (_add_an_enum_value, "/properties/kind/enum: changed"),
        (_drop_null, "/properties/region/anyOf: changed"),
        (_narrow_inside_a_definition, "/$defs/Turn/required: changed"),
        (_close, "/additionalProperties: added"),
        (_change_a_default, "/properties/kind/default: changed"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_a_change_that_breaks_somebody_is_found(change: Callable[[dict[str, Any]], None], where: str) -> None:
    old = json_schema("post")
    new = copy.deepcopy(old)
    change(new)
    assert breaks(old, new) == [where]


def test_an_optional_field_and_better_words_break_nobody() -> None:
    old = json_schema("post")
    new = copy.deepcopy(old)
    new["properties"]["arrived_later"] = {"type": "string", "default": "x"}
    new["properties"]["id"]["description"] = "said better"
    new["$defs"]["Later"] = {"type": "object"}
    assert breaks(old, new) == []
