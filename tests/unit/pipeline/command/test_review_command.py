"""``sluicegate review``: what needs no broker and no browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import inspect
from typer.testing import CliRunner

from sluicegate.pipeline import command
from sluicegate.pipeline.review.store import ReviewStore
from sluicegate.pipeline.review.tables import METADATA

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_store_is_migrated_by_a_command_of_its_own_that_asks_no_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'review.db'}"
    monkeypatch.setenv("SLUICEGATE_REVIEW__STORE", url)
    monkeypatch.setenv("SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    for _ in range(2):
        done = CliRunner().invoke(command.app, ["review", "migrate"])
        assert done.exit_code == 0, done.output
        assert "the shape of this version" in done.output
    store = ReviewStore(url)
    with store.reading() as connection:
        assert {*METADATA.tables} <= {*inspect(connection).get_table_names()}
    store.close()
