"""The store's shape, and what is told where it cannot be opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text

from sluicegate.pipeline.errors import ReviewError
from sluicegate.pipeline.review.store import ReviewStore
from sluicegate.pipeline.review.tables import METADATA, posts
from support.authority import Authority
from support.cases import Bench, post
from support.postgres import postgres_server
from support.review_store import opened

if TYPE_CHECKING:
    from pathlib import Path


def test_the_migrations_make_the_tables_as_the_code_knows_them(store: ReviewStore) -> None:
    with store.writing() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert set(inspect(connection).get_table_names()) == {*METADATA.tables, "alembic_version"}


def test_a_store_of_today_is_left_as_it_is(store: ReviewStore) -> None:
    store.migrate()


def test_the_shape_of_a_store_is_told_and_asking_makes_nothing(store_url: str, tmp_path: Path) -> None:
    asked = ReviewStore(store_url)
    assert asked.shape() == "none"
    assert list(tmp_path.iterdir()) == []
    asked.migrate()
    assert asked.shape() == "today"
    for number, shape in (("first", "older"), ("r9999", "unknown")):
        with asked.writing() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": number})
        assert asked.shape() == shape
    asked.close()


def test_a_store_that_a_newer_version_migrated_is_left_alone_and_told(store: ReviewStore) -> None:
    with store.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    with pytest.raises(ReviewError, match="take that version or a newer one"):
        store.migrate()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("?sslmode=require", "give verify-full"),
        ("?sslrootcert=/absent.pem", "give verify-full"),
        ("?sslmode=verify-full&sslrootcert=/absent.pem", "sslrootcert of review.store is no file"),
    ],
)
def test_a_way_of_tls_that_the_desk_does_not_know_is_told_with_those_that_it_does(
    more: str, said: str
) -> None:
    with pytest.raises(ReviewError, match=said):
        ReviewStore(f"postgresql://review@127.0.0.1/postgres{more}")


@pytest.mark.postgresql
def test_a_plain_address_is_opened_and_the_servers_certificate_is_checked_where_that_is_asked(
    tmp_path: Path,
) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    certificate, key = ours.issue("server", "127.0.0.1")
    of_server = tmp_path / "server.pem"
    of_server.write_bytes(key.read_bytes() + certificate.read_bytes())
    with postgres_server(of_server) as url:
        plain = url.replace("postgresql+pg8000", "postgresql")
        asked = f"{plain}?sslmode=verify-full&sslrootcert="
        for address, encrypted in (
            (plain, True),
            (f"{plain}?sslmode=disable", False),
            (f"{asked}{ours.file}", True),
        ):
            with opened(address) as store, store.reading() as connection:
                mine = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                assert connection.execute(mine).scalar_one() is encrypted
        impostor = ReviewStore(f"{asked}{theirs.file}")
        assert not impostor.answers()
        with pytest.raises(ReviewError, match=r"check review\.store"):
            impostor.migrate()
        impostor.close()


@pytest.mark.parametrize(
    "url", ["mysql://a@b/c", "no database", "postgresql+nothing://a@b/c"], ids=lambda url: url[:10]
)
def test_what_is_no_database_is_told_with_what_would_be(url: str) -> None:
    with pytest.raises(ReviewError, match="sqlite:///review"):
        ReviewStore(url)


def test_a_database_that_does_not_answer_is_told_without_its_password(tmp_path: Path) -> None:
    store = ReviewStore(f"sqlite:///{tmp_path}/absent/review.db")
    with pytest.raises(ReviewError, match=r"check review\.store"):
        store.migrate()
    server = ReviewStore("postgresql+pg8000://review:hunter2@127.0.0.1:1/postgres")
    with pytest.raises(ReviewError) as told:
        server.migrate()
    assert "hunter2" not in str(told.value)


def test_an_erased_text_is_gone_from_the_files_or_the_command_says_what_is_left(
    tmp_path: Path, store: ReviewStore
) -> None:
    bench, text_of = Bench(store), post("mine", author_id="user-17")
    bench.take(text_of)
    with store.reading() as connection:
        body = bytes(connection.execute(select(posts.c.body)).scalar_one())
    with store.writing() as connection:
        bench.vault.erase(connection, "default", "user-17")
    left = store.wipe()
    if store.embedded:
        assert left is None
        assert all(body not in file.read_bytes() for file in tmp_path.iterdir())
    else:
        assert left is not None
        assert "VACUUM" in left


def test_a_log_that_somebody_reads_is_not_said_to_be_empty(tmp_path: Path) -> None:
    store = ReviewStore(f"sqlite:///{tmp_path / 'review.db'}", busy_s=0.05)
    store.migrate()
    bench = Bench(store)
    with store.reading() as connection:
        connection.execute(select(posts)).all()
        bench.take(post())
        with pytest.raises(ReviewError, match="stop the desk"):
            store.wipe()
    assert store.wipe() is None
    store.close()
