from __future__ import annotations

import pytest

from sluicegate.engines.backends.dialects import DIALECTS
from sluicegate.engines.backends.releases import RELEASES, ServerName, release_of


@pytest.mark.parametrize(
    ("server", "version", "found"),
    [
        ("trtllm-serve", None, "1.2.1"),
        ("trtllm-serve", "1.2.1", "1.2.1"),
        ("trtllm-serve", "1.3.0rc29", "1.3"),
        ("trtllm-serve", "1.3", "1.3"),
        ("trtllm-serve", "1.30", None),
        ("trtllm-serve", "1.2.10", None),
        ("vllm", None, "0.32.0"),
    ],
)
def test_a_release_is_found_by_what_its_version_begins_with(
    server: ServerName, version: str | None, found: str | None
) -> None:
    release = release_of(server, version)
    assert (release.version if release else None) == found


def test_each_release_is_asked_in_a_dialect_that_is_there() -> None:
    assert {release.dialect for release in RELEASES} <= set(DIALECTS)


def test_one_release_alone_runs_engines_and_in_process() -> None:
    assert [release.version for release in RELEASES if "engine" in release.runtimes] == ["1.2.1"]
    assert [release.version for release in RELEASES if release.in_process] == ["1.2.1"]
