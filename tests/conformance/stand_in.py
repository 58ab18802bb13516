"""A STAND-IN for TensorRT-LLM, as strict as the sheet and no more able than it: no model, no GPU.

Its classes are made from the sheet: an argument, a type or an attribute that the sheet does not have
is a disagreement. How it behaves is what the documentation of 1.2.1 says; where that leaves two ways
open, a quirk takes either. Nothing that it answers is a result of TensorRT-LLM.
"""

from __future__ import annotations

import asyncio
import importlib.machinery
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

from conformance.brain import Brain
from conformance.sheet import DisagreementError, Entry, load_sheet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Use:
    """One use of the library: where, and of what. ``entry`` is ``Class``, ``Class.method`` or ``Class.attribute``."""

    path: str
    line: int
    entry: str
    arguments: tuple[str, ...] = ()


@dataclass
class StandIn:
    """What is installed in place of TensorRT-LLM, what was asked of it, and how it is to fail."""

    brain: Brain = field(default_factory=Brain)
    uses: list[Use] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    llms: list[Any] = field(default_factory=list)

    @contextmanager
    def installed(self, folder: Path, *, version: str | None = None) -> Iterator[None]:
        """Make it importable, with the metadata of an installed distribution in ``folder``."""
        sheet = load_sheet()
        info = folder / f"tensorrt_llm-{version or sheet.version}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(f"Name: tensorrt_llm\nVersion: {version or sheet.version}\n")
        path = [str(folder), *sys.path]
        with mock.patch.dict(sys.modules, self._modules()), mock.patch.object(sys, "path", path):
            yield

    def unsettled(self) -> list[str]:
        """Requests that were neither awaited to their end nor aborted."""
        return [
            f"{request.made_at.path}:{request.made_at.line} RequestOutput was neither awaited nor aborted"
            for request in self.requests
            if not (request.settled or request.gone)
        ]

    def use(self, entry: str, arguments: Mapping[str, Any] | None = None) -> Use:
        """Note a use of the library by whoever stands outside this folder."""
        path, line = caller()
        noted = Use(path, line, entry, tuple(arguments or ()))
        self.uses.append(noted)
        return noted

    def disagree(self, what: str) -> DisagreementError:
        """Note a disagreement, so that nobody can swallow it."""
        path, line = caller()
        self.disagreements.append(f"{path}:{line} {what}")
        return DisagreementError(what)

    def bind(self, entry: str, takes: Any, positional: int, args: Any, kwargs: Any) -> dict[str, Any]:
        """Note and check a call."""
        self.use(entry, {**dict(zip(takes, args, strict=False)), **kwargs})
        try:
            return load_sheet().bind(entry, takes, positional, args, kwargs)
        except DisagreementError as error:
            raise self.disagree(str(error)) from None

    def _modules(self) -> dict[str, ModuleType]:
        from conformance.stand_in_llm import make_class  # noqa: PLC0415 - it imports this module

        made: dict[str, dict[str, type]] = {}
        for entry in load_sheet().classes.values():
            for module in entry.modules:
                made.setdefault(module, {})[entry.name] = make_class(self, entry)
        for name in [*made]:
            while name := name.rpartition(".")[0]:
                made.setdefault(name, {})
        return {name: _Module(self, name, classes) for name, classes in made.items()}


class _Module(ModuleType):
    """A module that has what the sheet has, and notes who imports it."""

    def __init__(self, stand_in: StandIn, name: str, classes: Mapping[str, type]) -> None:
        super().__init__(name, __doc__)
        self.__path__: list[str] = []
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        self._stand_in = stand_in
        self._classes = dict(classes)

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._classes:
            raise self._stand_in.disagree(f"{self.__name__} has no {name}")
        self._stand_in.use(f"{self.__name__}.{name}")
        return self._classes[name]


def caller() -> tuple[str, int]:
    """File and line of the nearest frame outside this folder and the library."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        path = Path(frame.f_code.co_filename)
        if path.parent != _HERE and "importlib" not in frame.f_code.co_filename:
            break
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs here, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def unlisted(entry: Entry, name: str) -> str:
    return f"{entry.key} has no {name!r}"
