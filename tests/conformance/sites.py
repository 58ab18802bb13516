"""Where our code touches TensorRT-LLM, read from its source."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "engines" / "backends" / "trtllm"
BORDER = PACKAGE / "border.py"
SERVING = PACKAGE / "serving.py"
BUILD = ROOT / "engines" / "build" / "commands.py"

RECEIVERS = {
    "library": "",
    "llm": "LLM",
    "request": "RequestOutput",
    "completion": "CompletionOutput",
    "entry": "Logprob",
    "metrics": "RequestPerfMetrics",
    "blocks": "KvCacheMetrics",
}
"""Names in the border that stand for an object of the library, and its class; ``library`` for the classes themselves."""


@dataclass(frozen=True, order=True)
class Site:
    """One call, one field that is read, or one name that is imported."""

    path: Path
    line: int
    end: int
    what: str
    """As the code says it."""
    entry: str
    """What it is in the sheet."""


def sites_of(path: Path, source: str | None = None) -> list[Site]:
    """The call sites in one module, in order."""
    tree = ast.parse(path.read_text(encoding="utf-8") if source is None else source)
    return sorted({*_imports(path, tree), *_attributes(path, tree)})


def _imports(path: Path, tree: ast.AST) -> list[Site]:
    return [
        Site(
            path,
            node.lineno,
            node.end_lineno or node.lineno,
            f"import {name.name}",
            f"{node.module}.{name.name}",
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tensorrt_llm"
        for name in node.names
    ]


def _attributes(path: Path, tree: ast.AST) -> list[Site]:
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=receiver), attr=name) if receiver in RECEIVERS:
                call = calls.get(id(node))
                owner = RECEIVERS[receiver]
                what = f"{receiver}.{name}" + ("(…)" if call else "")
                whole = call or node
                found.append(
                    Site(
                        path,
                        whole.lineno,
                        whole.end_lineno or whole.lineno,
                        what,
                        f"{owner}.{name}" if owner else name,
                    )
                )
    return found


def literal_line(path: Path, literal: str) -> int:
    """The line where a text first stands as a literal; 0 if it does not."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and node.value == literal:
            return node.lineno
    return 0
