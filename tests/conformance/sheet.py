"""The sheet of what TensorRT-LLM 1.2.1 documents, and whether a call, a value or a flag agrees with it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH = Path(__file__).with_name("tensorrt_llm_1_2_1.yaml")


_SIMPLE: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "bool": (bool,),
    "str": (str,),
    "dict": (dict,),
    "list": (list,),
    "float": (int, float),
    "None": (type(None),),
}


class DisagreementError(Exception):
    """A call, a value or a flag that the sheet does not have."""


@dataclass(frozen=True)
class Argument:
    """One argument: its type in the sheet's words, and whether it must be given."""

    kind: str
    required: bool

    @classmethod
    def of(cls, line: str) -> Argument:
        kind, equals, _ = line.partition(" = ")
        return cls(kind.strip(), not equals)


@dataclass(frozen=True)
class Method:
    takes: Mapping[str, Argument]
    gives: str
    inside_loop: bool = False
    awaited: bool = False


@dataclass(frozen=True)
class Entry:
    """One class of the sheet."""

    key: str
    name: str
    modules: tuple[str, ...]
    takes: Mapping[str, Argument]
    methods: Mapping[str, Method]
    reads: Mapping[str, str]
    positional: int
    runtime: str | None
    made_by_library: bool


@dataclass(frozen=True)
class Command:
    """One command line program: flag to ``int``, ``float``, ``path``, ``text``, ``words``, ``switch`` or its choices."""

    name: str
    flags: Mapping[str, str | Sequence[str]]
    words_before: tuple[str, ...]
    positional: int


@dataclass(frozen=True)
class Sheet:
    version: str
    classes: Mapping[str, Entry]
    words: Mapping[str, Sequence[str]]
    commands: Mapping[str, Command]
    requests: Mapping[str, Mapping[str, Argument]]
    """Endpoint of ``trtllm-serve`` to the fields of its requests."""

    def bind(
        self,
        where: str,
        takes: Mapping[str, Argument],
        positional: int,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The arguments by name.

        Raises:
            DisagreementError: One is unknown, missing, given twice, by position where only a name does, or of a wrong type.
        """
        names = [*takes][:positional]
        if len(args) > len(names):
            raise DisagreementError(f"{where} takes {len(names)} arguments by position, not {len(args)}")
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in takes:
                raise DisagreementError(f"{where} has no argument {name!r}")
            if name in given:
                raise DisagreementError(f"{where} gets {name!r} twice")
            given[name] = value
        for name, argument in takes.items():
            if argument.required and name not in given:
                raise DisagreementError(f"{where} needs {name!r}")
        for name, value in given.items():
            self.check(f"{where}: {name}", takes[name].kind, value)
        return given

    def check(self, where: str, kind: str, value: Any) -> None:
        """See that a value is of a type.

        Raises:
            DisagreementError: It is not, or the sheet does not state the type.
        """
        if "?" in kind and value is not None:
            raise DisagreementError(f"{where}: the sheet does not state its type; look it up first")
        if not any(self._is(one.strip(), value) for one in kind.split(" | ")):
            raise DisagreementError(f"{where} must be {kind}, not {type(value).__name__}")

    def _is(self, kind: str, value: Any) -> bool:
        if kind.startswith("list["):
            return type(value) is list and all(self._is(kind[5:-1], each) for each in value)
        if kind in self.words:
            return value in self.words[kind]
        if kind in _SIMPLE:
            return type(value) in _SIMPLE[kind]  # exactly: True is no int here
        if kind == "path":
            return isinstance(value, os.PathLike)
        if kind == "tensor":
            return hasattr(value, "shape") and hasattr(value, "logsumexp")
        return getattr(type(value), "sheet_key", None) == kind

    def check_command(self, argv: Sequence[str]) -> None:
        """See that a command line is one.

        Raises:
            DisagreementError: Unknown program or flag, a value of a wrong kind, or a missing or surplus argument.
        """
        program = Path(argv[0]).name
        command = self.commands.get(program)
        if command is None:
            raise DisagreementError(f"the sheet has no command {program}")
        rest = list(argv[1:])
        if command.words_before and rest[:1] == [command.words_before[0]]:
            del rest[0]
        positional = 0
        while rest:
            word = rest.pop(0)
            if word.startswith("--"):
                self._check_flag(command, word, rest)
            else:
                positional += 1
        if positional != command.positional:
            raise DisagreementError(
                f"{program} takes {command.positional} arguments beside its flags, not {positional}"
            )

    def _check_flag(self, command: Command, word: str, rest: list[str]) -> None:
        """Check one flag, whose value may be the first of ``rest``, which is then taken off."""
        flag, equals, value = word.partition("=")
        where = f"{command.name} {flag}"
        kind = command.flags.get(flag)
        if kind is None:
            raise DisagreementError(f"{command.name} has no flag {flag}")
        if kind == "switch":
            if equals:
                raise DisagreementError(f"{where} takes no value")
            return
        if not equals:
            if not rest:
                raise DisagreementError(f"{where} needs a value")
            value = rest.pop(0)
        if value.startswith("--") or not _is_value(kind, value):
            raise DisagreementError(f"{where} must be {kind}, not {value!r}")
        while kind == "words" and rest and not rest[0].startswith("--"):
            del rest[0]


def _is_value(kind: str | Sequence[str], value: str) -> bool:
    if not isinstance(kind, str):
        return value in kind
    try:
        {"int": int, "float": float}.get(kind, str)(value)
    except ValueError:
        return False
    return True


@cache
def load_sheet() -> Sheet:
    """The sheet, read once."""
    raw = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return Sheet(
        version=raw["version"],
        classes={key: _entry(key, body) for key, body in raw["classes"].items()},
        words=raw["words"],
        commands={
            name: Command(name, body["flags"], tuple(body.get("words_before", ())), body["positional"])
            for name, body in raw["commands"].items()
        },
        requests={name: _arguments(body["takes"]) for name, body in raw["requests"].items()},
    )


def _entry(key: str, body: Mapping[str, Any]) -> Entry:
    takes = _arguments(body.get("takes", {}))
    positional = 0 if body.get("keyword_only") else body.get("positional", len(takes))
    return Entry(
        key=key,
        name=body.get("name", key),
        modules=tuple(body["in"]),
        takes=takes,
        methods={
            name: Method(
                _arguments(method.get("takes", {})),
                method["gives"],
                inside_loop=method.get("inside_loop", False),
                awaited=method.get("awaited", False),
            )
            for name, method in body.get("methods", {}).items()
        },
        reads=body.get("reads", {}),
        positional=positional,
        runtime=body.get("runtime"),
        made_by_library=body.get("made_by") == "library",
    )


def _arguments(lines: Mapping[str, str]) -> dict[str, Argument]:
    return {name: Argument.of(line) for name, line in lines.items()}
