"""Which tests run which lines, and tests of a changed module, each in a process of its own.

A process is forked from one that has loaded the libraries, and none of our modules. So a changed module costs
the import of our modules alone, and no file is ever written: it is compiled in memory, where it is imported.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import pickle
import sys
import threading
import time
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from itertools import accumulate
from multiprocessing.connection import wait
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from mutants.mutant import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
    from multiprocessing.context import ForkProcess
    from types import FrameType

_LIBRARIES = (
    "aiohttp",
    "aiokafka.consumer",
    "confluent_kafka.admin",
    "faust",
    "hypothesis.strategies",
    "opentelemetry.sdk.trace",
    "orjson",
    "prometheus_client",
    "pydantic_settings",
    "pytest_asyncio.plugin",
    "rich.table",
    "structlog",
    "tokenizers",
    "typer.testing",
)
_TEST_S = 15  # a mutant may wait for ever for what it removed; that is noticing, too
_LOAD_S = 60
_SLOW_S = 3.0  # a test that takes longer is of no use as a judge of hundreds of changes
_ENOUGH_S = 8.0  # of tests for one change: who has not noticed by then is taken for blind
_PROFILE = "mutants"
_BROKEN = 97
_NOT_EXCHANGED = 98
_NOT_FOUND = 99
_NO_SUCH_TEST = (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED)


@dataclass(slots=True)
class Covering:
    """What every test runs, and how long it takes."""

    lines: dict[str, dict[str, set[int]]] = field(default_factory=dict)
    """By test, by module: the lines that it runs."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of the processor: a busy machine makes no test slower."""
    failed: list[str] = field(default_factory=list)

    def merge(self, other: Covering) -> None:
        """Take in what another process found."""
        self.lines |= other.lines
        self.seconds |= other.seconds
        self.failed += other.failed

    def running(self, file: str, lines: Iterable[int] | None, of: Collection[str]) -> list[str]:
        """The tests that run any of these lines: first those that mirror the module, then the fastest.

        Of both, a test comes early that runs something of the module which none before it ran: a hundred that go
        the same way notice little more than one.

        What would take too long together is left out from the end, so that a survivor holds up nobody for minutes.

        Args:
            file: The module.
            lines: None for all of it.
            of: The files of tests to choose from.
        """
        wanted = None if lines is None else set(lines)
        stem = f"test_{Path(file).stem}"

        def rank(test: str) -> tuple[bool, float]:
            return not Path(test.partition("::")[0]).name.startswith(stem), self.seconds[test]

        found = (
            test
            for test, runs in self.lines.items()
            if test.partition("::")[0] in of
            and self.seconds[test] < _SLOW_S
            and (ran := runs.get(file))
            and (wanted is None or not wanted.isdisjoint(ran))
        )
        by_rank = sorted(found, key=rank)
        ran_before: set[int] = set()
        further = []
        for test in by_rank:
            if not self.lines[test][file] <= ran_before:
                further.append(test)
                ran_before |= self.lines[test][file]
        ranked = list(dict.fromkeys([*further, *by_rank]))
        together = accumulate(self.seconds[test] for test in ranked)
        return [test for test, spent in zip(ranked, together, strict=True) if spent < _ENOUGH_S]


def measure(files: frozenset[str], tests: Sequence[str], *, jobs: int) -> Covering:
    """Run tests once and note what each of them runs.

    Args:
        files: The modules of interest, below the root.
        tests: Files of tests.
        jobs: Processes side by side.
    """
    found = Covering()
    started = [_measuring(files, tests[number::jobs]) for number in range(jobs)]
    for process, reading in started:
        with os.fdopen(reading, "rb") as pipe:
            found.merge(pickle.load(pipe))  # noqa: S301 - of our own process
        process.join()
    return found


def _measuring(files: frozenset[str], tests: Sequence[str]) -> tuple[ForkProcess, int]:
    reading, writing = os.pipe()

    def work() -> None:
        tracer = _Tracer(files)
        if tests:
            _pytest([*tests, f"--timeout={_TEST_S * 10}"], tracer)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(tracer.found, pipe)

    process = _fork(work)
    os.close(writing)
    return process, reading


@dataclass(frozen=True, slots=True)
class Trial:
    """A changed module, and the tests that may notice."""

    name: str
    module: str
    source: str
    at_import: bool
    """True if the change is outside of every function."""
    tests: tuple[str, ...]
    within_s: float


