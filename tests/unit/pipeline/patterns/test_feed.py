"""Feeds: only a member's own, the newest, and the same for all."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.patterns.feed import Head, open_feed, require_newer
from sluicegate.pipeline.signing.ed25519 import SigningKey
from unit.pipeline.patterns.circles import (
    CIRCLE,
    NORTH,
    SOUTH,
    TODAY,
    circle_with,
    days,
    feed,
    flood,
    keypair,
    sealed,
)

FEED = feed(flood())


def signed(text: bytes, key: tuple[bytes, bytes] = NORTH) -> bytes:
    """Any text, as a member would sign it."""
    signature = SigningKey(key[0]).sign(b"sluicegate: a feed of patterns\n", text)
    return orjson.dumps({"feed": orjson.Fragment(text), "signature": signature})


def test_a_feed_is_read_as_it_was_signed() -> None:
    assert open_feed(sealed(FEED), CIRCLE, TODAY) == FEED


@pytest.mark.parametrize("key", [SOUTH, keypair()])
def test_a_feed_in_the_name_of_another_is_refused(key: tuple[bytes, bytes]) -> None:
    with pytest.raises(PatternError, match="no key of north"):
        open_feed(sealed(FEED, key), CIRCLE, TODAY)


@pytest.mark.parametrize(
    "change",
    [
        {"member": "south"},
        {"sequence": 9},
        {"patterns": []},
        {"revoked": [{"id": "0" * 16, "on": "2026-01-01", "why": "x"}]},
        {"k": 50},
        {"expires_on": "2099-01-01"},
        {"licence": "do what you like"},
    ],
)
def test_a_changed_feed_is_refused(change: dict[str, Any]) -> None:
    envelope = orjson.loads(sealed(FEED))
    envelope["feed"] |= change
    with pytest.raises(PatternError, match="signed it"):
        open_feed(orjson.dumps(envelope), CIRCLE, TODAY)


def test_a_signature_is_of_nothing_else() -> None:
    envelope = orjson.loads(sealed(FEED))
    envelope["signature"] = orjson.loads(sealed(feed(sequence=2)))["signature"]
    with pytest.raises(PatternError, match="signed it"):
        open_feed(orjson.dumps(envelope), CIRCLE, TODAY)


def test_a_field_that_is_not_known_is_refused() -> None:
    document = orjson.loads(FEED.encode())
    document["patterns"][0]["text"] = "somebody's"
    with pytest.raises(PatternError, match="no feed of patterns"):
        open_feed(signed(orjson.dumps(document)), CIRCLE, TODAY)


def test_what_is_signed_in_another_form_is_refused() -> None:
    """It would have the digest of another text."""
    document = orjson.loads(FEED.encode())
    document["made_at"] = document["made_at"].replace("Z", "+00:00")
    with pytest.raises(PatternError, match="not written as feeds are"):
        open_feed(signed(orjson.dumps(document)), CIRCLE, TODAY)


@pytest.mark.parametrize("key", [NORTH, keypair()])
@pytest.mark.parametrize("place", ["feed", "patterns", "pattern", "values", "envelope"])
def test_a_feed_of_many_faults_costs_little(key: tuple[bytes, bytes], place: str) -> None:
    """Its file may be as large as that of a good one: what it costs must not be a hundred times that."""
    document, many = orjson.loads(FEED.encode()), 20_000
    if place == "feed":
        document |= {f"x{number}": 1 for number in range(many)}
    elif place == "patterns":
        document["patterns"] = [{"id": 1, "values": [1, 2, 3]}] * many
    elif place == "values":
        document["patterns"][0]["values"] = [1] * many
    elif place == "pattern":
        document["patterns"][0] |= {f"x{number}": 1 for number in range(many)}
    content = signed(orjson.dumps(document), key)
    if place == "envelope":
        content = content.removesuffix(b"}") + b',"x":1' * many + b"}"
    tracemalloc.start()
    try:
        with pytest.raises(PatternError):
            open_feed(content, CIRCLE, TODAY)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


@given(
    st.binary(max_size=300)
    | st.builds(orjson.dumps, st.dictionaries(st.text(max_size=9), st.integers(-9, 9) | st.text()))
)
def test_whatever_else_is_refused_with_a_sentence(content: bytes) -> None:
    with pytest.raises(PatternError):
        open_feed(content, CIRCLE, TODAY)


def test_a_pattern_without_an_end_is_refused() -> None:
    (one,) = FEED.patterns
    for until, good in ((days(90), True), (days(91), False)):
        content = sealed(
            FEED.model_copy(update={"patterns": (one.model_copy(update={"expires_on": until}),)})
        )
        if good:
            assert open_feed(content, CIRCLE, TODAY)
        else:
            with pytest.raises(PatternError, match="more than 90 days"):
                open_feed(content, CIRCLE, TODAY)


def test_an_expired_feed_is_refused() -> None:
    with pytest.raises(PatternError, match="expired"):
        open_feed(sealed(FEED), CIRCLE, days(8))


def test_an_expired_signing_key_signs_nothing() -> None:
    gone = CIRCLE.members["north"][0].model_copy(update={"last_day": days(-1)})
    with pytest.raises(PatternError, match="good today"):
        open_feed(sealed(FEED), circle_with(members={**CIRCLE.members, "north": (gone,)}), TODAY)


def test_a_feed_of_a_lower_k_is_refused() -> None:
    with pytest.raises(PatternError, match="its k is 4"):
        open_feed(sealed(feed(k=4)), CIRCLE, TODAY)


def test_one_of_another_circle_is_refused() -> None:
    with pytest.raises(PatternError, match="yours is alps"):
        open_feed(sealed(feed(circle="seas")), CIRCLE, TODAY)


def test_one_pattern_twice_is_refused() -> None:
    with pytest.raises(PatternError, match="twice"):
        open_feed(sealed(FEED.model_copy(update={"patterns": FEED.patterns * 2})), CIRCLE, TODAY)


@pytest.mark.parametrize(("shared", "good"), [(1, True), (2, False)])
def test_two_patterns_of_the_same_posts_are_refused(shared: int, good: bool) -> None:
    """Each would have a budget of its own."""
    (one,) = FEED.patterns
    others = [f"{number:016x}" for number in range(3)]
    again = one.model_copy(update={"id": "a" * 16, "values": (*others, *one.values[-shared:])})
    third = one.model_copy(update={"id": "b" * 16, "values": (*others[:1], "f" * 16, *one.values[:1])})
    content = sealed(FEED.model_copy(update={"patterns": (one, third, again)}))
    if good:
        assert len(open_feed(content, CIRCLE, TODAY).patterns) == 3
    else:
        with pytest.raises(PatternError, match=f"{one.id} and {'a' * 16} in it are of the same posts"):
            open_feed(content, CIRCLE, TODAY)


def test_the_next_feed_follows() -> None:
    assert require_newer(feed(before=FEED), Head(1, FEED.digest)) is None


@pytest.mark.parametrize(
    ("sequence", "head", "said"),
    [
        (3, Head(4, "sha256:" + "0" * 64), "an old feed"),
        (3, Head(3, "sha256:" + "0" * 64), "two feeds of number 3"),
        (3, Head(2, "sha256:" + "0" * 64), "follows another number 2"),
    ],
)
def test_a_replayed_or_forked_feed_is_refused(sequence: int, head: Head, said: str) -> None:
    one = feed(sequence=sequence, previous="sha256:" + "1" * 64)
    with pytest.raises(PatternError, match=said):
        require_newer(one, head)


def test_the_same_feed_again_is_refused() -> None:
    with pytest.raises(PatternError, match="before"):
        require_newer(FEED, Head(1, FEED.digest))


def test_a_gap_is_told() -> None:
    assert require_newer(feed(sequence=5), Head(2, FEED.digest)) == "numbers 3 to 4 of north never came"


def test_keys_of_the_file_are_all_that_counts() -> None:
    assert open_feed(sealed(feed(member="south"), SOUTH), CIRCLE, TODAY).member == "south"
    assert NORTH != SOUTH
