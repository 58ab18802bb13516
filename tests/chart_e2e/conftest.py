"""The API server of these tests, and the line that says what was installed on it."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from chart_e2e.api_server import ApiServer
from chart_e2e.custom_definitions import definitions
from chart_e2e.releases import Release, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chart.rendering import Document

TALLY = pytest.StashKey[Tally]()
VERSION = pytest.StashKey[str]()

_NODES_BRING: Document = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "nvidia"},
    "handler": "nvidia",
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[ApiServer]:
    """An API server with the custom resources that the chart uses, and a runtime class."""
    api = ApiServer(tmp_path_factory.mktemp("api-server"))
    try:
        api.start()
        pytestconfig.stash[VERSION] = api.version
        for definition in definitions():
            api.create(definition)
        api.create(_NODES_BRING)
        yield api
    finally:
        api.stop()


@pytest.fixture(scope="session")
def new_release(server: ApiServer, pytestconfig: pytest.Config) -> Callable[[], Release]:
    """Makes releases that nothing is installed of yet, each in a namespace of its own."""
    numbers, tally = count(1), pytestconfig.stash[TALLY]
    return lambda: Release(server, server.open_namespace(f"moderation-{next(numbers)}"), tally)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = Tally()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if VERSION in config.stash:
        terminalreporter.write_line(
            f"Helm on kube-apiserver {config.stash[VERSION]}, without controllers and kubelet: {config.stash[TALLY]}"
        )