def judge(trials: Sequence[Trial], *, jobs: int) -> Iterator[tuple[Trial, bool, float]]:
    """Run the tests of every changed module until one fails; yields whether one did, and after how many seconds.

    Where only the code of functions differs, it is exchanged after the tests were collected once for all. What
    runs at import is changed in a process that imports everything anew.

    Raises:
        RuntimeError: The tests of a trial were not found, so that they say nothing.
    """
    by_name = {trial.name: trial for trial in trials}
    anew = [trial for trial in trials if trial.at_import]
    for name, code, seconds in _in_one_session([one for one in trials if not one.at_import], jobs=jobs):
        if code == _NOT_EXCHANGED:
            anew.append(by_name[name])
        else:
            yield by_name[name], _noticed(name, code), seconds
    for name, code, seconds in _side_by_side(anew, lambda trial: _fork(lambda: _try(trial)), jobs=jobs):
        yield by_name[name], _noticed(name, code), seconds


def _noticed(name: str, code: int) -> bool:
    if code in (_NOT_FOUND, _BROKEN):
        raise RuntimeError(f"{name}: its tests were not found or could not be run, so they say nothing")
    return code != 0


def _in_one_session(trials: Sequence[Trial], *, jobs: int) -> Iterator[tuple[str, int, float]]:
    if not trials:
        return
    reading, writing = multiprocessing.get_context("fork").Pipe(duplex=False)
    files = dict.fromkeys(test.partition("::")[0] for trial in trials for test in trial.tests)
    process = _fork(lambda: _pytest([*files, f"--timeout={_TEST_S}"], _Session(trials, jobs, writing.send)))
    writing.close()
    with contextlib.suppress(EOFError):
        while True:
            yield reading.recv()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the tests could not be run: pytest ended with {process.exitcode}")


