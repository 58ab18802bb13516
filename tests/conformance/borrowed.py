"""Runs modules of a program that is not installed: those that are given as they stand, and stubs for all others.

The stubs have no behaviour. A name that is taken from one is an empty class, unless it is given here.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Borrowed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules below some roots, importable inside :meth:`at_hand` alone.

    Args:
        sources: Module to source: what runs as it stands.
        stubs: Module to names: what the stubs of other modules have.
        roots: First parts of the names that are answered here, beside those of ``sources``.
    """

    def __init__(
        self, sources: Mapping[str, str], stubs: Mapping[str, Mapping[str, Any]], roots: Sequence[str] = ()
    ) -> None:
        self._sources = sources
        self._stubs = stubs
        self._roots = {*roots, *(name.partition(".")[0] for name in sources)}
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Make them importable for a while. Nothing of them stays behind in ``sys.modules``."""
        sys.modules.update(self._modules)
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)
            for name in [name for name in sys.modules if name.partition(".")[0] in self._roots]:
                self._modules[name] = sys.modules.pop(name)

    def load(self, name: str) -> Any:
        """One module; what it imports is run or stubbed on the way."""
        with self.at_hand():
            return importlib.import_module(name)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for every name below the roots."""
        del path, target
        if fullname.partition(".")[0] not in self._roots:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """A stub, where there is no source."""
        return None if spec.name in self._sources else _Stub(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Run a source, or give a stub its names."""
        name = module.__name__
        if name in self._sources:
            exec(compile(self._sources[name], f"<{name}>", "exec"), module.__dict__)  # noqa: S102 - pinned by hash
        else:
            module.__dict__.update(self._stubs.get(name, {}))


class _Stub(ModuleType):
    """A module that has an empty class under every name."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(
            name,
            (),
            {
                "__class_getitem__": classmethod(lambda cls, _: cls),
                "__init_subclass__": classmethod(lambda cls, **_: None),
                "__get_pydantic_core_schema__": classmethod(lambda *_: core_schema.any_schema()),
            },
        )
        setattr(self, name, made)
        return made
