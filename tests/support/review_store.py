"""Stores for tests of the review desk."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text

from sluicegate.pipeline.review.store import ReviewStore

if TYPE_CHECKING:
    from collections.abc import Iterator


def fresh_database(url: str, name: str) -> str:
    """Make an empty database beside the one of the URL; its URL."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return f"{url.rpartition('/')[0]}/{name}"


@contextmanager
def opened(url: str) -> Iterator[ReviewStore]:
    """A store of today's shape."""
    store = ReviewStore(url)
    try:
        store.migrate()
        yield store
    finally:
        store.close()