def _side_by_side(
    trials: Sequence[Trial], start: Callable[[Trial], ForkProcess], *, jobs: int
) -> Iterator[tuple[str, int, float]]:
    waiting = list(reversed(trials))
    running: dict[int, tuple[ForkProcess, Trial, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            trial = waiting.pop()
            process = start(trial)
            running[process.sentinel] = process, trial, time.monotonic()
        wait(list(running), timeout=1)
        for sentinel, (process, trial, since) in list(running.items()):
            seconds = time.monotonic() - since
            if process.is_alive() and seconds < trial.within_s + _LOAD_S:
                continue
            process.kill()
            process.join()
            del running[sentinel]
            yield trial.name, process.exitcode or 0, seconds


def name_of(file: str) -> str:
    """The module that a file below the root is imported as."""
    return "sluicegate." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _fork(work: Callable[[], Any]) -> ForkProcess:
    if any(name.startswith("sluicegate") for name in sys.modules):
        raise RuntimeError("our modules are loaded already, so that none could be changed")
    for library in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    return _start(work)


def _start(work: Callable[[], Any]) -> ForkProcess:
    def quietly() -> None:
        with Path(os.devnull).open("w") as nowhere:
            for stream in (1, 2):
                os.dup2(nowhere.fileno(), stream)
        os.chdir(ROOT)
        for name in [name for name in os.environ if name.startswith("SLUICEGATE_")]:
            del os.environ[name]
        code = _BROKEN
        try:
            code = work() or 0
        finally:
            os._exit(code)  # threads that a mutant left behind hold up nothing

    process = multiprocessing.get_context("fork").Process(target=quietly)
    process.start()
    return process


def _try(trial: Trial) -> int:
    sys.meta_path.insert(0, _Finder(trial.module, trial.source))
    chosen = _Chosen(trial.tests)
    files = dict.fromkeys(test.partition("::")[0] for test in trial.tests)
    code = _pytest([*files, "-x", f"--timeout={_TEST_S}"], chosen)
    if chosen.missing or code in _NO_SUCH_TEST:
        # Tests that a change of the module itself keeps from being collected have noticed it.
        return 1 if chosen.broken or code == pytest.ExitCode.USAGE_ERROR else _NOT_FOUND
    return int(code)


def _pytest(arguments: list[str], plugin: object) -> int:
    # That an example fails is all that is asked: none is made smaller, which takes minutes, or kept.
    phases = hypothesis.Phase.explicit, hypothesis.Phase.generate
    hypothesis.settings.register_profile(_PROFILE, phases=phases, database=None, deadline=None)
    fixed = ["-q", "--no-header", "--tb=no", "--hypothesis-seed=0", f"--hypothesis-profile={_PROFILE}"]
    fixed += ["-p", "no:xdist"]
    ignored = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # libraries are loaded before pytest starts
    return int(pytest.main([*fixed, *ignored, *arguments], plugins=[plugin]))


class _Chosen:
    """Runs the tests that were chosen, in their order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._tests = tests
        self.missing = False
        self.broken = False

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.broken |= report.failed

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        by_id = {item.nodeid: item for item in items}
        found = [by_id[test] for test in self._tests if test in by_id]
        # A module that is changed may change the list of its own tests, as of the fields of a model.
        self.missing = not found
        items[:] = found


class _Session:
    """Collects the tests once; then every trial runs its own in a process that is forked off."""

    def __init__(
        self, trials: Sequence[Trial], jobs: int, tell: Callable[[tuple[str, int, float]], None]
    ) -> None:
        self._trials = trials
        self._jobs = jobs
        self._tell = tell
        self._failed = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        by_id = {item.nodeid: item for item in session.items}

        def work(trial: Trial) -> int:
            if not _exchange(trial):
                return _NOT_EXCHANGED
            items = [by_id[test] for test in trial.tests if test in by_id]
            if len(items) < len(trial.tests):
                return _NOT_FOUND
            for item, following in zip(items, [*items[1:], None], strict=True):
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._failed:
                    return 1
            return 0

        def start(trial: Trial) -> ForkProcess:
            return _start(lambda: work(trial))

        for outcome in _side_by_side(self._trials, start, jobs=self._jobs):
            self._tell(outcome)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed


def _exchange(trial: Trial) -> bool:
    """Give the functions of a loaded module their changed code; False where that cannot be done."""
    found: dict[tuple[str, int], CodeType] = {}
    codes = [compile(trial.source, trial.module, "exec", dont_inherit=True)]
    while codes:
        code = codes.pop()
        found[code.co_qualname, code.co_firstlineno] = code
        codes += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    exchanged = False
    for function in [one for one in gc.get_objects() if isinstance(one, FunctionType)]:
        old = function.__code__
        new = found.get((old.co_qualname, old.co_firstlineno))
        if function.__module__ == trial.module and new is not None and new != old:
            try:
                function.__code__ = new
            except ValueError:  # it has lost a variable of the function around it
                return False
            exchanged = True
    return exchanged


class _Tracer:
    """Notes the lines of the modules of interest that each test runs."""

    def __init__(self, files: frozenset[str]) -> None:
        self.found = Covering()
        self._files = files
        self._known: dict[str, str | None] = {}
        self._lines: dict[str, set[int]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._lines = {}
        started = time.process_time()
        threading.settrace(self._call)
        sys.settrace(self._call)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self.found.lines[item.nodeid] = self._lines
            self.found.seconds[item.nodeid] = time.process_time() - started

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.found.failed.append(report.nodeid)

    def _call(self, frame: FrameType, event: str, _: object) -> Any:
        file = self._file(frame.f_code)
        if file is None:
            return None
        lines = self._lines.setdefault(file, set())
        lines.add(frame.f_lineno)

        def line(frame: FrameType, event: str, _: object) -> Any:
            if event == "line":
                lines.add(frame.f_lineno)
            return line

        return line

    def _file(self, code: CodeType) -> str | None:
        name = code.co_filename
        if name not in self._known:
            path = Path(name).resolve()
            file = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else None
            self._known[name] = file if file in self._files else None
        return self._known[name]


class _Finder:
    """Finds one module with another source."""

    def __init__(self, module: str, source: str) -> None:
        self._module = module
        self._source = source

    def find_spec(self, name: str, path: Sequence[str] | None, _: object = None) -> ModuleSpec | None:
        if name != self._module:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.origin is None:
            raise ImportError(f"there is no {name}")
        spec.loader = _Loader(name, spec.origin, self._source)
        return spec


class _Loader(SourceFileLoader):
    """Loads a module of another source."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._changed = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._changed, self.path, "exec", dont_inherit=True)
