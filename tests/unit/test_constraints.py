"""constraints.txt: what it pins, and that pip can check every file by it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXT = (ROOT / "constraints.txt").read_text(encoding="utf-8")
ENTRIES = [
    entry for entry in TEXT.replace("\\\n", " ").splitlines() if entry.strip() and not entry.startswith("#")
]
PINNED = {canonicalize_name(Requirement(entry.partition(" --hash")[0]).name) for entry in ENTRIES}
UNPINNED = {"adapt", "gpu", "mlflow"}
"""Extras whose versions follow the machine, or a server."""


def test_every_version_is_exact_and_has_hashes() -> None:
    assert len(ENTRIES) > 100
    for entry in ENTRIES:
        assert re.fullmatch(r"\S+==\S+( ; .+?)?( +--hash=sha256:[0-9a-f]{64})+", entry), entry[:80]


def test_no_registry_is_named() -> None:
    assert "://" not in TEXT
    assert "--index" not in TEXT
    assert "--extra-index" not in TEXT


@pytest.mark.parametrize("extra", sorted(PROJECT["project"]["optional-dependencies"].keys() - UNPINNED))
def test_all_that_an_extra_asks_for_is_pinned(extra: str) -> None:
    wanted = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"][extra]
    assert {canonicalize_name(Requirement(one).name) for one in wanted} <= PINNED
    assert re.search(rf"^PINNED := .*\b{extra}\b", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_what_builds_the_package_is_pinned() -> None:
    assert {canonicalize_name(Requirement(one).name) for one in PROJECT["build-system"]["requires"]} <= PINNED


def test_the_environment_has_the_pinned_versions() -> None:
    for name in ("aiokafka", "confluent-kafka", "faust-streaming", "pip", "pydantic"):
        assert f"\n{name}=={version(name)} \\\n" in TEXT


def test_requirements_are_those_of_the_extras_that_are_named() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "requirements.py", "redis", "otel"],
        capture_output=True,
        text=True,
        check=True,
    )
    extras = PROJECT["project"]["optional-dependencies"]
    assert done.stdout.splitlines() == PROJECT["project"]["dependencies"] + extras["redis"] + extras["otel"]


def test_the_audit_fails_where_nobody_answers_it() -> None:
    (call,) = re.findall(r"^\t\$\(BIN\)/pip-audit (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert call.split() == [
        "--strict",
        "--disable-pip",
        "--require-hashes",
        "--requirement",
        "constraints.txt",
    ]


def test_an_environment_that_keeps_its_own_packages_gets_pins_for_all_others() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "requirements.py", "--absent"], capture_output=True, text=True, check=True
    )
    here = {canonicalize_name(one.name) for one in distributions()}
    assert {"pip", "pydantic"} <= here & PINNED
    printed = [Requirement(line) for line in done.stdout.splitlines()]
    assert {canonicalize_name(one.name) for one in printed} == PINNED - here
    assert all(f"\n{one} \\\n" in TEXT or f"\n{one} ;" in TEXT for one in printed)
