"""The same tests on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.postgres import postgres_server
from support.review_store import fresh_database, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluicegate.pipeline.review.store import ReviewStore


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'review.db'}"
    return fresh_database(request.getfixturevalue("postgres"), f"t{uuid4().hex}")


@pytest.fixture
def store(store_url: str) -> Iterator[ReviewStore]:
    with opened(store_url) as made:
        yield made
