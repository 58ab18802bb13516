"""NVIDIA's container against the facts that this project is built on. NOT RUN so far, in any container. No GPU needed."""

from __future__ import annotations

import pytest

from gpu import acceptance, container

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]


def test_the_container_bears_out_every_fact() -> None:
    folder = acceptance.folder() / "container"
    missing = container.write(folder)
    found = container.contradictions(folder)
    print(f"written to {folder}", *missing, *found, sep="\n")
    assert missing == []
    assert [str(one) for one in found] == []
