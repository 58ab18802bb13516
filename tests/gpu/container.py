"""What NVIDIA's container holds, written to a folder and compared with the facts that this project is built on.

    python -m gpu.container gpu-acceptance/container

It needs the container and no GPU, and takes two minutes. Every fact is a text in one of the files that are written:
source files, JSON schemas of request and argument classes, and ``--help`` texts.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from conformance.sheet import load_sheet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FACTS: Final = Path(__file__).with_name("container_facts.yaml")
SOURCES: Final = (
    "commands/build.py",
    "commands/serve.py",
    "executor/result.py",
    "llmapi/llm.py",
    "llmapi/llm_args.py",
    "sampling_params.py",
    "serve/openai_protocol.py",
    "serve/openai_server.py",
    "serve/postprocess_handlers.py",
)
SCHEMAS: Final = {
    "TrtLlmArgs": "tensorrt_llm.llmapi.llm_args",
    "TorchLlmArgs": "tensorrt_llm.llmapi.llm_args",
    "KvCacheConfig": "tensorrt_llm.llmapi.llm_args",
    "CompletionRequest": "tensorrt_llm.serve.openai_protocol",
    "ChatCompletionRequest": "tensorrt_llm.serve.openai_protocol",
}
"""Class to its module."""
HELP: Final = {
    "trtllm-build": ("trtllm-build", "--help"),
    "trtllm-serve": ("trtllm-serve", "serve", "--help"),
    "quantize.py": (sys.executable, "/app/tensorrt_llm/examples/quantization/quantize.py", "--help"),
}
_SHEETS: Final = {
    # Part of the sheet of conformance, the file that it is compared with, and the row of the facts.
    "TrtLLM": ("TrtLlmArgs.json", "1.1"),
    "LLM": ("TorchLlmArgs.json", "1.1"),
    "KvCacheConfig": ("KvCacheConfig.json", "1.15"),
    "SamplingParams": ("sampling_params.py", "1.2"),
    "completions": ("CompletionRequest.json", "2.1"),
    "chat": ("ChatCompletionRequest.json", "2.1"),
    "trtllm-build": ("trtllm-build.txt", "3.5"),
    "trtllm-serve": ("trtllm-serve.txt", "2.12"),
    "quantize.py": ("quantize.py.txt", "3.2"),
}
_HELP_S: Final = 300
_SCHEMA: Final = "import importlib, json, sys; print(json.dumps(getattr(importlib.import_module(sys.argv[2]), sys.argv[1]).model_json_schema()))"


@dataclass(frozen=True, slots=True)
class Fact:
    """One text that a file has, or lacks."""

    row: str
    """Of the facts: their section and number."""
    says: str
    source: str
    """Where it was read."""
    file: str
    has: str | None = None
    """A regular expression."""
    lacks: str | None = None


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A fact that this container does not bear out."""

    row: str
    says: str
    found: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.says}. {self.found}."


def write(folder: Path, package: Path | None = None) -> list[str]:
    """Write what the container holds.

    Args:
        folder: Where to.
        package: Folder of ``tensorrt_llm``; found without importing it unless given.

    Returns:
        What could not be written, a sentence each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = []
    root = package or _package()
    for name in SOURCES:
        source = root / name
        if source.is_file():
            shutil.copyfile(source, folder / source.name)
        else:
            missing.append(f"{name}: no such file in {root}")
    commands: dict[str, tuple[str, ...]] = {
        f"{name}.json": (sys.executable, "-c", _SCHEMA, name, module) for name, module in SCHEMAS.items()
    }
    commands |= {f"{name}.txt": words for name, words in HELP.items()}
    missing += filter(None, (_save(folder / name, words) for name, words in commands.items()))
    (folder / "missing.json").write_text(json.dumps(missing, indent=2), encoding="utf-8")
    return missing


def _package() -> Path:
    found = importlib.util.find_spec("tensorrt_llm")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("no TensorRT-LLM here; docs/engine.md says how to enter its container")
    return Path(found.submodule_search_locations[0])


def _save(path: Path, words: tuple[str, ...]) -> str | None:
    """Save what a command prints; why not, if it fails."""
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=_HELP_S,
            check=True,
            env=os.environ | {"COLUMNS": "200"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{path.name}: {' '.join(words[:3])[:120]}: {type(error).__name__}"
    # The library logs to standard output when it is imported: the schema is the last line.
    text = done.stdout.splitlines()[-1] if path.suffix == ".json" and done.stdout else done.stdout
    path.write_text(text, encoding="utf-8")
    return None


def facts() -> list[Fact]:
    """The facts that stand in the project."""
    document = yaml.safe_load(FACTS.read_text(encoding="utf-8"))
    return [Fact(source=one.pop("source", document["source"]), **one) for one in document["facts"]]


def contradictions(folder: Path) -> list[Contradiction]:
    """Compare the files of a folder with the facts, and with the sheet that ``make conformance`` reads."""
    texts = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in folder.iterdir()}
    return [*_of_facts(texts), *_of_sheet(texts)]


def _of_facts(texts: Mapping[str, str]) -> Iterator[Contradiction]:
    for fact in facts():
        text = texts.get(fact.file)
        if text is None:
            yield Contradiction(fact.row, fact.says, f"{fact.file} could not be written: not checked")
        elif fact.has is not None and not re.search(fact.has, text):
            yield Contradiction(fact.row, fact.says, f"{fact.file} has no {fact.has!r}")
        elif fact.lacks is not None and re.search(fact.lacks, text):
            yield Contradiction(fact.row, fact.says, f"{fact.file} has {fact.lacks!r}")


def _of_sheet(texts: Mapping[str, str]) -> Iterator[Contradiction]:
    """Every argument, field and flag that the sheet lists, by name."""
    sheet = load_sheet()
    for part, (file, row) in _SHEETS.items():
        says = f"{part} takes what tests/conformance/tensorrt_llm_1_2_1.yaml lists"
        if part in sheet.commands:
            names, pattern = list(sheet.commands[part].flags), r"(?<![\w-]){}(?![\w-])"
        else:
            takes = sheet.requests[part] if part in sheet.requests else sheet.classes[part].takes
            names, pattern = list(takes), r'"{}":' if file.endswith(".json") else r"(?m)^    {}:"
        text = texts.get(file)
        if text is None:
            yield Contradiction(row, says, f"{file} could not be written: not checked")
            continue
        absent = [name for name in names if not re.search(pattern.format(re.escape(name)), text)]
        if absent:
            yield Contradiction(row, says, f"{file} lacks {', '.join(absent)}")


def main() -> int:
    """Write and compare; 1 if something is contradicted, or could not be written."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "gpu-acceptance/container")
    missing = write(folder)
    found = contradictions(folder)
    for line in (*missing, *map(str, found)):
        print(line)
    print(
        f"container: {len(facts())} facts compared, {len(found)} contradicted, {len(missing)} files missing; all in {folder}"
    )
    return int(bool(found or missing))


if __name__ == "__main__":
    sys.exit(main())
