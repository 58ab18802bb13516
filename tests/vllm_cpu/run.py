"""``make vllm-cpu``: a real vLLM on this machine's processor, and what it keeps of our contracts.

A run that was stopped goes on: what was kept is not tried again, unless the code changed since.
"""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest

from vllm_cpu import environment
from vllm_cpu.environment import ROOT
from vllm_cpu.pins import WHEELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TESTS: Final = ROOT / "tests" / "vllm_cpu"
_CODE: Final = tuple(
    ROOT / name
    for name in ("schemas", "engines", "pipeline", "tests/contract", "tests/vllm_cpu", "benchmarks/agreement")
)
_NOTES: Final = ROOT / "build" / "vllm-cpu" / "kept.jsonl"
_SESSION_S: Final = 3 * 3600
_WORST: Final = "worst difference"


@dataclass
class Kept:
    """The contracts that were kept, in a file that grows with each of them."""

    path: Path
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By test, what it measured."""

    @classmethod
    def read(cls, path: Path) -> Kept:
        """What stands in the file of today's code; nothing where there is none."""
        lines = path.read_bytes().splitlines() if path.is_file() else []
        found = [orjson.loads(line) for line in lines]
        return cls(path, {one["test"]: one["figures"] for one in found if one["code"] == state(one["test"])})

    def add(self, test: str, figures: dict[str, Any]) -> None:
        """Note a contract as kept."""
        self.figures[test] = figures
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(orjson.dumps({"test": test, "code": state(test), "figures": figures}) + b"\n")


@dataclass
class Recorder:
    """A plugin of pytest: leaves out what was kept, and prints a line for each contract."""

    kept: Kept
    tests: set[str] = field(default_factory=set)
    _begun: float = field(default_factory=time.monotonic)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what was kept, and what this server cannot be made to do."""
        able = [item for item in items if not item.get_closest_marker("skip")]
        self.tests = {item.nodeid for item in able}
        left = [item for item in able if item.nodeid not in self.kept.figures]
        config.hook.pytest_deselected(items=[item for item in items if item not in left])
        items[:] = left
        print(
            f"{len(self.tests)} contracts, {len(self.tests) - len(left)} kept by an earlier run", flush=True
        )

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str]:
        """No dots: the lines say it."""
        return (report.outcome if report.when == "call" or not report.passed else ""), "", ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print a line for a contract that ended."""
        if report.when == "call" or not report.passed:
            figures = dict(report.user_properties)
            if report.passed:
                self.kept.add(report.nodeid, figures)
            word = "kept" if report.passed else "NOT KEPT"
            minutes = (time.monotonic() - self._begun) / 60
            print(f"{minutes:6.1f} min  {word:8}  {title(report.nodeid)}", flush=True)
            told = [f"{name}: {value}" for name, value in figures.items()]
            told += [line for line in report.longreprtext.splitlines() if line.startswith("E ")][:3]
            for line in told:
                print(f"{'':22}{line}", flush=True)


def title(test: str) -> str:
    """A test's sentence, after the model that is served."""
    path, _, name = test.partition("::")
    sentence = name.rpartition("::")[2].removeprefix("test_").replace("_", " ")
    served = Path(path).stem.removeprefix("test_").replace("_", " ")
    return f"{served}: {sentence}"


def closing_line(kept: Kept, tests: Iterable[str]) -> str:
    """How many contracts were kept, and how far vLLM and llama.cpp lie apart at most."""
    wanted = set(tests)
    worst = [
        value
        for test, figures in kept.figures.items()
        if test in wanted
        for name, value in figures.items()
        if _WORST in name
    ]
    told = f"{max(worst):.4f}" if worst else "not measured"
    return f"vllm-cpu: {len(wanted & set(kept.figures))} of {len(wanted)} contracts kept, worst difference {told}"


@cache
def state(test: str) -> str:
    """Digest of the code that a test is about, its own module included and the other tests' left out."""
    own = ROOT / test.partition("::")[0]
    digest = hashlib.sha256(WHEELS.read_bytes())
    for folder in _CODE:
        for path in sorted(folder.rglob("*.py")):
            if path == own or not path.is_relative_to(_TESTS) or not path.name.startswith("test_"):
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def main(arguments: Sequence[str]) -> int:
    """Install, run, and print; 1 unless every contract was kept."""
    begun = time.monotonic()
    try:
        if reason := environment.obstacle():
            raise environment.CannotRunError(reason)
        environment.make(lambda line: print(line, flush=True))
    except environment.CannotRunError as error:
        print(f"!!! NOT RUN: vLLM: {error} !!!")
        return 1
    recorder = Recorder(Kept.read(_NOTES))
    options = ["-q", "-s", "--no-header", "-p", "no:xdist", f"--session-timeout={_SESSION_S}"]
    code = pytest.main([*options, str(_TESTS), *arguments], plugins=[recorder])
    print(f"{(time.monotonic() - begun) / 60:.1f} min")
    print(closing_line(recorder.kept, recorder.tests))
    return int(code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
