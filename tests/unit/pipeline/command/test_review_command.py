"""``sluicegate review``: what needs no broker and no browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import inspect
from typer.testing import CliRunner

from sluicegate.pipeline import command
from sluicegate.pipeline.review.store import ReviewStore
from sluicegate.pipeline.review.tables import METADATA
from support.cases import Bench, post

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


def test_check_looks_at_the_store_and_at_the_key_it_was_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("SLUICEGATE_REVIEW__STORE", f"sqlite:///{tmp_path / 'review.db'}")

    def looked_at(key: str) -> tuple[str, str]:
        monkeypatch.setenv("SLUICEGATE_REVIEW__KEY", key)
        done = CliRunner().invoke(command.app, ["check", "--review", "--json"])
        results = {one["subject"]: one for one in json.loads(done.output)["results"]}
        assert results["broker"]["state"] == "fault"
        assert not {"engine", "group", "policy"} & results.keys()
        return results["store"]["state"], results["store"]["detail"]

    assert looked_at("k" * 32)[1].startswith("it can be opened, and has no tables yet")
    store = ReviewStore(f"sqlite:///{tmp_path / 'review.db'}")
    store.migrate()
    Bench(store, key="k" * 32).take(post("one"))
    store.close()
    assert looked_at("k" * 32)[0] == "ok"
    state, detail = looked_at("o" * 32)
    assert state == "fault"
    assert "review.key" in detail
