"""Empty libraries in place of NVIDIA's, which PyPI's torch links and a CPU never calls.

Each has the names and versions that torch's own libraries ask of it, so that the loader is content. A function that is
called in spite of that answers with an error's number. Needs gcc and readelf.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_FOREIGN: Final = ("libcu", "libnv", "libnccl")
_DRIVER: Final = "libcuda.so.1"  # asked for by what is only loaded beside a GPU
_PREFIXES: Final = {
    "cublasLt": "libcublasLt",
    "cublas": "libcublas",
    "cusparseLt": "libcusparseLt",
    "cusparse": "libcusparse",
    "cusolver": "libcusolver",
    "cufft": "libcufft",
    "curand": "libcurand",
    "cuFile": "libcufile",
    "cudnn": "libcudnn",
    "nccl": "libnccl",
    "pnccl": "libnccl",
    "nvrtc": "libnvrtc",
    "nvshmem": "libnvshmem_host",
    "cupti": "libcupti",
    "cuda": "libcudart",
    "__cuda": "libcudart",
}
"""A symbol without a version is of the library that its name begins like; the first that fits."""
_TEXTS: Final = ("String", "Name")  # functions that return text


@dataclass
class Stub:
    """One library that is missing."""

    versions: set[str] = field(default_factory=set)
    symbols: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By version; under the empty one those without."""

    def source(self) -> str:
        """The library in C."""
        names = sorted({name for found in self.symbols.values() for name in found})
        return "".join(
            f'const char *{name}(void) {{ return "not here"; }}\n'
            if name.endswith(_TEXTS)
            else f"long {name}(void) {{ return 100; }}\n"
            for name in names
        )

    def script(self) -> str:
        """Which symbol has which version, for the linker."""
        return "".join(
            f"{version} {{ global: {' '.join(f'{name};' for name in sorted(self.symbols[version]))} }};\n"
            for version in sorted(self.versions)
        )


def write_stubs(libraries: Path) -> list[str]:
    """Write a library for each that is missing beside torch's own.

    Args:
        libraries: ``torch/lib`` of an environment.

    Returns:
        What was written; nothing where all is there.
    """
    missing = _missing(libraries)
    for name, stub in missing.items():
        _compile(libraries / name, stub)
    return sorted(missing)


def _missing(libraries: Path) -> dict[str, Stub]:
    own = sorted(libraries.glob("*.so*"))
    names = {path.name for path in own}
    asked = {name for path in own for name in re.findall(r"NEEDED.*\[(.*)\]", _readelf("-d", path))}
    found = {
        name: Stub() for name in sorted(asked - names - {_DRIVER}) if name.startswith(_FOREIGN)
    }  # fmt: skip
    defined: set[str] = set()
    undefined: set[tuple[str, str]] = set()
    for path in own:
        here, elsewhere = _symbols(path)
        defined |= here
        undefined |= elsewhere
        for name, versions in _versions(path).items():
            if name in found:
                found[name].versions |= versions
    of_version = {version: name for name, stub in found.items() for version in stub.versions}
    for symbol, version in undefined:
        library = of_version.get(version) if version else _by_prefix(symbol, found)
        if library and symbol not in defined:
            found[library].symbols[version].add(symbol)
    return found


def _symbols(path: Path) -> tuple[set[str], set[tuple[str, str]]]:
    """Names that a library defines; name and version of those that it must find elsewhere."""
    defined, undefined = set(), set()
    for line in _readelf("--dyn-syms", path).splitlines():
        parts = line.split()
        if len(parts) < 8 or not parts[0].endswith(":"):
            continue
        name, _, version = parts[7].partition("@")
        if parts[6] != "UND":
            defined.add(name)
        elif parts[4] != "WEAK":
            undefined.add((name, version.lstrip("@")))
    return defined, undefined


def _versions(path: Path) -> dict[str, set[str]]:
    """By library, the versions of symbols that this one asks for."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    library = ""
    for line in _readelf("-V", path).splitlines():
        if begins := re.search(r"Version: 1\s+File: (\S+)", line):
            library = begins[1]
        elif library and (named := re.search(r"Name: (\S+)\s+Flags", line)):
            found[library].add(named[1])
    return found


def _by_prefix(symbol: str, found: dict[str, Stub]) -> str | None:
    for prefix, library in _PREFIXES.items():
        if symbol.startswith(prefix) or (prefix == "nvshmem" and prefix in symbol):
            return next((name for name in found if name.startswith(f"{library}.so")), None)
    return None


def _compile(target: Path, stub: Stub) -> None:
    source, script, part = (target.with_name(f".{target.name}{end}") for end in (".c", ".map", ".part"))
    source.write_text(stub.source())
    script.write_text(stub.script())
    versioned = [f"-Wl,--version-script={script}"] if stub.versions else []
    options = ["-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,-soname,{target.name}", *versioned]
    try:
        subprocess.run(["gcc", *options, "-o", part, source], check=True)
        part.rename(target)
    finally:
        for path in (source, script, part):
            path.unlink(missing_ok=True)


def _readelf(what: str, path: Path) -> str:
    done = subprocess.run(["readelf", what, "-W", str(path)], capture_output=True, text=True, check=True)
    return done.stdout
