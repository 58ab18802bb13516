"""YAML to plain values with the line of each: the part of YAML that a policy needs, read without surprises.

Other than PyYAML's own loader this one refuses a key that stands twice, keeps every key as text,
and takes only ``true`` and ``false`` for truth values: ``NO`` is a country.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.text import neutral

if TYPE_CHECKING:
    from collections.abc import Sequence


_PLACE_CHARACTERS = 200
Where = tuple[str | int, ...]
"""A place in the document: keys and positions, from the top."""


@dataclass(frozen=True, slots=True)
class DocumentFault:
    """One fault of a policy document."""

    where: Where
    wrong: str
    right: str
    line: int | None = None
    """From 1; None where the document is no file."""

    @property
    def place(self) -> str:
        """As people write it, such as ``tenants.bank.rules.block_at``. Keys may hold anything: shown, not obeyed."""
        return neutral(dotted(self.where), _PLACE_CHARACTERS)

    def sentence(self, source: str) -> str:
        """The fault as one line, with file and line first."""
        place = source if self.line is None else f"{source}:{self.line}"
        return f"{place}: {self.place or 'policy'}: {self.wrong}; {self.right}"


class InvalidPolicyError(PolicyError):
    """A policy that cannot be used. The message is the first fault, and how many more there are."""

    def __init__(self, source: str, faults: Sequence[DocumentFault]) -> None:
        self.source = source
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line or 0))
        more = len(self.faults) - 1
        rest = f" (and {more} more: `sluicegate policy check` lists them)" if more else ""
        super().__init__(self.faults[0].sentence(source) + rest)


def dotted(where: Where) -> str:
    """A place as people write it: ``tenants.bank.rules.block_at``, ``overrides[2].when``."""
    text = ""
    for part in where:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


MOST_BYTES = 1_048_576
"""Of a policy file. A thousand tenants with rules of their own need a tenth of it."""

_MOST_NODES = 100_000
"""Aliases can make a small file large."""
_MOST_DEPTH = 20


@dataclass(slots=True)
class Written:
    """A document and where its parts stand."""

    data: Any = None
    lines: dict[Where, int] = field(default_factory=dict)

    def line(self, where: Where) -> int | None:
        """Line of a place, or of the nearest one around it."""
        for length in range(len(where), -1, -1):
            if where[:length] in self.lines:
                return self.lines[where[:length]]
        return None


class _Loader(yaml.SafeLoader):
    """Composes nodes; tells text, numbers, truth values and nothing apart as YAML 1.2 does."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name


_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
for _tag, _pattern, _first in (
    ("null", _NULL, ["~", "n", "N", ""]),
    ("bool", _BOOL, list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern.pattern})$"), _first
    )


class YamlFaultError(Exception):
    """Text that is no YAML, or more of YAML than a policy needs. ``fault`` says where and what."""

    def __init__(self, fault: DocumentFault) -> None:
        super().__init__(fault.wrong)
        self.fault = fault


def read_yaml(text: str) -> Written:
    """Read one document.

    Raises:
        YamlFaultError: With the line.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlFaultError(
            DocumentFault(
                (),
                f"no YAML ({error.problem})",
                "check indentation, quotes and brackets around there",
                mark.line + 1 if mark else None,
            )
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        # The last two come from PyYAML's own reading of numbers: a version, an escaped code point.
        raise YamlFaultError(
            DocumentFault(
                (), f"no YAML ({type(error).__name__})", "write plain UTF-8 text, not nested too deeply"
            )
        ) from error
    reader = _Reader()
    data = reader.value(node, ()) if node is not None else None
    return Written(data, reader.lines)


class _Reader:
    def __init__(self) -> None:
        self.lines: dict[Where, int] = {}
        self._nodes = 0

    def value(self, node: yaml.Node, where: Where) -> Any:
        self._nodes += 1
        line = node.start_mark.line + 1
        self.lines.setdefault(where, line)
        if self._nodes > _MOST_NODES or len(where) > _MOST_DEPTH:
            raise YamlFaultError(
                DocumentFault(where[:3], "too large or too deeply nested", "make it smaller", line)
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*where, number)) for number, item in enumerate(node.value)]
        return _scalar(node, where, line)

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlFaultError(
                    DocumentFault(where, "a key that is no plain text", "write `key: value`", line)
                )
            key = key_node.value
            place = (*where, key)
            if key in found:
                raise YamlFaultError(
                    DocumentFault(
                        place, f"stands twice, first on line {self.lines[place]}", "keep one of them", line
                    )
                )
            self.lines[place] = line
            found[key] = self.value(value_node, place)
        return found


def _scalar(node: yaml.Node, where: Where, line: int) -> Any:
    text: str = node.value
    match node.tag.removeprefix("tag:yaml.org,2002:"):
        case "str":
            return text
        case "null" if _NULL.fullmatch(text):
            return None
        case "bool" if _BOOL.fullmatch(text):
            return text.lower() == "true"
        case "int" if len(text) <= 20 and _INT.fullmatch(
            text
        ):  # longer ones are no count or share of anything
            return int(text)
        case "float" if len(text) <= 40 and _FLOAT.fullmatch(text):
            return float(text)
        case tag:
            raise YamlFaultError(
                DocumentFault(
                    where,
                    f"`{neutral(tag, 40)}` is no kind of value here",
                    "write plain text or a number",
                    line,
                )
            )
