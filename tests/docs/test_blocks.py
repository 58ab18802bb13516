"""Every block of code on every page: YAML and JSON are read by the code that takes them, commands and Python run.

One rule: a block runs in its page's folder, after those before it. What cannot run says why in its info string,
`title="not run: …"`. A block of `text` is what the commands before it print, with an ellipsis for anything. A block
whose first line is a comment with a file's name is written to that file. Lines of `pip install` are not run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chart.rendering import find_helm
from docs.documents import is_document
from docs.pages import ROOT, Block, blocks, pages
from docs.stages import STAGES

if TYPE_CHECKING:
    from sluicegate.testing import LocalBroker, LocalWorker

pytest_plugins = ["sluicegate.testing"]

_TOP_LEVEL_AWAIT = """
import ast, asyncio, sys, types
code = compile(open(sys.argv[1]).read(), "the block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
found = types.FunctionType(code, {"__name__": "__main__"})()
if found is not None:
    asyncio.run(found)
"""
ALL = [block for page in pages() for block in blocks(page.relative_to(ROOT))]
DOCUMENTS = [
    pytest.param(one, id=str(one)) for one in ALL if one.language in ("yaml", "json") and not one.not_run
]
TO_RUN = sorted(
    {one.page for one in ALL if one.language in ("sh", "python") and not one.not_run and not one.file}
)


def test_every_language_is_one_that_the_rule_knows() -> None:
    known = {"sh", "python", "yaml", "json", "text", "promql"}  # tests/chart asks the last
    assert [str(one) for one in ALL if one.language not in known] == []


@pytest.mark.parametrize("block", DOCUMENTS)
def test_a_document_is_one_that_we_read(block: Block) -> None:
    assert is_document(block)


class Shell:
    """Runs the blocks of one page in one folder, with a broker and a worker in their environment."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICEGATE_")}
        helm = find_helm()
        places = [str(Path(sys.executable).parent), *([str(Path(helm).parent)] if helm else [])]
        path = {"PATH": os.pathsep.join([*places, os.environ["PATH"]]), "COLUMNS": "200"}
        self._environment = kept | variables | path
        self._folder = folder
        self._printed: str | None = None
        """By the last block that ran; None where none did."""

    def block(self, block: Block) -> None:
        """Run it, write its file, or look for it in what was printed."""
        if block.not_run:
            self._printed = None
        elif block.file:
            (self._folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            lines = [line for line in block.text.splitlines() if not re.match(r"pip |python3 -m venv", line)]
            self._run(block, ["bash", "-euo", "pipefail", "-c", "\n".join(lines)])
        elif block.language == "python":
            (self._folder / "block").write_text(block.text, encoding="utf-8")
            self._run(block, [sys.executable, "-c", _TOP_LEVEL_AWAIT, "block"])
        elif block.language == "text" and self._printed is not None:
            for line in filter(None, block.text.splitlines()):
                assert stands_in(line, self._printed), f"{block}: {line!r} is not in:\n{self._printed}"

    def _run(self, block: Block, words: list[str]) -> None:
        done = subprocess.run(
            words,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        self._printed = done.stdout


def stands_in(line: str, output: str) -> bool:
    """Is the line printed? An ellipsis stands for anything."""
    pattern = ".*".join(re.escape(part) for part in line.split("…"))
    return re.search(f"^{pattern}$", output, re.MULTILINE) is not None


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", TO_RUN)
def test_the_blocks_of_a_page_run_one_after_the_other(
    page: str, tmp_path: Path, sluicegate_broker: LocalBroker, sluicegate_worker: LocalWorker
) -> None:
    for name in ("examples", "helm", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    variables = STAGES[page](tmp_path, sluicegate_broker) if page in STAGES else {}
    shell = Shell(tmp_path, sluicegate_broker.environment | variables)
    for block in blocks(page):
        shell.block(block)


def test_a_reason_is_read_and_a_wrong_document_is_refused() -> None:
    wrong = Block("page", 1, "yaml", "kafka: {groups: 1}\n", "")
    assert not is_document(wrong)
    assert not is_document(Block("page", 1, "json", json.dumps({"severity": "dire"}), ""))
    assert any(one.not_run for one in ALL)
    assert shutil.which("bash")
