"""Texts at rest: nobody reads them without the keys, and nobody at all once their author was erased."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy import text as sql

from sluicegate.pipeline.errors import ReviewError
from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.tables import METADATA, author_keys, decisions, posts, verdicts
from sluicegate.pipeline.review.vault import TextVault, post_key
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.schemas import Post, content_hash
from support.cases import Bench, judged, post
from support.desk import until

if TYPE_CHECKING:
    from sluicegate.pipeline.review.store import ReviewStore


def key_of(text: Post) -> str:
    return post_key(text.tenant, text.id, text.revision, content_hash(text))


def test_a_text_comes_back_as_it_was_and_does_not_stand_in_the_store(store: ReviewStore) -> None:
    bench, text = Bench(store), post(author_id="user-17", metadata={"readers": 3})
    bench.take(text)
    with store.reading() as connection:
        assert bench.vault.open(connection, key_of(text)) == text
        (row,) = connection.execute(select(posts)).all()
    for word in (b"disputed", b"user-17", b"readers"):
        assert word not in repr(tuple(row)).encode()


def test_without_the_secret_of_the_desk_no_key_opens(store: ReviewStore) -> None:
    bench, text = Bench(store), post()
    bench.take(text)
    with store.reading() as connection:
        for secret in ("x" * 32, None):
            with pytest.raises(ReviewError, match=r"review\.key|same one"):
                TextVault(secret).open(connection, key_of(text))


def test_a_desk_with_another_secret_does_not_start(store: ReviewStore, store_url: str) -> None:
    with store.reading() as connection:
        TextVault("x" * 32).require_key(connection)  # any will do for a store without a text
    Bench(store).take(post())
    with store.reading() as connection:
        TextVault("k" * 32).require_key(connection)
    kept = {"store": store_url, "key": "x" * 32}
    with (
        pytest.raises(ReviewError, match=r"review\.key is not the one"),
        ReviewDesk(load_settings(review=kept)),
    ):
        pass


def test_a_text_that_was_moved_to_another_post_does_not_open(store: ReviewStore) -> None:
    bench, one, two = Bench(store), post("one", author_id="u"), post("two", author_id="u")
    bench.take(one, two)
    with store.writing() as connection:
        body = connection.execute(select(posts.c.body).where(posts.c.post_key == key_of(one))).scalar_one()
        connection.execute(update(posts).where(posts.c.post_key == key_of(two)).values(body=body))
    with store.reading() as connection, pytest.raises(ReviewError, match="was changed"):
        bench.vault.open(connection, key_of(two))


def test_an_erased_author_leaves_no_text_and_none_comes_again(store: ReviewStore) -> None:
    bench = Bench(store)
    mine, other = post("mine", author_id="user-17"), post("other", author_id="user-18")
    later = post("later", author_id="user-17")
    bench.take(mine, judged(mine, reason="says the disputed words"), other, judged(other))
    with store.writing() as connection:
        assert bench.vault.erase(connection, "default", "user-17") == 1
    bench.take(mine, later, judged(later))
    with store.writing() as connection:
        bench.cases.sweep(connection, time.time() + bench.settings.join_wait_s + 1)
    with store.reading() as connection:
        assert bench.vault.open(connection, key_of(mine)) is None
        assert bench.vault.open(connection, key_of(later)) is None
        assert bench.vault.open(connection, key_of(other)) == other
        body = connection.execute(select(verdicts.c.body).where(verdicts.c.post_id == "mine")).scalar_one()
        (secret,) = connection.execute(
            select(author_keys.c.secret).where(author_keys.c.erased_at.is_not(None))
        ).scalars()
    assert "disputed" not in body
    assert secret is None
    assert len(bench.all()) == 3, "the cases stay, the new one among them"


def test_an_author_who_was_never_seen_can_be_erased_beforehand(store: ReviewStore) -> None:
    bench, text = Bench(store), post(author_id="user-17")
    with store.writing() as connection:
        assert bench.vault.erase(connection, "default", "user-17") == 0
        assert bench.vault.erase(connection, "default", "user-17") == 0
    bench.take(text)
    with store.reading() as connection:
        assert bench.vault.open(connection, key_of(text)) is None


def test_what_comes_of_an_erased_author_later_names_and_quotes_nobody(store: ReviewStore) -> None:
    """A topic read again after a rebuild, a verdict made anew, a decision on its way."""
    bench, text = Bench(store), post("mine", author_id="user-17")
    verdict = judged(text, reason="says the disputed words")
    bench.take(text, verdict)
    (case,) = bench.all()
    bench.answer(case.case_id, reason="says the disputed words")
    with store.writing() as connection:
        bench.vault.erase(connection, "default", "user-17")
    store.forget_read_model()
    later = post("later", author_id="user-17")
    again = judged(text, at=5, name="again", reason="says the disputed words")
    bench.take(text, verdict, again, later, judged(later, reason="says the disputed words"))
    with store.writing() as connection:
        bench.cases.sweep(connection, time.time() + bench.settings.join_wait_s + 1)
    for one in bench.all():
        bench.answer(one.case_id)
    with store.reading() as connection:
        for table in METADATA.sorted_tables:
            for row in connection.execute(select(table)):
                assert "disputed words" not in repr(row), table.name
                assert "user-17" not in repr(row), table.name
    assert [(one.post_id, one.author_id) for one in bench.resolutions()] == [("mine", None), ("later", None)]


def test_a_reason_goes_with_its_author_though_the_verdict_is_long_gone(store: ReviewStore) -> None:
    bench, text = Bench(store), post("mine", author_id="user-17")
    bench.take(text, judged(text))
    (case,) = bench.all()
    bench.answer(case.case_id, reason="says the disputed words")
    with store.writing() as connection:
        connection.execute(delete(verdicts))
        bench.vault.erase(connection, "default", "user-17")
        assert connection.execute(select(decisions.c.reason)).scalar_one() is None


@pytest.mark.parametrize("known", [True, False])
def test_an_erasure_waits_for_what_is_being_kept_of_the_author(store: ReviewStore, known: bool) -> None:
    bench, text = Bench(store), post(author_id="user-17")
    if known:
        bench.take(text)

    def erase() -> None:
        with store.writing() as connection:
            bench.vault.erase(connection, "default", "user-17")

    def it_waits() -> bool:
        if store.embedded:
            return True  # there it has no way to begin
        with store.reading() as connection:
            waiting = connection.execute(sql("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            return bool(waiting.scalar_one())

    erasing = threading.Thread(target=erase)
    with store.writing() as connection:
        bench.cases.take_verdict(connection, judged(text, reason="says the disputed words"))
        erasing.start()
        until("the erasure waits, or is over", lambda: not erasing.is_alive() or it_waits())
    erasing.join()
    with store.reading() as connection:
        body = connection.execute(select(verdicts.c.body)).scalar_one()
    assert "disputed" not in body
    assert "user-17" not in body


def test_what_a_reviewer_writes_about_an_erased_author_is_not_kept(store: ReviewStore) -> None:
    bench, text = Bench(store), post(author_id="user-17")
    bench.take(text, judged(text))
    (case,) = bench.all()
    with store.writing() as connection:
        bench.vault.erase(connection, "default", "user-17")
    bench.answer(case.case_id, action="block", reason="they wrote the disputed words")
    with store.reading() as connection:
        assert connection.execute(select(decisions.c.reason)).scalars().all() == [None]
